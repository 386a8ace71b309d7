//! Images of a repository in a registry, with everything that belongs to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use raas_base::failure::{Failure, Kind};
use raas_base::parallel;
use raas_image::{Attachment, Limits, ManifestSet, cosign_subject, read_store};
use raas_types::{Descriptor, Digest, ManifestBody, Platform, Reference, Tag, media_type};

use super::remote::Remote;
use super::store::RemoteStore;
use crate::image_failure::image_failure;
use crate::registry_error::RegistryError;

/// What is wanted of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedImages {
    /// Every tag.
    All,
    /// These tags.
    Tags(BTreeSet<Tag>),
    /// The image with this digest, under this tag if there is one.
    Digest(Digest, Option<Tag>),
}

/// How images are read.
#[derive(Debug, Clone)]
pub struct ReadOptions<'a> {
    /// The platforms of an index; empty for all.
    pub platforms: &'a [Platform],
    /// The bounds of what is read.
    pub limits: &'a Limits,
    /// Which attachments come along.
    pub attachments: WantedAttachments,
}

/// Which signatures and other attachments of images come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedAttachments {
    /// Those of cosign's tags, `sha256-….sig`, `.att` and `.sbom`.
    pub digest_tags: bool,
    /// Those in the list of referrers, or of the tag `sha256-…` in its place.
    pub referrers: bool,
}

impl WantedAttachments {
    /// Whether the attachment of such a tag is wanted.
    pub fn has(self, tag: &Tag) -> bool {
        if tag.as_str().contains('.') { self.digest_tags } else { self.referrers }
    }
}

impl Default for WantedAttachments {
    fn default() -> Self {
        Self { digest_tags: true, referrers: true }
    }
}

/// How many manifests are asked for at once.
const AT_ONCE: usize = 16;

/// How many attachments of attachments follow each other.
const MAX_ROUNDS: usize = 4;

/// The most manifests of one repository.
const MAX_MANIFESTS: usize = 100_000;

/// Up to so many tags, the list of all tags of the repository is not read.
const FEW_TAGS: usize = 4;

/// The most tags that an error lists.
const MOST_LISTED: usize = 20;

/// The endings of cosign's tags, and of tags that stand in for the list of referrers.
const ENDINGS: [&str; 4] = [".sig", ".att", ".sbom", ""];

/// Reads manifests, with the manifests that they list, and the signatures and other attachments of all of these. Each tag is
/// resolved once, before anything else is read: a tag that moves afterwards changes nothing. The blobs stay in the
/// registry.
///
/// # Errors
/// The registry does not give what is wanted, or a manifest breaks a rule.
pub fn read_images(
    remote: &Arc<Remote>,
    wanted: &WantedImages,
    options: &ReadOptions<'_>,
) -> Result<ManifestSet, Failure> {
    let ReadOptions { platforms, limits, attachments: wanted_attachments } = *options;
    let store = RemoteStore::new(remote.clone());
    let snapshot = Snapshot {
        store: &store,
        limits,
        wanted: wanted_attachments,
        has_referrers: AtomicBool::new(wanted_attachments.referrers),
    };
    let (resolved, mut notes) = snapshot.resolve(wanted)?;
    let mut images: BTreeMap<Digest, Vec<Tag>> = BTreeMap::new();
    for (digest, tag) in &resolved.images {
        images.entry(*digest).or_default().extend(tag.clone());
    }
    let mut known = BTreeSet::new();
    snapshot.fetch_all(images.keys().copied().collect(), &mut known)?;
    let attachments = snapshot.attachments(resolved.attached_tags.as_ref(), known)?;
    let mut set = read_store(&store, &images, &attachments, platforms, limits).map_err(image_failure)?;
    notes.append(&mut set.notes);
    set.notes = notes;
    Ok(set)
}

struct Snapshot<'a> {
    store: &'a RemoteStore,
    limits: &'a Limits,
    wanted: WantedAttachments,
    /// Whether the registry lists referrers, as far as it is known.
    has_referrers: AtomicBool,
}

struct Resolved {
    images: Vec<(Digest, Option<Tag>)>,
    /// The tags of attachments by their subjects, if all tags of the repository are known.
    attached_tags: Option<BTreeMap<Digest, Vec<Tag>>>,
}

impl Snapshot<'_> {
    fn resolve(&self, wanted: &WantedImages) -> Result<(Resolved, Vec<String>), Failure> {
        let mut notes = Vec::new();
        match wanted {
            WantedImages::Digest(digest, tag) => {
                let found = self.store.fetch(&Reference::Digest(*digest))?;
                let found = found.ok_or_else(|| RegistryError::NotFound {
                    what: self.remote().called(digest),
                    said: String::new(),
                })?;
                if tag.is_none() {
                    notes.push(format!("{digest} has no tag: clients pull it by its digest"));
                }
                Ok((Resolved { images: vec![(found, tag.clone())], attached_tags: None }, notes))
            }
            WantedImages::Tags(tags) => {
                let images = self.resolve_tags(tags.iter().cloned().collect(), true)?;
                // For many images, the list of all tags costs less than a question for each signature that may be there.
                let list = (tags.len() > FEW_TAGS).then(|| self.remote().tags().ok()).flatten();
                let attached_tags = list.map(|list| partition(list.tags).0);
                Ok((Resolved { images, attached_tags }, notes))
            }
            WantedImages::All => {
                let list = self.remote().tags()?;
                if let Some(first) = list.unusable.first() {
                    notes.push(format!(
                        "{} names that are no tags are left out, such as `{first}`",
                        list.unusable.len()
                    ));
                }
                let (attached, tags) = partition(list.tags);
                if tags.is_empty() {
                    let message = format!("{} has no tag", self.shown());
                    return Err(Failure::new(Kind::Refused, message)
                        .hint("name an image by its digest: docker://HOST/NAME@sha256:…"));
                }
                let images = self.resolve_tags(tags, false)?;
                Ok((Resolved { images, attached_tags: Some(attached) }, notes))
            }
        }
    }

    fn resolve_tags(&self, tags: Vec<Tag>, named: bool) -> Result<Vec<(Digest, Option<Tag>)>, Failure> {
        parallel::each(AT_ONCE, tags, |tag| match self.store.fetch(&Reference::Tag(tag.clone()))? {
            Some(digest) => Ok((digest, Some(tag))),
            None if named => Err(self.no_tag(&tag)),
            None => {
                let message = format!("{} lists the tag `{tag}`, and has no manifest for it", self.shown());
                Err(Failure::new(Kind::Refused, message).hint(
                    "run the command again if the tag was removed just now; otherwise name the tags one by one: \
                     docker://HOST/NAME:TAG",
                ))
            }
        })
    }

    fn no_tag(&self, tag: &Tag) -> Failure {
        let has = match self.remote().tags() {
            Ok(list) if !list.tags.is_empty() => {
                let mut shown: Vec<String> =
                    list.tags.iter().take(MOST_LISTED).map(ToString::to_string).collect();
                if list.tags.len() > MOST_LISTED {
                    shown.push(format!("and {} more", list.tags.len() - MOST_LISTED));
                }
                format!("; it has {}", shown.join(", "))
            }
            _ => String::new(),
        };
        let message = format!("{} has no tag `{tag}`{has}", self.shown());
        Failure::new(Kind::Refused, message).hint("name a tag that it has, or none for all of them")
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.remote().host(), self.remote().name())
    }

    fn remote(&self) -> &Arc<Remote> {
        self.store.remote()
    }

    /// Reads these manifests, the manifests that they list, and their configs, level by level. Adds them to `known`.
    fn fetch_all(&self, digests: Vec<Digest>, known: &mut BTreeSet<Digest>) -> Result<(), Failure> {
        let mut level: BTreeSet<Digest> = digests.into_iter().collect();
        for _ in 0..=self.limits.nesting {
            level.retain(|digest| !known.contains(digest));
            if level.is_empty() {
                break;
            }
            known.extend(&level);
            self.check_bounds(known.len())?;
            let read: Vec<Digest> = level.into_iter().collect();
            parallel::each(AT_ONCE, read.clone(), |digest| {
                // What is missing is an error when the image is read, unless an earlier publication has it.
                self.store.fetch(&Reference::Digest(digest))?;
                self.check_bounds(0)
            })?;
            let manifests: Vec<_> = read.iter().filter_map(|digest| self.store.parsed(digest)).collect();
            let configs: BTreeMap<Digest, Descriptor> = manifests
                .iter()
                .filter_map(|manifest| match &manifest.body {
                    ManifestBody::Image { config, .. } => Some((config.digest, config.as_ref().clone())),
                    ManifestBody::Index { .. } => None,
                })
                .collect();
            parallel::each(AT_ONCE, configs.into_values().collect(), |config| {
                Ok(self.store.fetch_config(&config)?)
            })?;
            let children = manifests.iter().flat_map(|manifest| manifest.children());
            level = children.filter(|child| is_manifest(child)).map(|child| child.digest).collect();
        }
        Ok(())
    }

    fn check_bounds(&self, manifests: usize) -> Result<(), Failure> {
        let limit = self.limits.manifests;
        if manifests <= MAX_MANIFESTS && self.store.manifest_bytes() <= limit {
            return Ok(());
        }
        let message = format!(
            "{} has more than {MAX_MANIFESTS} manifests, or more than {limit} bytes of manifests",
            self.shown()
        );
        Err(Failure::new(Kind::Refused, message).hint("publish its tags one by one: docker://HOST/NAME:TAG"))
    }

    /// The attachments of these manifests, and their attachments in turn.
    fn attachments(
        &self,
        listed: Option<&BTreeMap<Digest, Vec<Tag>>>,
        mut known: BTreeSet<Digest>,
    ) -> Result<Vec<Attachment>, Failure> {
        let mut attachments = BTreeSet::new();
        let mut subjects: Vec<Digest> = known.iter().copied().collect();
        for _ in 0..MAX_ROUNDS {
            // The first answer shows whether the registry knows this list at all.
            let rest = subjects.split_off(subjects.len().min(1));
            let mut found = Vec::new();
            for some in [subjects, rest] {
                found.extend(parallel::each(AT_ONCE, some, |subject| self.attached_to(&subject, listed))?);
            }
            attachments.extend(found.into_iter().flatten());
            let new: BTreeSet<Digest> = attachments.iter().map(|attachment| attachment.digest).collect();
            let before = known.clone();
            self.fetch_all(new.into_iter().collect(), &mut known)?;
            subjects = known.difference(&before).copied().collect();
            if subjects.is_empty() {
                break;
            }
        }
        Ok(attachments.into_iter().collect())
    }

    fn attached_to(
        &self,
        subject: &Digest,
        listed: Option<&BTreeMap<Digest, Vec<Tag>>>,
    ) -> Result<Vec<Attachment>, Failure> {
        let mut found = Vec::new();
        if self.has_referrers.load(Ordering::Relaxed) {
            match self.remote().referrers(subject)? {
                Some(digests) => {
                    found.extend(digests.into_iter().map(|digest| Attachment { digest, tag: None }));
                }
                None => self.has_referrers.store(false, Ordering::Relaxed),
            }
        }
        let tags = match listed {
            Some(listed) => listed.get(subject).cloned().unwrap_or_default(),
            None => {
                let with_fallback = !self.has_referrers.load(Ordering::Relaxed);
                let endings = ENDINGS.iter().filter(|ending| with_fallback || !ending.is_empty());
                let names = endings.map(|ending| format!("sha256-{}{ending}", subject.hex()));
                names.filter_map(|name| name.parse().ok()).collect()
            }
        };
        for tag in tags.into_iter().filter(|tag| self.wanted.has(tag)) {
            if let Some(digest) = self.store.fetch(&Reference::Tag(tag.clone()))? {
                found.push(Attachment { digest, tag: Some(tag) });
            }
        }
        Ok(found)
    }
}

/// The tags of attachments by their subjects, and the other tags.
fn partition(tags: BTreeSet<Tag>) -> (BTreeMap<Digest, Vec<Tag>>, Vec<Tag>) {
    let mut attached: BTreeMap<Digest, Vec<Tag>> = BTreeMap::new();
    let mut others = Vec::new();
    for tag in tags {
        match cosign_subject(&tag) {
            Some(subject) => attached.entry(subject).or_default().push(tag),
            None => others.push(tag),
        }
    }
    (attached, others)
}

fn is_manifest(descriptor: &Descriptor) -> bool {
    let media_type = descriptor.media_type.as_str();
    media_type.is_empty() || media_type::is_index(media_type) || media_type::is_image_manifest(media_type)
}
