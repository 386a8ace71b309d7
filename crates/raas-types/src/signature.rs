//! Atomic signatures: detached OpenPGP messages about an image, which podman, skopeo and CRI-O verify.
//!
//! Source: containers-signature(5); the extension API of OpenShift's and Pulp's registries; the layout of lookaside storages
//! in containers-registries.d(5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::Digest;

/// A signature of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct AtomicSignature {
    name: String,
    content: String,
}

#[derive(Deserialize)]
struct Unchecked {
    name: String,
    content: String,
}

/// Why something is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The name has other characters, or too many.
    #[error("the name of a signature is not at most 200 visible ASCII characters")]
    Name,
    /// The content is no Base64, is empty, or is too long.
    #[error("the content of a signature is not at most {} bytes in Base64", AtomicSignature::MAX_SIZE)]
    Content,
}

impl AtomicSignature {
    /// The longest signature in bytes. A usual one has 600.
    pub const MAX_SIZE: usize = 64 * 1024;

    /// The most signatures of one manifest. Source: containers/image, `maxLookasideSignatures`.
    pub const MAX_COUNT: usize = 128;

    /// A signature by its name at the registry, and its content in Base64.
    ///
    /// # Errors
    /// The name or the content is none.
    pub fn new(name: &str, content: &str) -> Result<Self, SignatureError> {
        if name.is_empty() || name.len() > 200 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SignatureError::Name);
        }
        let is_short = content.len() <= Self::MAX_SIZE / 3 * 4 + 4;
        match STANDARD.decode(content).ok().filter(|bytes| is_short && !bytes.is_empty()) {
            Some(_) => Ok(Self { name: name.to_owned(), content: content.to_owned() }),
            None => Err(SignatureError::Content),
        }
    }

    /// A signature of a manifest by its bytes alone. Equal bytes have equal names.
    ///
    /// # Errors
    /// The bytes are none, or too many.
    pub fn of_bytes(manifest: &Digest, bytes: &[u8]) -> Result<Self, SignatureError> {
        let name = format!("{manifest}@{}", &Digest::of(bytes).hex()[..32]);
        Self::new(&name, &STANDARD.encode(bytes))
    }

    /// The bytes, as a file of a lookaside storage has them.
    pub fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.content).expect("the content was decoded before")
    }

    /// Whether two signatures have the same bytes.
    pub fn is_same(&self, other: &Self) -> bool {
        self.content == other.content
    }

    /// The answer of the extension API for a manifest with these signatures.
    pub fn list(signatures: &[Self], subject: &Digest) -> Vec<u8> {
        #[derive(Serialize)]
        struct List<'a> {
            signatures: Vec<ListedSignature<'a>>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ListedSignature<'a> {
            schema_version: u8,
            #[serde(rename = "type")]
            kind: &'a str,
            name: String,
            content: &'a str,
        }
        let listed = |signature: &'_ Self| {
            // The part behind `@` tells signatures of one manifest apart.
            let own = signature.name.rsplit('@').next().unwrap_or_default();
            format!("{subject}@{own}")
        };
        let signatures = signatures
            .iter()
            .map(|signature| ListedSignature {
                schema_version: 2,
                kind: "atomic",
                name: listed(signature),
                content: &signature.content,
            })
            .collect();
        serde_json::to_vec(&List { signatures }).expect("signatures are text")
    }
}

impl TryFrom<Unchecked> for AtomicSignature {
    type Error = SignatureError;

    fn try_from(Unchecked { name, content }: Unchecked) -> Result<Self, SignatureError> {
        Self::new(&name, &content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_a_name_and_content_in_base64() {
        let digest = Digest::of(b"x");
        let signature = AtomicSignature::new(&format!("{digest}@abc"), "b3dH").unwrap();
        assert_eq!(signature.bytes(), b"owG");
        let list =
            String::from_utf8(AtomicSignature::list(std::slice::from_ref(&signature), &digest)).unwrap();
        assert_eq!(
            list,
            format!(
                r#"{{"signatures":[{{"schemaVersion":2,"type":"atomic","name":"{digest}@abc","content":"b3dH"}}]}}"#
            )
        );
        let written = serde_json::to_string(&signature).unwrap();
        assert_eq!(serde_json::from_str::<AtomicSignature>(&written).unwrap(), signature);
        let again = AtomicSignature::of_bytes(&digest, b"owG").unwrap();
        assert!(again.is_same(&signature) && again.bytes() == b"owG");
        assert!(AtomicSignature::of_bytes(&digest, b"").is_err());
        let long = "A".repeat(AtomicSignature::MAX_SIZE * 4 / 3 + 8);
        for (name, content) in
            [("", "b3dH"), ("a b", "b3dH"), ("a", ""), ("a", "b3d"), ("a", "?"), ("a", &long)]
        {
            assert!(AtomicSignature::new(name, content).is_err(), "{name}: {content:.9}");
        }
        assert!(serde_json::from_str::<AtomicSignature>(r#"{"name":"a","content":"?"}"#).is_err());
    }
}
