//! Payloads in the format "simple signing", which cosign signs and podman, CRI-O and policy controllers check. In an atomic
//! signature, the same payload with another type is the content of a message of OpenPGP.
//!
//! Source: cosign, specs/SIGNATURE_SPEC.md; containers-signature(5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_types::{Digest, Utc};
use serde::{Deserialize, Serialize};

use crate::invalid::{Invalid, MAX_SIGNATURE, Verified, legible, same_digest, signer};
use crate::{PublicKey, SigningKey, SigningKeyError};

/// The longest payload. A usual one has 300 bytes.
pub const MAX_PAYLOAD: u64 = 64 * 1024;

/// The type of a payload that cosign and containers/image sign with such a key.
const KIND: &str = "cosign container image signature";

/// The type of a payload in an atomic signature.
const ATOMIC: &str = "atomic container signature";

/// A payload. podman rejects other keys in it, and so does raas.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    critical: Critical,
    /// The signer's own words. `null` if there are none.
    optional: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    docker_manifest_digest: String,
}

/// A signed payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPayload {
    /// The payload.
    pub payload: Vec<u8>,
    /// The signature in Base64.
    pub signature: String,
}

/// The payload that says: this manifest is the image of this name. The same bytes each time.
pub fn payload(reference: &str, image: &Digest) -> Vec<u8> {
    to_json(reference, image, KIND, None)
}

/// The payload of an atomic signature, with the program that makes it, and the time.
pub fn atomic_payload(reference: &str, image: &Digest, creator: &str, now: Utc) -> Vec<u8> {
    let optional = [("creator".to_owned(), creator.into()), ("timestamp".to_owned(), now.unix().into())];
    to_json(reference, image, ATOMIC, Some(optional.into_iter().collect()))
}

fn to_json(
    reference: &str,
    image: &Digest,
    kind: &str,
    optional: Option<serde_json::Map<String, serde_json::Value>>,
) -> Vec<u8> {
    let critical = Critical {
        identity: Identity { docker_reference: reference.to_owned() },
        image: Image { docker_manifest_digest: image.to_string() },
        kind: kind.to_owned(),
    };
    serde_json::to_vec(&Payload { critical, optional }).expect("all keys are strings")
}

/// Signs a payload.
///
/// # Errors
/// The system gives no random numbers.
pub fn sign(payload: Vec<u8>, key: &SigningKey) -> Result<SignedPayload, SigningKeyError> {
    let signature = STANDARD.encode(key.sign(&payload)?);
    Ok(SignedPayload { payload, signature })
}

/// Checks that one of the keys signed this payload, and that the payload is about this image. Nothing of the payload is
/// read before its signature is known to be good.
///
/// # Errors
/// The signature does not count.
pub fn verify(
    payload: &[u8],
    signature: &str,
    image: &Digest,
    keys: &[PublicKey],
) -> Result<Verified, Invalid> {
    if signature.len() > MAX_SIGNATURE {
        return Err(Invalid::Encoding);
    }
    let signature = STANDARD.decode(signature).map_err(|_| Invalid::Encoding)?;
    let key = signer(keys, payload, &signature)?;
    let reference = read_cosign(payload, image)?;
    Ok(Verified { key: key.clone(), reference: Some(reference) })
}

/// The name that a payload of cosign gives to this image. The caller has checked the signature.
///
/// # Errors
/// The payload is about something else.
pub fn read_cosign(payload: &[u8], image: &Digest) -> Result<String, Invalid> {
    read(payload, KIND, image)
}

/// The name that the payload of an atomic signature gives to this image. The caller has checked the signature.
///
/// # Errors
/// The payload is about something else.
pub fn read_atomic(payload: &[u8], image: &Digest) -> Result<String, Invalid> {
    read(payload, ATOMIC, image)
}

fn read(payload: &[u8], expected: &str, image: &Digest) -> Result<String, Invalid> {
    let payload: Payload =
        serde_json::from_slice(payload).map_err(|error| Invalid::Document(legible(&error.to_string())))?;
    let Critical { identity, image: signed, kind } = payload.critical;
    if kind != expected {
        return Err(Invalid::Kind(legible(&kind)));
    }
    same_digest(&signed.docker_manifest_digest, image)?;
    Ok(identity.docker_reference)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_file::tests::key;

    fn other_key() -> PublicKey {
        PublicKey::read_all(rcgen::KeyPair::generate().unwrap().public_key_pem().as_bytes())
            .unwrap()
            .remove(0)
    }

    #[test]
    fn the_payload_is_that_of_cosign() {
        let image = Digest::of(b"image");
        let expected = format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"r.example/app\"}},\"image\":{{\"docker-manifest-digest\":\"{image}\"}},\
             \"type\":\"cosign container image signature\"}},\"optional\":null}}"
        );
        assert_eq!(String::from_utf8(payload("r.example/app", &image)).unwrap(), expected);
    }

    #[test]
    fn a_signature_counts_for_its_image_and_its_key_alone() {
        let (image, key) = (Digest::of(b"image"), key());
        let trusted = [other_key(), key.public_key().clone()];
        let SignedPayload { payload, signature } = sign(payload("r.example/app", &image), &key).unwrap();
        let verified = verify(&payload, &signature, &image, &trusted).unwrap();
        assert_eq!(verified.reference.as_deref(), Some("r.example/app"));
        assert_eq!(&verified.key, key.public_key());

        let other = Digest::of(b"other");
        assert_eq!(
            verify(&payload, &signature, &other, &trusted).unwrap_err(),
            Invalid::Digest(image.to_string())
        );
        assert_eq!(verify(&payload, &signature, &image, &trusted[..1]).unwrap_err(), Invalid::Key);
        assert_eq!(verify(&payload, &signature, &image, &[]).unwrap_err(), Invalid::Key);
        let changed = String::from_utf8(payload.clone()).unwrap().replace("r.example", "e.example");
        assert_eq!(verify(changed.as_bytes(), &signature, &image, &trusted).unwrap_err(), Invalid::Key);
        for (signature, error) in [
            ("", Invalid::Key),
            ("?", Invalid::Encoding),
            ("AAAA", Invalid::Key),
            (&signature[1..], Invalid::Encoding),
            (&"A".repeat(MAX_SIGNATURE + 4), Invalid::Encoding),
        ] {
            assert_eq!(verify(&payload, signature, &image, &trusted).unwrap_err(), error, "{signature}");
        }
    }

    #[test]
    fn the_payload_of_an_atomic_signature_has_another_type() {
        let image = Digest::of(b"image");
        let atomic = atomic_payload("r.example/app:1", &image, "raas 1", Utc::from_unix(5));
        let expected = format!(
            "{{\"critical\":{{\"identity\":{{\"docker-reference\":\"r.example/app:1\"}},\"image\":{{\"docker-manifest-digest\":\"{image}\"}},\
             \"type\":\"atomic container signature\"}},\"optional\":{{\"creator\":\"raas 1\",\"timestamp\":5}}}}"
        );
        assert_eq!(String::from_utf8(atomic.clone()).unwrap(), expected);
        assert_eq!(read_atomic(&atomic, &image).unwrap(), "r.example/app:1");
        let other = Digest::of(b"other");
        assert_eq!(read_atomic(&atomic, &other), Err(Invalid::Digest(image.to_string())));
        let cosign = payload("r.example/app", &image);
        assert_eq!(read_atomic(&cosign, &image), Err(Invalid::Kind(KIND.into())));
        assert!(matches!(read_atomic(b"{}", &image), Err(Invalid::Document(_))));
    }

    #[test]
    fn a_signed_document_that_is_no_payload_does_not_count() {
        let (image, key) = (Digest::of(b"image"), key());
        let good = String::from_utf8(payload("r.example/app", &image)).unwrap();
        let check = |text: &str| {
            let signed = sign(text.as_bytes().to_vec(), &key).unwrap();
            verify(&signed.payload, &signed.signature, &image, &[key.public_key().clone()])
        };
        assert!(check(&good).is_ok());
        assert!(check(&good.replace("null", r#"{"creator":"someone","timestamp":1}"#)).is_ok());
        let kind = good.replace("cosign container image signature", "atomic container signature");
        assert_eq!(check(&kind).unwrap_err(), Invalid::Kind("atomic container signature".into()));
        for bad in [
            "",
            "{}",
            "null",
            &good.replace("\"optional\"", "\"other\""),
            &good.replace("\"type\"", "\"more\":1,\"type\""),
            &good.replace("\"image\":{", "\"image\":{\"docker-manifest-digest\":\"sha256:0\","),
            &format!("{good}{good}"),
            &"[".repeat(100_000),
        ] {
            assert!(matches!(check(bad).unwrap_err(), Invalid::Document(_)), "{bad:.200}");
        }
    }
}
