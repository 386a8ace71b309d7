//! Publishing an image. The plan is made before anything is stored. Content is stored before anything refers to it. One
//! commit at the end is the publication.
//!
//! ```text
//! source ──▶ image ──▶ plan ──▶ transfer ──▶ compose ──▶ publish ──▶ wait
//!            (raas-image)  │        layers,       documents    one commit     until a
//!                          │        configs                    and its        server
//!                          └ rejects here                      checkout       serves it
//! ```

mod compose;
mod earlier;
mod image_failure;
mod lookup;
mod masked_layer;
mod operator_documents;
mod plan;
mod protection;
mod publish;
mod reference;
mod report;
mod source;
mod transfer;
mod transfer_v1;

use std::collections::BTreeSet;
use std::time::Instant;

use raas_image::{Image, Limits, SourceKind};
use raas_types::{Digest, ImageArgument, Platform, VendorName};

use crate::config::Config;
use crate::exposure::{self, OpenAccess};
use crate::follow_up::FollowUp;
use crate::progress::Progress;
use crate::storage::OpenRegistry;
use lookup::PublishedContent;
use operator_documents::OperatorDocuments;
use plan::{Plan, Planner};
use protection::Birth;
use publish::Publisher;
use raas_base::failure::Failure;
use raas_platform::ServerRegistration;
use raas_publish::catch_up;
use raas_publish::home::{Home, Vendor};
use raas_publish::publication::{Current, published_keys};
use raas_publish::registry::Registry;
use raas_publish::repository_listing::RepositoryListing;
use raas_sources::federation::{Masks, Sources};
pub(crate) use report::{Counted, Report};
pub(crate) use source::SourceArgument;
use source::SourceImage;
use transfer::Transfer;

/// What the command line asks `raas push` for.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The vendor.
    pub(crate) vendor: VendorName,
    /// The name that people pull, and the tag if only one is to be published.
    pub(crate) image: ImageArgument,
    /// Where the image comes from.
    pub(crate) from: SourceArgument,
    /// The repository in the source, if the source has several.
    pub(crate) repository: Option<String>,
    /// The image in the source, if the source has several.
    pub(crate) digest: Option<Digest>,
    /// The platforms of an index to publish. If it is empty, all platforms are published.
    pub(crate) platforms: Vec<Platform>,
    /// Whether the push makes the repository equal to the source. Otherwise it adds the source to the repository.
    pub(crate) prune: bool,
    /// Whether the push protects the repository.
    pub(crate) protected: bool,
    /// Whether the push only reports what it would do.
    pub(crate) dry_run: bool,
    /// Whether the push leaves the configuration repository as it is.
    pub(crate) no_backup: bool,
}

/// Publishes an image. With `--dry-run`, reports what publishing would do.
///
/// # Errors
/// The source is rejected, a masked layer has no location, or a disk, network or git fails. Servers keep serving the
/// earlier publication, and the same push again continues where this one stopped.
pub(crate) fn push(
    home: &Home,
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Report, Failure> {
    let run = Run { home, config, options, progress, begun: Instant::now() };
    let name = &options.image.name;
    let limits = Limits::default();
    name.check_publishable()?;
    let federation = Sources::gather(&config.redhat, &config.workspace(home))?;
    let masks = run.masks(&federation);

    let SourceImage { source, kind, image } = source::read_image(home, options, &limits, progress)?;

    let vendor = run.vendor()?;
    exposure::check(&vendor, &config.vendor(vendor.name()))?;
    let open = OpenRegistry::open(&vendor, config, progress.as_say())?;
    let registry = open.registry();
    let operator = run.prepare(&registry, &federation)?;
    // Before anything is stored where everybody could read it.
    let birth = Birth { registry: &registry, config, name, asked: options.protected };
    birth.check()?;
    let held = run.list_repository(&registry, &image)?;
    let plan = run.plan(kind, image, &masks, &held)?;
    let mut report = Report::new(source, &plan.masked, options);
    if options.dry_run {
        return run.foresee(&registry, &plan, report);
    }

    let transfer = Transfer {
        name,
        storage: registry.storage,
        held: &held,
        limits: &limits,
        progress,
        spool: home.root(),
    };
    let stored = transfer.run(plan, &mut report)?;

    let open_access = OpenAccess::of(&config.vendor(vendor.name()));
    let publisher =
        Publisher { registry, options, stored: &stored, operator: &operator, birth, progress, open_access };
    let done = publisher.publish(&mut report)?;

    let say = |line: &str| progress.say(line);
    let (no_backup, name) = (options.no_backup, Some(name));
    let follow_up = FollowUp { home, config, registry, name, no_backup, say: &say };
    let followed = follow_up.run(&done.commit)?;
    report.backed_up = followed.backed_up;
    Ok(run.finish(report, &registry, followed.servers.first()))
}

/// One run of a push. Its methods are the steps that need more than one call.
struct Run<'a> {
    home: &'a Home,
    config: &'a Config,
    options: &'a Options,
    progress: &'a Progress,
    begun: Instant,
}

impl Run<'_> {
    /// The masks that the configuration and the federation sources define.
    fn masks(&self, federation: &Sources) -> Masks {
        let masks = Masks::new(&self.config.redhat, federation);
        self.progress.notes(masks.notes());
        masks
    }

    /// The vendor in the home. A push creates a missing vendor, a dry run does not.
    fn vendor(&self) -> Result<Vendor, Failure> {
        let vendor = self.home.vendor(&self.options.vendor);
        if !vendor.exists() && !self.options.dry_run {
            vendor.create()?;
            self.progress.say(&format!("Set up vendor {} in {}", vendor.name(), self.home.root().display()));
        }
        if vendor.exists() {
            // Nothing is stored for a publication that cannot be made.
            vendor.confirm_evidence()?;
        }
        Ok(vendor)
    }

    /// Makes the home current, decides about the operator's documents, and removes what killed runs left.
    fn prepare(&self, registry: &Registry<'_>, federation: &Sources) -> Result<OperatorDocuments, Failure> {
        if registry.vendor.exists() && registry.shared {
            // Content that other homes have stored need not be stored again.
            catch_up::try_catch_up(registry)?;
        }
        let operator = OperatorDocuments::plan(federation, registry.vendor, &self.options.image.name)?;
        if !self.options.dry_run {
            // Runs that are still alive keep their uploads.
            let swept = registry.storage.abort_stale_uploads()?;
            if swept > 0 {
                self.progress.say(&format!("Removed the remains of {swept} interrupted uploads"));
            }
        }
        Ok(operator)
    }

    /// What the bucket holds of the image's repository.
    fn list_repository<'r>(
        &'r self,
        registry: &Registry<'r>,
        image: &Image,
    ) -> Result<RepositoryListing<'r>, Failure> {
        let name = &self.options.image.name;
        let published = if registry.vendor.exists() {
            let record = registry.vendor.record();
            published_keys(&record, record.head()?.as_ref(), name)?
        } else {
            BTreeSet::new()
        };
        Ok(RepositoryListing::read(registry.storage, name, matches!(image, Image::V1(_)), &published)?)
    }

    /// Decides for each layer, and prints the layers that are skipped.
    fn plan(
        &self,
        kind: SourceKind,
        image: Image,
        masks: &Masks,
        held: &RepositoryListing<'_>,
    ) -> Result<Plan, Failure> {
        let Options { vendor, image: ImageArgument { name, .. }, .. } = self.options;
        let published = PublishedContent::read(&self.home.vendor(vendor), &image)?;
        let plan = Planner::new(name, kind, masks, &published, held).plan(image)?;
        for masked in &plan.masked {
            self.progress.say(&format!(
                "Skipping layer {} (masked: it is served from {})",
                masked.layer, masked.location
            ));
        }
        Ok(plan)
    }

    /// The report of a dry run.
    fn foresee(&self, registry: &Registry<'_>, plan: &Plan, mut report: Report) -> Result<Report, Failure> {
        let name = &self.options.image.name;
        plan.foresee(name, &mut report);
        if self.options.prune && registry.vendor.exists() {
            let record = registry.vendor.record();
            let current = record.head()?.map(|head| Current::read(&record, &head, name)).transpose()?;
            let current = current.unwrap_or_default();
            report.removed_tags =
                current.tags().filter(|tag| !report.tags.contains_key(*tag)).cloned().collect();
        }
        Ok(self.finish(report, registry, None))
    }

    /// Adds to the report what is known only at the end.
    fn finish(
        &self,
        mut report: Report,
        registry: &Registry<'_>,
        server: Option<&ServerRegistration>,
    ) -> Report {
        report.reference = reference::reference(self.home, server, self.options, &report);
        report.served = server.is_some();
        report.requests = registry.storage.capabilities().requests();
        report.seconds = self.begun.elapsed().as_secs_f64();
        report
    }
}
