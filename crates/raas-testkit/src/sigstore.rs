//! A small Sigstore: an authority as Fulcio, logs as Rekor and Rekor v2, a log of certificates, an authority of timestamps,
//! and the keyless signatures that they make. Everything is signed anew each time, and dated: a certificate is valid for
//! ten minutes of June 2025.
//!
//! Source: Fulcio, docs/oid-info.md; RFC 6962, sections 3.2 and 3.3; C2SP, signed-note.md; sigstore/protobuf-specs,
//! `sigstore_trustroot.proto` and `sigstore_bundle.proto`.

mod der;
mod entry;
mod timestamp;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_types::{Descriptor, Digest};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData as _, SanType,
    SigningKey as _, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::oci::Layout;

pub use entry::Entry;
pub use timestamp::{Timestamp, TimestampAuthority, stamped};

use der::{OCTET_STRING, UTF8_STRING, der, values};

/// The media type of a bundle.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The identity of a usual signer.
pub const IDENTITY: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/v1.0";
/// The issuer of its identity.
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// When a certificate begins to be valid: 2025-06-01T00:00:00Z.
pub const BEGIN: i64 = 1_748_736_000;

/// For how long it is valid.
const SECONDS: i64 = 600;

/// The name of the log Rekor v2 in its checkpoints.
const LOG_V2: &str = "log2025-1.rekor.example";

/// A key of P-256, P-384 or Ed25519.
pub struct SigningKey(KeyPair);

impl SigningKey {
    /// A new key of P-256.
    #[expect(clippy::new_without_default, reason = "each key is another one")]
    pub fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    /// A new key of P-384.
    pub fn p384() -> Self {
        Self(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap())
    }

    /// A new key of Ed25519.
    pub fn ed25519() -> Self {
        Self(KeyPair::generate_for(&PKCS_ED25519).unwrap())
    }

    /// The signature: with P-256 of SHA-256 and with P-384 of SHA-384, in ASN.1.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).unwrap()
    }

    /// The public key as a point.
    pub fn point(&self) -> Vec<u8> {
        self.0.public_key_raw().to_vec()
    }

    /// The `SubjectPublicKeyInfo` in DER.
    fn public(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// Its kind, as Sigstore names it.
    fn details(&self) -> &'static str {
        match self.0.algorithm() {
            algorithm if algorithm == &PKCS_ED25519 => "PKIX_ED25519",
            algorithm if algorithm == &PKCS_ECDSA_P384_SHA384 => "PKIX_ECDSA_P384_SHA_384",
            _ => "PKIX_ECDSA_P256_SHA_256",
        }
    }

    /// The name of a log with this key. A log with a key of Ed25519 is always Rekor v2.
    fn id(&self) -> Vec<u8> {
        match self.details() {
            "PKIX_ED25519" => sha256(&[LOG_V2.as_bytes(), b"\n\x01", &self.point()].concat()),
            _ => sha256(&self.public()),
        }
    }
}

/// An authority, the logs of signatures, a log of certificates and an authority of timestamps.
pub struct Sigstore {
    authority: Issuer<'static, KeyPair>,
    certificate: Certificate,
    /// The key of the log of signatures.
    pub log: SigningKey,
    /// The key of the log of signatures that is Rekor v2.
    pub log_v2: SigningKey,
    /// The key of the log of certificates.
    pub certificate_log: SigningKey,
    /// The authority of timestamps.
    pub timestamp_authority: TimestampAuthority,
}

/// A key with its certificate.
pub struct Signer {
    key: SigningKey,
    certificate: Vec<u8>,
}

impl Sigstore {
    /// A new Sigstore.
    #[expect(clippy::new_without_default, reason = "each Sigstore has other keys")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test Sigstore");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) = (date_time_ymd(2025, 1, 1), date_time_ymd(2045, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            authority: Issuer::new(params, key),
            certificate,
            log: SigningKey::new(),
            log_v2: SigningKey::ed25519(),
            certificate_log: SigningKey::new(),
            timestamp_authority: TimestampAuthority::new(),
        }
    }

    /// The certificate of its authority as a PEM file.
    pub fn authority_pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its `trusted_root.json`.
    pub fn trusted_root(&self) -> Value {
        let validity = json!({"start": "2025-01-01T00:00:00Z"});
        let log = |url: &str, key: &SigningKey| {
            json!({
                "baseUrl": url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(key.public()), "keyDetails": key.details(), "validFor": validity,
                },
                "logId": {"keyId": STANDARD.encode(key.id())},
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [
                log("https://rekor.example", &self.log), log(&format!("https://{LOG_V2}"), &self.log_v2),
            ],
            "certificateAuthorities": [{
                "subject": {"organization": "example", "commonName": "Test Sigstore"},
                "uri": "https://fulcio.example",
                "certChain": {"certificates": [{"rawBytes": STANDARD.encode(self.certificate.der())}]},
                "validFor": validity,
            }],
            "ctlogs": [log("https://ctfe.example", &self.certificate_log)],
            "timestampAuthorities": [self.timestamp_authority.in_root()],
        })
    }

    /// A signer that nothing is special about.
    pub fn signer(&self) -> Signer {
        self.signer_of(IDENTITY, ISSUER, Some(&self.certificate_log))
    }

    /// A signer with this identity, an e-mail address or a URI. The key of the log of certificates signs the timestamp in
    /// the certificate; without it, there is none.
    pub fn signer_of(&self, identity: &str, issuer: &str, certificate_log: Option<&SigningKey>) -> Signer {
        self.signer_with(SigningKey::new(), (identity, issuer), certificate_log)
    }

    /// A signer with this key, and with this identity and its issuer.
    pub fn signer_with(
        &self,
        key: SigningKey,
        (identity, issuer): (&str, &str),
        certificate_log: Option<&SigningKey>,
    ) -> Signer {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        params.subject_alt_names = vec![match identity.contains("://") {
            true => SanType::URI(identity.try_into().unwrap()),
            false => SanType::Rfc822Name(identity.try_into().unwrap()),
        }];
        params.not_before = date_time_ymd(2025, 6, 1);
        params.not_after = params.not_before + std::time::Duration::from_secs(SECONDS as u64);
        let extension = |last: u64, content: Vec<u8>| {
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, last], content)
        };
        params.custom_extensions =
            vec![extension(1, issuer.into()), extension(8, der(UTF8_STRING, issuer.as_bytes()))];
        let make =
            |params: &CertificateParams| params.signed_by(&key.0, &self.authority).unwrap().der().to_vec();
        if let Some(log) = certificate_log {
            let timestamp = self.certificate_timestamp(log, values(&make(&params))[0]);
            let oid = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
            params
                .custom_extensions
                .push(CustomExtension::from_oid_content(&oid, der(OCTET_STRING, &timestamp)));
        }
        let certificate = make(&params);
        Signer { key, certificate }
    }

    /// The list with the timestamp of a certificate, which is signed without it.
    fn certificate_timestamp(&self, log: &SigningKey, unsigned: &[u8]) -> Vec<u8> {
        let time = (BEGIN as u64 * 1000).to_be_bytes();
        let issuer = sha256(&self.authority.key().subject_public_key_info());
        let length = (unsigned.len() as u32).to_be_bytes();
        let entry_type = [0, 1];
        let no_extensions = [0, 0];
        let message =
            [&[0, 0][..], &time, &entry_type, &issuer, &length[1..], unsigned, &no_extensions].concat();
        let signature = log.sign(&message);
        let (sha256, ecdsa) = (4, 3);
        let timestamp =
            [&[0][..], &log.id(), &time, &no_extensions, &[sha256, ecdsa], &with_length(&signature)].concat();
        with_length(&with_length(&timestamp))
    }
}

impl Signer {
    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message)
    }

    /// Its certificate as a PEM file.
    pub fn pem(&self) -> String {
        let body = STANDARD.encode(&self.certificate);
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// A signed envelope.
    pub fn envelope(&self, payload_type: &str, payload: &str) -> Value {
        json!({
            "payload": STANDARD.encode(payload),
            "payloadType": payload_type,
            "signatures": [{"sig": STANDARD.encode(self.sign(&encoding(payload_type, payload)))}],
        })
    }

    /// An envelope with a statement of in-toto about an image.
    pub fn statement(&self, image: &Digest, predicate: &str) -> Value {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": image.hex()}}],
            "predicateType": predicate, "predicate": {},
        });
        self.envelope("application/vnd.in-toto+json", &statement.to_string())
    }

    /// The bundle of an envelope or of a signed message.
    pub fn bundle(&self, content: (&str, Value), entries: &[Entry]) -> Value {
        let entries: Vec<Value> = entries.iter().map(Entry::in_bundle).collect();
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": {
                "certificate": {"rawBytes": STANDARD.encode(&self.certificate)}, "tlogEntries": entries,
            },
            content.0: content.1,
        })
    }

    /// A signed message as a bundle has it.
    pub fn message(&self, message: &[u8], signature: &[u8]) -> (&'static str, Value) {
        let digest = STANDARD.encode(sha256(message));
        let signature = STANDARD.encode(signature);
        (
            "messageSignature",
            json!({
                "messageDigest": {"algorithm": "SHA2_256", "digest": digest}, "signature": signature,
            }),
        )
    }

    /// The annotations with which cosign 2 stores a signature.
    pub fn annotations(&self, signature: &[u8], entry: Option<&Entry>) -> Value {
        let mut annotations = json!({
            "dev.cosignproject.cosign/signature": STANDARD.encode(signature),
            "dev.sigstore.cosign/certificate": self.pem(),
            "dev.sigstore.cosign/chain": "",
        });
        if let Some(entry) = entry {
            annotations["dev.sigstore.cosign/bundle"] = entry.in_annotation().to_string().into();
        }
        annotations
    }
}

impl Layout {
    /// Adds a bundle as a referrer of an image.
    pub fn bundle(&mut self, image: &Descriptor, bundle: &Value) -> Descriptor {
        let content = self.document(BUNDLE, bundle);
        let config = self.blob("application/vnd.oci.empty.v1+json", "{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": raas_types::media_type::OCI_MANIFEST, "artifactType": BUNDLE,
            "config": config, "layers": [content], "subject": image,
        });
        self.document(raas_types::media_type::OCI_MANIFEST, &manifest)
    }
}

/// What the signature of an envelope signs (PAE).
fn encoding(payload_type: &str, payload: &str) -> Vec<u8> {
    format!("DSSEv1 {} {payload_type} {} {payload}", payload_type.len(), payload.len()).into()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// Bytes behind their length, which has two bytes.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}
