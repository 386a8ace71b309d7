//! Pulp 3 exports of both generations: resource files of JSON, and artifacts by their SHA-256.

use std::collections::BTreeMap;

use raas_types::{Digest, Tag};
use serde::Deserialize;

use crate::manifests::{Root, Store, StoredManifest, collect};
use crate::select::Wanted;
use crate::tree::Tree;
use crate::{Content, ImageError, Limits, ManifestSet, Rule, json};

const TAGS: &str = "/pulp_container.app.modelresource.TagResource.json";
const MANIFESTS: &str = "/pulp_container.app.modelresource.ManifestResource.json";
const SIGNATURES: &str = "/pulp_container.app.modelresource.ManifestSignatureResource.json";
const CONTENT_ARTIFACTS: &str = "/pulpcore.app.modelresource.ContentArtifactResource.json";

#[derive(Deserialize)]
struct TagEntry {
    name: String,
    tagged_manifest: Digest,
}

#[derive(Deserialize)]
struct ManifestEntry {
    digest: Digest,
    media_type: String,
    /// The manifest itself, in the newer generation.
    #[serde(default)]
    data: Option<String>,
}

#[derive(Deserialize)]
struct ContentArtifactEntry {
    artifact: Option<String>,
    relative_path: String,
}

/// The container repositories, each with the folder of its latest version: those whose folders hold tags. A name
/// may have slashes; what follows the last underscore is the version.
fn folders(tree: &Tree) -> BTreeMap<String, String> {
    let mut folders: BTreeMap<String, (u64, &str)> = BTreeMap::new();
    for folder in tree.names("repository-").filter_map(|member| member.strip_suffix(TAGS)) {
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

/// The names of the container repositories.
pub(crate) fn repositories(tree: &Tree) -> Vec<String> {
    folders(tree).into_keys().collect()
}

struct Repository<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    manifests: BTreeMap<Digest, (String, Option<String>)>,
    /// Artifacts by the name that the content has, where that is not the artifact's own digest.
    artifacts: BTreeMap<Digest, Digest>,
    kept: Kept,
}

/// What is kept in memory of the resource files, whose length has no bound.
#[derive(Clone, Copy)]
struct Kept {
    bytes: u64,
    limit: u64,
}

impl Kept {
    /// Takes an entry with this much text into account.
    fn add(&mut self, text: usize, file: &Content) -> Result<(), ImageError> {
        /// About what an entry takes beside its text.
        const ENTRY: u64 = 128;
        self.bytes += text as u64 + ENTRY;
        if self.bytes > self.limit {
            let rule = Rule::TooLarge { size: self.bytes, limit: self.limit };
            return Err(ImageError::refused(file.name(), rule));
        }
        Ok(())
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
        self.tree.file(&self.name(digest), self.limits)
    }

    fn name(&self, digest: &Digest) -> String {
        let hex = self.artifacts.get(digest).unwrap_or(digest).hex();
        format!("artifact/{}/{}", &hex[..2], &hex[2..])
    }
}

/// The wanted repository's manifests.
pub(crate) fn image(tree: &Tree, wanted: &Wanted, limits: &Limits) -> Result<ManifestSet, ImageError> {
    let folders = folders(tree);
    let folder = match &wanted.repository {
        Some(name) => folders.get(name),
        None if folders.len() > 1 => {
            let names: Vec<&str> = folders.keys().map(String::as_str).collect();
            return Err(ImageError::choice(format!(
                "the export has several repositories: {}",
                names.join(", ")
            )));
        }
        None => folders.values().next(),
    };
    let Some(folder) = folder else {
        return Err(ImageError::choice(match &wanted.repository {
            Some(name) => format!("the export has no container repository `{name}`"),
            None => "the export has no container repository".to_owned(),
        }));
    };
    let mut repository = Repository {
        tree,
        limits,
        manifests: BTreeMap::new(),
        artifacts: BTreeMap::new(),
        kept: Kept { bytes: 0, limit: limits.manifests },
    };
    repository.read_manifests(folder)?;
    let mut roots = Vec::new();
    let content = repository.need(folder, TAGS)?;
    let mut kept = repository.kept;
    json::each(&content, limits, |entry: TagEntry| {
        let tag: Tag = entry.name.parse().map_err(|error: raas_types::TagError| {
            ImageError::content(format!("{folder}{TAGS}"), error.to_string())
        })?;
        kept.add(entry.name.len(), &content)?;
        roots.push(repository.root(entry.tagged_manifest, Some(tag)));
        Ok(())
    })?;
    // What no tag leads to is part of the repository all the same: people pull it by digest, and signatures are
    // attached to it.
    let untagged: Vec<Root> =
        repository.manifests.keys().map(|digest| repository.root(*digest, None)).collect();
    roots.extend(untagged);
    let mut set = collect(&repository, &roots, wanted.tag.as_ref(), limits)?;
    let mut signatures = 0;
    if let Some(content) = tree.file(&format!("{folder}{SIGNATURES}"), limits)? {
        json::each(&content, limits, |_: serde::de::IgnoredAny| {
            signatures += 1;
            Ok(())
        })?;
    }
    if signatures > 0 {
        set.notes.push(format!(
            "{signatures} signatures of the kind that only Pulp and OpenShift registries serve (atomic container \
             signatures) are not published"
        ));
    }
    Ok(set)
}

impl Repository<'_> {
    fn need(&self, folder: &str, file: &str) -> Result<Content, ImageError> {
        self.tree.need(
            &format!("{folder}{file}"),
            "every container repository of an export has it",
            self.limits,
        )
    }

    fn root(&self, digest: Digest, tag: Option<Tag>) -> Root {
        let media_type = self.manifests.get(&digest).map(|(media_type, _)| media_type.clone());
        Root { digest, media_type, size: None, tag }
    }

    fn read_manifests(&mut self, folder: &str) -> Result<(), ImageError> {
        let content = self.need(folder, MANIFESTS)?;
        json::each(&content, self.limits, |entry: ManifestEntry| {
            let text = entry.data.as_ref().map_or(0, String::len) + entry.media_type.len();
            self.kept.add(text, &content)?;
            let data = entry.data.filter(|data| !data.is_empty());
            self.manifests.insert(entry.digest, (entry.media_type, data));
            Ok(())
        })?;
        let content = self.need(folder, CONTENT_ARTIFACTS)?;
        json::each(&content, self.limits, |entry: ContentArtifactEntry| {
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
}
