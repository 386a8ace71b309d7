//! Timestamps of an authority: an entry of Rekor v2 says no time, so a bundle with it needs one.

use std::ops::Range;

use raas_testkit::sigstore::{Timestamp, TimestampAuthority, stamped};

use super::*;

const ENTRY: &str = "/verificationMaterial/tlogEntries/0";

/// When the certificates are valid.
const INSIDE: i64 = BEGIN + 300;

/// The signature of an envelope.
fn signature(envelope: &Value) -> Vec<u8> {
    STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap()
}

/// A statement about the image with its entry, and the timestamp of its signature.
fn signed(sigstore: &Sigstore, signer: &TestSigner) -> (Value, Entry, Timestamp) {
    let envelope = signer.statement(&image(), SIGNS);
    let entry = sigstore.log_envelope_v2(signer, &envelope);
    let timestamp = sigstore.timestamp_authority.stamp(&signature(&envelope), INSIDE);
    (envelope, entry, timestamp)
}

/// The same bundle with another value of a part.
fn with(bundle: &Value, part: &str, value: impl Into<Value>) -> Value {
    let mut bundle = bundle.clone();
    let (parent, key) = part.rsplit_once('/').unwrap();
    match bundle.pointer_mut(parent).unwrap() {
        Value::Array(values) => values[key.parse::<usize>().unwrap()] = value.into(),
        parent => parent[key] = value.into(),
    }
    bundle
}

#[test]
fn a_bundle_of_rekor_v2_counts_with_the_timestamp_of_a_trusted_authority() {
    let (sigstore, other) = (Sigstore::new(), Sigstore::new());
    let root = root(&sigstore);
    let signer = sigstore.signer();
    let (envelope, entry, timestamp) = signed(&sigstore, &signer);
    let at = |time: i64| sigstore.timestamp_authority.stamp(&signature(&envelope), time).response;
    let of_other_authority = other.timestamp_authority.stamp(&signature(&envelope), INSIDE).response;
    let by_other_key = sigstore.timestamp_authority.with_key(SigningKey::new());
    let by_other_key = by_other_key.stamp(&signature(&envelope), INSIDE).response;
    let of_other_signature = sigstore.timestamp_authority.stamp(&signer.sign(b"other"), INSIDE).response;
    let unstamped = bundle(&signer, (envelope.clone(), entry.clone()));
    let good = stamped(unstamped.clone(), &[&timestamp.response]);
    let with_times = |timestamps: &[&[u8]]| stamped(unstamped.clone(), timestamps);
    let with_entry =
        |entry: Entry| stamped(bundle(&signer, (envelope.clone(), entry)), &[&timestamp.response]);
    let without = |part: &str| with(&good, &format!("{ENTRY}/{part}"), Value::Null);
    let of_kind = |kind: &str, version: &str| {
        let bundle = with(&good, &format!("{ENTRY}/kindVersion/kind"), kind);
        with(&bundle, &format!("{ENTRY}/kindVersion/version"), version)
    };
    let message = |message: &[u8], logged: &[u8]| {
        let signature = signer.sign(message);
        let entry = sigstore.log_message_v2(&signer, logged, &signature);
        let timestamp = sigstore.timestamp_authority.stamp(&signature, INSIDE);
        stamped(signer.bundle(signer.message(message, &signature), &[entry]), &[&timestamp.response])
    };
    let by = |signer: &TestSigner| {
        let (envelope, entry, timestamp) = signed(&sigstore, signer);
        stamped(bundle(signer, (envelope, entry)), &[&timestamp.response])
    };
    let no_entry = |media_type: &str| {
        let bundle = stamped(signer.bundle(("dsseEnvelope", envelope.clone()), &[]), &[&timestamp.response]);
        with(&bundle, "/mediaType", media_type)
    };
    let of_v1 = sigstore.log_envelope(&signer, &envelope);
    let with_v1 = stamped(bundle(&signer, (envelope.clone(), of_v1.clone())), &[&timestamp.response]);
    let cases: Vec<(&str, Value, Result<Signer, &str>)> = vec![
        ("good", good.clone(), Ok(usual())),
        ("good message", message(MANIFEST, MANIFEST), Ok(usual())),
        ("good token without its answer", with_times(&[&timestamp.token]), Ok(usual())),
        (
            "good in a log with a key of P-256",
            with_entry(entry.clone().logged_by(&sigstore.log)),
            Ok(usual()),
        ),
        ("good with an entry of Rekor v1", with_v1.clone(), Ok(usual())),
        (
            "good with an entry of Rekor v1 without a promise",
            with(&with_v1, &format!("{ENTRY}/inclusionPromise"), Value::Null),
            Ok(usual()),
        ),
        ("two times", with_times(&[&at(BEGIN), &at(BEGIN + 600)]), Ok(usual())),
        ("no timestamp", unstamped.clone(), Err("V2 bundle requires RFC3161 timestamp")),
        ("no timestamps", with_times(&[]), Err("V2 bundle requires RFC3161 timestamp")),
        (
            "a time that nobody signs",
            bundle(&signer, (envelope.clone(), entry.clone().at(INSIDE, &sigstore.log_v2))),
            Err("V2 bundle requires RFC3161 timestamp"),
        ),
        (
            "many timestamps",
            with_times(&[&timestamp.response[..]; 11]),
            Err("more than 10 entries, timestamps"),
        ),
        ("junk as a timestamp", with_times(&[b"junk"]), Err("failed to decode TimeStampToken")),
        (
            "timestamp of another authority",
            with_times(&[&of_other_authority]),
            Err("does not match any trusted TSA certificate"),
        ),
        (
            "timestamp of another authority beside a good one",
            with_times(&[&timestamp.response, &of_other_authority]),
            Err("does not match any trusted TSA certificate"),
        ),
        (
            "timestamp by another key under the name of the authority",
            with_times(&[&by_other_key]),
            Err("the signature (ECDSA_P256_SHA256) is wrong"),
        ),
        (
            "timestamp of another signature",
            with_times(&[&of_other_signature]),
            Err("Timestamp message hash mismatch"),
        ),
        (
            "timestamp after the certificate expired",
            with_times(&[&at(BEGIN + 601)]),
            Err("and the timestamp of the signature is 2025-06-01T00:10:01Z"),
        ),
        (
            "timestamp before the certificate was valid",
            with_times(&[&at(BEGIN - 1)]),
            Err("and the timestamp of the signature is 2025-05-31T23:59:59Z"),
        ),
        (
            "one of two times after the certificate expired",
            with_times(&[&timestamp.response, &at(BEGIN + 3600)]),
            Err("and the timestamp of the signature is 2025-06-01T01:00:00Z"),
        ),
        (
            "timestamp after the certificate expired, beside a promise",
            stamped(bundle(&signer, (envelope.clone(), of_v1)), &[&at(BEGIN + 3600)]),
            Err("and the timestamp of the signature is 2025-06-01T01:00:00Z"),
        ),
        ("timestamp before the authority", with_times(&[&at(1_700_000_000)]), Err("CertNotValidYet")),
        (
            "certificate of another authority",
            by(&other.signer_of(IDENTITY, ISSUER, Some(&sigstore.certificate_log))),
            Err("no trusted authority has issued it"),
        ),
        (
            "no timestamp in the certificate",
            by(&sigstore.signer_of(IDENTITY, ISSUER, None)),
            Err("no trusted log of certificates has it"),
        ),
        (
            "a key of P-384",
            by(&sigstore.signer_with(
                SigningKey::p384(),
                (IDENTITY, ISSUER),
                Some(&sigstore.certificate_log),
            )),
            Err("unknown variant `PKIX_ECDSA_P384_SHA_384`"),
        ),
        (
            "checkpoint by another key",
            with_entry(entry.clone().signed_by(&SigningKey::ed25519())),
            Err("No valid Rekor signature found on checkpoint"),
        ),
        (
            "entry in another log",
            with_entry(entry.clone().logged_by(&other.log_v2)),
            Err("No matching Rekor key found"),
        ),
        (
            "checkpoint of the log of certificates",
            with_entry(entry.logged_by(&sigstore.certificate_log)),
            Err("No matching Rekor key found"),
        ),
        ("no proof", without("inclusionProof"), Err("must have an inclusion proof")),
        (
            "no checkpoint",
            with(&good, &format!("{ENTRY}/inclusionProof/checkpoint/envelope"), ""),
            Err("inclusion proof has no checkpoint"),
        ),
        (
            "a proof that proves nothing",
            with(&good, &format!("{ENTRY}/inclusionProof/hashes"), json!([])),
            Err("inclusion proof verification failed"),
        ),
        ("no entry", no_entry(raas_testkit::sigstore::BUNDLE), Err("must have an inclusion proof")),
        (
            "no entry, version 0.2",
            no_entry("application/vnd.dev.sigstore.bundle+json;version=0.2"),
            Err("must have an inclusion proof"),
        ),
        (
            "no entry, version 0.1",
            no_entry("application/vnd.dev.sigstore.bundle+json;version=0.1"),
            Err("must have an inclusion promise"),
        ),
        (
            "entry of another signature",
            with_entry(signed(&sigstore, &signer).1),
            Err("DSSE signature in bundle does not match"),
        ),
        (
            "entry of another certificate",
            with_entry(sigstore.log_envelope_v2(&sigstore.signer(), &envelope)),
            Err("certificate in bundle does not match"),
        ),
        ("entry of another content", message(MANIFEST, b"other"), Err("its entry is for another content")),
        ("message of another manifest", message(b"other", b"other"), Err("it signs another manifest")),
        (
            "entry as one of Rekor v1",
            of_kind("hashedrekord", "0.0.1"),
            Err("incompatible with a DSSE envelope"),
        ),
        ("entry `dsse` 0.0.2", of_kind("dsse", "0.0.2"), Err("unsupported Rekor entry format: dsse/0.0.2")),
    ];
    for (name, bundle, expected) in cases {
        check(name, root.verify_bundle(bundle.to_string().as_bytes(), &image(), MANIFEST), expected);
    }
    // An authority counts while the root says so.
    let with_root = |authorities: Value, bundle: &Value| {
        let mut root = sigstore.trusted_root();
        root["timestampAuthorities"] = authorities;
        let root = SigstoreRoot::read(root.to_string().as_bytes()).unwrap();
        root.verify_bundle(bundle.to_string().as_bytes(), &image(), MANIFEST)
    };
    let of_root = |authorities: Value| with_root(authorities, &good);
    let mut ended = sigstore.timestamp_authority.in_root();
    ended["validFor"]["end"] = "2025-06-01T00:04:59Z".into();
    check("no authority", of_root(json!([])), Err("no timestamp authorities configured in trusted root"));
    check(
        "an authority that had ended",
        of_root(json!([ended])),
        Err("outside the validity period of the authority"),
    );
    let two = json!([TimestampAuthority::new().in_root(), sigstore.timestamp_authority.in_root()]);
    check("two authorities", of_root(two), Ok(usual()));
    let ed25519 = TimestampAuthority::of(SigningKey::ed25519());
    let by_ed25519 = with_times(&[&ed25519.stamp(&signature(&envelope), INSIDE).response]);
    check(
        "an authority with a key of Ed25519",
        with_root(json!([ed25519.in_root()]), &by_ed25519),
        Err("not an EC key"),
    );
}

#[test]
fn no_part_of_a_bundle_of_rekor_v2_can_be_changed() {
    let sigstore = Sigstore::new();
    let root = root(&sigstore);
    let signer = sigstore.signer();
    let (envelope, entry, timestamp) = signed(&sigstore, &signer);
    let good = stamped(bundle(&signer, (envelope, entry)), &[&timestamp.response]);
    let check = |bundle: &Value| root.verify_bundle(bundle.to_string().as_bytes(), &image(), MANIFEST);
    assert_eq!(check(&good).unwrap(), usual());
    let changed = |part: &str, bytes: &[u8], n: usize| {
        let mut changed = bytes.to_vec();
        changed[n] ^= 1;
        check(&with(&good, part, STANDARD.encode(changed)))
    };
    let parts = [
        "/verificationMaterial/certificate/rawBytes",
        &format!("{ENTRY}/canonicalizedBody"),
        &format!("{ENTRY}/inclusionProof/hashes/0"),
        "/dsseEnvelope/payload",
        "/dsseEnvelope/signatures/0/sig",
    ];
    assert_no_byte_can_change(&good, &parts, check);
    // Nobody signs the frame of a timestamp, nor the name before the signature of a checkpoint. They change nothing.
    let part = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
    let response = &timestamp.response;
    for n in 0..response.len() {
        let is_signed = timestamp.signed.iter().any(|signed| place(response, signed).contains(&n));
        match changed(part, response, n) {
            Err(_) => {}
            Ok(signer) => assert!(!is_signed && signer == usual(), "byte {n} of the timestamp"),
        }
    }
    let part = format!("{ENTRY}/inclusionProof/checkpoint/envelope");
    let text = good.pointer(&part).unwrap().as_str().unwrap().to_owned();
    let (note, signature) = text.split_once("\n\n").unwrap();
    let name = place(signature.as_bytes(), note.lines().next().unwrap().as_bytes());
    let unsigned = note.len() + 2 + name.start..note.len() + 2 + name.end;
    for (n, letter) in text.trim_end().char_indices().filter(|(_, letter)| letter.is_ascii()) {
        let mut changed = text.clone();
        changed.replace_range(n..=n, &char::from(letter as u8 ^ 1).to_string());
        match check(&with(&good, &part, changed)) {
            Err(_) => {}
            Ok(signer) => assert!(unsigned.contains(&n) && signer == usual(), "byte {n} of the checkpoint"),
        }
    }
    assert!(check(&with(&good, &format!("{ENTRY}/logIndex"), "0")).is_err());
    // The library takes these from the checkpoint, or does without them. A time that nobody signs does not count.
    for (part, value) in [
        ("logId", json!({"keyId": STANDARD.encode([0; 32])})),
        ("integratedTime", json!((BEGIN + 3600).to_string())),
        ("inclusionProof/logIndex", json!("0")),
        ("inclusionProof/treeSize", json!("3")),
        ("inclusionProof/rootHash", json!(STANDARD.encode([0; 32]))),
    ] {
        assert_eq!(check(&with(&good, &format!("{ENTRY}/{part}"), value)).unwrap(), usual(), "{part}");
    }
}

/// Where a part of these bytes is.
fn place(bytes: &[u8], part: &[u8]) -> Range<usize> {
    let start = bytes.windows(part.len()).position(|window| window == part).unwrap();
    start..start + part.len()
}

#[test]
fn a_timestamp_of_a_payload_of_cosign_2_counts_too() {
    let (sigstore, other) = (Sigstore::new(), Sigstore::new());
    let root = root(&sigstore);
    let signer = sigstore.signer();
    let payload = simple_signing::payload(NAME, &image());
    let signature = signer.sign(&payload);
    let entry = sigstore.log_message(&signer, &payload, &signature);
    let cases: Vec<(&str, Timestamp, Result<Signer, &str>)> = vec![
        (
            "good",
            sigstore.timestamp_authority.stamp(&signature, INSIDE),
            Ok(Signer { reference: Some(NAME.into()), ..usual() }),
        ),
        (
            "after the certificate expired",
            sigstore.timestamp_authority.stamp(&signature, BEGIN + 3600),
            Err("and the timestamp of the signature is 2025-06-01T01:00:00Z"),
        ),
        (
            "of another authority",
            other.timestamp_authority.stamp(&signature, INSIDE),
            Err("does not match any trusted TSA certificate"),
        ),
        (
            "of another signature",
            sigstore.timestamp_authority.stamp(&signer.sign(b"other"), INSIDE),
            Err("Timestamp message hash mismatch"),
        ),
    ];
    for (name, timestamp, expected) in cases {
        let mut annotations = signer.annotations(&signature, Some(&entry));
        let timestamp = json!({"SignedRFC3161Timestamp": STANDARD.encode(timestamp.response)});
        annotations["dev.sigstore.cosign/rfc3161timestamp"] = timestamp.to_string().into();
        check(name, root.verify_payload(&payload, &layer(&payload, &annotations), &image()), expected);
    }
}
