//! An authority that says when a signature existed.
//!
//! Source: RFC 3161, sections 2.3 and 2.4.2; RFC 5652, section 5; RFC 5816, section 2.2.1; the answers of
//! `timestamp.sigstore.dev`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use serde_json::{Value, json};

use super::der::{INTEGER, OCTET_STRING, der, in_context, oid, sequence, set_of_one, sorted, values};
use super::{SigningKey, sha256};

const SIGNED_DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 2];
const TIMESTAMP_INFO: &[u64] = &[1, 2, 840, 113549, 1, 9, 16, 1, 4];
const CONTENT_TYPE: &[u64] = &[1, 2, 840, 113549, 1, 9, 3];
const MESSAGE_DIGEST: &[u64] = &[1, 2, 840, 113549, 1, 9, 4];
const SIGNING_CERTIFICATE: &[u64] = &[1, 2, 840, 113549, 1, 9, 16, 2, 47];
const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
const ECDSA_WITH_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
/// Sigstore's policy of timestamps.
const POLICY: &[u64] = &[1, 3, 6, 1, 4, 1, 57264, 2];

/// A timestamp authority: a key whose certificate a root of its own has issued.
pub struct TimestampAuthority {
    key: SigningKey,
    certificate: Vec<u8>,
    root: Vec<u8>,
}

/// A timestamp.
pub struct Timestamp {
    /// The answer of the authority (`TimeStampResp`), as bundles have it.
    pub response: Vec<u8>,
    /// The token in the answer.
    pub token: Vec<u8>,
    /// The parts of both that count: the time with the digest, the signed attributes, and the signature.
    pub signed: [Vec<u8>; 3],
}

impl TimestampAuthority {
    /// A new authority with a key of P-256.
    #[expect(clippy::new_without_default, reason = "each authority has other keys")]
    pub fn new() -> Self {
        Self::of(SigningKey::new())
    }

    /// A new authority with this key.
    pub fn of(key: SigningKey) -> Self {
        let (begin, end) = (date_time_ymd(2025, 1, 1), date_time_ymd(2045, 1, 1));
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test timestamps root");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        (params.not_before, params.not_after) = (begin, end);
        let root_key = KeyPair::generate().unwrap();
        let root = params.self_signed(&root_key).unwrap().der().to_vec();
        let issuer = Issuer::new(params, root_key);
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Test timestamps");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // RFC 3161, section 2.3: the usage is critical, and the only one.
        let usage = sequence(&[&oid(&[1, 3, 6, 1, 5, 5, 7, 3, 8])]);
        let mut usage = CustomExtension::from_oid_content(&[2, 5, 29, 37], usage);
        usage.set_criticality(true);
        params.custom_extensions = vec![usage];
        (params.not_before, params.not_after) = (begin, end);
        let certificate = params.signed_by(&key.0, &issuer).unwrap().der().to_vec();
        Self { key, certificate, root }
    }

    /// Another key under the name of this authority.
    #[must_use]
    pub fn with_key(&self, key: SigningKey) -> Self {
        Self { key, certificate: self.certificate.clone(), root: self.root.clone() }
    }

    /// The authority as a `trusted_root.json` has it.
    pub fn in_root(&self) -> Value {
        let certificate = |der: &[u8]| json!({"rawBytes": STANDARD.encode(der)});
        json!({
            "subject": {"organization": "example", "commonName": "Test timestamps"},
            "uri": "https://timestamp.example",
            "certChain": {"certificates": [certificate(&self.certificate), certificate(&self.root)]},
            "validFor": {"start": "2025-01-01T00:00:00Z"},
        })
    }

    /// Says that a signature existed at a Unix time.
    pub fn stamp(&self, signature: &[u8], time: i64) -> Timestamp {
        let sha256_algorithm = sequence(&[&oid(SHA256)]);
        let number = |number: u8| der(INTEGER, &[number]);
        let time = date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(time as u64);
        let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        let time = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z");
        let imprint = sequence(&[&sha256_algorithm, &der(OCTET_STRING, &sha256(signature))]);
        let (generalized_time, accuracy) = (der(0x18, time.as_bytes()), sequence(&[&number(1)]));
        let info = sequence(&[&number(1), &oid(POLICY), &imprint, &number(7), &generalized_time, &accuracy]);

        let attribute = |name, value: &[u8]| sequence(&[&oid(name), &set_of_one(value)]);
        let certificate_id = sequence(&[&der(OCTET_STRING, &sha256(&self.certificate))]);
        let attributes = sorted(vec![
            attribute(CONTENT_TYPE, &oid(TIMESTAMP_INFO)),
            attribute(MESSAGE_DIGEST, &der(OCTET_STRING, &sha256(&info))),
            attribute(SIGNING_CERTIFICATE, &sequence(&[&sequence(&[&certificate_id])])),
        ]);
        let signature = self.key.sign(&set_of_one(&attributes));

        let certificate = values(values(&self.certificate)[0]);
        let (serial_number, issuer) = (certificate[1], certificate[3]);
        let signer = sequence(&[
            &number(1),
            &sequence(&[issuer, serial_number]),
            &sha256_algorithm,
            &in_context(0, &attributes),
            &sequence(&[&oid(ECDSA_WITH_SHA256)]),
            &der(OCTET_STRING, &signature),
        ]);
        let signed_data = sequence(&[
            &number(3),
            &set_of_one(&sha256_algorithm),
            &sequence(&[&oid(TIMESTAMP_INFO), &in_context(0, &der(OCTET_STRING, &info))]),
            &set_of_one(&signer),
        ]);
        let token = sequence(&[&oid(SIGNED_DATA), &in_context(0, &signed_data)]);
        let granted = sequence(&[&number(0)]);
        Timestamp { response: sequence(&[&granted, &token]), token, signed: [info, attributes, signature] }
    }
}

/// The bundle with these timestamps.
#[must_use]
pub fn stamped(mut bundle: Value, timestamps: &[&[u8]]) -> Value {
    let timestamps: Vec<Value> =
        timestamps.iter().map(|timestamp| json!({"signedTimestamp": STANDARD.encode(timestamp)})).collect();
    bundle["verificationMaterial"]["timestampVerificationData"] = json!({"rfc3161Timestamps": timestamps});
    bundle
}
