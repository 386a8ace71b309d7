//! What a bundle holds: the chosen images with everything that they lead to, and what is attached to any of it.

use std::collections::{BTreeMap, BTreeSet};

use raas_base::failure::{Failure, Kind};
use raas_git::Reader;
use raas_image::{LayoutName, NamedManifest, cosign_subject};
use raas_publish::published::{self, Repositories, Repository};
use raas_types::crane::{V2Extension, tree};
use raas_types::{
    AtomicSignature, Digest, Manifest, ManifestBody, Reference, RepositoryName, Tag, media_type,
};

use super::argument::ImageToExport;
use crate::published_blob::PublishedBlob;

/// The content of a bundle.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The manifests that the layout lists at its top.
    pub(crate) named: Vec<NamedManifest>,
    pub(crate) manifests: BTreeMap<Digest, PublishedManifest>,
    pub(crate) blobs: BTreeMap<Digest, PublishedBlob>,
    /// The atomic signatures of manifests.
    pub(crate) signatures: BTreeMap<Digest, Vec<Vec<u8>>>,
    /// The blobs that are configs. They are in every bundle, since a registry shows what they say.
    configs: BTreeSet<Digest>,
    /// The repositories, each with whether it is protected.
    pub(crate) repositories: BTreeMap<RepositoryName, bool>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
    /// The blobs that are left out.
    pub(crate) left_out: Vec<PublishedBlob>,
}

/// A manifest of the record.
#[derive(Debug, Clone)]
pub(crate) struct PublishedManifest {
    repository: RepositoryName,
    /// Its length in bytes.
    pub(crate) size: u64,
}

impl PublishedManifest {
    /// Its bytes.
    ///
    /// # Errors
    /// git fails, or the record lacks the manifest.
    pub(crate) fn bytes(&self, reader: &Reader<'_>, digest: &Digest) -> Result<Vec<u8>, Failure> {
        reader.read(&tree::manifest(&self.repository, digest))?.ok_or_else(|| {
            let message = format!("the record lacks the manifest {digest} of {}", self.repository);
            Failure::new(Kind::Environment, message).hint("run `raas status ISV`")
        })
    }
}

impl Contents {
    /// Gathers the content of some images of a publication.
    ///
    /// # Errors
    /// An image is not published, has no manifests, or breaks a rule of manifests.
    pub(crate) fn gather(reader: &Reader<'_>, images: &[ImageToExport]) -> Result<Self, Failure> {
        let repositories = published::repositories(reader)?;
        let mut contents = Self::default();
        for (name, wanted) in by_repository(images) {
            let repository = find(&repositories, name)?;
            let v2 = v2_of(name, repository)?;
            contents.note_what_a_layout_lacks(name, repository);
            contents.repositories.insert(name.clone(), repository.protected);
            RepositoryContents::read(reader, name, v2)?.add_to(&mut contents, wanted.as_ref())?;
        }
        Ok(contents)
    }

    /// Leaves out the layers that these repositories had in an earlier publication.
    ///
    /// # Errors
    /// git fails.
    pub(crate) fn leave_out(&mut self, earlier: &Reader<'_>) -> Result<(), Failure> {
        let before = published::repositories(earlier)?;
        let before = before.iter().filter(|(name, _)| self.repositories.contains_key(*name));
        let had: BTreeSet<Digest> = before
            .filter_map(|(_, repository)| repository.v2.as_ref())
            .flat_map(|v2| v2.blobs.keys().copied())
            .collect();
        let is_left_out = |digest: &Digest| had.contains(digest) && !self.configs.contains(digest);
        let (left_out, kept) =
            std::mem::take(&mut self.blobs).into_iter().partition(|(digest, _)| is_left_out(digest));
        let left_out: BTreeMap<Digest, PublishedBlob> = left_out;
        self.blobs = kept;
        self.left_out.extend(left_out.into_values());
        Ok(())
    }

    fn note_what_a_layout_lacks(&mut self, name: &RepositoryName, repository: &Repository) {
        if repository.v1.is_some() {
            self.notes.push(format!(
                "{name} has Docker v1 content too, which an OCI image layout cannot hold; the manifests that raas made of \
                 it are in the bundle"
            ));
        }
        if repository.protected {
            self.notes.push(format!("{name} is protected; everybody who has the bundle can read it"));
        }
    }
}

/// The wanted references of each repository; `None` wants all of it.
fn by_repository(images: &[ImageToExport]) -> BTreeMap<&RepositoryName, Option<BTreeSet<&Reference>>> {
    let mut wanted: BTreeMap<&RepositoryName, Option<BTreeSet<&Reference>>> = BTreeMap::new();
    for ImageToExport { name, reference } in images {
        let entry = wanted.entry(name).or_insert_with(|| Some(BTreeSet::new()));
        match (reference, entry.as_mut()) {
            (Some(reference), Some(references)) => drop(references.insert(reference)),
            (Some(_), None) => {}
            (None, _) => *entry = None,
        }
    }
    wanted
}

fn find<'a>(repositories: &'a Repositories, name: &RepositoryName) -> Result<&'a Repository, Failure> {
    repositories.get(name).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("{name} is not published"))
            .hint("run `raas list ISV` to see what is published")
    })
}

/// The content of a repository for today's clients.
fn v2_of<'a>(name: &RepositoryName, repository: &'a Repository) -> Result<&'a V2Extension, Failure> {
    let refused = |why: &str, hint: &str| {
        Err(Failure::new(Kind::Refused, format!("{name} cannot be exported: {why}")).hint(hint))
    };
    match &repository.v2 {
        Some(v2) if !v2.manifests.is_empty() => Ok(v2),
        None => refused(
            "it has only Docker v1 content, which an OCI image layout cannot hold",
            "push the image with `raas push`, which makes manifests of Docker v1 images, and export that",
        ),
        Some(_) => refused(
            "its document lists no manifests; another program wrote it, or it has images of schema 1 only",
            "export it from the registry that holds it, with `skopeo copy --all`",
        ),
    }
}

/// A repository with its manifests.
struct RepositoryContents<'a> {
    reader: &'a Reader<'a>,
    name: &'a RepositoryName,
    v2: &'a V2Extension,
    /// The manifests that can be read.
    manifests: BTreeMap<Digest, Manifest>,
}

impl<'a> RepositoryContents<'a> {
    fn read(reader: &'a Reader<'a>, name: &'a RepositoryName, v2: &'a V2Extension) -> Result<Self, Failure> {
        Ok(Self { reader, name, v2, manifests: published::manifests(reader, name, v2)? })
    }

    /// A manifest that the bundle needs.
    fn need(&self, digest: &Digest) -> Result<&Manifest, Failure> {
        if let Some(manifest) = self.manifests.get(digest) {
            return Ok(manifest);
        }
        let media_type = self.v2.manifests.get(digest).map(|entry| entry.media_type.as_str());
        let why = match self.reader.read(&tree::manifest(self.name, digest))? {
            None => "the record lacks it".to_owned(),
            Some(bytes) => match Manifest::parse(&bytes, media_type) {
                Err(error) => error.to_string(),
                Ok(_) => "the document does not list it".to_owned(),
            },
        };
        Err(Failure::new(Kind::Refused, format!("the manifest {digest} of {} cannot be exported", self.name))
            .caused_by(why)
            .hint("run `raas status ISV`, and push the image again"))
    }

    /// Adds the wanted references with everything that they lead to.
    fn add_to(&self, contents: &mut Contents, wanted: Option<&BTreeSet<&Reference>>) -> Result<(), Failure> {
        let mut taken = BTreeSet::new();
        match wanted {
            Some(references) => {
                for reference in references {
                    self.take(self.digest_of(reference)?, Some((*reference).clone()), &mut taken, contents);
                }
            }
            None => {
                for (tag, digest) in &self.v2.tags {
                    self.take(*digest, Some(Reference::Tag(tag.clone())), &mut taken, contents);
                }
                self.take_untagged(&mut taken, contents);
            }
        }
        self.take_attachments(&mut taken, contents);
        for digest in taken {
            self.take_blobs(&digest, contents)?;
            for signature in self.v2.signatures.get(&digest).into_iter().flatten() {
                let known = contents.signatures.entry(digest).or_default();
                let bytes = signature.bytes();
                if !known.contains(&bytes) && known.len() < AtomicSignature::MAX_COUNT {
                    known.push(bytes);
                }
            }
            let size = self.v2.manifests.get(&digest).map_or(0, |entry| entry.size);
            contents
                .manifests
                .entry(digest)
                .or_insert_with(|| PublishedManifest { repository: self.name.clone(), size });
        }
        Ok(())
    }

    fn digest_of(&self, reference: &Reference) -> Result<Digest, Failure> {
        let name = self.name;
        match reference {
            Reference::Tag(tag) => self.v2.tags.get(tag).copied().ok_or_else(|| {
                Failure::new(Kind::Usage, format!("{name} has no tag {tag}"))
                    .hint(format!("run `raas list ISV {name}` to see its tags"))
            }),
            Reference::Digest(digest) if self.v2.manifests.contains_key(digest) => Ok(*digest),
            Reference::Digest(digest) => {
                Err(Failure::new(Kind::Usage, format!("{name} has no manifest {digest}"))
                    .hint(format!("run `raas list ISV {name}` to see its tags and digests")))
            }
        }
    }

    /// Takes a manifest and all that it lists, and lists it at the top of the layout.
    fn take(
        &self,
        digest: Digest,
        reference: Option<Reference>,
        taken: &mut BTreeSet<Digest>,
        contents: &mut Contents,
    ) {
        taken.extend(self.reachable(&digest));
        let Some(entry) = self.v2.manifests.get(&digest) else { return };
        let is_image = media_type::is_image_manifest(&entry.media_type);
        let name = reference.map(|reference| LayoutName { repository: self.name.clone(), reference });
        contents.named.push(NamedManifest {
            digest,
            media_type: entry.media_type.clone(),
            size: entry.size,
            platform: entry.platform.clone().filter(|_| is_image),
            name,
        });
    }

    /// The manifest and the manifests that it leads to, as far as the repository has them.
    fn reachable(&self, digest: &Digest) -> BTreeSet<Digest> {
        let mut found = published::reachable(&self.manifests, digest);
        found.retain(|digest| self.v2.manifests.contains_key(digest));
        found
    }

    /// Takes the manifests that nothing names: clients pull them by their digests.
    fn take_untagged(&self, taken: &mut BTreeSet<Digest>, contents: &mut Contents) {
        let listed: BTreeSet<Digest> = self
            .manifests
            .values()
            .flat_map(|manifest| manifest.children().iter().map(|child| child.digest))
            .collect();
        for (digest, manifest) in &self.manifests {
            if !taken.contains(digest) && !listed.contains(digest) && manifest.subject.is_none() {
                self.take(*digest, Some(Reference::Digest(*digest)), taken, contents);
            }
        }
    }

    /// Takes what is attached to the taken manifests: manifests with a subject, and cosign's tags. An attachment may have
    /// attachments of its own.
    fn take_attachments(&self, taken: &mut BTreeSet<Digest>, contents: &mut Contents) {
        let named = |contents: &Contents, tag: &Tag| {
            let reference = Reference::Tag(tag.clone());
            let name = LayoutName { repository: self.name.clone(), reference };
            contents.named.iter().any(|manifest| manifest.name.as_ref() == Some(&name))
        };
        loop {
            let before = (taken.len(), contents.named.len());
            for (digest, manifest) in &self.manifests {
                let subject = manifest.subject.as_ref().map(|subject| subject.digest);
                if subject.is_some_and(|subject| taken.contains(&subject)) && !taken.contains(digest) {
                    self.take(*digest, None, taken, contents);
                }
            }
            for (tag, digest) in &self.v2.tags {
                let is_attached = cosign_subject(tag).is_some_and(|subject| taken.contains(&subject));
                if is_attached && !named(contents, tag) {
                    self.take(*digest, Some(Reference::Tag(tag.clone())), taken, contents);
                }
            }
            if before == (taken.len(), contents.named.len()) {
                return;
            }
        }
    }

    /// Takes the configs and layers of a manifest, and the files that an index lists.
    fn take_blobs(&self, of: &Digest, contents: &mut Contents) -> Result<(), Failure> {
        let manifest = self.need(of)?;
        let config = match &manifest.body {
            ManifestBody::Image { config, .. } => Some(config.digest),
            ManifestBody::Index { .. } => None,
        };
        contents.configs.extend(config);
        for descriptor in manifest.blobs() {
            let digest = descriptor.digest;
            let Some(entry) = self.v2.blobs.get(&digest) else {
                let message = format!("the manifest {of} of {} names the blob {digest}", self.name);
                return Err(Failure::new(Kind::Refused, message)
                    .caused_by("the document of the repository does not list it".to_owned())
                    .hint("push the image again"));
            };
            let blob = PublishedBlob::new(self.name, digest, entry);
            if blob.is_elsewhere() && media_type::is_nondistributable(&descriptor.media_type) {
                contents.notes.push(format!(
                    "the layer {digest} of {} must not be redistributed: clients fetch it from the URL in its manifest",
                    self.name
                ));
                continue;
            }
            contents.add(blob);
        }
        let is_manifest = |digest: &Digest| self.v2.manifests.contains_key(digest);
        for child in manifest.children().iter().filter(|child| !is_manifest(&child.digest)) {
            match self.v2.blobs.get(&child.digest) {
                Some(entry) => contents.add(PublishedBlob::new(self.name, child.digest, entry)),
                None => contents.notes.push(format!(
                    "the index {of} of {} lists {}, which is not published",
                    self.name, child.digest
                )),
            }
        }
        Ok(())
    }
}

impl Contents {
    /// Adds a blob. Of several places the vendor's storage is preferred.
    fn add(&mut self, blob: PublishedBlob) {
        match self.blobs.get_mut(&blob.digest) {
            Some(known) if known.is_elsewhere() && !blob.is_elsewhere() => *known = blob,
            Some(_) => {}
            None => drop(self.blobs.insert(blob.digest, blob)),
        }
    }
}
