//! Folders that `skopeo copy … dir:` writes: one image or index, each blob in a file named by its digest. Source:
//! containers/image, `docs/containers-transports.5.md` and the package `directory`.

use raas_types::{Digest, Manifest};

use crate::assemble::assemble;
use crate::platforms::Incomplete;
use crate::roots::{self, Root};
use crate::select::{Catalogue, ListedImage, Selection, Unnamed};
use crate::tree::Tree;
use crate::{Content, ImageError, Limits, ManifestSet, Store, StoredManifest};

const MANIFEST: &str = "manifest.json";

/// The first words of the file `version`.
const MARK: &[u8] = b"Directory Transport Version: ";

/// Such a folder, or a tar of it.
pub(crate) struct Directory<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    root: Root,
}

/// Whether the source has the mark of such a folder.
pub(crate) fn is_directory(tree: &Tree, limits: &Limits) -> Result<bool, ImageError> {
    match tree.file("version", limits)? {
        Some(version) if version.size() <= 100 => Ok(version.read_all(100)?.starts_with(MARK)),
        _ => Ok(false),
    }
}

impl<'a> Directory<'a> {
    pub(crate) fn open(tree: &'a Tree, limits: &'a Limits) -> Result<Self, ImageError> {
        let manifest = tree.need(MANIFEST, "a `dir:` folder of skopeo has it", limits)?;
        let digest = Digest::of(&manifest.read_all(Manifest::MAX_SIZE)?);
        let root = Root::by_digest(digest);
        Ok(Self { tree, limits, root })
    }

    pub(crate) fn read(
        &self,
        selection: &Selection,
        earlier: Option<&dyn Store>,
    ) -> Result<ManifestSet, ImageError> {
        let chosen = vec![self.root.clone()];
        assemble(self, selection, chosen, &[], Incomplete::Refuse, earlier, self.limits)
    }
}

impl Directory<'_> {
    /// The name of the file of an atomic signature; `number` counts from 1. Source: containers/image, the package
    /// `directory`, `signaturePath`.
    pub(crate) fn signature_name(&self, of: &Digest, number: usize) -> String {
        match *of == self.root.digest {
            true => format!("signature-{number}"),
            false => format!("{}-signature-{number}", of.hex()),
        }
    }
}

impl Store for Directory<'_> {
    fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError> {
        let Some(content) = self.tree.file(&self.name(digest), self.limits)? else {
            return Ok(None);
        };
        Ok(Some(StoredManifest { bytes: content.read_all(Manifest::MAX_SIZE)?, media_type: None }))
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Content>, ImageError> {
        self.tree.file(&digest.hex(), self.limits)
    }

    fn name(&self, digest: &Digest) -> String {
        if *digest == self.root.digest {
            MANIFEST.to_owned()
        } else {
            format!("{}.manifest.json", digest.hex())
        }
    }
}

impl Catalogue for Directory<'_> {
    fn repositories(&self) -> Result<Vec<Option<String>>, ImageError> {
        Ok(vec![None])
    }

    fn images(&self, _: Option<&str>) -> Result<Vec<ListedImage>, ImageError> {
        let roots = std::slice::from_ref(&self.root);
        roots::list(self, roots, roots, self.limits)
    }

    fn unnamed(&self) -> Unnamed {
        Unnamed::Latest
    }

    fn has_manifests(&self) -> bool {
        true
    }
}
