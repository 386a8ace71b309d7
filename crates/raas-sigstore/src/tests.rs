//! The signatures of a small Sigstore of the tests: each case is good, or wrong in one way.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_signatures::{Invalid, simple_signing};
use raas_testkit::sigstore::{BEGIN, Entry, IDENTITY, ISSUER, Signer as TestSigner, SigningKey, Sigstore};
use raas_types::{Descriptor, Digest};
use serde_json::{Value, json};

use crate::{Identity, RootError, Signer, SigstoreRoot};

mod timestamps;

const MANIFEST: &[u8] = b"the manifest of an image";
const NAME: &str = "quay.example/acme/app";
const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";

fn image() -> Digest {
    Digest::of(MANIFEST)
}

fn root(sigstore: &Sigstore) -> SigstoreRoot {
    SigstoreRoot::read(sigstore.trusted_root().to_string().as_bytes()).unwrap()
}

fn usual() -> Signer {
    Signer { identity: Identity::Uri(IDENTITY.into()), issuer: ISSUER.into(), reference: None }
}

/// Compares with what the case expects: a good signature, or a part of the reason.
fn check(name: &str, verified: Result<Signer, Invalid>, expected: Result<Signer, &str>) {
    match (verified, expected) {
        (Ok(signer), Ok(expected)) => assert_eq!(signer, expected, "{name}"),
        (Err(invalid), Err(reason)) => {
            assert!(invalid.to_string().contains(reason), "{name}: {invalid}");
        }
        (verified, expected) => panic!("{name}: {verified:?} instead of {expected:?}"),
    }
}

/// A statement about the image, with its entry in the log.
fn signed(sigstore: &Sigstore, signer: &TestSigner, predicate: &str) -> (Value, Entry) {
    let envelope = signer.statement(&image(), predicate);
    let entry = sigstore.log_envelope(signer, &envelope);
    (envelope, entry)
}

fn bundle(signer: &TestSigner, (envelope, entry): (Value, Entry)) -> Value {
    signer.bundle(("dsseEnvelope", envelope), &[entry])
}

#[test]
fn a_bundle_counts_if_the_authority_the_logs_and_the_statement_vouch_for_it() {
    let (sigstore, other) = (Sigstore::new(), Sigstore::new());
    let root = root(&sigstore);
    let signer = sigstore.signer();
    let with_message = |message: &[u8], logged: &[u8]| {
        let signature = signer.sign(message);
        let entry = sigstore.log_message(&signer, logged, &signature);
        signer.bundle(signer.message(message, &signature), &[entry])
    };
    let mail =
        sigstore.signer_of("release@acme.example", "https://id.example", Some(&sigstore.certificate_log));
    let p384 = sigstore.signer_with(SigningKey::p384(), (IDENTITY, ISSUER), Some(&sigstore.certificate_log));
    let no_issuer = sigstore.signer_of(IDENTITY, "", Some(&sigstore.certificate_log));
    let without_timestamp = sigstore.signer_of(IDENTITY, ISSUER, None);
    let other_timestamp = sigstore.signer_of(IDENTITY, ISSUER, Some(&other.certificate_log));
    let of_other_authority = other.signer_of(IDENTITY, ISSUER, Some(&sigstore.certificate_log));
    let (envelope, entry) = signed(&sigstore, &signer, SIGNS);
    let (second, _) = signed(&sigstore, &signer, SIGNS);
    let elsewhere = other.log_envelope(&signer, &envelope);
    let mut without_promise = bundle(&signer, (envelope.clone(), entry.clone()));
    without_promise["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"] = Value::Null;
    let mut without_proof = bundle(&signer, (envelope.clone(), entry.clone()));
    without_proof["verificationMaterial"]["tlogEntries"][0]["inclusionProof"] = Value::Null;
    let mut wrong_proof = bundle(&signer, (envelope.clone(), entry.clone()));
    wrong_proof["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["hashes"] = json!([]);
    let mut of_key = bundle(&signer, (envelope.clone(), entry.clone()));
    of_key["verificationMaterial"].as_object_mut().unwrap().remove("certificate");
    of_key["verificationMaterial"]["publicKey"] = json!({"hint": ""});
    let mut twice = envelope.clone();
    let signatures = twice["signatures"].as_array_mut().unwrap();
    signatures.push(signatures[0].clone());
    let statement_of = |digest: &Digest| {
        let envelope = signer.statement(digest, SIGNS);
        let entry = sigstore.log_envelope(&signer, &envelope);
        bundle(&signer, (envelope, entry))
    };
    let text = {
        let envelope = signer.envelope("text/plain", "hello");
        let entry = sigstore.log_envelope(&signer, &envelope);
        bundle(&signer, (envelope, entry))
    };
    let of_mail = Signer {
        identity: Identity::Email("release@acme.example".into()),
        issuer: "https://id.example".into(),
        reference: None,
    };
    let other_digest = Digest::of(b"other");
    let cases: Vec<(&str, Value, Result<Signer, &str>)> = vec![
        ("good", bundle(&signer, (envelope.clone(), entry.clone())), Ok(usual())),
        ("good of an e-mail address", bundle(&mail, signed(&sigstore, &mail, SIGNS)), Ok(of_mail)),
        ("good of a key of P-384", bundle(&p384, signed(&sigstore, &p384, SIGNS)), Ok(usual())),
        ("good message", with_message(MANIFEST, MANIFEST), Ok(usual())),
        ("message of another manifest", with_message(b"other", b"other"), Err("it signs another manifest")),
        (
            "message, entry of another",
            with_message(MANIFEST, b"other"),
            Err("its entry is for another content"),
        ),
        ("other digest", statement_of(&other_digest), Err("it signs another manifest")),
        (
            "attestation",
            bundle(&signer, signed(&sigstore, &signer, "https://spdx.dev/Document")),
            Err("it is no signature of an image, but `https://spdx.dev/Document`"),
        ),
        ("no statement", text, Err("it is no signature of an image, but `text/plain`")),
        (
            "certificate of another authority",
            bundle(&of_other_authority, signed(&sigstore, &of_other_authority, SIGNS)),
            Err("no trusted authority has issued it"),
        ),
        (
            "no timestamp in the certificate",
            bundle(&without_timestamp, signed(&sigstore, &without_timestamp, SIGNS)),
            Err("no trusted log of certificates has it"),
        ),
        (
            "timestamp of another log of certificates",
            bundle(&other_timestamp, signed(&sigstore, &other_timestamp, SIGNS)),
            Err("no trusted log of certificates has it"),
        ),
        (
            "expired before the log took it in",
            bundle(&signer, (envelope.clone(), entry.clone().at(BEGIN + 3600, &sigstore.log))),
            Err("and the log took the signature in at 2025-06-01T01:00:00Z"),
        ),
        (
            "logged before the certificate was valid",
            bundle(&signer, (envelope.clone(), entry.clone().at(BEGIN - 3600, &sigstore.log))),
            Err("and the log took the signature in at 2025-05-31T23:00:00Z"),
        ),
        (
            "logged in the future",
            bundle(&signer, (envelope.clone(), entry.clone().at(9_000_000_000, &sigstore.log))),
            Err("is in the future"),
        ),
        (
            "no entry",
            signer.bundle(("dsseEnvelope", envelope.clone()), &[]),
            Err("no trusted log vouches for it"),
        ),
        ("no promise, so no time", without_promise, Err("its time does not count")),
        ("no proof", without_proof, Err("no trusted log vouches for it")),
        ("a proof that proves nothing", wrong_proof, Err("no trusted log vouches for it")),
        (
            "promise of another key",
            bundle(&signer, (envelope.clone(), entry.clone().signed_by(&other.log))),
            Err("no trusted log vouches for it"),
        ),
        (
            "entry of another log",
            bundle(&signer, (envelope.clone(), elsewhere)),
            Err("no trusted log vouches for it"),
        ),
        (
            "entry of another signature",
            bundle(&signer, (second, entry.clone())),
            Err("log entry does not match the bundle"),
        ),
        (
            "many entries",
            signer.bundle(("dsseEnvelope", envelope), &vec![entry; 11]),
            Err("more than 10 entries"),
        ),
        (
            "two signatures",
            bundle(&signer, (twice, sigstore.log_envelope(&signer, &signer.statement(&image(), SIGNS)))),
            Err("exactly one signature"),
        ),
        ("made with a key", of_key, Err("cannot be read")),
        (
            "empty issuer",
            bundle(&no_issuer, signed(&sigstore, &no_issuer, SIGNS)),
            Ok(Signer { issuer: String::new(), ..usual() }),
        ),
        ("junk", json!({}), Err("cannot be read")),
    ];
    for (name, bundle, expected) in cases {
        check(name, root.verify_bundle(bundle.to_string().as_bytes(), &image(), MANIFEST), expected);
    }
    // The content of an envelope is not that of its signature.
    let (mut changed, entry) = signed(&sigstore, &signer, SIGNS);
    changed["payload"] = signer.statement(&other_digest, SIGNS)["payload"].clone();
    let changed = bundle(&signer, (changed, entry)).to_string();
    check(
        "changed",
        root.verify_bundle(changed.as_bytes(), &other_digest, b"other"),
        Err("its content was changed"),
    );
    for junk in [&b""[..], b"\xff", b"[]", &b"[".repeat(100_000)] {
        assert!(matches!(root.verify_bundle(junk, &image(), MANIFEST), Err(Invalid::Document(_))));
    }
}

/// Checks that a bundle with another byte in one of these parts, which are in Base64, does not count.
fn assert_no_byte_can_change(
    good: &Value,
    parts: &[&str],
    check: impl Fn(&Value) -> Result<Signer, Invalid>,
) {
    for part in parts {
        let bytes = STANDARD.decode(good.pointer(part).unwrap().as_str().unwrap()).unwrap();
        for n in (0..bytes.len()).step_by(5) {
            let mut changed = bytes.clone();
            changed[n] ^= 1;
            let mut bundle = good.clone();
            *bundle.pointer_mut(part).unwrap() = STANDARD.encode(changed).into();
            assert!(check(&bundle).is_err(), "byte {n} of {part}");
        }
    }
}

#[test]
fn no_part_of_a_bundle_can_be_changed() {
    let sigstore = Sigstore::new();
    let root = root(&sigstore);
    let signer = sigstore.signer();
    let good = bundle(&signer, signed(&sigstore, &signer, SIGNS));
    let check = |bundle: &Value| root.verify_bundle(bundle.to_string().as_bytes(), &image(), MANIFEST);
    assert_eq!(check(&good).unwrap(), usual());
    let entry = "/verificationMaterial/tlogEntries/0";
    let parts = [
        "/verificationMaterial/certificate/rawBytes",
        &format!("{entry}/canonicalizedBody"),
        &format!("{entry}/logId/keyId"),
        &format!("{entry}/inclusionPromise/signedEntryTimestamp"),
        &format!("{entry}/inclusionProof/rootHash"),
        &format!("{entry}/inclusionProof/hashes/0"),
        "/dsseEnvelope/payload",
        "/dsseEnvelope/signatures/0/sig",
    ];
    assert_no_byte_can_change(&good, &parts, check);
    for (part, value) in [
        ("logIndex", json!("2")),
        ("integratedTime", json!((BEGIN + 1).to_string())),
        ("inclusionProof/logIndex", json!("0")),
        ("inclusionProof/treeSize", json!("3")),
        ("kindVersion/kind", json!("hashedrekord")),
        ("kindVersion/version", json!("0.0.2")),
    ] {
        let mut bundle = good.clone();
        *bundle.pointer_mut(&format!("{entry}/{part}")).unwrap() = value;
        assert!(check(&bundle).is_err(), "{part}");
    }
    let checkpoint = format!("{entry}/inclusionProof/checkpoint/envelope");
    let text = good.pointer(&checkpoint).unwrap().as_str().unwrap().to_owned();
    for changed in [text.replace("\n2\n", "\n3\n"), text.replace("- 1", "- 2"), String::new()] {
        let mut bundle = good.clone();
        *bundle.pointer_mut(&checkpoint).unwrap() = changed.into();
        assert!(check(&bundle).is_err(), "{checkpoint}");
    }
}

/// A layer of cosign 2 with these annotations.
fn layer(payload: &[u8], annotations: &Value) -> Descriptor {
    let (digest, size) = (Digest::of(payload), payload.len());
    let layer = json!({
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": digest, "size": size,
        "annotations": annotations,
    });
    serde_json::from_value(layer).unwrap()
}

#[test]
fn a_payload_of_cosign_2_counts_with_the_promise_of_the_log() {
    let (sigstore, other) = (Sigstore::new(), Sigstore::new());
    let root = root(&sigstore);
    let signer = sigstore.signer();
    let payload = simple_signing::payload(NAME, &image());
    let sign = |signer: &TestSigner, payload: &[u8]| {
        let signature = signer.sign(payload);
        let entry = sigstore.log_message(signer, payload, &signature);
        (signature, entry)
    };
    let (signature, entry) = sign(&signer, &payload);
    let good = signer.annotations(&signature, Some(&entry));
    let with = |key: &str, value: &str| {
        let mut annotations = good.clone();
        annotations[key] = value.into();
        annotations
    };
    let of = |signer: &TestSigner| {
        let (signature, entry) = sign(signer, &payload);
        signer.annotations(&signature, Some(&entry))
    };
    let without_timestamp = sigstore.signer_of(IDENTITY, ISSUER, None);
    let of_other_authority = other.signer_of(IDENTITY, ISSUER, Some(&sigstore.certificate_log));
    let (_, second) = sign(&signer, &payload);
    let of_entry = |entry: &Entry| signer.annotations(&signature, Some(entry));
    let usual = Signer { reference: Some(NAME.into()), ..usual() };
    let cases: Vec<(&str, Value, Result<Signer, &str>)> = vec![
        ("good", good.clone(), Ok(usual.clone())),
        ("good, with the authority", with("dev.sigstore.cosign/chain", &sigstore.authority_pem()), Ok(usual)),
        (
            "no entry",
            signer.annotations(&signature, None),
            Err("it has no annotation `dev.sigstore.cosign/bundle`"),
        ),
        ("damaged entry", with("dev.sigstore.cosign/bundle", "{}"), Err("cannot be read")),
        ("no certificate", with("dev.sigstore.cosign/certificate", ""), Err("it is not valid PEM")),
        ("damaged chain", with("dev.sigstore.cosign/chain", "-----BEGIN"), Err("it is not valid PEM")),
        ("damaged timestamp", with("dev.sigstore.cosign/rfc3161timestamp", "{}"), Err("cannot be read")),
        (
            "wrong timestamp",
            with("dev.sigstore.cosign/rfc3161timestamp", r#"{"SignedRFC3161Timestamp":"AAAA"}"#),
            Err("its time does not count"),
        ),
        ("no signature", with("dev.cosignproject.cosign/signature", &"A".repeat(2000)), Err("is not Base64")),
        (
            "another signature",
            with("dev.cosignproject.cosign/signature", "AAAA"),
            Err("its content was changed"),
        ),
        ("another authority", of(&of_other_authority), Err("no trusted authority has issued it")),
        (
            "no timestamp in the certificate",
            of(&without_timestamp),
            Err("no trusted log of certificates has it"),
        ),
        (
            "expired before the log took it in",
            of_entry(&entry.clone().at(BEGIN + 3600, &sigstore.log)),
            Err("and the log took the signature in at"),
        ),
        (
            "promise of another key",
            of_entry(&entry.signed_by(&SigningKey::new())),
            Err("no trusted log vouches for it"),
        ),
        (
            "entry of another log",
            of_entry(&other.log_message(&signer, &payload, &signature)),
            Err("no trusted log vouches for it"),
        ),
        ("entry of another signature", of_entry(&second), Err("log entry does not match the bundle")),
        (
            "entry of another content",
            of_entry(&sigstore.log_message(&signer, b"x", &signature)),
            Err("its entry is for another content"),
        ),
    ];
    for (name, annotations, expected) in cases {
        check(name, root.verify_payload(&payload, &layer(&payload, &annotations), &image()), expected);
    }
    let changed = simple_signing::payload("evil.example/app", &image());
    check(
        "changed",
        root.verify_payload(&changed, &layer(&changed, &good), &image()),
        Err("its content was changed"),
    );
    let other_image = Digest::of(b"other");
    check(
        "other image",
        root.verify_payload(&payload, &layer(&payload, &good), &other_image),
        Err("it signs another manifest"),
    );
    for (payload, reason) in [(&b"{}"[..], "cannot be read"), (b"x", "cannot be read")] {
        let (signature, entry) = sign(&signer, payload);
        let annotations = signer.annotations(&signature, Some(&entry));
        check(
            "no payload",
            root.verify_payload(payload, &layer(payload, &annotations), &image()),
            Err(reason),
        );
    }
}

#[test]
fn a_root_can_be_used_or_says_why_not() {
    let root = SigstoreRoot::public().unwrap();
    assert!(root.authorities().starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert!(root.log_keys().iter().all(|key| key.starts_with("-----BEGIN PUBLIC KEY-----\n")));
    assert!(!root.log_keys().is_empty() && !root.certificate_log_keys().is_empty());
    assert!(format!("{root:?}").contains("fulcio.sigstore.dev"));
    let sigstore = Sigstore::new();
    assert!(root.is_public() && !self::root(&sigstore).is_public());
    let with = |key: &str, value: Value| {
        let mut root = sigstore.trusted_root();
        root[key] = value;
        SigstoreRoot::read(root.to_string().as_bytes()).unwrap_err().to_string()
    };
    for key in ["certificateAuthorities", "tlogs", "ctlogs"] {
        assert!(with(key, json!([])).contains(&format!("it has no `{key}`")));
    }
    let mut damaged = sigstore.trusted_root()["tlogs"].clone();
    damaged[0]["publicKey"]["rawBytes"] = "AAAA".into();
    assert!(with("tlogs", damaged).contains("a key or a certificate of it cannot be used"));
    for junk in [&b""[..], b"{}", b"\xff"] {
        assert!(matches!(SigstoreRoot::read(junk), Err(RootError::Json(_))));
    }
}
