//! Reads the operator's documents and base images, as the configuration names them.

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

/// The folders and the time limit for reading sources. Nothing in the folders is kept.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// A folder for private clones, which need not exist yet.
    pub private: PathBuf,
    /// A folder for unpacking archives, which need not exist yet.
    pub spool: PathBuf,
    /// The time limit of one git command.
    pub git_timeout: Duration,
}

/// What the operator serves.
#[derive(Debug, Default)]
pub struct Sources {
    /// Whether the configuration names documents at all.
    pub configured: bool,
    /// The operator's documents.
    pub documents: Vec<OperatorDocument>,
    /// The layers of `mask_images`.
    pub base_layers: Vec<BaseLayer>,
    /// Notes for people.
    pub notes: Vec<String>,
    /// Manifests that lay beside the documents, so that they need not be fetched.
    nearby: BTreeMap<Digest, Vec<u8>>,
}

/// A document of the operator.
#[derive(Debug, Clone)]
pub struct OperatorDocument {
    /// The path or URL of the document, for people.
    pub origin: String,
    /// The document.
    pub document: Document,
    /// The bytes of its manifests.
    pub manifests: BTreeMap<Digest, Vec<u8>>,
}

impl OperatorDocument {
    /// A document without manifests, from this path or URL.
    pub fn new(origin: &str, document: Document) -> Self {
        Self { origin: origin.to_owned(), document, manifests: BTreeMap::new() }
    }
}

impl Sources {
    /// Reads all documents and base images that the settings name.
    ///
    /// # Errors
    /// A source cannot be read, or is not what it should be.
    pub fn gather(settings: &FederationSettings, workspace: &Workspace) -> Result<Self, Failure> {
        let configured = settings.metadata.is_some() || settings.metadata_repo.is_some();
        let mut sources = Self { configured, ..Self::default() };
        let agent = http::agent()?;
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
        let found = fs::metadata(path).map_err(|error| {
            Failure::new(Kind::of_named_file(&error), cannot())
                .caused_by(error)
                .hint("check `metadata` in [redhat]: it is relative to the folder of raas.cfg")
        })?;
        if !found.is_dir() {
            return self.read_file(path);
        }
        let mut names = Vec::new();
        files::walk(path, "", &mut |name, _| names.push(name.to_owned())).context(cannot)?;
        // The first document wins if two say different things: the order must not depend on the disk.
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
        let shown = redact::address(&remote.address);
        let record = Repository::at_head(clone.join(".git"));
        let listed = match record.head()? {
            Some(head) => record.files(&head, folder.unwrap_or_default())?,
            None => Vec::new(),
        };
        if listed.is_empty() {
            let folder = folder.unwrap_or("its root");
            return Err(Failure::new(Kind::Usage, format!("{shown} has no files in {folder}"))
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
            // `index.json`, for readers of the folder over the web.
            return Ok(());
        }
        // A push after a misread document would store a masked layer.
        let document = Document::parse(bytes).map_err(|error| {
            Failure::new(Kind::Usage, format!("{origin} does not say which layers are masked"))
                .caused_by(error)
                .hint("run `raas lint` on the document: it reports all errors")
        })?;
        self.documents.push(OperatorDocument::new(origin, document));
        Ok(())
    }
}

/// The bytes of a file, which must not be more than `most`: a path may lead to an endless device.
fn read_bounded(path: &Path, most: u64) -> Result<Vec<u8>, Failure> {
    let cannot = || format!("cannot read {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).context(cannot)?.take(most + 1).read_to_end(&mut bytes).context(cannot)?;
    if bytes.len() as u64 > most {
        let message = format!("{} has more than {most} bytes", path.display());
        return Err(Failure::new(Kind::Usage, message)
            .hint("check `metadata` in [redhat]: it must name a document or a folder of documents"));
    }
    Ok(bytes)
}

/// Whether a path is that of a manifest in the metadata tree of raas.
fn is_manifest(path: &str) -> bool {
    let name: raas_types::RepositoryName = "x".parse().expect("a name");
    let sample = tree::manifests(&name);
    // `_manifests/sha256/`, below any folder.
    let folder = sample.strip_prefix(&format!("{}/x/", tree::DATA)).unwrap_or(&sample);
    let name = path.rsplit_once(folder).map(|(_, name)| name);
    name.is_some_and(|name| name.parse::<ImageId>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_file_is_an_error() {
        let failure = read_bounded(Path::new("/dev/zero"), 1000).unwrap_err().to_string();
        assert!(failure.contains("more than 1000 bytes"), "{failure}");
        assert_eq!(read_bounded(Path::new("/dev/null"), 0).unwrap(), b"");
    }

    #[test]
    fn a_manifest_is_recognised_by_its_path() {
        let hex = "a".repeat(64);
        assert!(is_manifest(&format!("crane/data/a/b/_manifests/sha256/{hex}")));
        assert!(!is_manifest(&format!("crane/data/a/{hex}")));
        assert!(!is_manifest("a/_manifests/sha256/x"));
    }
}
