//! Sites to serve, a server for them, and a plain client.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use raas_server::{Bucket, Metadata, Options, SiteConfig, SiteSource, serve};
use raas_types::crane::{
    BlobEntry, Content, Document, ManifestEntry, V1Content, V1Extension, V1ImageEntry, V2Content,
    V2Extension, tree,
};
use raas_types::{AtomicSignature, Digest, ImageId, ObjectKey, RepositoryName, V1File, media_type};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// The folders of a vendor.
pub(crate) struct Folders {
    home: TempDir,
    vendor: &'static str,
}

impl Folders {
    pub(crate) fn new(vendor: &'static str) -> Self {
        let folders = Self { home: tempfile::tempdir().unwrap(), vendor };
        fs::create_dir_all(folders.bucket()).unwrap();
        folders
    }

    pub(crate) fn metadata(&self) -> PathBuf {
        self.home.path().join("metadata")
    }

    pub(crate) fn bucket(&self) -> PathBuf {
        self.home.path().join("bucket")
    }

    pub(crate) fn site(&self) -> SiteConfig {
        SiteConfig::new(
            self.vendor.parse().unwrap(),
            Metadata::Folder(self.metadata()),
            Bucket::Folder(self.bucket()),
        )
    }

    /// Writes a file of the metadata tree as the publisher does, by a rename.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.metadata().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, path).unwrap();
    }

    pub(crate) fn revision(&self, revision: &str) {
        self.write(tree::REVISION, format!("{revision}\n").as_bytes());
    }

    /// Publishes a repository without changing the revision.
    pub(crate) fn publish(&self, repository: &Published) {
        for blob in repository.stored.values() {
            self.store(&ObjectKey::Blob(repository.name.clone(), Digest::of(blob)), blob);
        }
        for (digest, bytes) in &repository.manifest_bytes {
            self.write(&tree::manifest(&repository.name, digest), bytes);
        }
        self.write(&tree::document(&repository.name), &repository.document(false));
    }

    pub(crate) fn store(&self, key: &ObjectKey, bytes: &[u8]) {
        let path = self.bucket().join(key.to_string());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// A v2 repository that a test builds.
pub(crate) struct Published {
    pub(crate) name: RepositoryName,
    extension: V2Extension,
    manifest_bytes: BTreeMap<Digest, Vec<u8>>,
    stored: BTreeMap<Digest, Vec<u8>>,
}

impl Published {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.parse().unwrap(),
            extension: V2Extension::default(),
            manifest_bytes: BTreeMap::new(),
            stored: BTreeMap::new(),
        }
    }

    /// Adds a blob to the bucket.
    pub(crate) fn blob(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.stored.insert(digest, bytes.to_owned());
        self.extension
            .blobs
            .insert(digest, BlobEntry { size: bytes.len() as u64, diff_id: None, location: None });
        digest
    }

    /// Adds a blob to the document only.
    pub(crate) fn blob_entry(&mut self, bytes: &[u8], location: Option<&str>) -> Digest {
        let digest = Digest::of(bytes);
        let entry =
            BlobEntry { size: bytes.len() as u64, diff_id: None, location: location.map(str::to_owned) };
        self.extension.blobs.insert(digest, entry);
        digest
    }

    /// Adds an image with a config and one layer. `more` has further keys of the manifest, each with a comma before it.
    pub(crate) fn image(&mut self, kind: &str, content: &str, more: &str) -> Digest {
        let config = format!("{{\"config of\":{content:?}}}");
        let layer = format!("layer of {content}");
        let (config_digest, layer_digest) = (self.blob(config.as_bytes()), self.blob(layer.as_bytes()));
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{kind}\",\"config\":{{\"mediaType\":\"{}\",\"digest\":\
             \"{config_digest}\",\"size\":{}}},\"layers\":[{{\"mediaType\":\"{}\",\"digest\":\"{layer_digest}\",\
             \"size\":{}}}]{more}}}",
            media_type::DOCKER_CONFIG,
            config.len(),
            media_type::DOCKER_LAYER,
            layer.len(),
        );
        self.manifest(kind, manifest.as_bytes())
    }

    /// Adds an image with the tag `masked` and one masked layer, and returns the layer.
    pub(crate) fn masked_image(&mut self) -> Digest {
        let digest = self.blob_entry(b"masked", Some("https://cdn.example.com/base/layer"));
        let config = self.blob(b"{}");
        let manifest = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"{kind}\",\"config\":{{\"mediaType\":\"{}\",\"digest\":\"{config}\",\
             \"size\":2}},\"layers\":[{{\"mediaType\":\"{}\",\"digest\":\"{digest}\",\"size\":6}}]}}",
            media_type::DOCKER_CONFIG,
            media_type::DOCKER_LAYER,
            kind = media_type::DOCKER_MANIFEST,
        );
        let manifest = self.manifest(media_type::DOCKER_MANIFEST, manifest.as_bytes());
        self.tag("masked", manifest);
        digest
    }

    /// Adds an index of manifests with their platforms.
    pub(crate) fn index(&mut self, kind: &str, children: &[(Digest, &str)]) -> Digest {
        let children: Vec<String> = children
            .iter()
            .map(|(digest, architecture)| {
                let entry = &self.extension.manifests[digest];
                format!(
                    "{{\"mediaType\":\"{}\",\"digest\":\"{digest}\",\"size\":{},\"platform\":\
                     {{\"os\":\"linux\",\"architecture\":\"{architecture}\"}}}}",
                    entry.media_type, entry.size
                )
            })
            .collect();
        let children = children.join(",");
        let manifest = format!("{{\"schemaVersion\":2,\"mediaType\":\"{kind}\",\"manifests\":[{children}]}}");
        self.manifest(kind, manifest.as_bytes())
    }

    pub(crate) fn manifest(&mut self, kind: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let entry = ManifestEntry {
            media_type: kind.to_owned(),
            size: bytes.len() as u64,
            platform: None,
            image: None,
        };
        self.extension.manifests.insert(digest, entry);
        self.manifest_bytes.insert(digest, bytes.to_owned());
        digest
    }

    /// What the document says beside Crane's keys.
    pub(crate) fn extension(&mut self) -> &mut V2Extension {
        &mut self.extension
    }

    /// Signs a manifest. The content is in Base64.
    pub(crate) fn sign(&mut self, digest: Digest, content: &str) {
        let signatures = self.extension.signatures.entry(digest).or_default();
        signatures.push(AtomicSignature::new(&format!("{digest}@{}", signatures.len()), content).unwrap());
    }

    pub(crate) fn tag(&mut self, tag: &str, digest: Digest) {
        self.extension.tags.insert(tag.parse().unwrap(), digest);
    }

    pub(crate) fn bytes(&self, digest: &Digest) -> &[u8] {
        self.manifest_bytes.get(digest).or_else(|| self.stored.get(digest)).unwrap()
    }

    pub(crate) fn manifest_digests(&self) -> impl Iterator<Item = &Digest> {
        self.manifest_bytes.keys()
    }

    pub(crate) fn document(&self, protected: bool) -> Vec<u8> {
        let content = Content::V2(V2Content::new(self.extension.clone(), |_| None));
        document(&self.name, protected, content)
    }
}

fn document(name: &RepositoryName, protected: bool, content: Content) -> Vec<u8> {
    let url = format!("https://bucket.example.com/{name}/");
    Document { repository: name.to_string(), name: name.clone(), url, protected, content }.to_bytes()
}

/// A document of version 2 to 4 as Pulp writes it.
pub(crate) fn pulp_document(name: &str, content: V2Content) -> Vec<u8> {
    document(&name.parse().unwrap(), false, Content::V2(content))
}

/// A version 1 document. Without `raas` it is as Pulp writes it.
pub(crate) fn v1_document(
    name: &str,
    tags: &[(&str, ImageId)],
    images: &[(ImageId, Option<&str>)],
    raas: bool,
) -> Vec<u8> {
    let entry = |location: &Option<&str>| V1ImageEntry {
        layer: Digest::of(b"layer"),
        size: 5,
        diff_id: Digest::of(b"layer"),
        blob: Digest::of(b"blob"),
        json: None,
        location: location.map(str::to_owned),
    };
    let extension =
        V1Extension { images: images.iter().map(|(id, location)| (*id, entry(location))).collect() };
    let content = V1Content {
        images: images.iter().map(|(id, _)| *id).collect(),
        tags: tags.iter().map(|(tag, id)| (tag.parse().unwrap(), *id)).collect(),
        raas: raas.then_some(extension),
    };
    document(&name.parse().unwrap(), false, Content::V1(content))
}

/// An image id of one repeated digit.
pub(crate) fn image_id(digit: char) -> ImageId {
    digit.to_string().repeat(64).parse().unwrap()
}

/// Stores the three files of a v1 image. The content of `layer` and `json` is their name.
pub(crate) fn store_v1(folders: &Folders, name: &str, id: ImageId) {
    let name: RepositoryName = name.parse().unwrap();
    for file in V1File::ALL {
        folders.store(&ObjectKey::V1(name.clone(), id, file), file.name().as_bytes());
    }
}

/// A server in a thread of its own. It stops when this is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Server {
    pub(crate) fn start(sites: impl SiteSource) -> Self {
        Self::start_with(sites, Options { poll: Duration::from_millis(50), ..Options::default() })
    }

    pub(crate) fn start_with(sites: impl SiteSource, options: Options) -> Self {
        let server = Self::start_unready(sites, options);
        // Every client finds all sites loaded.
        assert_eq!(server.get("/-/readyz").status, 200);
        server
    }

    /// Like [`start_with`](Self::start_with), but nothing may be loaded yet.
    pub(crate) fn start_unready(sites: impl SiteSource, options: Options) -> Self {
        let (stop, stopped) = oneshot::channel();
        let std_listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        std_listener.set_nonblocking(true).unwrap();
        let address = std_listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(std_listener).unwrap();
                serve(listener, sites, options, async { drop(stopped.await) }).await
            })
        });
        Self { address, stop: Some(stop), thread: Some(thread) }
    }

    /// Begins to stop the server.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits until the server has stopped.
    pub(crate) fn wait(&mut self) -> std::io::Result<()> {
        self.thread.take().unwrap().join().unwrap()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.address, method, path, headers)
    }

    /// Sends these bytes, and reads the answer to its end.
    pub(crate) fn send(&self, request: &[u8]) -> Answer {
        send(self.address, request)
    }
}

/// Sends a request on its own connection, with only these headers and `Host`.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("host: registry.example.com\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    send(address, format!("{head}\r\n").as_bytes())
}

fn send(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request).unwrap();
    // The server closes the connection after the answer.
    stream.shutdown(Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    Answer::parse(&bytes)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A parsed answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|line| line.split_once(':').unwrap())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} stands there once");
        value
    }

    /// All headers in order, except those that depend on the moment.
    pub(crate) fn all_headers(&self) -> Vec<(&str, &str)> {
        let told = self.headers.iter().filter(|(name, _)| name != "date");
        let mut all: Vec<_> = told.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all.sort_unstable();
        all
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Whether a condition becomes true within a second, which publishers may rely on.
pub(crate) fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Whether a condition becomes true within a while. The pause between two requests to a bucket grows with each error.
pub(crate) fn later(mut holds: impl FnMut() -> bool) -> bool {
    (0..20).any(|_| soon(&mut holds))
}
