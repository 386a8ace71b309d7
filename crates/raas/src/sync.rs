//! Keeps images like their sources. Tags are compared by their digests, so an image that has not changed costs one request
//! for each tag, and nothing else.

mod metrics;
pub(crate) mod narrowed;
pub(crate) mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::Instant;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::parallel;
use raas_image::cosign_subject;
use raas_publish::home::Home;
use raas_publish::publication::Current;
use raas_sources::registry::{RegistryAddress, Remote};
use raas_types::{Digest, ImageArgument, RepositoryName, Tag, VendorName};
use serde::Serialize;

use crate::config::{Config, Referrers, SyncRule, SyncSource};
use crate::progress::Progress;
use crate::push::{self, SourceArgument};
use crate::report::FailureReport;
use crate::traces::{self, stage};
pub(crate) use metrics::write as write_metrics;
use source::{AT_ONCE, Located, digests, locate};

/// What the command line asks `raas sync` for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options {
    /// The only vendor.
    pub(crate) vendor: Option<VendorName>,
    /// The only image of this vendor.
    pub(crate) image: Option<RepositoryName>,
    /// Whether more tags may be removed than `prune` allows.
    pub(crate) force: bool,
    /// Whether the configuration repository stays as it is.
    pub(crate) no_backup: bool,
    /// Whether nothing is published.
    pub(crate) dry_run: bool,
}

/// What a run did, or would do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    /// The repositories, in the order of the configuration.
    #[serde(rename = "repositories")]
    pub(crate) images: Vec<ImageReport>,
    /// Whether this is the report of `--dry-run`.
    pub(crate) dry_run: bool,
    /// The duration in seconds.
    pub(crate) seconds: f64,
}

/// What a run did for one image.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ImageReport {
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) vendor: VendorName,
    #[cfg_attr(test, schemars(with = "String"))]
    #[serde(rename = "repository")]
    pub(crate) image: RepositoryName,
    /// The address of the source. `null` if it is not known.
    pub(crate) source: Option<String>,
    pub(crate) outcome: Outcome,
    /// The number of wanted tags at the source.
    #[serde(rename = "tag_count")]
    pub(crate) tags: usize,
    /// The tags that are new, moved or newly signed.
    #[serde(rename = "changed_tags")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) changed: Vec<Tag>,
    /// The published tags that are not wanted any more, which were removed, or would be.
    #[serde(rename = "removed_tags")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub(crate) removed: Vec<Tag>,
    /// The commit of the publication. `null` if nothing was published.
    pub(crate) commit: Option<String>,
    /// Why it failed. `null` if it did not.
    pub(crate) error: Option<FailureReport>,
    /// The requests for comparing.
    pub(crate) requests: u64,
    /// The duration in seconds.
    pub(crate) seconds: f64,
}

/// How an image stands after a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "SyncOutcome"))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// The image was like its source.
    Unchanged,
    /// The image was published, or would be.
    Changed,
    /// The image could not be compared or published.
    Failed,
}

impl Report {
    /// The number of images that failed.
    pub(crate) fn failed(&self) -> usize {
        self.images.iter().filter(|image| image.outcome == Outcome::Failed).count()
    }
}

/// Compares each image with its source, and publishes what has changed. A failure of one image does not stop the others.
///
/// # Errors
/// Nothing is configured for what is asked, or another run is at work.
pub(crate) fn sync(
    home: &Home,
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Report, Failure> {
    let begun = Instant::now();
    let wanted = |(vendor, rule): &(&VendorName, &SyncRule)| {
        options.vendor.as_ref().is_none_or(|only| only == *vendor)
            && options.image.as_ref().is_none_or(|only| *only == rule.image)
    };
    let rules: Vec<(&VendorName, &SyncRule)> = config.sync_rules().filter(wanted).collect();
    if rules.is_empty() {
        let what = match (&options.vendor, &options.image) {
            (Some(vendor), Some(image)) => format!("[{vendor}] of the configuration has no `sync.{image}`"),
            (Some(vendor), None) => format!("[{vendor}] of the configuration has no `sync.IMAGE`"),
            _ => "no section of the configuration has a `sync.IMAGE`".into(),
        };
        return Err(Failure::new(Kind::Usage, what)
            .hint("add `sync.IMAGE = pulp` or `sync.IMAGE = docker://HOST/NAME`"));
    }
    let _lock = if options.dry_run { None } else { Some(lock(home)?) };
    let mut images = Vec::new();
    for (vendor, rule) in rules {
        let begun = Instant::now();
        let mut report = ImageReport {
            vendor: vendor.clone(),
            image: rule.image.clone(),
            source: None,
            outcome: Outcome::Unchanged,
            tags: 0,
            changed: Vec::new(),
            removed: Vec::new(),
            commit: None,
            error: None,
            requests: 0,
            seconds: 0.0,
        };
        let run = Run { home, config, options, progress, vendor, rule };
        if let Err(failure) = stage("sync image", || run.image(&mut report)) {
            report.outcome = Outcome::Failed;
            report.error = Some(FailureReport::from(&failure));
            progress.say(&format!("{vendor}/{}: {failure}", rule.image));
        }
        report.seconds = begun.elapsed().as_secs_f64();
        images.push(report);
    }
    Ok(Report { images, dry_run: options.dry_run, seconds: begun.elapsed().as_secs_f64() })
}

/// Keeps a second run of the same home away. The system releases the lock however this run ends.
fn lock(home: &Home) -> Result<File, Failure> {
    home.ensure()?;
    let path = home.root().join("_sync");
    let shown = path.display();
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.context(|| format!("cannot open {shown}"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another `raas sync` of the home {} is at work", home.root().display());
            Err(Failure::new(Kind::Environment, message).hint("wait until it has ended"))
        }
        Err(TryLockError::Error(error)) => Err(error).context(|| format!("cannot lock {shown}")),
    }
}

/// An image beside its source.
struct Compared {
    published: Current,
    /// The wanted tags that the source has, with their digests there.
    heads: BTreeMap<Tag, Digest>,
}

/// One image of a run.
struct Run<'a> {
    home: &'a Home,
    config: &'a Config,
    options: &'a Options,
    progress: &'a Progress,
    vendor: &'a VendorName,
    rule: &'a SyncRule,
}

impl Run<'_> {
    fn image(&self, report: &mut ImageReport) -> Result<(), Failure> {
        traces::set("raas.vendor", self.vendor.as_str());
        traces::set("raas.repository", self.rule.image.as_str());
        let Located { address, access, private } =
            locate(self.config, self.vendor, &self.rule.image, &self.rule.source, self.progress.as_say())?;
        report.source = Some(address.to_string());
        let remote = Remote::find(&address, access)?;
        traces::set("raas.source", address.to_string());
        let compared = stage("compare with source", || self.compare(&remote, &address, report));
        report.requests = remote.requests();
        let Compared { published, heads } = compared?;
        // An image that became private at its source must not stay public here.
        let opens = private && !published.is_empty() && !published.protected;
        if report.changed.is_empty() && report.removed.is_empty() && !opens {
            return Ok(());
        }
        report.outcome = Outcome::Changed;
        let prune = !report.removed.is_empty();
        // A tag that vanished between the list and the question is not there for a push either.
        let tags: BTreeSet<Tag> = match prune || opens {
            true => heads.keys().cloned().collect(),
            false => report.changed.iter().cloned().collect(),
        };
        // A dry run foresees the push: it may fail for a missing signature, or for a tag that must not move.
        let pushed = push::push(self.home, self.config, &self.push_options(tags, prune), self.progress)?;
        if self.options.dry_run {
            return Ok(());
        }
        if !self.rule.platforms.is_empty() {
            let vendor = self.home.vendor(self.vendor);
            narrowed::remember(&vendor, self.rule, &heads, &pushed.tags)?;
        }
        report.commit = pushed.commit;
        Ok(())
    }

    fn push_options(&self, tags: BTreeSet<Tag>, prune: bool) -> push::Options {
        push::Options {
            vendor: self.vendor.clone(),
            image: ImageArgument { name: self.rule.image.clone(), tag: None },
            from: match &self.rule.source {
                SyncSource::Pulp => SourceArgument::Pulp,
                SyncSource::Registry(address) => SourceArgument::Registry(address.clone()),
            },
            via: push::Via::Registry,
            access: push::RegistryAccess::to_tags(tags, self.rule.attachments()),
            repository: None,
            source_tag: None,
            digest: None,
            platforms: self.rule.platforms.clone(),
            prune,
            protected: false,
            sign: None,
            sign_by: None,
            force_tag: false,
            dry_run: self.options.dry_run,
            offline: false,
            no_backup: self.options.no_backup,
            by_sync: true,
        }
    }

    /// Fills the report with what differs.
    fn compare(
        &self,
        remote: &Arc<Remote>,
        address: &RegistryAddress,
        report: &mut ImageReport,
    ) -> Result<Compared, Failure> {
        let listed = remote.tags()?.tags;
        let (attached, images): (Vec<Tag>, Vec<Tag>) =
            listed.into_iter().partition(|tag| cosign_subject(tag).is_some());
        let wanted = self.rule.tags.choose(images);
        if wanted.is_empty() {
            let message = format!("none of the tags of {address} is wanted");
            return Err(Failure::new(Kind::Refused, message).hint(format!(
                "correct `tags` of `sync.{}`; nothing was published or removed",
                self.rule.image
            )));
        }
        report.tags = wanted.len();
        let published = self.published()?;
        let none = BTreeMap::new();
        let tags = published.v2.as_ref().map_or(&none, |v2| &v2.tags);
        // A tag whose index was narrowed to some platforms has another digest than at the source.
        let narrowed = match self.rule.platforms.is_empty() {
            true => None,
            false => Some(narrowed::at_source(&self.home.vendor(self.vendor), self.rule, tags)?),
        };
        let old = narrowed.as_ref().unwrap_or(tags);
        let heads = digests(remote, wanted.iter().cloned().collect(), old)?;
        let mut changed: BTreeSet<Tag> = heads
            .iter()
            .filter(|(tag, digest)| old.get(*tag) != Some(*digest))
            .map(|(tag, _)| tag.clone())
            .collect();
        let is_published =
            |digest: &Digest| published.v2.as_ref().is_some_and(|v2| v2.manifests.contains_key(digest));
        // What is attached to an index stays at the source if the index is narrowed to some platforms.
        let keeps = |subject: &Digest| self.rule.platforms.is_empty() || is_published(subject);
        let is_wanted =
            |tag: &Tag| self.rule.attachments().has(tag) && cosign_subject(tag).is_some_and(|of| keeps(&of));
        let attached: Vec<Tag> = attached.into_iter().filter(is_wanted).collect();
        changed.extend(self.newly_signed(remote, attached, &heads, tags)?);
        if self.rule.referrers == Referrers::Compare {
            let subjects: BTreeSet<Digest> = heads.values().copied().filter(keeps).collect();
            changed.extend(newly_attached(remote, &heads, subjects, &is_published)?);
        }
        report.changed = changed.into_iter().collect();
        if let Some(most) = self.rule.prune {
            let is_gone = |tag: &&Tag| !wanted.contains(*tag) && cosign_subject(tag).is_none();
            report.removed = tags.keys().filter(is_gone).cloned().collect();
            if report.removed.len() > most && !self.options.force {
                let tags: Vec<&str> = report.removed.iter().take(10).map(Tag::as_str).collect();
                let message = format!(
                    "{} published tags are none of the wanted tags of {address}, and `prune` allows to remove {most}: {}",
                    report.removed.len(),
                    tags.join(", ")
                );
                return Err(Failure::new(Kind::Refused, message)
                    .hint("look whether the source and `tags` are whole, and remove the tags with --force; nothing was published"));
            }
        }
        Ok(Compared { published, heads })
    }

    fn published(&self) -> Result<Current, Failure> {
        let vendor = self.home.vendor(self.vendor);
        if !vendor.exists()? {
            return Ok(Current::default());
        }
        let record = vendor.record();
        let head = record.head()?;
        Ok(head.map(|head| Current::read(&record, &head, &self.rule.image)).transpose()?.unwrap_or_default())
    }

    /// The tags whose images have signatures of cosign that are not published.
    fn newly_signed(
        &self,
        remote: &Arc<Remote>,
        attached: Vec<Tag>,
        heads: &BTreeMap<Tag, Digest>,
        old: &BTreeMap<Tag, Digest>,
    ) -> Result<Vec<Tag>, Failure> {
        let wanted: BTreeSet<&Digest> = heads.values().collect();
        let is_wanted = |tag: &Tag| cosign_subject(tag).is_some_and(|subject| wanted.contains(&subject));
        let found = digests(remote, attached.into_iter().filter(is_wanted).collect(), old)?;
        let new: BTreeSet<Digest> = found
            .iter()
            .filter(|(tag, digest)| old.get(*tag) != Some(*digest))
            .filter_map(|(tag, _)| cosign_subject(tag))
            .collect();
        Ok(heads.iter().filter(|(_, digest)| new.contains(digest)).map(|(tag, _)| tag.clone()).collect())
    }
}

/// The tags whose images have attachments in the list of referrers that are not published.
fn newly_attached(
    remote: &Arc<Remote>,
    heads: &BTreeMap<Tag, Digest>,
    subjects: BTreeSet<Digest>,
    is_published: &(dyn Fn(&Digest) -> bool + Sync),
) -> Result<Vec<Tag>, Failure> {
    let found = parallel::each(AT_ONCE, subjects.into_iter().collect(), |subject| {
        let attached = remote.referrers(&subject)?.unwrap_or_default();
        Ok(attached.iter().any(|digest| !is_published(digest)).then_some(subject))
    })?;
    let new: BTreeSet<Digest> = found.into_iter().flatten().collect();
    Ok(heads.iter().filter(|(_, digest)| new.contains(digest)).map(|(tag, _)| tag.clone()).collect())
}
