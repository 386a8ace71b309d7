//! Keyless signatures: a bundle, or the certificate of one.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_sigstore::{Identity, SigstoreRoot};
use raas_testkit::sigstore::{IDENTITY, ISSUER, Sigstore};
use raas_types::Digest;

const MANIFEST: &[u8] = b"the manifest of an image";
const CERTIFICATE: &str = "/verificationMaterial/certificate/rawBytes";

/// What one run of the targets trusts, and a good bundle of it.
struct Trusted {
    root: SigstoreRoot,
    good: String,
}

fn trusted() -> &'static Trusted {
    static TRUSTED: OnceLock<Trusted> = OnceLock::new();
    TRUSTED.get_or_init(|| {
        let sigstore = Sigstore::new();
        let signer = sigstore.signer();
        let envelope = signer.statement(&Digest::of(MANIFEST), "https://sigstore.dev/cosign/sign/v1");
        let entry = sigstore.log_envelope(&signer, &envelope);
        let good = signer.bundle(("dsseEnvelope", envelope), &[entry]).to_string();
        let root = sigstore.trusted_root().to_string();
        Trusted { root: SigstoreRoot::read(root.as_bytes()).expect("the root is good"), good }
    })
}

/// A good bundle, and its certificate.
pub fn bundles() -> Vec<Vec<u8>> {
    let good = &trusted().good;
    let parsed: serde_json::Value = serde_json::from_str(good).expect("it is JSON");
    let certificate = parsed.pointer(CERTIFICATE).and_then(|text| text.as_str()).expect("it has one");
    vec![good.clone().into_bytes(), STANDARD.decode(certificate).expect("it is Base64")]
}

/// A bundle, or a certificate for the good bundle: if it counts, it is by the signer of the good one.
pub fn bundle(bytes: &[u8]) {
    let Trusted { root, good } = trusted();
    let with_certificate;
    let bundle = match bytes.first() {
        Some(b'{') => bytes,
        _ => {
            let mut changed: serde_json::Value = serde_json::from_str(good).expect("it is JSON");
            *changed.pointer_mut(CERTIFICATE).expect("it has one") = STANDARD.encode(bytes).into();
            with_certificate = changed.to_string();
            with_certificate.as_bytes()
        }
    };
    if let Ok(signer) = root.verify_bundle(bundle, &Digest::of(MANIFEST), MANIFEST) {
        assert_eq!((signer.identity, signer.issuer), (Identity::Uri(IDENTITY.into()), ISSUER.into()));
    }
}
