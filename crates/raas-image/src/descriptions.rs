//! The two descriptions that docker writes of the images in one archive: `index.json` with manifests, and
//! `manifest.json` with configs and layers.
//!
//! The complete description is used. If both are complete, the one that contains the other is used. If neither does,
//! nothing but the user's choice tells which is meant.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::{Digest, Manifest, ManifestBody, Tag, media_type};

use crate::config_facts::ConfigFacts;
use crate::docker_save::Saved;
use crate::error::legible;
use crate::kind::SourceKind;
use crate::oci::Layout;
use crate::source_name::familiar;
use crate::tree::Tree;
use crate::{ImageError, Limits, Rule, Store, StoredManifest, Wanted};

/// The format of a source.
pub(crate) struct Recognised {
    pub(crate) kind: SourceKind,
    /// What the user should know about the decision.
    pub(crate) note: Option<String>,
    /// How two descriptions of the images contradict each other. Only what the user asks for can tell which is meant.
    pub(crate) contradiction: Option<Contradiction>,
}

impl From<SourceKind> for Recognised {
    fn from(kind: SourceKind) -> Self {
        Self { kind, note: None, contradiction: None }
    }
}

/// Compares the descriptions.
pub(crate) fn compare(tree: &Tree, limits: &Limits) -> Result<Recognised, ImageError> {
    let layout = described(Layout::open(tree, limits).and_then(|layout| Indexed::of(&layout, limits)))?;
    let saved = described(Saved::open(tree, limits))?;
    let (indexed, saved) = match (layout, saved) {
        (Ok(indexed), Ok(saved)) => (indexed, saved),
        (Err(fault), Ok(saved)) if saved.is_whole()? => return Ok(use_list(&incomplete(&fault))),
        // The fault is reported when the description is read.
        (Err(_), _) => return Ok(SourceKind::Oci.into()),
        (Ok(Indexed { fault: Some(_), .. }), Err(_)) => return Ok(SourceKind::Oci.into()),
        (Ok(_), Err(fault)) => return Ok(use_index(&fault)),
    };
    match (&indexed.fault, saved.is_whole()?) {
        (None, true) => Comparison::of(indexed, &saved)?.decide(),
        (Some(fault), true) => {
            let lost = Comparison::of(indexed.clone(), &saved)?.names_of_index_alone();
            Ok(use_list(&(incomplete(fault) + &not_published(&lost))))
        }
        (None, false) => {
            let lost = Comparison::of(indexed, &saved)?.names_of_list_alone();
            let fault = "it has no image, or files of its images are missing";
            Ok(use_index(&(fault.to_owned() + &not_published(&lost))))
        }
        (Some(_), false) => Ok(SourceKind::Oci.into()),
    }
}

fn incomplete(fault: &str) -> String {
    format!("index.json is incomplete: {fault}")
}

fn not_published(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; not published: {}", some_of(names)),
    }
}

fn use_list(why: &str) -> Recognised {
    let note = legible(&format!("the images are read from manifest.json; {why}"), 1000);
    Recognised { kind: SourceKind::DockerSave, note: Some(note), contradiction: None }
}

fn use_index(why: &str) -> Recognised {
    let note = legible(&format!("the images are read from index.json, not from manifest.json: {why}"), 1000);
    Recognised { kind: SourceKind::Oci, note: Some(note), contradiction: None }
}

/// A description, or its fault. Only the failure to read the source is an error.
fn described<T>(outcome: Result<T, ImageError>) -> Result<Result<T, String>, ImageError> {
    match outcome {
        Ok(description) => Ok(Ok(description)),
        Err(error @ (ImageError::Read { .. } | ImageError::Write { .. })) => Err(error),
        Err(error @ ImageError::Refused { rule: Rule::TooLarge { .. } | Rule::Duplicate, .. }) => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// The first entries of a list, for messages.
fn some_of(list: &[String]) -> String {
    const MOST: usize = 5;
    let mut shown = list.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if list.len() > MOST {
        shown.push_str(&format!(" and {} more", list.len() - MOST));
    }
    shown
}

/// A tag with the repository that a description gives it in, if it gives one.
#[derive(Debug, Clone)]
struct Name {
    repository: Option<String>,
    tag: Tag,
    /// The manifest in `index.json`, the config in `manifest.json`.
    digest: Digest,
}

impl Name {
    fn of((repository, tag, digest): (Option<&str>, &Tag, Digest)) -> Self {
        Self { repository: repository.map(str::to_owned), tag: tag.clone(), digest }
    }

    /// Whether both can be the same name. A builder may write the tag alone into `index.json`.
    fn is_like(&self, other: &Name) -> bool {
        let is_unknown = self.repository.is_none() || other.repository.is_none();
        self.tag == other.tag && (is_unknown || self.repository == other.repository)
    }

    fn is_wanted(&self, tag: &Tag, repository: Option<&str>) -> bool {
        let own = self.repository.as_deref();
        self.tag == *tag
            && repository.is_none_or(|wanted| own.is_none_or(|own| familiar(own) == familiar(wanted)))
    }

    /// The name as docker shows it.
    fn shown(&self) -> String {
        match &self.repository {
            Some(repository) => format!("`{repository}:{}`", self.tag),
            None => format!("`{}`", self.tag),
        }
    }

    fn shown_with_digest(&self) -> String {
        format!("{} ({})", self.shown(), self.digest)
    }
}

/// Both descriptions, and what is in one of them alone.
struct Comparison {
    indexed: Indexed,
    listed: BTreeSet<Digest>,
    names: Vec<Name>,
    /// Names of different images: the name in `index.json`, and that in `manifest.json`.
    disputed: Vec<(Name, Name)>,
    of_index_alone: Vec<Name>,
    of_list_alone: Vec<Name>,
}

impl Comparison {
    fn of(indexed: Indexed, saved: &Saved<'_>) -> Result<Self, ImageError> {
        let names: Vec<Name> = saved.names().map(Name::of).collect();
        let mut steps = Steps(0);
        let mut by_tag: BTreeMap<&Tag, Vec<(&Name, bool)>> = BTreeMap::new();
        for name in &indexed.names {
            by_tag.entry(&name.tag).or_default().push((name, false));
        }
        let (mut disputed, mut of_list_alone) = (Vec::new(), Vec::new());
        for name in &names {
            let (mut like, mut is_same) = (None, false);
            for (other, is_in_list) in by_tag.get_mut(&name.tag).into_iter().flatten() {
                steps.take(1)?;
                if other.is_like(name) {
                    *is_in_list = true;
                    like.get_or_insert(*other);
                    is_same = is_same || indexed.has(&other.digest, &name.digest, &mut steps)?;
                }
            }
            match like {
                None => of_list_alone.push(name.clone()),
                Some(like) if !is_same => disputed.push((like.clone(), name.clone())),
                Some(_) => {}
            }
        }
        let alone = by_tag.into_values().flatten().filter(|(_, is_in_list)| !is_in_list);
        let of_index_alone = alone.map(|(name, _)| name.clone()).collect();
        Ok(Self { listed: saved.configs(), names, disputed, of_index_alone, of_list_alone, indexed })
    }

    fn decide(self) -> Result<Recognised, ImageError> {
        let Indexed { configs, has_index, has_plain_layers, .. } = &self.indexed;
        let index_has_list = self.listed.is_subset(configs) && self.of_list_alone.is_empty();
        // `manifest.json` cannot describe an index.
        let list_has_index = configs.is_subset(&self.listed) && self.of_index_alone.is_empty() && !has_index;
        if !self.disputed.is_empty() || !(index_has_list || list_has_index) {
            return Ok(Recognised {
                contradiction: Some(self.contradiction()?),
                ..Recognised::from(SourceKind::Oci)
            });
        }
        Ok(match (index_has_list, list_has_index) {
            // Manifests are published as they are, unless all layers are plain tars: these are better packed, which
            // makes new manifests.
            (true, true) if *has_plain_layers => SourceKind::DockerSave.into(),
            (true, true) => SourceKind::Oci.into(),
            (true, false) if self.of_index_alone.is_empty() => SourceKind::Oci.into(),
            (true, false) => {
                use_index(&format!("manifest.json lacks {}", some_of(&self.names_of_index_alone())))
            }
            (false, _) => {
                let lacks = some_of(&self.alone_in_list());
                use_list(&incomplete(&format!("it lacks images of manifest.json, {lacks}")))
            }
        })
    }

    fn names_of_index_alone(&self) -> Vec<String> {
        self.of_index_alone.iter().map(Name::shown).collect()
    }

    fn names_of_list_alone(&self) -> Vec<String> {
        self.of_list_alone.iter().map(Name::shown).collect()
    }

    /// The images that `manifest.json` alone has, by their names, or by their digests if these are not new names of
    /// images that both have.
    fn alone_in_list(&self) -> Vec<String> {
        let named: BTreeSet<Digest> = self.names.iter().map(|name| name.digest).collect();
        let nameless = self.listed.difference(&self.indexed.configs).filter(|config| !named.contains(config));
        let names = self.of_list_alone.iter().map(Name::shown_with_digest);
        names.chain(nameless.map(ToString::to_string)).collect()
    }

    /// The images that `index.json` alone has.
    fn alone_in_index(&self) -> Result<Vec<String>, ImageError> {
        let named: BTreeSet<Digest> = self.indexed.names.iter().map(|name| name.digest).collect();
        let mut alone: Vec<String> = self.of_index_alone.iter().map(Name::shown_with_digest).collect();
        let mut steps = Steps(0);
        for root in self.indexed.roots.iter().filter(|root| !named.contains(root)) {
            let configs = self.indexed.configs_of(root, &mut steps)?;
            if !configs.is_empty() && !configs.is_subset(&self.listed) {
                alone.push(root.to_string());
            }
        }
        Ok(alone)
    }

    fn contradiction(self) -> Result<Contradiction, ImageError> {
        let disputed: Vec<String> = self
            .disputed
            .iter()
            .map(|(indexed, listed)| {
                format!(
                    "{} is {} in index.json and {} in manifest.json",
                    listed.shown(),
                    indexed.digest,
                    listed.digest
                )
            })
            .collect();
        let mut differences: Vec<String> = Vec::new();
        if !disputed.is_empty() {
            differences.push(some_of(&disputed));
        }
        for (file, alone) in [("index.json", self.alone_in_index()?), ("manifest.json", self.alone_in_list())]
        {
            if !alone.is_empty() {
                differences.push(format!("{file} alone has {}", some_of(&alone)));
            }
        }
        if self.indexed.has_index {
            differences.push("index.json has an index of images, which manifest.json cannot describe".into());
        }
        Ok(Contradiction {
            differences: differences.join("; "),
            roots: self.indexed.roots,
            names_of_index: self.indexed.names,
            listed: self.listed,
            names_of_list: self.names,
            disputed: self.disputed,
        })
    }
}

/// Two complete descriptions that contradict each other.
#[derive(Debug)]
pub(crate) struct Contradiction {
    /// What differs, for messages.
    differences: String,
    roots: BTreeSet<Digest>,
    names_of_index: Vec<Name>,
    listed: BTreeSet<Digest>,
    names_of_list: Vec<Name>,
    disputed: Vec<(Name, Name)>,
}

impl Contradiction {
    /// The description with the one image that is asked for, and a note that tells it.
    ///
    /// # Errors
    /// The request does not tell which description is meant.
    pub(crate) fn settle(
        &self,
        what: &str,
        wanted: &Wanted,
    ) -> Result<(SourceKind, Option<String>), ImageError> {
        let differences = &self.differences;
        let (in_index, in_list) = match (wanted.digest, &wanted.tag) {
            (Some(digest), _) => (self.roots.contains(&digest), self.listed.contains(&digest)),
            (None, Some(tag)) => {
                let repository = wanted.repository.as_deref();
                let is_wanted = |name: &Name| name.is_wanted(tag, repository);
                if self.disputed.iter().any(|(one, other)| is_wanted(one) || is_wanted(other)) {
                    (false, false)
                } else {
                    (self.names_of_index.iter().any(is_wanted), self.names_of_list.iter().any(is_wanted))
                }
            }
            (None, None) => (false, false),
        };
        let (kind, file) = match (in_index, in_list) {
            (true, _) => (SourceKind::Oci, "index.json"),
            (false, true) => (SourceKind::DockerSave, "manifest.json"),
            (false, false) => {
                // A tag that only one description has chooses too.
                let or_tag = if self.disputed.is_empty() { "IMAGE:TAG or " } else { "" };
                let absent =
                    wanted.digest.map(|digest| format!(" has no image with the digest {digest}, and"));
                return Err(ImageError::choice(format!(
                    "{what}{} describes its images twice, in index.json and in manifest.json, and neither description \
                     contains the other: {differences}; publishing one of them would lose images of the other; \
                     choose an image with {or_tag}--digest sha256:…",
                    absent.unwrap_or_default()
                )));
            }
        };
        let note = format!(
            "the image is read from {file}, which has what was asked for; the two descriptions differ: {differences}"
        );
        Ok((kind, Some(legible(&note, 1000))))
    }
}

/// Counts comparisons. A hostile archive may list one long index under many names.
struct Steps(usize);

impl Steps {
    const MOST: usize = 1 << 22;

    fn take(&mut self, steps: usize) -> Result<(), ImageError> {
        self.0 += steps;
        if self.0 > Self::MOST {
            let message = "its names and indexes are too many to be compared with manifest.json";
            return Err(ImageError::content("index.json", message));
        }
        Ok(())
    }
}

/// What the manifests of a layout say, as far as the layout has them.
#[derive(Debug, Default, Clone)]
struct Indexed {
    has_index: bool,
    has_plain_layers: bool,
    roots: BTreeSet<Digest>,
    names: Vec<Name>,
    /// The configs of all images.
    configs: BTreeSet<Digest>,
    /// The config of each image manifest.
    images: BTreeMap<Digest, Digest>,
    /// The manifests that each index lists.
    indexes: BTreeMap<Digest, Vec<Digest>>,
    /// Why the layout is no complete description.
    fault: Option<String>,
}

impl Indexed {
    /// Whether a manifest is, or lists, the image with a config.
    fn has(&self, root: &Digest, config: &Digest, steps: &mut Steps) -> Result<bool, ImageError> {
        Ok(self.configs_of(root, steps)?.contains(config))
    }

    fn configs_of(&self, root: &Digest, steps: &mut Steps) -> Result<BTreeSet<Digest>, ImageError> {
        let (mut configs, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut queue = vec![*root];
        while let Some(digest) = queue.pop() {
            if !seen.insert(digest) {
                continue;
            }
            configs.extend(self.images.get(&digest));
            let children = self.indexes.get(&digest).map(Vec::as_slice).unwrap_or_default();
            steps.take(1 + children.len())?;
            queue.extend(children);
        }
        Ok(configs)
    }

    fn of(layout: &Layout<'_>, limits: &Limits) -> Result<Self, ImageError> {
        let mut indexed = Indexed { names: layout.names().map(Name::of).collect(), ..Indexed::default() };
        indexed.roots = layout.roots().map(|root| root.digest).collect();
        let named: BTreeSet<Digest> = indexed.names.iter().map(|name| name.digest).collect();
        let mut queue: Vec<(Digest, Option<String>)> =
            layout.roots().map(|root| (root.digest, root.media_type.clone())).collect();
        if queue.is_empty() {
            indexed.fault = Some("it lists no manifest".to_owned());
        }
        let mut seen = BTreeSet::new();
        let (mut read, mut read_of_configs) = (0, 0);
        while let Some((digest, media_type)) = queue.pop() {
            // An index may list a manifest many times, and a hostile one may list indexes many levels deep.
            if !seen.insert(digest) {
                continue;
            }
            let is_root = indexed.roots.contains(&digest);
            let Some(StoredManifest { bytes, .. }) = layout.manifest(&digest)? else {
                // docker saves an index with the platforms that it has, so only a root must be there. Beside named roots,
                // a missing nameless one is skipped when the layout is read.
                if is_root && (named.is_empty() || named.contains(&digest)) {
                    indexed.fault = Some(format!("its manifest {digest} is not in the archive"));
                }
                continue;
            };
            read += bytes.len() as u64;
            if read > limits.manifests {
                let rule = Rule::TooLarge { size: read, limit: limits.manifests };
                return Err(ImageError::refused(layout.name(&digest), rule));
            }
            let Ok(manifest) = Manifest::parse(&bytes, media_type.as_deref()) else {
                continue;
            };
            match manifest.body {
                ManifestBody::Index { manifests } => {
                    indexed.has_index = true;
                    indexed.indexes.insert(digest, manifests.iter().map(|child| child.digest).collect());
                    queue.extend(manifests.into_iter().map(|child| (child.digest, Some(child.media_type))));
                }
                ManifestBody::Image { config, layers } => {
                    let plain = Some(media_type::LayerPacking::Plain);
                    indexed.has_plain_layers |=
                        layers.iter().any(|layer| media_type::layer_packing(&layer.media_type) == plain);
                    indexed.configs.insert(config.digest);
                    indexed.images.insert(digest, config.digest);
                    if !is_root || config.data.is_some() {
                        continue;
                    }
                    let Some(content) = layout.blob(&config.digest)? else {
                        indexed.fault =
                            Some(format!("the config of its image {digest} is not in the archive"));
                        continue;
                    };
                    read_of_configs += content.size();
                    if read_of_configs > limits.configs {
                        let rule = Rule::TooLarge { size: read_of_configs, limit: limits.configs };
                        return Err(ImageError::refused(content.name(), rule));
                    }
                    let config = content.read_all(limits.json)?;
                    let diff_ids = serde_json::from_slice::<ConfigFacts>(&config)
                        .map_or(0, |config| config.rootfs.diff_ids.len());
                    if layers.is_empty() && diff_ids > 0 {
                        indexed.fault =
                            Some(format!("its image {digest} has no layers, and its config has {diff_ids}"));
                    }
                    for layer in layers.iter().filter(|layer| layer.urls.is_empty() && layer.data.is_none()) {
                        if layout.blob(&layer.digest)?.is_none() {
                            indexed.fault = Some(format!(
                                "the layer {} of its image {digest} is not in the archive",
                                layer.digest
                            ));
                        }
                    }
                }
            }
        }
        Ok(indexed)
    }
}
