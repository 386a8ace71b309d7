//! The public keys of an issuer, and the verification of signatures.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject as _, SectionKind};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{self, Decode as _, Reader as _, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::super::{decode, encode};
use super::jwt::Jwt;

/// Source: RFC 8017, RFC 5480, RFC 8410.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The longest certificate chain that a token may have.
const MAX_CHAIN: usize = 5;

/// The keys of a file.
#[derive(Debug)]
pub(super) struct Keys {
    by_id: HashMap<String, PublicKey>,
    /// The certificates that chains must lead to.
    roots: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

/// A public key. Its kind decides the algorithms that it verifies; the `alg` of a token is only compared with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// The uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key of a JSON Web Key Set. Source: RFC 7517, RFC 7518 section 6, RFC 8037.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

impl Keys {
    /// Parses a JSON Web Key Set, or a PEM file with certificates and public keys.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut keys = Self { by_id: HashMap::new(), roots: Vec::new(), anchors: Vec::new() };
        if bytes.trim_ascii_start().starts_with(b"{") {
            let set: JwkSet =
                serde_json::from_slice(bytes).map_err(|e| format!("not a JSON Web Key Set: {e}"))?;
            for jwk in set.keys.into_iter().filter(|jwk| jwk.r#use.as_deref() != Some("enc")) {
                // A key that cannot verify signatures here, such as a secret key, is ignored.
                let Some(key) = jwk.key() else { continue };
                keys.by_id.insert(jwk.kid.unwrap_or_else(|| key.thumbprint()), key);
            }
        } else {
            keys.read_pem(bytes)?;
        }
        if keys.by_id.is_empty() {
            return Err(
                "the file has no usable key: expected a JSON Web Key Set or PEM with an RSA, P-256, P-384 or Ed25519 key"
                    .into(),
            );
        }
        Ok(keys)
    }

    fn read_pem(&mut self, bytes: &[u8]) -> Result<(), String> {
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
            let (kind, der) = section.map_err(|error: pem::Error| format!("the file is not PEM: {error}"))?;
            let spki = match kind {
                SectionKind::PublicKey => der,
                SectionKind::Certificate => {
                    let certificate = CertificateDer::from(der);
                    let wrong = |error| format!("cannot use a certificate: {error}");
                    let anchor = anchor_from_trusted_cert(&certificate).map_err(wrong)?.to_owned();
                    let spki = EndEntityCert::try_from(&certificate).map_err(wrong)?;
                    let spki = spki.subject_public_key_info().to_vec();
                    self.anchors.push(anchor);
                    self.roots.push(certificate);
                    spki
                }
                _ => continue,
            };
            if let Some(key) = PublicKey::from_spki(&spki) {
                // Current distribution identifies a key by its thumbprint, older registries by its fingerprint.
                self.by_id.insert(fingerprint(&spki), key.clone());
                self.by_id.insert(key.thumbprint(), key);
            }
        }
        Ok(())
    }

    /// The issuer's key that a token claims to be signed by.
    pub(super) fn choose(&self, jwt: &Jwt<'_>, now: SystemTime) -> Option<PublicKey> {
        if !jwt.header.x5c.is_empty() {
            return self.certified(&jwt.header.x5c, now);
        }
        self.by_id.get(jwt.header.kid.as_ref()?).cloned()
    }

    /// The key of the first certificate, if the chain leads to a trusted certificate.
    fn certified(&self, chain: &[String], now: SystemTime) -> Option<PublicKey> {
        if chain.len() > MAX_CHAIN {
            return None;
        }
        let chain: Option<Vec<_>> =
            chain.iter().map(|text| STANDARD.decode(text).ok().map(CertificateDer::from)).collect();
        let chain = chain?;
        let (first, others) = chain.split_first()?;
        let certificate = EndEntityCert::try_from(first).ok()?;
        // The first certificate may be trusted itself, such as an issuer's self-signed one.
        if !self.roots.contains(first) {
            let since = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            let algorithms = default_provider().signature_verification_algorithms.all;
            let now = UnixTime::since_unix_epoch(since);
            certificate
                .verify_for_usage(algorithms, &self.anchors, others, now, AnyUsage, None, None)
                .ok()?;
        }
        PublicKey::from_spki(&certificate.subject_public_key_info())
    }
}

/// The specification requires no extended key usage of an issuer's certificates.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

impl Jwk {
    fn key(&self) -> Option<PublicKey> {
        let field = |field: &Option<String>| decode(field.as_deref()?);
        let point = |size: usize| {
            let (x, y) = (field(&self.x)?, field(&self.y)?);
            (x.len() == size && y.len() == size).then(|| [&[4], x.as_slice(), &y].concat())
        };
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => Some(PublicKey::rsa(&field(&self.n)?, &field(&self.e)?)),
            ("EC", Some("P-256")) => Some(PublicKey::P256(point(32)?)),
            ("EC", Some("P-384")) => Some(PublicKey::P384(point(48)?)),
            ("OKP", Some("Ed25519")) => field(&self.x).filter(|x| x.len() == 32).map(PublicKey::Ed25519),
            _ => None,
        }
    }
}

impl PublicKey {
    fn rsa(n: &[u8], e: &[u8]) -> Self {
        let bare = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
        PublicKey::Rsa { n: bare(n), e: bare(e) }
    }

    /// Source: RFC 5280, section 4.1.2.7.
    fn from_spki(der: &[u8]) -> Option<Self> {
        let info = SubjectPublicKeyInfoRef::try_from(der).ok()?;
        let key = info.subject_public_key.as_bytes()?;
        match (info.algorithm.oid, info.algorithm.parameters_oid().ok()) {
            (RSA, _) => {
                let numbers = |reader: &mut SliceReader<'_>| -> der::Result<_> {
                    reader.sequence(|reader| {
                        let (n, e) = (UintRef::decode(reader)?, UintRef::decode(reader)?);
                        Ok::<_, der::Error>(Self::rsa(n.as_bytes(), e.as_bytes()))
                    })
                };
                numbers(&mut SliceReader::new(key).ok()?).ok()
            }
            (EC, Some(P256)) if key.len() == 65 => Some(PublicKey::P256(key.to_owned())),
            (EC, Some(P384)) if key.len() == 97 => Some(PublicKey::P384(key.to_owned())),
            (ED25519, _) if key.len() == 32 => Some(PublicKey::Ed25519(key.to_owned())),
            _ => None,
        }
    }

    /// The id of a key that has no other. Source: RFC 7638.
    fn thumbprint(&self) -> String {
        let point = |curve: &str, point: &[u8]| {
            let (x, y) = point[1..].split_at(point.len() / 2);
            format!(r#"{{"crv":"{curve}","kty":"EC","x":"{}","y":"{}"}}"#, encode(x), encode(y))
        };
        let json = match self {
            PublicKey::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, encode(e), encode(n)),
            PublicKey::P256(key) => point("P-256", key),
            PublicKey::P384(key) => point("P-384", key),
            PublicKey::Ed25519(key) => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, encode(key)),
        };
        encode(&Sha256::digest(json))
    }

    /// Whether this key signed the token. Only the algorithms of the key's own kind are accepted. So `none` never
    /// verifies, and no public key is ever used as an HMAC secret.
    ///
    /// Source: RFC 7518, section 3.1.
    pub(super) fn verifies(&self, jwt: &Jwt<'_>) -> bool {
        let unparsed = |algorithm: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(jwt.signed, &jwt.signature).is_ok()
        };
        match (self, jwt.header.alg.as_str()) {
            (PublicKey::Rsa { n, e }, algorithm) => {
                let parameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, jwt.signed, &jwt.signature).is_ok()
            }
            (PublicKey::P256(key), "ES256") => unparsed(&signature::ECDSA_P256_SHA256_FIXED, key),
            (PublicKey::P384(key), "ES384") => unparsed(&signature::ECDSA_P384_SHA384_FIXED, key),
            (PublicKey::Ed25519(key), "EdDSA") => unparsed(&signature::ED25519, key),
            _ => false,
        }
    }
}

/// The id of a key in libtrust, and so in older registries and issuers: 240 bits of the hash of its DER in base32, in
/// groups of four letters.
fn fingerprint(spki: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = Sha256::digest(spki);
    let mut text = String::with_capacity(60);
    for (n, five) in hash[..30].chunks_exact(5).enumerate() {
        let bits = five.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
        for letter in 0..8 {
            if letter % 4 == 0 && (n, letter) != (0, 0) {
                text.push(':');
            }
            text.push(char::from(LETTERS[(bits >> (35 - 5 * letter)) as usize & 31]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_follow_rfc_7638() {
        // RFC 7638, section 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs\
                 tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91\
                 CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let set = format!(
            r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"AQAB","alg":"RS256"}},{{"kty":"oct","k":"AQ"}}]}}"#
        );
        let keys = Keys::parse(set.as_bytes()).unwrap();
        let ids: Vec<_> = keys.by_id.keys().collect();
        assert_eq!(ids, ["NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"]);
    }

    #[test]
    fn a_file_without_a_key_is_rejected() {
        for text in ["", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AQ","kid":"1"}]}"#, "nonsense"]
        {
            assert!(Keys::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
