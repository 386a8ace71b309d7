//! A manifest, ready to be answered.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderValue;
use raas_types::{Descriptor, Digest, Manifest as Understood, Platform, media_type};

/// A manifest. There may be a hundred thousand of them in memory, so what is made in no time is not kept.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) digest: Digest,
    bytes: Bytes,
    content_type: ContentType,
    /// What it runs on, where the document says.
    pub(crate) platform: Option<Arc<str>>,
    /// What few manifests have.
    more: Option<Box<More>>,
}

#[derive(Debug)]
struct More {
    /// For an index: the manifest for clients that know no indexes.
    amd64: Option<Digest>,
    /// For a manifest that is attached to another.
    referrer: Option<Referrer>,
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
        let may = may_say_more(media_type, &bytes);
        let understood = may.then(|| Understood::parse(&bytes, Some(media_type)).ok()).flatten();
        let amd64 = understood.as_ref().and_then(Understood::amd64_child);
        let referrer = understood.and_then(|u| referrer(u, digest, bytes.len() as u64));
        let more = amd64.is_some() || referrer.is_some();
        Self {
            content_type: ContentType::new(media_type),
            platform: platform.map(shared),
            more: more.then(|| Box::new(More { amd64, referrer })),
            digest,
            bytes,
        }
    }

    /// The manifest's own bytes.
    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The digest as `Docker-Content-Digest`, and in quotes as `ETag`.
    pub(crate) fn digest_headers(&self) -> (HeaderValue, HeaderValue) {
        digest_headers(&self.digest)
    }

    /// For an index: the manifest for clients that know no indexes, the first linux/amd64 image, which is what a
    /// document's `manifest_list_amd64_tags` names too.
    pub(crate) fn amd64(&self) -> Option<Digest> {
        self.more.as_ref()?.amd64
    }

    /// For a manifest that is attached to another.
    pub(crate) fn referrer(&self) -> Option<&Referrer> {
        self.more.as_ref()?.referrer.as_ref()
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

/// Whether there may be more to know of a manifest than its bytes. Of an image that is attached to nothing there is
/// not, and reading nearly all of a large registry's manifests as JSON is most of what loading it takes.
fn may_say_more(media_type: &str, bytes: &[u8]) -> bool {
    // A key with a backslash may be any key.
    let subject = |bytes: &[u8]| bytes.windows(7).any(|word| word == b"subject");
    !media_type::is_image_manifest(media_type) || bytes.contains(&b'\\') || subject(bytes)
}

/// A digest as `Docker-Content-Digest` and as `ETag`; both share one text.
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

/// A platform's text; nearly all images have one of two, and those exist once for each thread that loads.
fn shared(platform: &Platform) -> Arc<str> {
    thread_local! {
        static KNOWN: [Arc<str>; 2] = ["linux/amd64".into(), "linux/arm64".into()];
    }
    let text = platform.to_string();
    KNOWN.with(|known| {
        let found = known.iter().find(|known| ***known == *text);
        found.map_or_else(|| text.as_str().into(), Arc::clone)
    })
}

/// A media type, in as little memory as can be: there are as many as there are manifests.
#[derive(Debug)]
enum ContentType {
    /// Where it is in [`KNOWN`].
    Known(u8),
    Other(Box<HeaderValue>),
}

/// The types that nearly all manifests have.
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

/// Source: OCI distribution-spec 1.1, "Listing Referrers": the descriptor has the manifest's media type, digest,
/// size, artifact type (or the config's media type) and annotations.
fn referrer(manifest: Understood, digest: Digest, size: u64) -> Option<Referrer> {
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
    Some(Referrer { subject: manifest.subject?.digest, descriptor })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_attached_is_found_however_it_is_written() {
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
