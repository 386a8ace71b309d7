//! A registry to be read from, which behaves as a test tells it to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use raas_types::{Descriptor, Digest};
use serde_json::json;

use crate::http::{Asked, Reply, Server};
use crate::oci::Layout;

/// A change of an answer. It gets the number of requests for the same path so far, this one included.
type Change = dyn Fn(&Asked, usize, Reply) -> Reply + Send + Sync;

/// A registry on a free port of this machine, with one repository. It ends when it is dropped.
pub struct Registry {
    server: Server,
    state: Arc<State>,
}

struct State {
    name: String,
    manifests: Mutex<BTreeMap<String, (String, Vec<u8>)>>,
    tags: Mutex<BTreeMap<String, Digest>>,
    blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    uploads: Mutex<BTreeMap<String, Vec<u8>>>,
    referrers: Mutex<Option<BTreeMap<Digest, Vec<Descriptor>>>>,
    counts: Mutex<BTreeMap<String, usize>>,
    log: Mutex<Vec<String>>,
    page: Mutex<usize>,
    change: Mutex<Option<Arc<Change>>>,
}

impl Registry {
    /// A registry with an empty repository of this name, without the list of referrers.
    pub fn new(name: &str) -> Self {
        let state = Arc::new(State {
            name: name.to_owned(),
            manifests: Mutex::default(),
            tags: Mutex::default(),
            blobs: Mutex::default(),
            uploads: Mutex::default(),
            referrers: Mutex::default(),
            counts: Mutex::default(),
            log: Mutex::default(),
            page: Mutex::new(1000),
            change: Mutex::default(),
        });
        let shared = state.clone();
        Self { server: Server::scripted(move |asked| shared.answer(asked)), state }
    }

    /// Adds every blob of a layout, as a blob and, if it is a manifest, as a manifest.
    pub fn fill(&self, layout: &Layout) {
        for (digest, bytes) in layout.blobs() {
            let media_type = serde_json::from_slice::<serde_json::Value>(bytes).ok();
            let media_type = media_type.and_then(|json| Some(json.get("mediaType")?.as_str()?.to_owned()));
            if let Some(media_type) = media_type {
                self.manifest(&digest, &media_type, bytes);
            }
            locked(&self.state.blobs).insert(digest.to_string(), bytes.to_vec());
        }
    }

    /// Adds a manifest under its digest.
    pub fn manifest(&self, digest: &Digest, media_type: &str, bytes: &[u8]) {
        let entry = (media_type.to_owned(), bytes.to_vec());
        locked(&self.state.manifests).insert(digest.to_string(), entry);
    }

    /// Gives a manifest a tag.
    pub fn tag(&self, tag: &str, digest: &Digest) {
        locked(&self.state.tags).insert(tag.to_owned(), *digest);
    }

    /// Removes a blob.
    pub fn remove_blob(&self, digest: &Digest) {
        locked(&self.state.blobs).remove(&digest.to_string());
    }

    /// The digest that a tag has.
    pub fn digest_of(&self, tag: &str) -> Option<Digest> {
        locked(&self.state.tags).get(tag).copied()
    }

    /// The bytes of a manifest.
    pub fn manifest_bytes(&self, digest: &Digest) -> Option<Vec<u8>> {
        locked(&self.state.manifests).get(&digest.to_string()).map(|(_, bytes)| bytes.clone())
    }

    /// The bytes of a blob.
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        locked(&self.state.blobs).get(&digest.to_string()).cloned()
    }

    /// Lists what is attached to a manifest. From the first call on, the registry has the list of referrers.
    pub fn attach(&self, subject: &Digest, attached: &[Descriptor]) {
        let mut referrers = locked(&self.state.referrers);
        referrers.get_or_insert_default().entry(*subject).or_default().extend(attached.iter().cloned());
    }

    /// Sends lists of tags in pages of this many.
    pub fn page(&self, entries: usize) {
        *locked(&self.state.page) = entries;
    }

    /// Changes answers.
    pub fn change(&self, change: impl Fn(&Asked, usize, Reply) -> Reply + Send + Sync + 'static) {
        *locked(&self.state.change) = Some(Arc::new(change));
    }

    /// Answers correctly from now on.
    pub fn behave(&self) {
        *locked(&self.state.change) = None;
    }

    /// The address of the repository, as `--from` takes it.
    pub fn address(&self) -> String {
        format!("docker://{}/{}", self.server.address(), self.state.name)
    }

    /// The host and port.
    pub fn host(&self) -> String {
        self.server.address().to_string()
    }

    /// The requests so far, as `GET /v2/…`, and forgets them.
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.state.log))
    }

    /// The number of requests since the log was taken whose method and path contain a text.
    pub fn count(&self, text: &str) -> usize {
        locked(&self.state.log).iter().filter(|line| line.contains(text)).count()
    }
}

impl State {
    fn answer(&self, asked: &Asked) -> Reply {
        let line = format!("{} {}", asked.method, asked.target);
        let number = {
            let mut counts = locked(&self.counts);
            let count = counts.entry(line.clone()).or_default();
            *count += 1;
            *count
        };
        locked(&self.log).push(line);
        let reply = self.correct(asked);
        // The change may wait for other requests.
        let change = locked(&self.change).clone();
        match change {
            Some(change) => change(asked, number, reply),
            None => reply,
        }
    }

    fn correct(&self, asked: &Asked) -> Reply {
        let (path, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let Some(rest) = path.strip_prefix(&format!("/v2/{}/", self.name)) else {
            return error(404, "NAME_UNKNOWN");
        };
        match rest.split_once('/') {
            Some(("tags", "list")) => self.tags(query),
            Some(("blobs", upload)) if upload.starts_with("uploads/") => {
                self.upload(asked, &upload[8..], query)
            }
            Some(("manifests", reference)) if asked.method == "PUT" => self.put_manifest(asked, reference),
            Some(("manifests", reference)) => {
                let tagged = locked(&self.tags).get(reference).map(ToString::to_string);
                let digest = tagged.unwrap_or_else(|| reference.to_owned());
                let known = asked.headers.get("if-none-match").map(|known| known.trim_matches('"'));
                match locked(&self.manifests).get(&digest) {
                    Some(_) if known == Some(digest.as_str()) => Reply::new(304, ""),
                    Some((media_type, bytes)) => Reply::new(200, bytes.clone())
                        .with("Content-Type", media_type)
                        .with("Docker-Content-Digest", digest),
                    None => error(404, "MANIFEST_UNKNOWN"),
                }
            }
            Some(("blobs", digest)) => match locked(&self.blobs).get(digest) {
                Some(bytes) => ranged(asked, bytes),
                None => error(404, "BLOB_UNKNOWN"),
            },
            Some(("referrers", digest)) => match (&*locked(&self.referrers), digest.parse::<Digest>()) {
                (Some(referrers), Ok(digest)) => {
                    let manifests = referrers.get(&digest).cloned().unwrap_or_default();
                    let media_type = "application/vnd.oci.image.index.v1+json";
                    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
                    Reply::new(200, index.to_string()).with("Content-Type", media_type)
                }
                _ => Reply::new(404, "<html>Not Found</html>").with("Content-Type", "text/html"),
            },
            _ => error(404, "UNSUPPORTED"),
        }
    }

    /// An upload in parts: POST, PATCH with `Content-Range`, PUT with the digest.
    fn upload(&self, asked: &Asked, id: &str, query: &str) -> Reply {
        let mut uploads = locked(&self.uploads);
        let place = |id: &str| format!("/v2/{}/blobs/uploads/{id}", self.name);
        match asked.method.as_str() {
            "POST" => {
                let id = uploads.len().to_string();
                uploads.insert(id.clone(), Vec::new());
                Reply::new(202, "").with("Location", place(&id))
            }
            "PATCH" => {
                let Some(bytes) = uploads.get_mut(id) else { return error(404, "BLOB_UPLOAD_UNKNOWN") };
                let first = asked.headers.get("content-range").and_then(|range| range.split('-').next());
                if first.and_then(|first| first.parse().ok()) != Some(bytes.len()) {
                    return error(416, "BLOB_UPLOAD_INVALID");
                }
                bytes.extend(&asked.body);
                Reply::new(202, "").with("Location", place(id))
            }
            _ => {
                let digest = query.strip_prefix("digest=").unwrap_or_default();
                let Some(bytes) = uploads.get(id) else { return error(404, "BLOB_UPLOAD_UNKNOWN") };
                if Digest::of(bytes).to_string() != digest {
                    return error(400, "DIGEST_INVALID");
                }
                locked(&self.blobs).insert(digest.to_owned(), bytes.clone());
                Reply::new(201, "").with("Location", format!("/v2/{}/blobs/{digest}", self.name))
            }
        }
    }

    /// Takes a manifest whose blobs are there.
    fn put_manifest(&self, asked: &Asked, reference: &str) -> Reply {
        let parsed: serde_json::Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let layers = parsed["layers"].as_array().into_iter().flatten();
        let missing = layers
            .chain(parsed.get("config"))
            .any(|blob| !locked(&self.blobs).contains_key(blob["digest"].as_str().unwrap_or_default()));
        if missing {
            return error(400, "MANIFEST_BLOB_UNKNOWN");
        }
        let digest = Digest::of(&asked.body);
        let media_type = asked.headers.get("content-type").cloned().unwrap_or_default();
        locked(&self.manifests).insert(digest.to_string(), (media_type, asked.body.clone()));
        if reference.parse::<Digest>().is_err() {
            locked(&self.tags).insert(reference.to_owned(), digest);
        }
        Reply::new(201, "").with("Docker-Content-Digest", digest)
    }

    fn tags(&self, query: &str) -> Reply {
        let last = query.split('&').find_map(|part| part.strip_prefix("last=")).unwrap_or_default();
        let page = *locked(&self.page);
        let tags = locked(&self.tags);
        let behind: Vec<&String> = tags.keys().filter(|tag| tag.as_str() > last).collect();
        let shown = &behind[..page.min(behind.len())];
        let reply = Reply::new(200, json!({"name": self.name, "tags": shown}).to_string());
        match shown.last() {
            Some(last) if shown.len() == page => {
                let link = format!("</v2/{}/tags/list?n={page}&last={last}>; rel=\"next\"", self.name);
                reply.with("Link", link)
            }
            _ => reply,
        }
    }
}

/// The bytes, or their rest from the offset that the request names.
pub fn ranged(asked: &Asked, bytes: &[u8]) -> Reply {
    let range = asked.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
    let first = range.and_then(|range| range.strip_suffix('-')).and_then(|first| first.parse::<usize>().ok());
    match first {
        Some(first) if first < bytes.len() => {
            let total = bytes.len();
            Reply::new(206, &bytes[first..])
                .with("Content-Range", format!("bytes {first}-{}/{total}", total - 1))
        }
        Some(_) => Reply::new(416, ""),
        None => Reply::new(200, bytes),
    }
}

/// An error in the form of the specification.
pub fn error(status: u16, code: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": "scripted", "detail": {}}]});
    Reply::new(status, body.to_string()).with("Content-Type", "application/json")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this")
}
