//! What must hold for any bytes that reach raas from outside. Each target is a plain function that panics if it does not:
//! libFuzzer calls it with instruments that see what the bytes reach, and `mutate` without any.

use raas_types::crane::Document;
use raas_types::{
    Digest, HostName, ImageId, ImageReference, Manifest, ObjectKey, Platform, Pointer, RepositoryName,
    RepositoryPattern, Tag, Utc, VendorName,
};

mod archive;
mod bundle;
mod server;
mod source;
mod token;

pub use archive::{archive, members, records};
pub use bundle::{bundle, bundles};
pub use server::request;
pub use source::{BETWEEN, source};
pub use token::token;

/// A document, a manifest or a pointer: what reads survives writing, and is then the same for ever.
pub fn document(bytes: &[u8]) {
    if let Ok(document) = Document::parse(bytes) {
        let written = document.to_bytes();
        let again = Document::parse(&written).expect("what was written reads");
        assert_eq!(again, document);
        assert_eq!(again.to_bytes(), written);
    }
    if let Ok(pointer) = Pointer::parse(bytes) {
        assert!(pointer.size() <= Pointer::MAX_SNAPSHOT);
        assert_eq!(Pointer::parse(&pointer.to_bytes()).expect("what was written reads"), pointer);
    }
    if let Ok(manifest) = Manifest::parse(bytes, None) {
        assert!(
            manifest.children().is_empty() || manifest.blobs().next().is_none(),
            "it is one or the other"
        );
    }
}

/// Names, tags, digests, times: what reads is written as it was, and no key of it leaves its folder.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = text.parse::<RepositoryName>() {
        assert_eq!(name.as_str(), text);
        let key = ObjectKey::Blob(name, Digest::of(b"")).to_string();
        assert!(!key.split('/').any(|part| matches!(part, "" | "." | "..")), "{key}");
        assert!(key.bytes().all(|byte| byte.is_ascii_graphic()), "{key}");
    }
    if let Ok(vendor) = text.parse::<VendorName>() {
        assert_eq!(vendor.as_str(), text);
        assert!(!text.contains(['/', '.']));
    }
    if let Ok(pattern) = text.parse::<RepositoryPattern>() {
        assert_eq!(pattern.to_string(), text);
    }
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string(), text);
    }
    if let Ok(host) = text.parse::<HostName>() {
        assert_eq!(host.as_str().parse::<HostName>().expect("a host name reads again"), host);
    }
    if let Ok(image) = text.parse::<ImageReference>() {
        assert_eq!(image.to_string().parse::<ImageReference>().expect("a reference reads again"), image);
    }
    if let Ok(tag) = text.parse::<Tag>() {
        assert_eq!(tag.as_str(), text);
        assert!(!text.contains('/') && !text.starts_with('.'));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(id) = text.parse::<ImageId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Some(time) = Utc::parse(text) {
        assert_eq!(time.to_string(), text);
        assert_eq!(Utc::from_unix(time.unix()), time);
    }
}
