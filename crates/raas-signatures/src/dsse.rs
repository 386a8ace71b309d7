//! Envelopes of DSSE: a document with signatures of it.
//!
//! Source: DSSE's envelope.md and protocol.md.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::invalid::{Invalid, signer};
use crate::{PublicKey, SigningKey, SigningKeyError};

/// The media type of an envelope.
pub const MEDIA_TYPE: &str = "application/vnd.dsse.envelope.v1+json";

/// The type of a statement of in-toto in an envelope.
pub const STATEMENT: &str = "application/vnd.in-toto+json";

/// The most signatures of an envelope that are looked at. cosign makes one.
const MAX_SIGNATURES: usize = 10;

/// An envelope.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    payload: String,
    /// The type of the payload.
    pub payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

impl Envelope {
    /// Signs a document of this type.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn sign(payload_type: &str, payload: &[u8], key: &SigningKey) -> Result<Self, SigningKeyError> {
        let sig = STANDARD.encode(key.sign(&encoding(payload_type, payload))?);
        Ok(Self {
            payload: STANDARD.encode(payload),
            payload_type: payload_type.to_owned(),
            signatures: vec![EnvelopeSignature { sig }],
        })
    }

    /// The document, and the key that signed it.
    ///
    /// # Errors
    /// None of the keys signed it.
    pub fn open<'k>(&self, keys: &'k [PublicKey]) -> Result<(Vec<u8>, &'k PublicKey), Invalid> {
        let payload = STANDARD.decode(&self.payload).map_err(|_| Invalid::Encoding)?;
        let message = encoding(&self.payload_type, &payload);
        let mut signed = Err(Invalid::Key);
        for signature in self.signatures.iter().take(MAX_SIGNATURES) {
            let signature = STANDARD.decode(&signature.sig).map_err(|_| Invalid::Encoding)?;
            signed = signed.or_else(|_| signer(keys, &message, &signature));
        }
        Ok((payload, signed?))
    }
}

/// What an envelope signs: the "pre-authentication encoding".
fn encoding(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    message.extend_from_slice(payload);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key_file::tests::key;

    #[test]
    fn the_encoding_is_that_of_the_specification() {
        // The example of DSSE's protocol.md.
        let encoded = encoding("http://example.com/HelloWorld", b"hello world");
        assert_eq!(encoded, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    #[test]
    fn an_envelope_opens_with_its_key_alone() {
        let key = key();
        let envelope = Envelope::sign(STATEMENT, b"{}", &key).unwrap();
        let json = serde_json::to_string(&envelope).unwrap();
        let read: Envelope = serde_json::from_str(&json).unwrap();
        let keys = [key.public_key().clone()];
        assert_eq!(read.open(&keys).unwrap(), (b"{}".to_vec(), &keys[0]));
        assert_eq!(read.open(&[]).unwrap_err(), Invalid::Key);
        let other = Envelope { payload_type: "text/plain".into(), ..read };
        assert_eq!(other.open(&keys).unwrap_err(), Invalid::Key, "the type is signed too");
    }
}
