//! A small Sigstore: an authority as Fulcio, a log as Rekor, a log of certificates, and the keyless signatures that they
//! make. Everything is signed anew each time, and dated: a certificate is valid for ten minutes of June 2025.
//!
//! Source: Fulcio, docs/oid-info.md; RFC 6962, sections 2.1, 3.2 and 3.3; Rekor, `hashedrekord` and `dsse` 0.0.1; C2SP,
//! signed-note.md and tlog-checkpoint.md; sigstore/protobuf-specs, `sigstore_trustroot.proto` and `sigstore_bundle.proto`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_types::{Descriptor, Digest};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SanType, SigningKey as _, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::oci::Layout;

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

/// A key of P-256.
pub struct SigningKey(KeyPair);

impl SigningKey {
    /// A new key.
    #[expect(clippy::new_without_default, reason = "each key is another one")]
    pub fn new() -> Self {
        Self(KeyPair::generate().unwrap())
    }

    /// The signature of SHA-256 in ASN.1.
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

    /// The name of a log with this key.
    fn id(&self) -> Vec<u8> {
        sha256(&self.public())
    }
}

/// An authority, a log of signatures and a log of certificates.
pub struct Sigstore {
    authority: Issuer<'static, KeyPair>,
    certificate: Certificate,
    /// The key of the log of signatures.
    pub log: SigningKey,
    /// The key of the log of certificates.
    pub certificate_log: SigningKey,
}

/// A key with its certificate.
pub struct Signer {
    key: SigningKey,
    certificate: Vec<u8>,
}

/// An entry in the log of signatures.
#[derive(Clone)]
pub struct Entry {
    body: String,
    kind: &'static str,
    /// When the log took it in, as a Unix time.
    pub time: i64,
    /// The key that the log has by its name.
    log_id: Vec<u8>,
    promise: Vec<u8>,
    checkpoint: String,
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
        let (log, certificate_log) = (SigningKey::new(), SigningKey::new());
        Self { authority: Issuer::new(params, key), certificate, log, certificate_log }
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
                    "rawBytes": STANDARD.encode(key.public()), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": validity,
                },
                "logId": {"keyId": STANDARD.encode(key.id())},
            })
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [log("https://rekor.example", &self.log)],
            "certificateAuthorities": [{
                "subject": {"organization": "example", "commonName": "Test Sigstore"},
                "uri": "https://fulcio.example",
                "certChain": {"certificates": [{"rawBytes": STANDARD.encode(self.certificate.der())}]},
                "validFor": validity,
            }],
            "ctlogs": [log("https://ctfe.example", &self.certificate_log)],
            "timestampAuthorities": [],
        })
    }

    /// A signer that nothing is special about.
    pub fn signer(&self) -> Signer {
        self.signer_of(IDENTITY, ISSUER, Some(&self.certificate_log))
    }

    /// A signer with this identity, an e-mail address or a URI. The key of the log of certificates signs the timestamp in
    /// the certificate; without it, there is none.
    pub fn signer_of(&self, identity: &str, issuer: &str, certificate_log: Option<&SigningKey>) -> Signer {
        let key = SigningKey::new();
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
            vec![extension(1, issuer.into()), extension(8, der(0x0c, issuer.as_bytes()))];
        let make =
            |params: &CertificateParams| params.signed_by(&key.0, &self.authority).unwrap().der().to_vec();
        if let Some(log) = certificate_log {
            let timestamp = self.certificate_timestamp(log, first_element(&make(&params)));
            let oid = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, der(0x04, &timestamp)));
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

    /// The entry of a signed message.
    pub fn log_message(&self, signer: &Signer, message: &[u8], signature: &[u8]) -> Entry {
        let spec = json!({
            "data": {"hash": {"algorithm": "sha256", "value": Digest::of(message).hex()}},
            "signature": {
                "content": STANDARD.encode(signature), "publicKey": {"content": STANDARD.encode(signer.pem())},
            },
        });
        self.entry("hashedrekord", &spec)
    }

    /// The entry of an envelope.
    pub fn log_envelope(&self, signer: &Signer, envelope: &Value) -> Entry {
        let payload = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        let hash = |bytes: &[u8]| json!({"algorithm": "sha256", "value": Digest::of(bytes).hex()});
        let spec = json!({
            "envelopeHash": hash(envelope.to_string().as_bytes()),
            "payloadHash": hash(&payload),
            "signatures": [{
                "signature": envelope["signatures"][0]["sig"], "verifier": STANDARD.encode(signer.pem()),
            }],
        });
        self.entry("dsse", &spec)
    }

    fn entry(&self, kind: &'static str, spec: &Value) -> Entry {
        let body = json!({"apiVersion": "0.0.1", "kind": kind, "spec": spec}).to_string();
        let (log_id, time) = (self.log.id(), BEGIN + SECONDS / 2);
        let entry = Entry { body, kind, time, log_id, promise: Vec::new(), checkpoint: String::new() };
        entry.signed_by(&self.log)
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
        let message = format!("DSSEv1 {} {payload_type} {} {payload}", payload_type.len(), payload.len());
        json!({
            "payload": STANDARD.encode(payload),
            "payloadType": payload_type,
            "signatures": [{"sig": STANDARD.encode(self.sign(message.as_bytes()))}],
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

impl Entry {
    /// The same entry of another time, with the promise of the same log.
    #[must_use]
    pub fn at(self, time: i64, log: &SigningKey) -> Self {
        Self { time, ..self }.signed_by(log)
    }

    /// The same entry, with the promise and the checkpoint of another key under the name of the log.
    #[must_use]
    pub fn signed_by(mut self, key: &SigningKey) -> Self {
        let (body, time) = (STANDARD.encode(&self.body), self.time);
        let id: String = self.log_id.iter().map(|byte| format!("{byte:02x}")).collect();
        // The keys are in the order of their bytes, without spaces.
        let promised =
            format!("{{\"body\":\"{body}\",\"integratedTime\":{time},\"logID\":\"{id}\",\"logIndex\":1}}");
        self.promise = key.sign(promised.as_bytes());
        let note = format!("rekor.example - 1\n2\n{}\n", STANDARD.encode(self.tree_root()));
        let signature = [&self.log_id[..4], &key.sign(note.as_bytes())].concat();
        self.checkpoint = format!("{note}\n\u{2014} rekor.example {}\n", STANDARD.encode(signature));
        self
    }

    /// The hash of the leaf before this one.
    fn other_leaf() -> Vec<u8> {
        sha256(b"\0another entry")
    }

    fn tree_root(&self) -> Vec<u8> {
        let leaf = sha256(&[b"\0", self.body.as_bytes()].concat());
        sha256(&[&[1][..], &Self::other_leaf(), &leaf].concat())
    }

    fn in_bundle(&self) -> Value {
        json!({
            "logIndex": "1",
            "logId": {"keyId": STANDARD.encode(&self.log_id)},
            "kindVersion": {"kind": self.kind, "version": "0.0.1"},
            "integratedTime": self.time.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": STANDARD.encode(&self.promise)},
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": STANDARD.encode(self.tree_root()),
                "treeSize": "2",
                "hashes": [STANDARD.encode(Self::other_leaf())],
                "checkpoint": {"envelope": self.checkpoint},
            },
            "canonicalizedBody": STANDARD.encode(&self.body),
        })
    }

    fn in_annotation(&self) -> Value {
        let id: String = self.log_id.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "SignedEntryTimestamp": STANDARD.encode(&self.promise),
            "Payload": {
                "body": STANDARD.encode(&self.body), "integratedTime": self.time, "logIndex": 1, "logID": id,
            },
        })
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

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// Bytes behind their length, which has two bytes.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// A value of DER with this tag, shorter than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..128 => vec![tag, length as u8],
        128..256 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

/// The first value in a sequence of DER: what is signed of a certificate.
fn first_element(sequence: &[u8]) -> &[u8] {
    let header = |value: &[u8]| match value[1] {
        short @ 0..128 => (2, usize::from(short)),
        long => {
            let bytes = &value[2..2 + usize::from(long & 0x7f)];
            (2 + bytes.len(), bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    let (outer, _) = header(sequence);
    let inside = &sequence[outer..];
    let (head, length) = header(inside);
    &inside[..head + length]
}
