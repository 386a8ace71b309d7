//! Parses a signed token.
//!
//! Source: RFC 7515 (JWS), section 7.1, and RFC 7519 (JWT).

use serde::Deserialize;

use super::super::decode;

/// The longest token, in bytes. A longer one does not fit into the head of a request.
const MAX_LENGTH: usize = 32 * 1024;

/// A token whose signature is not verified yet.
pub(super) struct Jwt<'a> {
    pub(super) header: Header,
    /// The claims, as JSON.
    pub(super) claims: Vec<u8>,
    /// The bytes that are signed.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// The header fields that raas uses.
#[derive(Debug, Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    /// The certificate chain, the certificate of the signing key first. Each is base64 of DER.
    #[serde(default, deserialize_with = "raas_types::null_as_default")]
    pub(super) x5c: Vec<String>,
    /// Extensions that must be understood. raas knows none.
    crit: Option<serde_json::Value>,
}

impl<'a> Jwt<'a> {
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MAX_LENGTH {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let jwt = Self {
            header,
            claims: decode(claims)?,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
        };
        jwt.header.crit.is_none().then_some(jwt)
    }
}
