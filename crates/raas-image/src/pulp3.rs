//! Pulp 3 exports of both generations: resource files of JSON, and artifacts by their SHA-256.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::{AtomicSignature, Digest, Tag, null_as_default};
use serde::Deserialize;

use crate::assemble::assemble;
use crate::platforms::Incomplete;
use crate::roots::{self, Root};
use crate::select::{Catalogue, ListedImage, Selection, Unnamed};
use crate::tree::Tree;
use crate::{Content, ImageError, Limits, ManifestSet, Rule, Store, StoredManifest, json};

const TAGS: &str = "pulp_container.app.modelresource.TagResource.json";
const MANIFESTS: &str = "pulp_container.app.modelresource.ManifestResource.json";
const SIGNATURES: &str = "pulp_container.app.modelresource.ManifestSignatureResource.json";
const CONTENT_ARTIFACTS: &str = "pulpcore.app.modelresource.ContentArtifactResource.json";

#[derive(Deserialize)]
struct TagEntry {
    name: String,
    tagged_manifest: Digest,
}

#[derive(Deserialize)]
struct ManifestEntry {
    digest: Digest,
    #[serde(default, deserialize_with = "null_as_default")]
    media_type: String,
    /// The manifest itself, in the newer generation.
    #[serde(default)]
    data: Option<String>,
}

#[derive(Deserialize)]
struct SignatureEntry {
    name: String,
    #[serde(rename = "type", default, deserialize_with = "null_as_default")]
    kind: String,
    signed_manifest: Digest,
    /// The signature in Base64.
    data: String,
}

#[derive(Deserialize)]
struct ContentArtifactEntry {
    artifact: Option<String>,
    #[serde(default, deserialize_with = "null_as_default")]
    relative_path: String,
}

/// An export whose members have been listed.
pub(crate) struct Export<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    /// The folder of each container repository's latest version.
    folders: BTreeMap<String, String>,
    /// The folders that hold artifacts, each ending in a slash: `artifact/`, or `artifact/<domain>/` if Pulp has
    /// domains.
    artifact_folders: Vec<String>,
}

impl<'a> Export<'a> {
    pub(crate) fn open(tree: &'a Tree, limits: &'a Limits) -> Self {
        Self { tree, limits, folders: folders(tree), artifact_folders: artifact_folders(tree) }
    }

    pub(crate) fn read(
        &self,
        selection: &Selection,
        earlier: Option<&dyn Store>,
    ) -> Result<ManifestSet, ImageError> {
        let repository = Repository::open(self, selection.repository())?;
        let roots = repository.roots.iter().cloned();
        let (chosen, others): (Vec<Root>, Vec<Root>) =
            roots.partition(|root| selection.tags_of(&root.digest).is_some());
        let refuse = Incomplete::Refuse;
        assemble(&repository, selection, chosen, &others, refuse, earlier, self.limits)
    }

    /// The atomic signatures of these manifests.
    pub(crate) fn signatures(
        &self,
        selection: &Selection,
        manifests: &BTreeSet<Digest>,
    ) -> Result<BTreeMap<Digest, Vec<AtomicSignature>>, ImageError> {
        let repository = Repository::open(self, selection.repository())?;
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let Some(content) = repository.resource(SIGNATURES)? else { return Ok(found) };
        let mut kept = repository.kept;
        json::each(&content, self.limits, |entry: SignatureEntry| {
            // Clients skip what they do not know.
            if entry.kind != "atomic" || !manifests.contains(&entry.signed_manifest) {
                return Ok(());
            }
            kept.add(entry.data.len(), &content)?;
            let signature = AtomicSignature::new(&entry.name, &entry.data)
                .map_err(|error| ImageError::content(content.name(), error.to_string()))?;
            let all = found.entry(entry.signed_manifest).or_default();
            if all.len() < AtomicSignature::MAX_COUNT {
                all.push(signature);
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// The container repositories, each with the folder of its latest version. A folder is that of a container repository
/// if it has any resource of pulp_container: Pulp omits the file of a resource that has no entry. A name may have
/// slashes; the version stands behind the last underscore.
fn folders(tree: &Tree) -> BTreeMap<String, String> {
    let mut folders: BTreeMap<String, (u64, &str)> = BTreeMap::new();
    for member in tree.names("repository-") {
        let Some((folder, file)) = member.rsplit_once('/') else { continue };
        if !file.starts_with("pulp_container.app.modelresource.") {
            continue;
        }
        let named = folder.strip_prefix("repository-").and_then(|rest| rest.rsplit_once('_'));
        if let Some((name, version)) = named
            && let Ok(version) = version.parse()
        {
            let latest = folders.entry(name.to_owned()).or_insert((version, folder));
            *latest = (*latest).max((version, folder));
        }
    }
    folders.into_iter().map(|(name, (_, folder))| (name, folder.to_owned())).collect()
}

fn artifact_folders(tree: &Tree) -> Vec<String> {
    /// An export is of one domain.
    const MOST: usize = 8;
    let is_hex =
        |part: &str, length: usize| part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut folders = BTreeSet::new();
    for name in tree.names("artifact/") {
        let mut parts = name.rsplitn(3, '/');
        let (rest, start, folder) = (parts.next(), parts.next(), parts.next());
        if let (Some(rest), Some(start), Some(folder)) = (rest, start, folder)
            && is_hex(rest, 62)
            && is_hex(start, 2)
            && (folder == "artifact" || folder.matches('/').count() == 1)
        {
            folders.insert(folder);
        }
        if folders.len() == MOST {
            break;
        }
    }
    let mut folders: Vec<String> = folders.into_iter().map(|folder| format!("{folder}/")).collect();
    if folders.is_empty() {
        folders.push("artifact/".to_owned());
    }
    folders
}

/// A repository whose resource files have been read.
struct Repository<'a> {
    export: &'a Export<'a>,
    folder: &'a str,
    manifests: BTreeMap<Digest, (String, Option<String>)>,
    /// For content whose artifact has another digest: the digest of the artifact.
    artifacts: BTreeMap<Digest, Digest>,
    /// The tagged manifests, then all manifests without a tag: people pull those by digest, and signatures are attached
    /// to them.
    roots: Vec<Root>,
    kept: Kept,
}

/// A bound for what is kept in memory of the resource files.
#[derive(Clone, Copy)]
struct Kept {
    bytes: u64,
    limit: u64,
}

impl Kept {
    /// Counts an entry with this length of text.
    fn add(&mut self, text: usize, file: &Content) -> Result<(), ImageError> {
        /// About the size of an entry without its text.
        const ENTRY: u64 = 128;
        self.bytes += text as u64 + ENTRY;
        if self.bytes > self.limit {
            let rule = Rule::TooLarge { size: self.bytes, limit: self.limit };
            return Err(ImageError::refused(file.name(), rule));
        }
        Ok(())
    }
}

impl<'a> Repository<'a> {
    fn open(export: &'a Export<'a>, name: Option<&str>) -> Result<Self, ImageError> {
        let Some(folder) = name.and_then(|name| export.folders.get(name)) else {
            return Err(ImageError::choice("the export has no container repository"));
        };
        let mut repository = Self {
            export,
            folder,
            manifests: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            roots: Vec::new(),
            kept: Kept { bytes: 0, limit: export.limits.manifests },
        };
        repository.read_manifests()?;
        repository.read_tags()?;
        Ok(repository)
    }

    /// A resource file; `None` if the repository has no such resource.
    fn resource(&self, file: &str) -> Result<Option<Content>, ImageError> {
        self.export.tree.file(&format!("{}/{file}", self.folder), self.export.limits)
    }

    fn read_manifests(&mut self) -> Result<(), ImageError> {
        if let Some(content) = self.resource(MANIFESTS)? {
            json::each(&content, self.export.limits, |entry: ManifestEntry| {
                let text = entry.data.as_ref().map_or(0, String::len) + entry.media_type.len();
                self.kept.add(text, &content)?;
                let data = entry.data.filter(|data| !data.is_empty());
                self.manifests.insert(entry.digest, (entry.media_type, data));
                Ok(())
            })?;
        }
        let Some(content) = self.resource(CONTENT_ARTIFACTS)? else { return Ok(()) };
        json::each(&content, self.export.limits, |entry: ContentArtifactEntry| {
            let named = entry.relative_path.parse::<Digest>();
            let stored = entry.artifact.as_deref().map(Digest::from_hex);
            if let (Ok(named), Some(Ok(stored))) = (named, stored)
                && named != stored
            {
                self.kept.add(0, &content)?;
                self.artifacts.insert(named, stored);
            }
            Ok(())
        })
    }

    fn read_tags(&mut self) -> Result<(), ImageError> {
        let mut tagged = BTreeSet::new();
        let mut roots = Vec::new();
        if let Some(content) = self.resource(TAGS)? {
            let mut kept = self.kept;
            json::each(&content, self.export.limits, |entry: TagEntry| {
                kept.add(entry.name.len(), &content)?;
                tagged.insert(entry.tagged_manifest);
                let root = match entry.name.parse::<Tag>() {
                    Ok(tag) => Root { tag: Some(tag), ..self.root(entry.tagged_manifest) },
                    Err(_) => Root { unusable: Some(entry.name), ..self.root(entry.tagged_manifest) },
                };
                roots.push(root);
                Ok(())
            })?;
        }
        roots.extend(self.manifests.keys().filter(|d| !tagged.contains(*d)).map(|digest| self.root(*digest)));
        self.roots = roots;
        Ok(())
    }

    fn root(&self, digest: Digest) -> Root {
        let media_type = self.manifests.get(&digest).map(|(media_type, _)| media_type.clone());
        let media_type = media_type.filter(|media_type| !media_type.is_empty());
        Root { media_type, ..Root::by_digest(digest) }
    }
}

impl Store for Repository<'_> {
    fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError> {
        match self.manifests.get(digest) {
            Some((media_type, Some(data))) => Ok(Some(StoredManifest {
                bytes: data.clone().into_bytes(),
                media_type: Some(media_type.clone()),
            })),
            known => {
                let Some(content) = self.blob(digest)? else {
                    return Ok(None);
                };
                let bytes = content.read_all(raas_types::Manifest::MAX_SIZE)?;
                Ok(Some(StoredManifest {
                    bytes,
                    media_type: known.map(|(media_type, _)| media_type.clone()),
                }))
            }
        }
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Content>, ImageError> {
        let artifact = self.artifacts.get(digest).unwrap_or(digest);
        for folder in &self.export.artifact_folders {
            if let Some(content) = self.export.tree.file(&in_folder(folder, artifact), self.export.limits)? {
                return Ok(Some(content));
            }
        }
        Ok(None)
    }

    fn name(&self, digest: &Digest) -> String {
        let artifact = self.artifacts.get(digest).unwrap_or(digest);
        in_folder(self.export.artifact_folders.first().map_or("artifact/", String::as_str), artifact)
    }
}

fn in_folder(folder: &str, artifact: &Digest) -> String {
    let hex = artifact.hex();
    format!("{folder}{}/{}", &hex[..2], &hex[2..])
}

impl Catalogue for Export<'_> {
    fn repositories(&self) -> Result<Vec<Option<String>>, ImageError> {
        Ok(self.folders.keys().cloned().map(Some).collect())
    }

    fn images(&self, repository: Option<&str>) -> Result<Vec<ListedImage>, ImageError> {
        let repository = Repository::open(self, repository)?;
        roots::list(&repository, &repository.roots, &repository.roots, self.limits)
    }

    fn unnamed(&self) -> Unnamed {
        Unnamed::ByDigest
    }

    fn has_manifests(&self) -> bool {
        true
    }
}
