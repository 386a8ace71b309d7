//! Publishes an image. The push decides on a plan before it stores anything, and stores content before anything refers
//! to it. One commit at the end is the publication.
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
mod moved;
mod operator_documents;
mod plan;
mod presence;
mod protection;
mod publish;
mod pulp_source;
mod reference;
mod registry_source;
mod report;
mod source;
mod source_login;
mod transfer;
mod transfer_v1;

use std::collections::BTreeSet;
use std::time::Instant;

use raas_image::{Image, Limits, SourceKind};
use raas_types::{Digest, ImageArgument, Platform, Tag, VendorName};

use crate::config::Config;
use crate::exposure::{self, OpenAccess};
use crate::follow_up::{FollowUp, Served};
use crate::immutable::ImmutableTags;
use crate::progress::Progress;
use crate::storage::{OpenRegistry, check_storage};
use crate::vendors;
pub(crate) use image_failure::OrFail;
use lookup::PublishedContent;
pub(crate) use moved::MovedTag;
use operator_documents::OperatorDocuments;
use plan::{Plan, Planner};
use protection::ProtectionRules;
use publish::Publisher;
use raas_base::failure::Failure;
use raas_platform::ServerRegistration;
use raas_publish::catch_up;
use raas_publish::home::{Home, Vendor};
use raas_publish::publication::{Current, published_keys};
use raas_publish::registry::Registry;
use raas_publish::repository_listing::RepositoryListing;
use raas_sources::federation::{Masks, Sources};
pub(crate) use registry_source::RegistryAccess;
pub(crate) use report::{Counted, Report};
use source::SourceImage;
pub(crate) use source::{SourceArgument, Via};
pub(crate) use source_login::SourceLogin;
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
    /// How raas reads an image from Pulp 3.
    pub(crate) via: Via,
    /// How to read from a registry: the login, the transport, and the tags if the caller has chosen them.
    pub(crate) access: RegistryAccess,
    /// The repository in the source, if the source has several.
    pub(crate) repository: Option<String>,
    /// The tag in the source, if the image is published under another one.
    pub(crate) source_tag: Option<Tag>,
    /// The image in the source, if the source has several.
    pub(crate) digest: Option<Digest>,
    /// The platforms of an index to publish. If it is empty, all platforms are published.
    pub(crate) platforms: Vec<Platform>,
    /// Whether the push makes the repository equal to the source. Otherwise it adds the source to the repository.
    pub(crate) prune: bool,
    /// Whether the push may move tags that must not move.
    pub(crate) force_tag: bool,
    /// Whether the push protects the repository.
    pub(crate) protected: bool,
    /// Whether the push only reports what it would do.
    pub(crate) dry_run: bool,
    /// Whether the push asks no location of a masked layer.
    pub(crate) offline: bool,
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
    let vendor = vendors::to_publish(home, config, &options.vendor)?;
    check_storage(&vendor, config)?;
    exposure::check(&vendor, &config.vendor(vendor.name()))?;
    let federation = Sources::gather(&config.redhat, &config.workspace(home))?;
    let masks = run.masks(&federation);

    let SourceImage { source, kind, image, private, export, signatures } =
        source::read_image(home, config, options, &limits, progress)?;
    if private || image.is_protected() {
        progress.say(&format!("Note: {name} is protected, as its source says: only users may see it"));
    }

    let open = OpenRegistry::open(&vendor, config, progress.as_say())?;
    run.create_vendor(&vendor, &open)?;
    if !options.dry_run {
        open.remember_storage()?;
    }
    let registry = open.registry();
    let operator = run.prepare(&registry, &federation)?;
    // This check comes before anything is stored: everybody could read it from then on.
    let protection = ProtectionRules { registry: &registry, config, name, asked: options.protected };
    protection.check()?;
    let listing = run.list_repository(&registry, &image)?;
    let protected = private || image.is_protected();
    let mut plan = run.plan(kind, image, &masks, &listing)?;
    if !options.offline {
        presence::check(&mut plan.masked, progress)?;
    }
    let mut report = Report::new(source, &plan.masked, options);
    report.protected = protected;
    run.foresee(&registry, &plan, &mut report)?;
    let open_access = OpenAccess::of(&config.vendor(vendor.name()));
    if let (Some(open), true) = (open_access, report.protected) {
        // Everybody could read the content as soon as it is stored.
        return Err(open.failure(&vendor, &[name.to_string()]));
    }
    let immutable = ImmutableTags::new(config, &options.vendor, options.force_tag);
    immutable.check(report.moved_tags.iter().map(|(tag, moved)| (tag, &moved.from)))?;
    if options.dry_run {
        plan.foresee(name, &mut report);
        return Ok(run.finish(report, &registry, None));
    }

    let transfer = Transfer {
        name,
        storage: registry.storage,
        listing: &listing,
        limits: &limits,
        progress,
        spool: home.root(),
    };
    let mut stored = transfer.run(plan, &mut report)?;
    stored.signatures = signatures;
    drop(export);

    let publisher = Publisher {
        registry,
        options,
        stored: &stored,
        protected,
        immutable: &immutable,
        operator: &operator,
        protection,
        progress,
        open_access,
    };
    let done = publisher.publish(&mut report)?;

    let say = |line: &str| progress.say(line);
    let (no_backup, name) = (options.no_backup, Some(name));
    let follow_up = FollowUp { home, config, registry, name, no_backup, say: &say };
    let followed = follow_up.run(&done.commit)?;
    report.backed_up = followed.backed_up;
    report.served = followed.is_served();
    if let Some(Served::No(why)) = &followed.registry {
        progress.say(&format!("Note: the registry does not serve it yet: {why}"));
    }
    Ok(run.finish(report, &registry, followed.servers.first()))
}

/// One run of a push. Its methods are the longer steps of [`push`].
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

    /// Creates a missing vendor, and its bucket if the configuration says so. A dry run does not.
    fn create_vendor(&self, vendor: &Vendor, open: &OpenRegistry<'_>) -> Result<(), Failure> {
        if !vendor.exists() && !self.options.dry_run {
            if self.config.vendor(vendor.name()).create_bucket {
                let prepared = open.storage().capabilities().prepare(true)?;
                prepared.iter().for_each(|line| self.progress.say(line));
            }
            vendor.create()?;
            self.progress.say(&format!("Set up vendor {} in {}", vendor.name(), self.home.root().display()));
        }
        if vendor.exists() {
            // A home that cannot publish fails here, before anything is stored.
            vendor.confirm_evidence()?;
        }
        Ok(())
    }

    /// Makes the home current, chooses the operator's documents to publish, and removes the uploads that killed runs
    /// left.
    fn prepare(&self, registry: &Registry<'_>, federation: &Sources) -> Result<OperatorDocuments, Failure> {
        if registry.vendor.exists() && registry.shared {
            // The plan can then use the content that other homes have published, instead of storing it again.
            catch_up::try_catch_up(registry)?;
        }
        let operator = OperatorDocuments::plan(federation, registry.vendor, &self.options.image.name)?;
        if !self.options.dry_run {
            // This removes no upload of a run that is still alive.
            let swept = registry.storage.abort_stale_uploads()?;
            if swept > 0 {
                self.progress.say(&format!("Removed the remains of {swept} interrupted uploads"));
            }
        }
        Ok(operator)
    }

    /// The objects that the bucket holds for the image's repository.
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

    /// Decides what the push does with each layer, and prints the masked layers, which it skips.
    fn plan(
        &self,
        kind: Option<SourceKind>,
        image: Image,
        masks: &Masks,
        listing: &RepositoryListing<'_>,
    ) -> Result<Plan, Failure> {
        let Options { vendor, image: ImageArgument { name, .. }, .. } = self.options;
        let published = PublishedContent::read(&self.home.vendor(vendor), &image)?;
        let plan = Planner::new(name, kind, masks, &published, listing).plan(image)?;
        for masked in &plan.masked {
            self.progress.say(&format!(
                "Skipping layer {} (masked: it is served from {})",
                masked.layer, masked.location
            ));
        }
        Ok(plan)
    }

    /// Adds to the report what the plan will change in the repository: its protection and its tags. Another push may
    /// still publish before this one.
    fn foresee(&self, registry: &Registry<'_>, plan: &Plan, report: &mut Report) -> Result<(), Failure> {
        let name = &self.options.image.name;
        let tags = plan.tags();
        let record = registry.vendor.record();
        let head = if registry.vendor.exists() { record.head()? } else { None };
        if let Some(head) = head {
            let current = Current::read(&record, &head, name)?;
            report.protected |= current.protected;
            report.moved_tags = moved::foresee(&record, &head, name, &current, plan)?;
            if self.options.prune {
                report.removed_tags = current.tags().filter(|tag| !tags.contains(tag)).cloned().collect();
            }
        }
        Ok(())
    }

    /// Adds to the report what is known only at the end.
    fn finish(
        &self,
        mut report: Report,
        registry: &Registry<'_>,
        server: Option<&ServerRegistration>,
    ) -> Report {
        let addresses = self.config.vendor(&self.options.vendor).registry_addresses;
        report.reference = reference::reference(self.home, addresses.first(), server, self.options, &report);
        report.registry = addresses.first().map(ToString::to_string);
        report.requests = registry.storage.capabilities().requests();
        report.seconds = self.begun.elapsed().as_secs_f64();
        report
    }
}
