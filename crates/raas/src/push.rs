//! Publishes an image. The push decides on a plan before it stores anything, and stores content before anything refers
//! to it. One commit at the end is the publication.
//!
//! ```text
//! check ──▶ catch up ──▶ read ──▶ plan ──▶ transfer ──▶ publish ──▶ follow up
//!                        the      │  │      layers,      documents,   servers serve
//!                        source,  │  │      configs,     one commit,  it, backup
//!                        verify   │  │      signatures   checkout
//!                                 │  └──▶ foresee, with --dry-run
//!                                 └ rejects here
//! ```

mod attach;
mod compose;
mod earlier;
mod found_signature;
mod gpg_signer;
mod image_failure;
mod incomplete;
mod lookup;
mod masked_layer;
mod moved;
mod operator_documents;
mod plan;
mod presence;
mod protection;
mod publish;
mod published_signatures;
mod pulp_source;
mod reference;
mod registry_source;
mod report;
mod runnable;
mod signature_check;
mod signer;
mod signing;
mod source;
mod source_login;
mod transfer;
mod transfer_v1;
mod untagged;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use raas_image::{Image, Limits, SourceKind};
use raas_signatures::signature_manifest;
use raas_types::{Digest, ImageArgument, ObjectKey, Platform, RepositoryName, Tag, VendorName};

use crate::certify;
use crate::config::Config;
use crate::exposure::{self, OpenAccess};
use crate::follow_up::{FollowUp, Served};
use crate::immutable::ImmutableTags;
use crate::progress::Progress;
use crate::storage::{OpenRegistry, check_storage};
use crate::traces::{self, stage};
use crate::vendors;
pub(crate) use attach::certify as certify_source;
pub(crate) use gpg_signer::SignByArgument;
pub(crate) use image_failure::OrFail;
use lookup::PublishedContent;
pub(crate) use moved::MovedTag;
use operator_documents::OperatorDocuments;
use plan::{Plan, Planner};
use protection::ProtectionRules;
use publish::Publisher;
use published_signatures::PublishedSignatures;
use raas_base::failure::Failure;
use raas_platform::ServerRegistration;
use raas_publish::catch_up;
use raas_publish::damaged_objects::DamagedObjects;
use raas_publish::home::{Home, Vendor};
use raas_publish::publication::{Current, Done, published_keys};
use raas_publish::reading::Reading;
use raas_publish::registry::Registry;
use raas_publish::repository_listing::RepositoryListing;
use raas_publish::snapshot;
use raas_publish::storage::Storage;
use raas_sources::federation::{Masks, Sources};
use raas_sources::pulp::Export;
pub(crate) use registry_source::RegistryAccess;
pub(crate) use report::{Counted, Report};
use signature_check::ValidSignatures;
pub(crate) use signer::SignArgument;
use signing::Signing;
use source::{Signatures, SourceImage};
pub(crate) use source::{SourceArgument, Via};
pub(crate) use source_login::SourceLogin;
use transfer::{Stored, Tally, Transfer};

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
    /// The key with which the push signs the images.
    pub(crate) sign: Option<SignArgument>,
    /// The key of GnuPG with which the push signs the images.
    pub(crate) sign_by: Option<SignByArgument>,
    /// Whether the push only reports what it would do.
    pub(crate) dry_run: bool,
    /// Whether the push asks no location of a masked layer.
    pub(crate) offline: bool,
    /// Whether the push leaves the configuration repository as it is.
    pub(crate) no_backup: bool,
    /// Whether `raas sync` makes the push. Its user has no options of a push.
    pub(crate) by_sync: bool,
}

impl Options {
    /// What a user does to give the push this option: a sync has no such option.
    fn by_hand(&self, option: &str) -> String {
        let Self { vendor, image: ImageArgument { name, .. }, from, .. } = self;
        match (self.by_sync, from) {
            (false, _) => format!("give {option}"),
            (true, SourceArgument::Registry(address)) => {
                format!("run `raas push {vendor} {name} --from {address} {option}`")
            }
            (true, _) => format!("run `raas push {vendor} {name} {option}`"),
        }
    }
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
    let run = Run::new(home, config, options, progress);
    run.describe();
    let vendor = run.check()?;
    let signing = Signing::prepare(config, options)?;
    let federation = stage("read masks", || Sources::gather(&config.redhat, &config.workspace(home)))?;
    let masks = run.masks(&federation);
    let open = OpenRegistry::open(&vendor, config, progress.as_say())?;
    stage("catch up", || run.catch_up(&vendor, &open))?;
    let source = stage("read source", || run.read())?;
    let say = |line: &str| progress.say(line);
    let valid = stage("check signatures", || signing.check(options, &source, &vendor, open.storage(), &say))?;
    run.check_certification(&masks, &source)?;
    run.create_vendor(&vendor, &open)?;
    let registry = open.registry();
    let (Planned { rules, content }, mut report) =
        stage("plan", || run.plan(&registry, &federation, &masks, source, &valid.published))?;
    if options.dry_run {
        report.verified_manifests = valid.images;
        return Ok(run.foresee(&registry, &content, report));
    }
    let stored = stage("transfer", || run.transfer(&registry, content, &signing, valid, &mut report))?;
    let notes = signing.notes(&report);
    let done = stage("publish", || run.publish(&registry, &rules, &stored, notes, &mut report))?;
    run.follow_up(&registry, &done, report)
}

/// Whether a home has published to this storage. Nobody has published to a bucket that is missing.
fn is_published(storage: &dyn Storage) -> Result<bool, Failure> {
    Ok(storage.capabilities().exists()? && !matches!(snapshot::read_pointer(storage)?, Reading::Absent))
}

/// One run of a push. Its methods are the steps of [`push`].
struct Run<'a> {
    home: &'a Home,
    config: &'a Config,
    options: &'a Options,
    progress: &'a Progress,
    limits: Limits,
    begun: Instant,
}

/// What a push will do.
struct Planned<'a> {
    rules: PublicationRules<'a>,
    content: PlannedContent<'a>,
}

/// What the publication of a push has to heed.
struct PublicationRules<'a> {
    /// The operator's documents that it publishes too.
    operator: OperatorDocuments,
    protection: ProtectionRules<'a>,
    immutable: ImmutableTags,
    /// Set if everybody may read the vendor's objects.
    open_access: Option<OpenAccess>,
    /// Whether the source says that only users may see the repository.
    protected: bool,
}

/// What the push does with the content of its source.
struct PlannedContent<'a> {
    plan: Plan,
    listing: RepositoryListing<'a>,
    signatures: Signatures,
    /// Files that are needed until the transfer has read them.
    export: Option<Export>,
}

impl PublicationRules<'_> {
    /// Checks what the report foresees. Everybody could read content as soon as it is stored.
    fn check(&self, vendor: &Vendor, name: &RepositoryName, report: &Report) -> Result<(), Failure> {
        if let (Some(open), true) = (self.open_access, report.protected) {
            return Err(open.failure(vendor, &[name.to_string()]));
        }
        let moved = report.moved_tags.iter().map(|(tag, moved)| (tag, &moved.from));
        self.immutable.check_changes(moved, &report.removed_tags).map(drop)
    }
}

impl<'a> Run<'a> {
    fn new(home: &'a Home, config: &'a Config, options: &'a Options, progress: &'a Progress) -> Self {
        Self { home, config, options, progress, limits: Limits::default(), begun: Instant::now() }
    }
}

impl Run<'_> {
    /// Says in the trace what is pushed.
    fn describe(&self) {
        let Options { vendor, image, dry_run, .. } = self.options;
        traces::set("raas.vendor", vendor.as_str());
        traces::set("raas.repository", image.name.as_str());
        traces::set("raas.dry_run", *dry_run);
    }

    /// Checks what can be checked without the source and the bucket. Returns the vendor, which need not exist.
    fn check(&self) -> Result<Vendor, Failure> {
        let Self { home, config, options, .. } = self;
        options.image.name.check_publishable()?;
        let vendor = vendors::to_publish(home, config, &options.vendor)?;
        check_storage(&vendor, config)?;
        exposure::check(&vendor, &config.vendor(vendor.name()))?;
        Ok(vendor)
    }

    /// The masks that the configuration and the federation sources define.
    fn masks(&self, federation: &Sources) -> Masks {
        let masks = Masks::new(&self.config.redhat, federation);
        self.progress.notes(masks.notes());
        masks
    }

    /// Makes the home current. What other homes have published completes an incremental export and need not be stored
    /// again, and a part of it may be protected.
    fn catch_up(&self, vendor: &Vendor, open: &OpenRegistry<'_>) -> Result<(), Failure> {
        let registry = open.registry();
        if !vendor.exists()? && !self.options.dry_run && registry.shared && is_published(open.storage())? {
            self.make_vendor(vendor)?;
            open.remember_storage()?;
        }
        if vendor.exists()? {
            // A home that cannot publish, or that a newer raas has written, fails here, before anything is stored.
            vendor.check_formats()?;
            vendor.confirm_evidence()?;
            if registry.shared {
                catch_up::try_catch_up(&registry)?;
            }
        }
        exposure::check(vendor, &self.config.vendor(vendor.name()))
    }

    /// Opens the source, and reads the manifests of the image.
    fn read(&self) -> Result<SourceImage, Failure> {
        let Self { home, config, options, progress, limits, .. } = self;
        let source = source::read_image(home, config, options, limits, progress)?;
        traces::set("raas.source", source.source.name.as_str());
        traces::set("raas.source_kind", source.source.kind);
        if source.is_protected() {
            let name = &options.image.name;
            progress.say(&format!("Note: {name} is protected, as its source says: only users may see it"));
        }
        Ok(source)
    }

    /// Checks what `require_certified` demands. Nothing is stored yet.
    fn check_certification(&self, masks: &Masks, source: &SourceImage) -> Result<(), Failure> {
        let Self { config, options, .. } = self;
        if !config.vendor(&options.vendor).require_certified {
            return Ok(());
        }
        stage("check certification", || {
            let say = |line: &str| self.progress.say(line);
            let images = certify::certify(&source.image, masks, &self.limits, &say)?;
            certify::require(&images, &options.image.name, &options.vendor)
        })
    }

    /// Creates a missing vendor, and its bucket if the configuration says so. A dry run does not.
    fn create_vendor(&self, vendor: &Vendor, open: &OpenRegistry<'_>) -> Result<(), Failure> {
        if self.options.dry_run {
            return Ok(());
        }
        if !vendor.exists()? {
            if self.config.vendor(vendor.name()).create_bucket {
                let prepared = open.storage().capabilities().prepare(true)?;
                prepared.iter().for_each(|line| self.progress.say(line));
            }
            self.make_vendor(vendor)?;
        }
        open.remember_storage()
    }

    fn make_vendor(&self, vendor: &Vendor) -> Result<(), Failure> {
        vendor.create(&self.progress.as_say())?;
        self.progress.say(&format!("Set up vendor {} in {}", vendor.name(), self.home.root().display()));
        Ok(())
    }

    /// Decides what the push does, and rejects what cannot be published. Nothing of the source is stored yet. `kept` are the
    /// images whose published signatures stay.
    fn plan<'r>(
        &'r self,
        registry: &'r Registry<'r>,
        federation: &Sources,
        masks: &Masks,
        source: SourceImage,
        kept: &BTreeSet<Digest>,
    ) -> Result<(Planned<'r>, Report), Failure> {
        let protected = source.is_protected();
        let SourceImage { source, kind, image, export, signatures, .. } = source;
        let rules = self.rules(registry, federation, protected)?;
        let listing = self.list_repository(registry, &image)?;
        let mut plan = self.plan_layers(kind, image, masks, &listing)?;
        if !self.options.offline {
            presence::check(&mut plan.masked, self.progress)?;
        }
        let mut report = Report::new(source, &plan.masked, self.options);
        report.protected = protected;
        self.compare(registry, &plan, kept, &mut report)?;
        rules.check(registry.vendor, &self.options.image.name, &report)?;
        let content = PlannedContent { plan, listing, signatures, export };
        Ok((Planned { rules, content }, report))
    }

    /// What the publication has to heed. Fails if the repository shall be protected and everybody could read it.
    fn rules<'r>(
        &'r self,
        registry: &'r Registry<'r>,
        federation: &Sources,
        protected: bool,
    ) -> Result<PublicationRules<'r>, Failure> {
        let Self { config, options, .. } = self;
        let operator = self.prepare(registry, federation)?;
        let protection =
            ProtectionRules { registry, config, name: &options.image.name, asked: options.protected };
        protection.check()?;
        let immutable = ImmutableTags::new(config, &options.vendor, options.force_tag);
        let immutable = match options.by_sync {
            true => immutable.without_option(options.by_hand("--force-tag"), &options.image.name),
            false => immutable,
        };
        let open_access = OpenAccess::of(&config.vendor(&options.vendor));
        Ok(PublicationRules { operator, protection, immutable, open_access, protected })
    }

    /// Chooses the operator's documents to publish, and removes the uploads that killed runs left.
    fn prepare(&self, registry: &Registry<'_>, federation: &Sources) -> Result<OperatorDocuments, Failure> {
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
        let published = if registry.vendor.exists()? {
            let record = registry.vendor.record();
            published_keys(&record, record.head()?.as_ref(), name)?
        } else {
            BTreeSet::new()
        };
        let listing =
            RepositoryListing::read(registry.storage, name, matches!(image, Image::V1(_)), &published)?;
        Ok(listing.distrust(DamagedObjects::load(registry.vendor)?))
    }

    /// Decides what the push does with each layer, and prints the masked layers, which it skips.
    fn plan_layers(
        &self,
        kind: Option<SourceKind>,
        image: Image,
        masks: &Masks,
        listing: &RepositoryListing<'_>,
    ) -> Result<Plan, Failure> {
        let Options { vendor, image: ImageArgument { name, .. }, .. } = self.options;
        let published = PublishedContent::read(&self.home.vendor(vendor), &image)?;
        let plan = Planner::new(name, kind, masks, &published, listing).plan(image)?;
        self.progress.notes(&plan.notes);
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
    fn compare(
        &self,
        registry: &Registry<'_>,
        plan: &Plan,
        kept: &BTreeSet<Digest>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let name = &self.options.image.name;
        let mut tags: BTreeSet<Tag> = plan.tags().into_iter().cloned().collect();
        tags.extend(kept.iter().map(signature_manifest::tag));
        let record = registry.vendor.record();
        let head = if registry.vendor.exists()? { record.head()? } else { None };
        if let Some(head) = head {
            let current = Current::read(&record, &head, name)?;
            report.protected |= current.protected;
            report.moved_tags = moved::foresee(&record, &head, name, &current, plan)?;
            if self.options.prune {
                report.removed_tags = current.tags().filter(|tag| !tags.contains(*tag)).cloned().collect();
            }
        }
        Ok(())
    }

    /// The report of a dry run.
    fn foresee(&self, registry: &Registry<'_>, content: &PlannedContent<'_>, mut report: Report) -> Report {
        content.plan.foresee(&self.options.image.name, &mut report);
        self.finish(report, registry, None)
    }

    /// Stores the layers and configs.
    fn transfer(
        &self,
        registry: &Registry<'_>,
        content: PlannedContent<'_>,
        signing: &Signing,
        valid: ValidSignatures,
        report: &mut Report,
    ) -> Result<Stored, Failure> {
        let PlannedContent { plan, listing, signatures, export } = content;
        let transfer = Transfer {
            name: &self.options.image.name,
            storage: registry.storage,
            listing: &listing,
            limits: &self.limits,
            progress: self.progress,
            spool: self.home.root(),
            span: traces::current(),
        };
        let mut stored = transfer.run(plan, report)?;
        stored.signatures = signatures;
        drop(export);
        let (name, prune) = (&self.options.image.name, self.options.prune);
        let published = PublishedSignatures::read(registry.vendor, name, stored.manifests.keys(), prune)?;
        let tally = Mutex::new(Tally { stored: report.stored, present: report.present });
        let put = |key: &ObjectKey, bytes: &[u8]| transfer.put_small(key, bytes, &tally);
        let signed = signing.sign(name, &mut stored, &published, &valid, &put)?;
        let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        (report.stored, report.present) = (tally.stored, tally.present);
        report.verified_manifests = signing.verified(valid, &signed);
        report.signed_manifests = signed.new;
        Ok(stored)
    }

    /// Composes the documents, and makes the publication.
    fn publish(
        &self,
        registry: &Registry<'_>,
        rules: &PublicationRules<'_>,
        stored: &Stored,
        notes: Vec<String>,
        report: &mut Report,
    ) -> Result<Done, Failure> {
        let publisher = Publisher {
            registry: *registry,
            options: self.options,
            stored,
            protected: rules.protected,
            immutable: &rules.immutable,
            operator: &rules.operator,
            protection: rules.protection,
            progress: self.progress,
            open_access: rules.open_access,
            notes,
        };
        publisher.publish(report)
    }

    /// Waits until servers serve the publication, and backs it up.
    fn follow_up(&self, registry: &Registry<'_>, done: &Done, mut report: Report) -> Result<Report, Failure> {
        let Self { home, config, options, progress, .. } = *self;
        let say = |line: &str| progress.say(line);
        let (no_backup, name) = (options.no_backup, Some(&options.image.name));
        let follow_up = FollowUp { home, config, registry: *registry, name, no_backup, say: &say };
        let followed = follow_up.run(&done.commit)?;
        report.backed_up = followed.backed_up;
        report.served = followed.is_served();
        if let Some(Served::No(why) | Served::Unknown(why)) = &followed.registry {
            progress.say(&format!("Note: the registry does not serve it yet: {why}"));
        }
        Ok(self.finish(report, registry, followed.servers.first()))
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
        report.trace();
        report
    }
}
