//! Signatures of Notation, made with ring and rcgen: envelopes in JSON with a chain of certificates.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use raas_types::{Descriptor, Digest};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};

use crate::oci::Layout;

/// The type of the artifact that holds a signature.
pub const ARTIFACT_TYPE: &str = "application/vnd.cncf.notary.signature";

/// The media type of an envelope in JSON.
pub const JWS: &str = "application/jose+json";

/// A signer whose certificate an authority has issued.
pub struct Signer {
    authority: Certificate,
    certificate: Certificate,
    key: KeyPair,
}

/// A certificate of an authority, which may be changed before it is made.
pub fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A certificate of a signer, which may be changed before it is made.
pub fn signer(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2024, 1, 1), date_time_ymd(2124, 1, 1));
    params
}

impl Signer {
    /// A signer with a certificate of this authority.
    pub fn new(authority: CertificateParams, signer: &CertificateParams) -> Self {
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = authority.self_signed(&root_key).unwrap();
        let certificate = signer.signed_by(&key, &Issuer::new(authority, root_key)).unwrap();
        Self { authority: root, certificate, key }
    }

    /// A signer that nothing is special about.
    pub fn usual() -> Self {
        Self::new(authority("Test authority"), &signer("Test signer"))
    }

    /// The authority's certificate as a PEM file.
    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    /// The signer's own certificate as a PEM file.
    pub fn certificate(&self) -> String {
        self.certificate.pem()
    }

    /// The certificates of its envelopes in DER.
    pub fn chain(&self) -> Vec<Vec<u8>> {
        [&self.certificate, &self.authority].map(|one| one.der().to_vec()).into()
    }

    /// The protected header of its envelopes.
    pub fn protected() -> Value {
        json!({
            "alg": "ES256",
            "cty": "application/vnd.cncf.notary.payload.v1+json",
            "crit": ["io.cncf.notary.signingScheme"],
            "io.cncf.notary.signingScheme": "notary.x509",
            "io.cncf.notary.signingTime": "2024-06-01T12:00:00Z",
        })
    }

    /// The payload for an image.
    pub fn payload(media_type: &str, digest: &Digest, size: u64) -> Value {
        json!({"targetArtifact": {"mediaType": media_type, "digest": digest.to_string(), "size": size}})
    }

    /// An envelope with this header, chain and payload, and a signature of its own key.
    pub fn envelope(&self, protected: &Value, chain: &[Vec<u8>], payload: &Value) -> Value {
        let encode = |document: &Value| URL_SAFE_NO_PAD.encode(document.to_string());
        let (protected, payload) = (encode(protected), encode(payload));
        let random = SystemRandom::new();
        let key = self.key.serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key, &random).unwrap();
        let signature = key.sign(&random, format!("{protected}.{payload}").as_bytes()).unwrap();
        let chain: Vec<String> = chain.iter().map(|der| STANDARD.encode(der)).collect();
        json!({
            "payload": payload, "protected": protected, "header": {"x5c": chain},
            "signature": URL_SAFE_NO_PAD.encode(signature),
        })
    }

    /// The envelope of a good signature.
    pub fn sign(&self, media_type: &str, digest: &Digest, size: u64) -> Value {
        self.envelope(&Self::protected(), &self.chain(), &Self::payload(media_type, digest, size))
    }
}

impl Layout {
    /// Adds a signature of Notation: an artifact with this envelope that refers to the image.
    pub fn notation(&mut self, image: &Descriptor, media_type: &str, envelope: &[u8]) -> Descriptor {
        let config = self.blob(ARTIFACT_TYPE, *b"{}");
        let envelope = self.blob(media_type, envelope);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": raas_types::media_type::OCI_MANIFEST, "config": config,
            "layers": [envelope], "subject": image,
        });
        self.document(raas_types::media_type::OCI_MANIFEST, &manifest)
    }
}
