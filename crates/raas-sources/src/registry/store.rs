//! A repository as a store of manifests and blobs.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raas_image::{Content, ImageError, Store, StoredManifest};
use raas_types::{Descriptor, Digest, Manifest, Reference, media_type};

use super::blob::RemoteBlob;
use super::connection::{Document, Request};
use super::remote::{MANIFESTS, Remote};
use crate::registry_error::RegistryError;

/// The longest config that is kept in memory.
const MAX_CONFIG: u64 = 1024 * 1024;
/// The bytes of configs that are kept in memory together. A config beyond them is read again when it is stored.
const MAX_CONFIGS: usize = 8 * 1024 * 1024;

/// The manifests and blobs of a repository. Each manifest is asked for once.
pub(super) struct RemoteStore {
    remote: Arc<Remote>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    manifests: BTreeMap<Digest, Option<StoredManifest>>,
    /// The sizes of blobs, as manifests say them.
    sizes: BTreeMap<Digest, u64>,
    /// What `HEAD` has said about other blobs.
    asked: BTreeMap<Digest, Option<u64>>,
    configs: BTreeMap<Digest, Content>,
    config_bytes: usize,
}

impl RemoteStore {
    pub(super) fn new(remote: Arc<Remote>) -> Self {
        Self { remote, state: Mutex::default() }
    }

    pub(super) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Reads the manifest of a tag or digest into the store, and returns its digest. `None` if the registry does not have
    /// it.
    pub(super) fn fetch(&self, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
        if let Reference::Digest(digest) = reference
            && self.lock().manifests.get(digest).is_some_and(Option::is_some)
        {
            return Ok(Some(*digest));
        }
        let separator = if matches!(reference, Reference::Tag(_)) { ':' } else { '@' };
        let what = format!("{}/{}{separator}{reference}", self.remote.host(), self.remote.name());
        let path = format!("/v2/{}/manifests/{reference}", self.remote.name());
        let request = Request::get(&path, MANIFESTS, &what);
        let Some(document) = self.remote.connection.read(&request, Manifest::MAX_SIZE)? else {
            if let Reference::Digest(digest) = reference {
                self.lock().manifests.insert(*digest, None);
            }
            return Ok(None);
        };
        let digest = Digest::of(&document.bytes);
        let promised = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(_) => document.digest.as_ref().and_then(|digest| digest.parse().ok()),
        };
        if let Some(promised) = promised.filter(|promised| *promised != digest) {
            let why =
                format!("its content has the digest {digest}, not {promised}: it was damaged or changed");
            return Err(self.remote.connection.content(&request, why));
        }
        self.keep(digest, document);
        Ok(Some(digest))
    }

    fn keep(&self, digest: Digest, document: Document) {
        // The registry's own word counts only for a manifest that does not say its type itself: proxies and plain file
        // servers have types of their own, and Pulp has stored wrong ones.
        let own = Manifest::parse(&document.bytes, None);
        let found_as = document.media_type.filter(|found_as| {
            (media_type::is_index(found_as) || media_type::is_image_manifest(found_as))
                && !says_its_type(&document.bytes)
        });
        let manifest = match &found_as {
            Some(found_as) => Manifest::parse(&document.bytes, Some(found_as)),
            None => own,
        };
        let mut state = self.lock();
        if let Ok(manifest) = &manifest {
            for descriptor in manifest.blobs().filter(|descriptor| descriptor.urls.is_empty()) {
                state.sizes.entry(descriptor.digest).or_insert(descriptor.size);
            }
        }
        let stored = StoredManifest { bytes: document.bytes, media_type: found_as };
        state.manifests.insert(digest, Some(stored));
    }

    /// A parsed manifest of the store; `None` if its content is no manifest.
    pub(super) fn parsed(&self, digest: &Digest) -> Option<Manifest> {
        let state = self.lock();
        let stored = state.manifests.get(digest)?.as_ref()?;
        Manifest::parse(&stored.bytes, stored.media_type.as_deref()).ok()
    }

    /// The bytes of all manifests in the store.
    pub(super) fn manifest_bytes(&self) -> u64 {
        let state = self.lock();
        state.manifests.values().flatten().map(|stored| stored.bytes.len() as u64).sum()
    }

    /// Reads a config into the store, if it is one that raas reads to check an image and there is room for it.
    pub(super) fn fetch_config(&self, config: &Descriptor) -> Result<(), RegistryError> {
        {
            let state = self.lock();
            let room = MAX_CONFIGS.saturating_sub(state.config_bytes) as u64;
            let is_wanted = media_type::is_image_config(&config.media_type) && config.urls.is_empty();
            if !is_wanted || config.size > MAX_CONFIG.min(room) || state.configs.contains_key(&config.digest)
            {
                return Ok(());
            }
        }
        let what = self.remote.called(&config.digest);
        let path = format!("/v2/{}/blobs/{}", self.remote.name(), config.digest);
        let request = Request::get(&path, "*/*", &what);
        // If the config is missing, reading the image fails later, unless the bucket has the config.
        if let Some(document) = self.remote.connection.read(&request, config.size)? {
            let content = Content::memory(&what, &document.bytes);
            let mut state = self.lock();
            state.config_bytes += document.bytes.len();
            state.configs.insert(config.digest, content);
        }
        Ok(())
    }

    fn size_of(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        {
            let state = self.lock();
            if let Some(size) = state.sizes.get(digest) {
                return Ok(Some(*size));
            }
            if let Some(asked) = state.asked.get(digest) {
                return Ok(*asked);
            }
        }
        let size = self.remote.blob_size(digest)?;
        self.lock().asked.insert(*digest, size);
        Ok(size)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a manifest has a media type of its own.
fn says_its_type(bytes: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Own {
        #[serde(rename = "mediaType")]
        media_type: Option<String>,
    }
    serde_json::from_slice::<Own>(bytes).is_ok_and(|own| own.media_type.is_some_and(|text| !text.is_empty()))
}

fn read_error(what: String) -> impl FnOnce(RegistryError) -> ImageError {
    move |error| ImageError::Read { what, source: io::Error::other(error) }
}

impl Store for RemoteStore {
    fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, ImageError> {
        if let Some(known) = self.lock().manifests.get(digest) {
            return Ok(known.clone());
        }
        self.fetch(&Reference::Digest(*digest)).map_err(read_error(self.name(digest)))?;
        Ok(self.lock().manifests.get(digest).cloned().flatten())
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Content>, ImageError> {
        if let Some(config) = self.lock().configs.get(digest) {
            return Ok(Some(config.clone()));
        }
        let name = self.name(digest);
        let size = self.size_of(digest).map_err(read_error(name.clone()))?;
        Ok(size.map(|size| {
            Content::new(&name, RemoteBlob { remote: self.remote.clone(), digest: *digest, size })
        }))
    }

    fn name(&self, digest: &Digest) -> String {
        self.remote.called(digest)
    }
}
