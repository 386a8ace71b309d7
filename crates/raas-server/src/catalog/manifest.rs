//! A manifest in memory.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderValue;
use raas_types::crane::{ImageFacts, ManifestEntry};
use raas_types::{Descriptor, Digest, Manifest as Understood, ManifestBody, Platform, media_type};

use super::Details;
use super::facts::{self, Facts};

/// A manifest. A server may hold a hundred thousand of them, so values that are cheap to compute are not stored.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) digest: Digest,
    bytes: Bytes,
    content_type: ContentType,
    /// The platform, if the document names it.
    pub(crate) platform: Option<Arc<str>>,
    /// What pages show.
    pub(crate) facts: Facts,
    /// What pages show of the image's config, if the document says it.
    pub(crate) details: Option<Box<Details>>,
    /// Of a manifest with a `subject`.
    referrer: Option<Box<Referrer>>,
}

/// What the referrers API says of a manifest with a `subject`.
#[derive(Debug)]
pub(crate) struct Referrer {
    /// The digest of the subject.
    pub(crate) subject: Digest,
    pub(crate) artifact_type: Option<Box<str>>,
    /// The descriptor of the manifest in JSON, with its artifact type and annotations.
    pub(crate) descriptor: Box<str>,
}

impl Manifest {
    /// Prepares the bytes of a manifest. The caller has verified that they have this digest and that `media_type` is
    /// well-formed.
    ///
    /// Bytes that raas cannot parse, such as another kind of artifact, are served too.
    pub(crate) fn new(digest: Digest, media_type: &str, platform: Option<&Platform>, bytes: Bytes) -> Self {
        let may = may_say_more(media_type, &bytes);
        let understood = may.then(|| Understood::parse(&bytes, Some(media_type)).ok()).flatten();
        let facts = match understood.as_ref().map(|understood| &understood.body) {
            Some(ManifestBody::Index { manifests }) => {
                Facts::of_index(understood.as_ref().and_then(Understood::amd64_child), manifests)
            }
            _ if media_type::is_image_manifest(media_type) => Facts::of_image(&bytes),
            _ => Facts::Unknown,
        };
        let referrer = understood.and_then(|u| referrer(u, digest, bytes.len() as u64)).map(Box::new);
        let platform = platform.map(facts::platform);
        let content_type = ContentType::new(media_type);
        Self { digest, content_type, platform, facts, details: None, referrer, bytes }
    }

    /// About how many bytes of memory a manifest takes beside its own bytes.
    pub(super) fn cost(media_type: &str, bytes: &[u8]) -> u64 {
        let more = if may_say_more(media_type, bytes) { bytes.len() } else { 0 };
        (size_of::<Self>() + 2 * size_of::<usize>() + Facts::memory(bytes.len()) + more) as u64
    }

    /// Whether another document's entry would make the same manifest of these bytes.
    pub(super) fn is_same(&self, entry: &ManifestEntry) -> bool {
        self.media_type() == entry.media_type
            && self.platform == entry.platform.as_ref().map(facts::platform)
            && self.has_details_of(entry)
    }

    /// Whether an entry gives the details that this manifest has, or would have if there was memory for them.
    pub(super) fn has_details_of(&self, entry: &ManifestEntry) -> bool {
        match (&self.details, &entry.image) {
            (Some(own), Some(facts)) => **own == Details::new(facts),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Adds what the document says of the image's config.
    pub(super) fn with_details(self, facts: &ImageFacts) -> Self {
        Self { details: Some(Box::new(Details::new(facts))), ..self }
    }

    /// The manifest's own bytes.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The manifest's own bytes, to look at.
    pub(crate) fn slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The digest as `Docker-Content-Digest`, and in quotes as `ETag`.
    pub(crate) fn digest_headers(&self) -> (HeaderValue, HeaderValue) {
        digest_headers(&self.digest)
    }

    /// Of an index: the first linux/amd64 image, for clients that do not know indexes. A document's
    /// `manifest_list_amd64_tags` names the same one.
    pub(crate) fn amd64(&self) -> Option<Digest> {
        match &self.facts {
            Facts::Index(index) => index.amd64,
            _ => None,
        }
    }

    /// Of a manifest with a `subject`.
    pub(crate) fn referrer(&self) -> Option<&Referrer> {
        self.referrer.as_deref()
    }

    /// The media type as `Content-Type`.
    pub(crate) fn content_type(&self) -> HeaderValue {
        match &self.content_type {
            ContentType::Known(at) => KNOWN[usize::from(*at)].1.clone(),
            ContentType::Other(value) => HeaderValue::clone(value),
        }
    }

    pub(crate) fn media_type(&self) -> &str {
        match &self.content_type {
            ContentType::Known(at) => KNOWN[usize::from(*at)].0,
            ContentType::Other(value) => value.to_str().expect("a well-formed media type is visible ASCII"),
        }
    }

    pub(crate) fn is_index(&self) -> bool {
        media_type::is_index(self.media_type())
    }
}

/// Whether a manifest may be an index or may have a subject. Every other manifest is only summed up: parsing all of it
/// would take most of the time to load a large registry.
fn may_say_more(media_type: &str, bytes: &[u8]) -> bool {
    // A backslash may hide the key `subject`.
    let subject = || memchr::memmem::find(bytes, b"subject").is_some();
    !media_type::is_image_manifest(media_type) || memchr::memchr(b'\\', bytes).is_some() || subject()
}

/// A digest as `Docker-Content-Digest` and as `ETag`. Both share one text.
pub(crate) fn digest_headers(digest: &Digest) -> (HeaderValue, HeaderValue) {
    let quoted = Bytes::from(["\"", digest.text(&mut [0; Digest::LENGTH]), "\""].concat());
    (visible(quoted.slice(1..quoted.len() - 1)), visible(quoted))
}

/// A digest as `Docker-Content-Digest`.
pub(crate) fn digest_header(digest: &Digest) -> HeaderValue {
    visible(Bytes::from(digest.text(&mut [0; Digest::LENGTH]).to_owned()))
}

fn visible(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("a digest and its quotes are visible ASCII")
}

/// A media type. It is stored in few bytes because every manifest has one.
#[derive(Debug)]
enum ContentType {
    /// The index in [`KNOWN`].
    Known(u8),
    Other(Box<HeaderValue>),
}

/// The types of nearly all manifests.
static KNOWN: [(&str, HeaderValue); 4] = [
    (media_type::OCI_INDEX, HeaderValue::from_static(media_type::OCI_INDEX)),
    (media_type::OCI_MANIFEST, HeaderValue::from_static(media_type::OCI_MANIFEST)),
    (media_type::DOCKER_LIST, HeaderValue::from_static(media_type::DOCKER_LIST)),
    (media_type::DOCKER_MANIFEST, HeaderValue::from_static(media_type::DOCKER_MANIFEST)),
];

impl ContentType {
    fn new(media_type: &str) -> Self {
        match KNOWN.iter().position(|(known, _)| *known == media_type) {
            Some(at) => Self::Known(at as u8),
            None => {
                let value = HeaderValue::from_str(media_type);
                Self::Other(Box::new(value.expect("a well-formed media type is visible ASCII")))
            }
        }
    }
}

/// The descriptor has the manifest's media type, digest, size, artifact type (or the media type of its config) and
/// annotations.
///
/// Source: OCI distribution-spec 1.1, "Listing Referrers".
fn referrer(manifest: Understood, digest: Digest, size: u64) -> Option<Referrer> {
    let subject = manifest.subject?.digest;
    let descriptor = Descriptor {
        media_type: manifest.media_type,
        digest,
        size,
        urls: Vec::new(),
        data: None,
        platform: None,
        annotations: manifest.annotations,
        artifact_type: manifest.artifact_type,
    };
    let text = serde_json::to_string(&descriptor).expect("texts and maps of texts have a JSON form");
    let artifact_type = descriptor.artifact_type.map(String::into_boxed_str);
    Some(Referrer { subject, artifact_type, descriptor: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_found_even_if_its_key_is_escaped() {
        let digest = Digest::of(b"");
        let part = format!(r#"{{"mediaType":"application/x","digest":"{digest}","size":0}}"#);
        let image = |more: &str| format!(r#"{{"schemaVersion":2,"config":{part},"layers":[]{more}}}"#);
        let table = [
            (String::new(), false),
            (format!(r#","subject":{part}"#), true),
            (format!(r#","sub\u006aect":{part}"#), true),
        ];
        for (more, attached) in table {
            let bytes = image(&more);
            let digest = Digest::of(bytes.as_bytes());
            let manifest = Manifest::new(digest, media_type::OCI_MANIFEST, None, bytes.clone().into());
            assert_eq!(manifest.referrer().is_some(), attached, "{more}");
            assert_eq!((manifest.bytes().as_ref(), manifest.len()), (bytes.as_bytes(), bytes.len()));
            let (plain, etag) = manifest.digest_headers();
            assert_eq!(etag.as_bytes(), format!("\"{}\"", plain.to_str().unwrap()).as_bytes());
        }
    }
}
