//! A manifest, ready to be answered.

use bytes::Bytes;
use hyper::header::HeaderValue;
use raas_types::{Descriptor, Digest, Manifest as Understood, Platform, media_type};

/// A manifest with the headers that it is answered with; cloning those copies no bytes.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) digest: Digest,
    pub(crate) bytes: Bytes,
    pub(crate) content_type: HeaderValue,
    pub(crate) content_length: HeaderValue,
    /// The digest as text.
    pub(crate) digest_header: HeaderValue,
    /// The digest in quotes; it shares its text with `digest_header`.
    pub(crate) etag: HeaderValue,
    /// What it runs on, where the document says.
    pub(crate) platform: Option<Box<str>>,
    /// For an index: the manifest for clients that know no indexes.
    pub(crate) amd64: Option<Digest>,
    /// For a manifest that is attached to another.
    pub(crate) referrer: Option<Box<Referrer>>,
}

/// What the referrers API tells of a manifest that is attached to another.
#[derive(Debug)]
pub(crate) struct Referrer {
    /// What it is attached to.
    pub(crate) subject: Digest,
    /// What it is, with its artifact type and annotations.
    pub(crate) descriptor: Descriptor,
}

impl Manifest {
    /// Prepares bytes that have this digest. `media_type` is well-formed.
    ///
    /// Bytes that are no manifest that raas understands (another kind of artifact) are served all the same.
    pub(crate) fn new(digest: Digest, media_type: &str, platform: Option<&Platform>, bytes: Bytes) -> Self {
        let understood = Understood::parse(&bytes, Some(media_type)).ok();
        let (digest_header, etag) = digest_headers(&digest);
        Self {
            content_type: content_type(media_type),
            content_length: bytes.len().into(),
            digest_header,
            etag,
            platform: platform.map(|platform| platform.to_string().into()),
            amd64: understood.as_ref().and_then(amd64),
            referrer: understood.and_then(|u| referrer(u, digest, bytes.len() as u64)).map(Box::new),
            digest,
            bytes,
        }
    }

    pub(crate) fn media_type(&self) -> &str {
        self.content_type.to_str().expect("a well-formed media type is visible ASCII")
    }

    pub(crate) fn is_index(&self) -> bool {
        media_type::is_index(self.media_type())
    }
}

/// A digest as `Docker-Content-Digest` and as `ETag`; both share one text.
pub(crate) fn digest_headers(digest: &Digest) -> (HeaderValue, HeaderValue) {
    let quoted = Bytes::from(format!("\"{digest}\""));
    let plain = quoted.slice(1..quoted.len() - 1);
    let visible = "a digest and its quotes are visible ASCII";
    let header = |text| HeaderValue::from_maybe_shared(text).expect(visible);
    (header(plain), header(quoted))
}

fn content_type(media_type: &str) -> HeaderValue {
    // The types that nearly all manifests have need no memory of their own.
    [media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_LIST, media_type::DOCKER_MANIFEST]
        .into_iter()
        .find(|known| *known == media_type)
        .map_or_else(
            || HeaderValue::from_str(media_type).expect("a well-formed media type is visible ASCII"),
            HeaderValue::from_static,
        )
}

/// The first linux/amd64 image of an index, which is what a document's `manifest_list_amd64_tags` names too.
fn amd64(manifest: &Understood) -> Option<Digest> {
    let child = manifest.children().iter().find(|child| {
        media_type::is_image_manifest(&child.media_type)
            && child.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == "amd64")
    })?;
    Some(child.digest)
}

/// Source: OCI distribution-spec 1.1, "Listing Referrers": the descriptor has the manifest's media type, digest,
/// size, artifact type (or the config's media type) and annotations.
fn referrer(manifest: Understood, digest: Digest, size: u64) -> Option<Referrer> {
    let descriptor = Descriptor {
        media_type: manifest.media_type,
        digest,
        size,
        urls: Vec::new(),
        platform: None,
        annotations: manifest.annotations,
        artifact_type: manifest.artifact_type,
    };
    Some(Referrer { subject: manifest.subject?.digest, descriptor })
}
