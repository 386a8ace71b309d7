//! Gathering what the operator serves from where the configuration says it is.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raas_types::crane::{Document, tree};
use raas_types::{Digest, ImageId, Manifest};

use super::base_images::{self, BaseLayer};
use super::settings::{DocumentsAddress, FederationSettings};
use super::{completion, web};
use crate::http;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::scratch::Scratch;
use raas_base::{files, redact};
use raas_git::Remote;
use raas_git::Repository;

/// Where sources are read with what is not kept.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// A folder for private clones, which need not exist yet.
    pub private: PathBuf,
    /// A folder for archives that are unpacked on the way, which need not exist yet.
    pub spool: PathBuf,
    /// How long one git command may wait for the network.
    pub git_timeout: Duration,
}

/// What the operator serves itself.
#[derive(Debug, Default)]
pub struct Sources {
    /// Whether the configuration names a place of documents at all.
    pub configured: bool,
    /// The operator's documents.
    pub documents: Vec<OperatorDocument>,
    /// The layers of `mask_images`.
    pub base_layers: Vec<BaseLayer>,
    /// What people should be told.
    pub notes: Vec<String>,
    /// Manifests that lay nearby documents.
    nearby: BTreeMap<Digest, Vec<u8>>,
}

/// A document of the operator's.
#[derive(Debug, Clone)]
pub struct OperatorDocument {
    /// Where it was found.
    pub origin: String,
    /// The document.
    pub document: Document,
    /// Its manifests.
    pub manifests: BTreeMap<Digest, Vec<u8>>,
}

impl OperatorDocument {
    /// A document without manifests, and where it was found.
    pub fn new(origin: &str, document: Document) -> Self {
        Self { origin: origin.to_owned(), document, manifests: BTreeMap::new() }
    }
}

impl Sources {
    /// Reads everything.
    pub fn gather(settings: &FederationSettings, workspace: &Workspace) -> Result<Self, Failure> {
        let configured = settings.metadata.is_some() || settings.metadata_repo.is_some();
        let mut sources = Self { configured, ..Self::default() };
        let agent = http::tolerant_agent();
        match &settings.metadata {
            Some(DocumentsAddress::Path(path)) => sources.read_path(path)?,
            Some(DocumentsAddress::Url(url)) => {
                for (url, bytes) in web::documents(&agent, url)? {
                    sources.add(&url, &bytes)?;
                }
            }
            None => {}
        }
        if let Some(address) = &settings.metadata_repo {
            let remote = Remote { address: address.clone(), timeout: workspace.git_timeout };
            sources.read_repository(&remote, settings.metadata_relpath.as_deref(), &workspace.private)?;
        }
        let nearby = std::mem::take(&mut sources.nearby);
        for document in &mut sources.documents {
            completion::complete(document, &nearby, &agent, &mut sources.notes)?;
        }
        sources.base_layers = base_images::layers(settings, workspace, &mut sources.notes)?;
        Ok(sources)
    }

    fn read_path(&mut self, path: &Path) -> Result<(), Failure> {
        let cannot = || format!("cannot read the operator's metadata in {}", path.display());
        if !fs::metadata(path).context(cannot)?.is_dir() {
            return self.read_file(path);
        }
        let mut names = Vec::new();
        files::walk(path, "", &mut |name, _| names.push(name.to_owned())).context(cannot)?;
        // In order, so that which of two documents is believed does not depend on the disk.
        names.sort();
        for name in names {
            if name.ends_with(".json") {
                self.read_file(&path.join(&name))?;
            } else if is_manifest(&name) {
                let bytes = read_bounded(&path.join(&name), Manifest::MAX_SIZE)?;
                self.nearby.insert(Digest::of(&bytes), bytes);
            }
        }
        Ok(())
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Failure> {
        let bytes = read_bounded(path, Document::MAX_SIZE)?;
        self.add(&path.display().to_string(), &bytes)
    }

    fn read_repository(
        &mut self,
        remote: &Remote,
        folder: Option<&str>,
        parent: &Path,
    ) -> Result<(), Failure> {
        let scratch = Scratch::new(parent)
            .context(|| format!("cannot make a private folder in {}", parent.display()))?;
        let clone = scratch.folder().join("clone");
        remote.clone_into(&clone, None)?;
        let shown = redact::text(&remote.address);
        let record = Repository::at_head(clone.join(".git"));
        let listed = match record.head()? {
            Some(head) => record.files(&head, folder.unwrap_or_default())?,
            None => Vec::new(),
        };
        if listed.is_empty() {
            let folder = folder.unwrap_or("it");
            return Err(Failure::new(Kind::Usage, format!("{shown} has nothing in {folder}"))
                .hint("check `metadata_repo` and `metadata_relpath` in [redhat]"));
        }
        let wanted = |path: &str| path.ends_with(".json") || is_manifest(path);
        let listed: Vec<_> = listed.into_iter().filter(|file| wanted(&file.path)).collect();
        record.read_each(&listed, |file, bytes| {
            if file.path.ends_with(".json") {
                return self.add(&format!("{} of {shown}", file.path), &bytes);
            }
            self.nearby.insert(Digest::of(&bytes), bytes);
            Ok(())
        })
    }

    fn add(&mut self, origin: &str, bytes: &[u8]) -> Result<(), Failure> {
        if serde_json::from_slice::<Vec<String>>(bytes).is_ok() {
            // An index for those who read the folder over the web.
            return Ok(());
        }
        // A layer whose document is misread would be stored where it must not be.
        let document = Document::parse(bytes).map_err(|error| {
            Failure::new(Kind::Usage, format!("{origin} does not say which layers are masked"))
                .caused_by(error)
                .hint("`raas lint` tells all that is wrong with it")
        })?;
        self.documents.push(OperatorDocument::new(origin, document));
        Ok(())
    }
}

/// A file's bytes, if they are not too many: a path may lead to anything.
fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).context(cannot)?.take(most + 1).read_to_end(&mut bytes).context(cannot)?;
    if bytes.len() as u64 > most {
        let message = format!("{} has more than {most} bytes", path.display());
        return Err(
            Failure::new(Kind::Usage, message).hint("check `metadata` in [redhat]: is it a document?")
        );
    }
    Ok(bytes)
}

/// Whether a path is that of a manifest nearby a document, as in the metadata tree of raas.
fn is_manifest(path: &str) -> bool {
    let name: raas_types::RepositoryName = "x".parse().expect("a name");
    let sample = tree::manifests(&name);
    // `_manifests/sha256/`, whatever stands before it.
    let folder = sample.strip_prefix(&format!("{}/x/", tree::DATA)).unwrap_or(&sample);
    let name = path.rsplit_once(folder).map(|(_, name)| name);
    name.is_some_and(|name| name.parse::<ImageId>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let failure = read_bounded(Path::new("/dev/zero"), 1000).unwrap_err().to_string();
        assert!(failure.contains("more than 1000 bytes"), "{failure}");
        assert_eq!(read_bounded(Path::new("/dev/null"), 0).unwrap(), b"");
    }

    #[test]
    fn manifests_are_told_by_their_place() {
        let hex = "a".repeat(64);
        assert!(is_manifest(&format!("crane/data/a/b/_manifests/sha256/{hex}")));
        assert!(!is_manifest(&format!("crane/data/a/{hex}")));
        assert!(!is_manifest("a/_manifests/sha256/x"));
    }
}
