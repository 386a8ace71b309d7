//! Signed URLs of Amazon CloudFront.
//!
//! An RSA signature takes a millisecond, too long for each request. So one signature covers all blobs of a repository,
//! by a custom policy whose resource ends in `*`. That gives the client nothing new: a client that may read one blob of
//! a repository may read all. A signature is used for five minutes. It stays valid long enough after that for the last
//! client to download its object.
//!
//! Source: AWS, "Create a signed URL using a custom policy" and "Linux commands and OpenSSL for base64 encoding and
//! encryption": SHA-256 with `Hash-Algorithm=SHA256`, an RSA key of 2048 bits or an ECDSA key of P-256.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_types::Digest;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::SigningKey;

use super::cdn::CdnError;
use super::credentials::CredentialError;
use super::signer::{MIN_LIFETIME, lasting};

/// How long a signature is used, in seconds.
const USED: u64 = 5 * 60;

/// Signs URLs of a distribution.
pub struct CloudFront {
    key_id: String,
    key: Arc<dyn SigningKey>,
    /// Compares keys without showing them.
    fingerprint: Digest,
    signed: RwLock<Signed>,
}

/// The signatures in use.
#[derive(Default)]
struct Signed {
    /// By folder, and by the lifetime of a URL in seconds.
    queries: HashMap<(Box<str>, u64), Query>,
    /// When expired signatures were last removed.
    swept: u64,
}

/// The query of a signed URL.
#[derive(Clone)]
struct Query {
    text: Arc<str>,
    /// Until when it is used, in seconds since 1970.
    until: u64,
}

impl PartialEq for CloudFront {
    fn eq(&self, other: &Self) -> bool {
        self.key_id == other.key_id && self.fingerprint == other.fingerprint
    }
}

impl Eq for CloudFront {}

impl fmt::Debug for CloudFront {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudFront").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl CloudFront {
    /// Signs with a private key in PEM. `key_id` is the id of its public key in CloudFront.
    ///
    /// # Errors
    /// The id is empty or has other characters than letters and digits, or the PEM is not a private key that CloudFront
    /// accepts.
    pub fn new(key_id: &str, pem: &str) -> Result<Self, CdnError> {
        if key_id.is_empty() || !key_id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(CdnError::KeyId(key_id.chars().take(100).collect()));
        }
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CdnError::Key)?;
        let key = any_supported_type(&der).map_err(|_| CdnError::Key)?;
        let signer = Self {
            key_id: key_id.to_owned(),
            fingerprint: Digest::of(der.secret_der()),
            key,
            signed: RwLock::default(),
        };
        // Reports an unsuitable key, such as Ed25519, before the first client needs it.
        signer.sign(b"").map_err(|_| CdnError::Key)?;
        Ok(signer)
    }

    /// Appends a signature to a URL without a query. It is valid long enough for a slow client to download `size`
    /// bytes.
    pub(super) fn append(&self, url: &mut String, size: u64, now: SystemTime) -> Result<(), CredentialError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Powers of two keep the number of different signatures low.
        let lasts = lasting(MIN_LIFETIME, size).as_secs().next_power_of_two();
        let folder: Box<str> = url[..=url.rfind('/').unwrap_or_default()].into();
        let key = (folder, lasts);
        let known = {
            let signed = self.signed.read().unwrap_or_else(PoisonError::into_inner);
            signed.queries.get(&key).filter(|query| now < query.until && query.until <= now + USED).cloned()
        };
        let query = match known {
            Some(query) => query,
            None => {
                let text = self.query(&key.0, now + USED + lasts)?.into();
                let query = Query { text, until: now + USED };
                self.signed.write().unwrap_or_else(PoisonError::into_inner).keep(key, query.clone(), now);
                query
            }
        };
        url.push_str(&query.text);
        Ok(())
    }

    /// The query for all URLs in a folder, valid until `expires`.
    fn query(&self, folder: &str, expires: u64) -> Result<String, CredentialError> {
        // Base URLs, names and digests need no escaping in JSON.
        let policy = format!(
            "{{\"Statement\":[{{\"Resource\":\"{folder}*\",\"Condition\":{{\"DateLessThan\":{{\"AWS:EpochTime\":{expires}\
             }}}}}}]}}"
        );
        let signature = self.sign(policy.as_bytes())?;
        Ok(format!(
            "?Policy={}&Signature={}&Key-Pair-Id={}&Hash-Algorithm=SHA256",
            safe(policy.as_bytes()),
            safe(&signature),
            self.key_id
        ))
    }

    fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, CredentialError> {
        let schemes = [SignatureScheme::RSA_PKCS1_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];
        let signer = self.key.choose_scheme(&schemes);
        let signer = signer.ok_or_else(|| {
            CredentialError("the private key of the CDN is neither RSA nor ECDSA P-256".into())
        })?;
        signer
            .sign(bytes)
            .map_err(|error| CredentialError(format!("the private key of the CDN cannot sign: {error}")))
    }
}

impl Signed {
    fn keep(&mut self, key: (Box<str>, u64), query: Query, now: u64) {
        if self.swept + USED <= now || now < self.swept {
            self.queries.retain(|_, query| now < query.until);
            self.swept = now;
        }
        self.queries.insert(key, query);
    }
}

/// Base64 in CloudFront's alphabet for queries.
fn safe(bytes: &[u8]) -> String {
    STANDARD.encode(bytes).replace('+', "-").replace('=', "_").replace('/', "~")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::crypto::ring::default_provider;

    use super::*;

    const RSA: &str = include_str!("../../tests/data/cloudfront-rsa.pem");
    const ECDSA: &str = include_str!("../../tests/data/cloudfront-ec.pem");
    const FOLDER: &str = "https://d111111abcdef8.cloudfront.net/x/tools/app/_v2/blobs/";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn signed(signer: &CloudFront, name: &str, size: u64, now: u64) -> String {
        let mut url = format!("{FOLDER}{name}");
        signer.append(&mut url, size, at(now)).unwrap();
        url
    }

    /// The policy and signature were made with AWS's commands: `printf %s '{"Statement":…}' > policy; openssl dgst
    /// -sha256 -sign cloudfront-rsa.pem policy | openssl base64 -A | tr -- '+=/' '-_~'`.
    #[test]
    fn an_rsa_signature_equals_openssls() {
        let signer = CloudFront::new("K2JCJMDEHXQW5F", RSA).unwrap();
        let expected = format!(
            "{FOLDER}sha256:aa?Policy={}&Signature={}&Key-Pair-Id=K2JCJMDEHXQW5F&Hash-Algorithm=SHA256",
            "eyJTdGF0ZW1lbnQiOlt7IlJlc291cmNlIjoiaHR0cHM6Ly9kMTExMTExYWJjZGVmOC5jbG91ZGZyb250Lm5ldC94L3Rvb2xzL2FwcC9fdjIvYmxvYnMvKiIsIkNvbmRpdGlvbiI6eyJEYXRlTGVzc1RoYW4iOnsiQVdTOkVwb2NoVGltZSI6MTc2NzI5MTIxMn19fV19",
            "HhNnDbCEeqMttZ~FwRvTs8Uju4tRQ~Ve0Evjngb~d7641iXW0krs5cLtnIeKPCBu4bhFVLGJKcq1JORkSjJzr9wzVpokErBWuwofFZO2x1hoG4Yi8QPnG-we-mbbisuX~0q-XumATv-Rfjui4GJub2BYUkmH~PpAPzkAOAKNj5txh6yXL36QUftLf0RNSZ1a68FGiVNrBqFmwLGKNDcdY4i~WK9yrJ9nh0P7s~1PG8FDFrluSf8XpAVQpJEc1FXHpBnOq3ktvbIbWCdV8uBRunm~z0DTQOGKHjnKUNkziYzhbQIIOXB2a5PyM7-yX3691aXzzK5qgZCl-umfNYVCGA__"
        );
        assert_eq!(signed(&signer, "sha256:aa", 0, 1_767_290_400), expected);
    }

    #[test]
    fn an_ecdsa_signature_verifies() {
        let signer = CloudFront::new("K2JCJMDEHXQW5F", ECDSA).unwrap();
        let url = signed(&signer, "sha256:aa", 0, 1_767_290_400);
        let value = |name: &str| {
            let (_, rest) = url.split_once(&format!("{name}=")).unwrap();
            let text = rest.split('&').next().unwrap().replace('-', "+").replace('_', "=").replace('~', "/");
            STANDARD.decode(text).unwrap()
        };
        // The public key: `openssl ec -in cloudfront-ec.pem -pubout -outform DER | tail -c 65 | xxd -p`.
        let public = hex::decode("0426fe348e1b4a138302c65354d33b46dec7010f9054f50238036b5de2c7b90c9b216829032ac7376b75272df717589ef8dda9efdd0f1fdbcfc83dc131f6c25747").unwrap();
        let verifiers = default_provider().signature_verification_algorithms;
        let verified = verifiers.all.iter().any(|verifier| {
            verifier.verify_signature(&public, &value("Policy"), &value("Signature")).is_ok()
        });
        assert!(verified);
    }

    #[test]
    fn one_signature_covers_a_folder_for_five_minutes_and_outlasts_every_download() {
        let signer = CloudFront::new("K2JCJMDEHXQW5F", ECDSA).unwrap();
        let query =
            |name: &str, size, now| signed(&signer, name, size, now).split_once('?').unwrap().1.to_owned();
        let first = query("sha256:aa", 0, 1_000_000);
        assert_eq!(query("sha256:bb", 10, 1_000_299), first);
        assert_ne!(query("sha256:aa", 0, 1_000_300), first, "five minutes are over");
        // A clock that is set back must not prolong a signature.
        assert_ne!(query("sha256:aa", 0, 900_000), first);
        let mut other = "https://d111111abcdef8.cloudfront.net/x/tools/_v2/blobs/sha256:aa".to_owned();
        signer.append(&mut other, 0, at(1_000_000)).unwrap();
        assert!(!other.ends_with(&first), "another repository's");
        // At its last use a signature is valid long enough for the object: 512 s for a small one, 8192 s for 1 GiB (300
        // + 4096).
        let expires = |query: &str| -> u64 {
            let text = query.strip_prefix("Policy=").unwrap().split('&').next().unwrap().replace('_', "=");
            let policy =
                String::from_utf8(STANDARD.decode(text.replace('-', "+").replace('~', "/")).unwrap());
            let policy: serde_json::Value = serde_json::from_str(&policy.unwrap()).unwrap();
            policy["Statement"][0]["Condition"]["DateLessThan"]["AWS:EpochTime"].as_u64().unwrap()
        };
        assert_eq!(expires(&first), 1_000_000 + 300 + 512);
        assert_eq!(expires(&query("sha256:cc", 1 << 30, 2_000_000)), 2_000_000 + 300 + 8192);
        // Expired signatures are removed.
        assert_eq!(signer.signed.read().unwrap().queries.len(), 1);
    }

    #[test]
    fn invalid_keys_are_rejected_and_no_key_is_shown() {
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        for pem in ["", "-----BEGIN PRIVATE KEY-----", &ed25519] {
            assert_eq!(CloudFront::new("K2", pem), Err(CdnError::Key), "{pem}");
        }
        assert!(matches!(CloudFront::new("K2&x", RSA), Err(CdnError::KeyId(_))));
        let signer = CloudFront::new("K2", RSA).unwrap();
        assert_eq!(format!("{signer:?}"), "CloudFront { key_id: \"K2\", .. }");
        assert_eq!(signer, CloudFront::new("K2", RSA).unwrap());
        assert_ne!(signer, CloudFront::new("K2", ECDSA).unwrap());
    }
}
