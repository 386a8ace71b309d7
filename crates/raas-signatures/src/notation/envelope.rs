//! The envelope in JSON: a JWS with one signature.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use raas_types::Utc;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use super::time;
use crate::invalid::{Invalid, legible};

/// The type of the payload.
const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";

/// The scheme by which the signer's certificate is trusted. The other scheme, `notary.x509.signingAuthority`, has a list of
/// trusted certificates of its own.
const SCHEME: &str = "notary.x509";

/// The headers that a verifier must understand.
const SCHEME_HEADER: &str = "io.cncf.notary.signingScheme";
const EXPIRY_HEADER: &str = "io.cncf.notary.expiry";

/// The most certificates of a chain.
const MAX_CHAIN: usize = 10;

#[derive(Deserialize)]
struct Jws {
    payload: String,
    protected: String,
    header: Unprotected,
    signature: String,
}

#[derive(Deserialize)]
struct Unprotected {
    x5c: Vec<String>,
}

#[derive(Deserialize)]
struct Protected {
    alg: String,
    cty: String,
    #[serde(default)]
    crit: Vec<String>,
    #[serde(rename = "io.cncf.notary.signingScheme")]
    scheme: String,
    #[serde(rename = "io.cncf.notary.signingTime")]
    signed_at: Option<String>,
    #[serde(rename = "io.cncf.notary.expiry")]
    expiry: Option<String>,
}

/// An envelope whose headers are those of a signature that raas understands.
pub(super) struct Envelope {
    pub(super) payload: Vec<u8>,
    /// The bytes that are signed: the protected header and the payload as they stand in the envelope.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
    /// The certificates: that of the signer first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    protected: Protected,
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    /// It is none, or it has a header that raas does not understand and must.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        let json = |error: serde_json::Error| Invalid::Document(legible(&error.to_string()));
        let bytes_of = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| Invalid::Base64);
        let jws: Jws = serde_json::from_slice(bytes).map_err(json)?;
        let protected: Protected = serde_json::from_slice(&bytes_of(&jws.protected)?).map_err(json)?;
        protected.check()?;
        if jws.header.x5c.is_empty() || jws.header.x5c.len() > MAX_CHAIN {
            return Err(Invalid::Certificate(format!("it has not 1 to {MAX_CHAIN} certificates")));
        }
        let certificate = |text: &String| STANDARD.decode(text).map(CertificateDer::from);
        let chain: Result<Vec<_>, _> = jws.header.x5c.iter().map(certificate).collect();
        Ok(Self {
            payload: bytes_of(&jws.payload)?,
            signed: format!("{}.{}", jws.protected, jws.payload).into_bytes(),
            signature: bytes_of(&jws.signature)?,
            chain: chain.map_err(|_| Invalid::Base64)?,
            protected,
        })
    }

    /// The algorithm that the header names.
    pub(super) fn algorithm(&self) -> &str {
        &self.protected.alg
    }

    /// When the signer says to have signed.
    pub(super) fn signed_at(&self) -> Result<Utc, Invalid> {
        let text = self.protected.signed_at.as_deref();
        let text = text.ok_or_else(|| Invalid::Header("it has no signing time".into()))?;
        time::parse(text).ok_or_else(|| Invalid::Header(format!("`{}` is no time", legible(text))))
    }

    /// When the signature ends to count, if it does.
    pub(super) fn expiry(&self) -> Result<Option<Utc>, Invalid> {
        let Some(text) = &self.protected.expiry else { return Ok(None) };
        let time = time::parse(text);
        time.map(Some).ok_or_else(|| Invalid::Header(format!("`{}` is no time", legible(text))))
    }
}

impl Protected {
    /// Source: signature-envelope-jws.md, "Protected Headers"; RFC 7515, section 4.1.11.
    fn check(&self) -> Result<(), Invalid> {
        if self.cty != PAYLOAD {
            return Err(Invalid::Kind(legible(&self.cty)));
        }
        if self.scheme != SCHEME {
            let scheme = legible(&self.scheme);
            return Err(Invalid::Header(format!("raas does not check the signing scheme `{scheme}`")));
        }
        let known = |name: &&String| [SCHEME_HEADER, EXPIRY_HEADER].contains(&name.as_str());
        if let Some(unknown) = self.crit.iter().find(|name| !known(name)) {
            let unknown = legible(unknown);
            return Err(Invalid::Header(format!("raas must understand `{unknown}`, and does not")));
        }
        let is_critical = |name: &str| self.crit.iter().any(|one| one == name);
        if !is_critical(SCHEME_HEADER) || is_critical(EXPIRY_HEADER) != self.expiry.is_some() {
            return Err(Invalid::Header("its `crit` does not list the headers that it must".into()));
        }
        Ok(())
    }
}
