//! Publishing an image: what to do is decided before anything is stored, content is stored before anything refers
//! to it, and one commit at the end is the publication.
//!
//! ```text
//! source ──▶ image ──▶ plan ──▶ transfer ──▶ compose ──▶ publish ──▶ wait
//!            (raas-image)  │        layers,       documents    one commit     until a
//!                          │        configs                    and its        server
//!                          └ refuses here                      checkout       serves it
//! ```

mod compose;
mod image_failure;
mod lookup;
mod operator_documents;
mod origin;
mod plan;
mod progress;
mod protection;
mod publish;
mod reference;
mod remote;
mod report;
mod transfer;
mod transfer_v1;

use std::collections::BTreeSet;
use std::time::Instant;

use raas_image::{Image, Limits, Wanted};
use raas_types::{ImageArgument, Tag, VendorName};

use crate::config::Config;
use crate::follow_up::FollowUp;
use crate::storage::OpenRegistry;
use image_failure::OrFail as _;
use operator_documents::OperatorDocuments;
pub(crate) use origin::Origin;
pub(crate) use progress::{Progress, bytes};
use raas_base::failure::Failure;
use raas_publish::catch_up;
use raas_publish::home::Home;
use raas_publish::publication::{Current, published_keys};
use raas_publish::repository_listing::RepositoryListing;
use raas_sources::federation::{Masks, Sources};
pub(crate) use report::{Counted, Report};

/// What `raas push` was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The vendor.
    pub(crate) vendor: VendorName,
    /// The name that people pull, and the one tag wanted.
    pub(crate) image: ImageArgument,
    /// Where the image comes from.
    pub(crate) from: Origin,
    /// The repository in the source, where it has several.
    pub(crate) repository: Option<String>,
    /// Whether the repository is made equal to the source, rather than the source added to it.
    pub(crate) prune: bool,
    /// Whether to say what would happen, and do nothing.
    pub(crate) dry_run: bool,
    /// Whether the configuration repository is left as it is.
    pub(crate) no_backup: bool,
}

/// Publishes an image, or says what publishing it would do.
///
/// # Errors
/// The source is refused, a masked layer has no location, or a disk, network or git fails. What was published
/// before is served unchanged, and the same push again goes on where this one stopped.
pub(crate) fn push(
    home: &Home,
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Report, Failure> {
    let begun = Instant::now();
    let limits = Limits::default();
    let name = &options.image.name;
    name.check_publishable()?;
    let sources = Sources::gather(&config.redhat, &config.workspace(home))?;
    let masks = Masks::new(&config.redhat, &sources);
    for note in masks.notes() {
        progress.say(&format!("Note: {note}"));
    }

    let archive = origin::open(home, options, &limits, progress)?;
    progress.say(&format!("Recognised {} as {}", archive.what(), archive.kind()));
    let repository =
        archive.choose(options.repository.as_deref(), options.vendor.as_str(), name.as_str()).or_fail()?;
    let wanted = Wanted { repository: repository.clone(), tag: options.image.tag.clone() };
    let image = archive.image(&wanted).or_fail()?;
    if let Some(repository) = &repository {
        progress.say(&format!("Repository {repository} in it, tags {}", tag_list(&image.tags())));
    }
    for note in image.notes() {
        progress.say(&format!("Note: {note}"));
    }

    let vendor = home.vendor(&options.vendor);
    if !vendor.exists() && !options.dry_run {
        vendor.create()?;
        progress.say(&format!("Set up vendor {} in {}", options.vendor, home.root().display()));
    }
    let open = OpenRegistry::open(&vendor, config, progress.as_say())?;
    let (registry, storage) = (open.registry(), open.storage());
    if vendor.exists() && registry.shared {
        // What other homes have stored need not be stored again.
        catch_up::try_catch_up(&registry)?;
    }
    let operator = OperatorDocuments::plan(&sources, &vendor, name)?;
    if !options.dry_run {
        // Of runs that were killed; a run that still lives keeps its own.
        let swept = storage.abort_stale_uploads()?;
        if swept > 0 {
            progress.say(&format!("Removed what {swept} interrupted uploads had left"));
        }
    }
    let known = lookup::Known::read(&vendor, &image)?;
    let published = if vendor.exists() {
        let record = vendor.record();
        published_keys(&record, record.head()?.as_ref(), name)?
    } else {
        BTreeSet::new()
    };
    let held = RepositoryListing::read(storage, name, matches!(image, Image::V1(_)), &published)?;
    let plan = plan::Plan::new(name, image, &masks, &known, &held)?;
    for masked in &plan.masked {
        progress
            .say(&format!("Skipping layer {} (masked: it is served from {})", masked.layer, masked.location));
    }

    let mut report = Report::new(&archive, repository, options);
    report.masked.clone_from(&plan.masked);
    if options.dry_run {
        plan.foresee(name, &mut report);
        if options.prune && vendor.exists() {
            let record = vendor.record();
            let current = record.head()?.map(|head| Current::read(&record, &head, name)).transpose()?;
            let current = current.unwrap_or_default();
            report.removed_tags =
                current.tags().filter(|tag| !report.tags.contains_key(*tag)).cloned().collect();
        }
        report.reference = reference::reference(home, &options.vendor, None, options, &report);
        report.requests = storage.capabilities().requests();
        report.seconds = begun.elapsed().as_secs_f64();
        return Ok(report);
    }

    let transfer =
        transfer::Transfer { name, storage, held: &held, limits: &limits, progress, spool: home.root() };
    let stored = transfer.run(plan, &mut report)?;
    let done = publish::Publisher { registry, options, stored: &stored, operator: &operator, progress }
        .publish(&mut report)?;
    let say = |line: &str| progress.say(line);
    let no_backup = options.no_backup;
    let followed = FollowUp { home, config, registry, name, no_backup, say: &say }.run(&done.commit)?;
    let server = followed.servers.first();
    report.reference = reference::reference(home, vendor.name(), server, options, &report);
    report.served = server.is_some();
    report.backed_up = followed.backed_up;
    report.requests = storage.capabilities().requests();
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

fn tag_list(tags: &[Tag]) -> String {
    tags.iter().map(Tag::as_str).collect::<Vec<_>>().join(", ")
}
