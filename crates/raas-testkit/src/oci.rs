//! OCI image layouts.

use std::collections::BTreeMap;

use raas_types::{Descriptor, Digest, Platform, media_type};
use serde_json::{Value, json};

use crate::Files;
use crate::layers::{Pack, layer};

/// The annotation that tags a manifest in a layout.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with the whole reference, which containerd and docker write.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// A layer in a layout.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Its descriptor in manifests.
    pub descriptor: Descriptor,
    /// Digest of the plain tar.
    pub diff_id: Digest,
}

/// An OCI image layout under construction.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    blobs: BTreeMap<Digest, Vec<u8>>,
    roots: Vec<Descriptor>,
}

/// A descriptor without optional keys.
pub fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        urls: Vec::new(),
        data: None,
        platform: None,
        annotations: None,
        artifact_type: None,
    }
}

/// The path of a blob in a layout.
pub fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl Layout {
    /// A layout without images.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a blob.
    pub fn blob(&mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Descriptor {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        let size = bytes.len() as u64;
        self.blobs.insert(digest, bytes);
        descriptor(media_type, digest, size)
    }

    /// Adds a document.
    pub fn document(&mut self, media_type: &str, document: &Value) -> Descriptor {
        self.blob(media_type, document.to_string())
    }

    /// A layer of these files.
    pub fn layer(&mut self, files: &[(&str, &[u8])], pack: Pack) -> Layer {
        let plain = layer(files);
        let descriptor = self.blob(pack.media_type(), pack.apply(&plain));
        Layer { descriptor, diff_id: Digest::of(&plain) }
    }

    /// Adds an image for linux with these layers.
    pub fn image(&mut self, architecture: &str, layers: &[Layer]) -> Descriptor {
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/run"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.document(media_type::OCI_CONFIG, &config);
        let layers: Vec<&Descriptor> = layers.iter().map(|layer| &layer.descriptor).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": layers,
        });
        let mut image = self.document(media_type::OCI_MANIFEST, &manifest);
        image.platform = Some(Platform {
            architecture: architecture.to_owned(),
            os: "linux".to_owned(),
            variant: None,
            os_version: None,
        });
        image
    }

    /// Adds an amd64 image of one gzipped layer with one file of this content.
    pub fn simple_image(&mut self, content: &str) -> Descriptor {
        let layer = self.layer(&[("content", content.as_bytes())], Pack::Gzip);
        self.image("amd64", &[layer])
    }

    /// Adds an index of these manifests.
    pub fn index(&mut self, children: &[Descriptor]) -> Descriptor {
        let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": children});
        self.document(media_type::OCI_INDEX, &index)
    }

    /// Adds an artifact with this subject: a signature, an SBOM.
    pub fn artifact(&mut self, subject: &Descriptor, artifact_type: &str, content: &[u8]) -> Descriptor {
        let config = self.blob("application/vnd.oci.empty.v1+json", "{}");
        let content = self.blob("application/octet-stream", content);
        let subject = descriptor(&subject.media_type, subject.digest, subject.size);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": artifact_type,
            "config": config, "layers": [content], "subject": subject,
        });
        self.document(media_type::OCI_MANIFEST, &manifest)
    }

    /// Adds and tags a signature in cosign's older form: an image whose tag is made of the signed digest.
    pub fn cosign_signature(&mut self, signed: &Descriptor) -> Descriptor {
        let config = self.blob("application/vnd.oci.image.config.v1+json", r#"{"architecture":"","os":""}"#);
        let payload = json!({"critical": {"image": {"docker-manifest-digest": signed.digest}}});
        let payload = self.document("application/vnd.dev.cosign.simplesigning.v1+json", &payload);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [payload],
        });
        let signature = self.document(media_type::OCI_MANIFEST, &manifest);
        self.tag(&signature, &format!("sha256-{}.sig", signed.digest.hex()));
        signature
    }

    /// Lists a manifest in `index.json` with a tag, which need not be valid.
    pub fn tag(&mut self, manifest: &Descriptor, tag: &str) {
        self.root(manifest, [(REF_NAME, tag)]);
    }

    /// Removes all manifests from `index.json`; the blobs stay.
    pub fn untag(&mut self) {
        self.roots.clear();
    }

    /// Lists a manifest in `index.json` without a tag.
    pub fn untagged(&mut self, manifest: &Descriptor) {
        self.roots.push(manifest.clone());
    }

    /// Lists a manifest in `index.json` with these annotations.
    pub fn root<'a>(&mut self, manifest: &Descriptor, with: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let annotations = with.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.roots.push(Descriptor { annotations: Some(annotations), ..manifest.clone() });
    }

    /// The bytes of a blob.
    pub fn bytes(&self, digest: &Digest) -> &[u8] {
        &self.blobs[digest]
    }

    /// All blobs, manifests included.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, &[u8])> {
        self.blobs.iter().map(|(digest, bytes)| (*digest, bytes.as_slice()))
    }

    /// Replaces the bytes of a blob, which then have another digest.
    pub fn falsify(&mut self, digest: &Digest, bytes: impl Into<Vec<u8>>) {
        self.blobs.insert(*digest, bytes.into()).expect("the blob was there");
    }

    /// Removes a blob.
    pub fn remove(&mut self, digest: &Digest) {
        self.blobs.remove(digest).expect("the blob was there");
    }

    /// The files of the layout, for a tar or a folder.
    pub fn files(&self) -> Files {
        let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": self.roots});
        let mut files = Files::new();
        files.set("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#).set("index.json", index.to_string());
        for (digest, bytes) in &self.blobs {
            files.set(blob_name(digest), bytes.clone());
        }
        files
    }

    /// The layout as a tar.
    pub fn tar(&self) -> Vec<u8> {
        self.files().tar()
    }
}
