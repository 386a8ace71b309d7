//! OCI image layouts, as folder or tar. Source: OCI image-spec 1.1, image-layout.md.

use std::collections::BTreeSet;

use raas_types::{Descriptor, Digest, Manifest, Tag, null_as_default};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::assemble::assemble;
use crate::error::legible;
use crate::platforms::Incomplete;
use crate::roots::{self, Root};
use crate::select::{Catalogue, ListedImage, Role, Selection, Unnamed};
use crate::source_name::SourceName;
use crate::tree::Tree;
use crate::{Content, ImageError, Limits, ManifestSet, Store, StoredManifest, json};

/// The annotation of the image-spec with a manifest's name in a layout.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation of containerd and docker with the whole reference.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
/// The annotation of `index.json` in an incremental bundle: the publication whose layers it leaves out.
pub(crate) const SINCE: &str = "raas.since";

#[derive(Deserialize)]
struct Index {
    #[serde(default, deserialize_with = "null_as_default")]
    manifests: Vec<Entry>,
    /// Of any shape: other programs may write what they like.
    #[serde(default)]
    annotations: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Descriptor(Box<Descriptor>),
    /// An entry that raas cannot read: without a digest, or with one of another algorithm.
    Other(IgnoredAny),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayoutMark {
    image_layout_version: String,
}

/// A layout whose `index.json` has been read.
pub(crate) struct Layout<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    roots: Vec<NamedRoot>,
    /// Entries of `index.json` that raas cannot read, counted from 1.
    unreadable: Vec<usize>,
    /// The publication whose layers the layout leaves out, if it is an incremental bundle.
    since: Option<String>,
}

struct NamedRoot {
    repository: Option<String>,
    root: Root,
    /// Whether its name has a digest in the place of a tag.
    by_digest: bool,
}

impl<'a> Layout<'a> {
    pub(crate) fn open(tree: &'a Tree, limits: &'a Limits) -> Result<Self, ImageError> {
        let mark = tree.need("oci-layout", "an OCI image layout has it", limits)?;
        let LayoutMark { image_layout_version } = json::read(&mark, limits)?;
        if !image_layout_version.starts_with("1.") {
            let message = format!("its imageLayoutVersion is `{image_layout_version}`; raas reads version 1");
            return Err(ImageError::content("oci-layout", message));
        }
        let index: Index =
            json::read(&tree.need("index.json", "an OCI image layout has it", limits)?, limits)?;
        let since = index.annotations.get(SINCE).and_then(Value::as_str).map(|commit| legible(commit, 64));
        let mut layout = Self { tree, limits, roots: Vec::new(), unreadable: Vec::new(), since };
        for (n, entry) in index.manifests.iter().enumerate() {
            match entry {
                Entry::Descriptor(descriptor) => layout.roots.push(NamedRoot::of(descriptor)),
                Entry::Other(_) => layout.unreadable.push(n + 1),
            }
        }
        Ok(layout)
    }

    /// The manifests that `index.json` lists.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Root> {
        self.roots.iter().map(|named| &named.root)
    }

    /// The tags of all roots, each with its repository and its manifest.
    pub(crate) fn names(&self) -> impl Iterator<Item = (Option<&str>, &Tag, Digest)> {
        self.roots.iter().filter_map(|named| {
            Some((named.repository.as_deref(), named.root.tag.as_ref()?, named.root.digest))
        })
    }

    /// The roots of a repository.
    fn of(&self, repository: Option<&str>) -> Vec<Root> {
        let own = self.roots.iter().filter(|named| named.repository.as_deref() == repository);
        own.map(|named| named.root.clone()).collect()
    }

    pub(crate) fn read(
        &self,
        selection: &Selection,
        incomplete: Incomplete,
        earlier: Option<&dyn Store>,
    ) -> Result<ManifestSet, ImageError> {
        let mut chosen = Vec::new();
        let mut others = Vec::new();
        for root in self.of(selection.repository()) {
            match selection.tags_of(&root.digest) {
                Some(_) => chosen.push(root),
                None => others.push(root),
            }
        }
        if selection.repository().is_some() {
            others.extend(self.of(None));
        }
        let mut set = assemble(self, selection, chosen, &others, incomplete, earlier, self.limits)?;
        set.notes.extend(self.unreadable.iter().map(|n| {
            format!("entry {n} of index.json is not published: it has no digest that raas can read")
        }));
        if let Some(since) = &self.since {
            let left_out = set.blobs.values().filter(|blob| blob.content.is_none()).count();
            set.notes.push(format!(
                "the source is an incremental bundle: it leaves out layers that publication {since} had ({left_out} of this \
                 image)"
            ));
        }
        set.since.clone_from(&self.since);
        Ok(set)
    }
}

impl NamedRoot {
    /// Builders write a tag, a whole reference, or nothing.
    fn of(descriptor: &Descriptor) -> Self {
        let mut root = Root::of(descriptor, None);
        let whole = descriptor.annotation(IMAGE_NAME).map(SourceName::parse_reference).unwrap_or_default();
        let text = descriptor.annotation(REF_NAME).filter(|text| !text.is_empty());
        let tag = text.and_then(|text| text.parse::<Tag>().ok());
        let reference = text.filter(|_| tag.is_none()).map(SourceName::parse_reference);
        let reference = reference.unwrap_or_default();
        // A reference without a tag, `stable/amd64`, is a name that the image-spec allows, and no repository. A digest
        // behind it makes it one.
        let is_pinned = text
            .and_then(|text| text.rsplit_once('@'))
            .is_some_and(|(_, digest)| digest.parse::<Digest>().is_ok());
        let (repository, unusable) = match &reference.tag {
            Some(_) => (reference.repository, None),
            None if is_pinned => (reference.repository, None),
            None => (None, text.filter(|_| tag.is_none() && reference.repository.is_some())),
        };
        root.tag = tag.or(reference.tag).or(whole.tag);
        root.unusable = unusable.map(str::to_owned).or(whole.unusable).filter(|_| root.tag.is_none());
        let by_digest = is_pinned && root.tag.is_none();
        NamedRoot { repository: whole.repository.or(repository), root, by_digest }
    }
}

impl Store for Layout<'_> {
    fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError> {
        let Some(content) = self.blob(digest)? else {
            return Ok(None);
        };
        Ok(Some(StoredManifest { bytes: content.read_all(Manifest::MAX_SIZE)?, media_type: None }))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Content>, ImageError> {
        self.tree.file(&self.name(digest), self.limits)
    }

    fn name(&self, digest: &Digest) -> String {
        format!("blobs/sha256/{}", digest.hex())
    }
}

impl Catalogue for Layout<'_> {
    fn repositories(&self) -> Result<Vec<Option<String>>, ImageError> {
        let mut repositories: BTreeSet<Option<String>> =
            self.roots.iter().map(|named| named.repository.clone()).collect();
        // Attachments have no names; without images they are no repository.
        if repositories.len() > 1
            && repositories.contains(&None)
            && self.images(None)?.iter().all(|image| image.role != Role::Image)
        {
            repositories.remove(&None);
        }
        Ok(repositories.into_iter().collect())
    }

    fn images(&self, repository: Option<&str>) -> Result<Vec<ListedImage>, ImageError> {
        let all: Vec<Root> = self.roots().cloned().collect();
        roots::list(self, &self.of(repository), &all, self.limits)
    }

    fn unnamed(&self) -> Unnamed {
        // A name with a digest says that the image has no tag.
        if self.roots.iter().any(|named| named.by_digest) { Unnamed::ByDigest } else { Unnamed::Latest }
    }

    fn has_manifests(&self) -> bool {
        true
    }
}
