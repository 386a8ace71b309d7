use raas_testkit::notation::{Signer, authority, signer};
use raas_types::media_type::OCI_MANIFEST;
use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};
use serde_json::{Value, json};

use super::*;

/// 1 January 2030.
const NOW: u64 = 1_893_456_000;

fn certificates(pem: &str) -> Vec<TrustedCertificate> {
    TrustedCertificate::read_all(pem.as_bytes()).unwrap()
}

/// Checks an envelope for the image of the tests.
fn check(envelope: &Value, trusted: &str) -> Result<(), Invalid> {
    check_at(envelope, trusted, NOW)
}

fn check_at(envelope: &Value, trusted: &str, now: u64) -> Result<(), Invalid> {
    let digest = Digest::of(b"image");
    let image = Target { digest: &digest, media_type: OCI_MANIFEST, size: 5 };
    verify(envelope.to_string().as_bytes(), &image, &certificates(trusted), Utc::from_unix(now))
}

fn payload() -> Value {
    Signer::payload(OCI_MANIFEST, &Digest::of(b"image"), 5)
}

#[test]
fn each_algorithm_of_notation_counts_with_the_trusted_authority_alone() {
    let other = Signer::usual();
    for (envelope, authority) in [
        (
            include_str!("../../tests/data/notation/ps256.json"),
            include_str!("../../tests/data/notation/ps256.pem"),
        ),
        (
            include_str!("../../tests/data/notation/ps384.json"),
            include_str!("../../tests/data/notation/ps384.pem"),
        ),
        (
            include_str!("../../tests/data/notation/ps512.json"),
            include_str!("../../tests/data/notation/ps512.pem"),
        ),
        (
            include_str!("../../tests/data/notation/es256.json"),
            include_str!("../../tests/data/notation/es256.pem"),
        ),
        (
            include_str!("../../tests/data/notation/es384.json"),
            include_str!("../../tests/data/notation/es384.pem"),
        ),
    ] {
        let envelope: Value = serde_json::from_str(envelope).unwrap();
        assert_eq!(check(&envelope, authority), Ok(()));
        assert_eq!(check(&envelope, &(other.authority() + authority)), Ok(()));
        assert!(matches!(check(&envelope, &other.authority()), Err(Invalid::Certificate(_))));
        // Another signature than that of the key.
        let mut changed = envelope.clone();
        let signature = envelope["signature"].as_str().unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        changed["signature"] = format!("{first}{}", &signature[1..]).into();
        assert_eq!(check(&changed, authority), Err(Invalid::Key));
    }
    let p521 = serde_json::from_str(include_str!("../../tests/data/notation/es512.json")).unwrap();
    let error = check(&p521, include_str!("../../tests/data/notation/es512.pem")).unwrap_err();
    assert!(error.to_string().contains("P-521"), "{error}");
}

#[test]
fn a_signature_counts_for_its_image_alone() {
    let signer = Signer::usual();
    let digest = Digest::of(b"image");
    assert_eq!(check(&signer.sign(OCI_MANIFEST, &digest, 5), &signer.authority()), Ok(()));
    assert_eq!(check(&signer.sign(OCI_MANIFEST, &digest, 5), &signer.certificate()), Ok(()));
    let other = Digest::of(b"other");
    assert_eq!(
        check(&signer.sign(OCI_MANIFEST, &other, 5), &signer.authority()),
        Err(Invalid::Digest(other.to_string()))
    );
    for envelope in [signer.sign(OCI_MANIFEST, &digest, 6), signer.sign("text/plain", &digest, 5)] {
        assert!(matches!(check(&envelope, &signer.authority()), Err(Invalid::Descriptor(_))));
    }
    let envelope = |payload: &Value| signer.envelope(&Signer::protected(), &signer.chain(), payload);
    for payload in [json!({}), json!(null), json!({"targetArtifact": {"digest": digest.to_string()}})] {
        assert!(matches!(check(&envelope(&payload), &signer.authority()), Err(Invalid::Document(_))));
    }
    // The payload of another envelope.
    let mut changed = signer.sign(OCI_MANIFEST, &other, 5);
    changed["payload"] = envelope(&payload())["payload"].clone();
    assert_eq!(check(&changed, &signer.authority()), Err(Invalid::Key));
}

#[test]
fn a_header_that_raas_does_not_understand_is_no_signature() {
    let signer = Signer::usual();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut protected = Signer::protected();
        change(&mut protected);
        check(&signer.envelope(&protected, &signer.chain(), &payload()), &signer.authority())
    };
    const EXPIRY: &str = "io.cncf.notary.expiry";
    const SCHEME: &str = "io.cncf.notary.signingScheme";
    const TIME: &str = "io.cncf.notary.signingTime";
    assert_eq!(with(&|_| ()), Ok(()));
    assert_eq!(with(&|header| header["more"] = "x".into()), Ok(()), "not critical");
    let expires = |header: &mut Value, time: &str| {
        header[EXPIRY] = time.into();
        header["crit"] = json!([SCHEME, EXPIRY]);
    };
    assert_eq!(with(&|header| expires(header, "2030-01-01T00:00:01Z")), Ok(()));
    assert_eq!(
        with(&|header| expires(header, "2030-01-01T01:00:00+01:00")),
        Err(Invalid::Expired("2030-01-01T00:00:00Z".into()))
    );
    let wrong: [&dyn Fn(&mut Value); 14] = [
        &|header| expires(header, "tomorrow"),
        &|header| header[EXPIRY] = "2031-01-01T00:00:00Z".into(),
        &|header| header["crit"] = json!([SCHEME, EXPIRY]),
        &|header| header["crit"] = json!([]),
        &|header| header["crit"] = json!([SCHEME, "io.cncf.notary.verificationPlugin"]),
        &|header| header["crit"] = json!([SCHEME, "b64"]),
        &|header| header[SCHEME] = "notary.x509.signingAuthority".into(),
        &|header| header[TIME] = "yesterday".into(),
        &|header| drop(header.as_object_mut().unwrap().remove(TIME)),
        &|header| header["alg"] = "none".into(),
        &|header| header["alg"] = "HS256".into(),
        &|header| header["alg"] = "ES384".into(),
        &|header| header["alg"] = "PS256".into(),
        &|header| header["alg"] = "".into(),
    ];
    for (n, change) in wrong.into_iter().enumerate() {
        assert!(matches!(with(change), Err(Invalid::Header(_))), "{n}: {:?}", with(change));
    }
    let kind = with(&|header| header["cty"] = "text/plain".into());
    assert_eq!(kind, Err(Invalid::Kind("text/plain".into())));
    for name in ["alg", "cty", SCHEME] {
        let missing = with(&|header| drop(header.as_object_mut().unwrap().remove(name)));
        assert!(matches!(missing, Err(Invalid::Document(_))), "{name}");
    }
}

#[test]
fn a_certificate_must_be_trusted_valid_and_for_code() {
    let good = signer("Test signer");
    let with = |authority_params: rcgen::CertificateParams, signer_params: &rcgen::CertificateParams| {
        let signer = Signer::new(authority_params, signer_params);
        check(&signer.sign(OCI_MANIFEST, &Digest::of(b"image"), 5), &signer.authority())
    };
    assert_eq!(with(authority("Test authority"), &good), Ok(()));
    let changed = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = good.clone();
        change(&mut params);
        params
    };
    let wrong: [&dyn Fn(&mut rcgen::CertificateParams); 7] = [
        &|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment],
        &|params| params.key_usages = Vec::new(),
        &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth],
        &|params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth),
        &|params| params.extended_key_usages.push(ExtendedKeyUsagePurpose::Any),
        // Expired now, and not valid yet when the signer signed.
        &|params| params.not_after = date_time_ymd(2029, 12, 31),
        &|params| params.not_before = date_time_ymd(2024, 6, 2),
    ];
    for (n, change) in wrong.into_iter().enumerate() {
        let result = with(authority("Test authority"), &changed(change));
        assert!(matches!(result, Err(Invalid::Certificate(_))), "{n}: {result:?}");
    }
    assert_eq!(
        with(authority("Test authority"), &changed(&|params| params.extended_key_usages = Vec::new())),
        Ok(()),
        "an extended key usage is optional"
    );
    let wrong: [&dyn Fn(&mut rcgen::CertificateParams); 4] = [
        &|params| params.is_ca = IsCa::ExplicitNoCa,
        &|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
        &|params| params.not_after = date_time_ymd(2029, 12, 31),
        &|params| params.not_before = date_time_ymd(2024, 6, 2),
    ];
    for (n, change) in wrong.into_iter().enumerate() {
        let mut params = authority("Test authority");
        change(&mut params);
        let result = with(params, &good);
        assert!(matches!(result, Err(Invalid::Certificate(_))), "{n}: {result:?}");
    }
}

#[test]
fn a_trusted_certificate_must_be_on_the_path_and_not_only_in_the_envelope() {
    let (trusted, hostile) = (Signer::usual(), Signer::usual());
    let sign = |chain: &[Vec<u8>]| hostile.envelope(&Signer::protected(), chain, &payload());
    let (own, others) = (hostile.chain(), trusted.chain());
    for chain in [
        vec![own[0].clone(), others[1].clone()],
        vec![own[0].clone(), others[1].clone(), own[1].clone()],
        vec![own[0].clone(), own[1].clone(), others[0].clone(), others[1].clone()],
    ] {
        for pem in [trusted.authority(), trusted.certificate()] {
            assert!(matches!(check(&sign(&chain), &pem), Err(Invalid::Certificate(_))));
        }
    }
    // The certificate of another key.
    assert_eq!(check(&sign(&others), &trusted.authority()), Err(Invalid::Key));
    // A signer is no authority.
    assert!(matches!(
        check(&hostile.sign(OCI_MANIFEST, &Digest::of(b"image"), 5), &trusted.certificate()),
        Err(Invalid::Certificate(_))
    ));
    for chain in [Vec::new(), vec![own[0].clone(); 11], vec![b"x".to_vec()]] {
        assert!(matches!(check(&sign(&chain), &hostile.authority()), Err(Invalid::Certificate(_))));
    }
}

#[test]
fn a_certificate_of_a_signer_counts_while_it_is_valid() {
    let mut params = signer("Test signer");
    params.not_after = date_time_ymd(2029, 12, 31);
    let signer = Signer::new(authority("Test authority"), &params);
    let envelope = signer.sign(OCI_MANIFEST, &Digest::of(b"image"), 5);
    assert_eq!(check_at(&envelope, &signer.certificate(), NOW - 30 * 86_400), Ok(()));
    let error = check(&envelope, &signer.certificate()).unwrap_err().to_string();
    assert!(error.contains("CN=Test signer is not valid at 2030-01-01T00:00:00Z"), "{error}");
}

#[test]
fn junk_is_no_envelope() {
    let signer = Signer::usual();
    let good = signer.sign(OCI_MANIFEST, &Digest::of(b"image"), 5);
    for (name, error) in
        [("payload", Invalid::Base64), ("protected", Invalid::Base64), ("signature", Invalid::Base64)]
    {
        let mut junk = good.clone();
        junk[name] = "?".into();
        assert_eq!(check(&junk, &signer.authority()), Err(error), "{name}");
        junk.as_object_mut().unwrap().remove(name);
        assert!(matches!(check(&junk, &signer.authority()), Err(Invalid::Document(_))), "{name}");
    }
    let mut junk = good;
    junk["header"]["x5c"][0] = "?".into();
    assert_eq!(check(&junk, &signer.authority()), Err(Invalid::Base64));
    for junk in [json!([]), json!("x"), json!({"payload": "", "signatures": []})] {
        assert!(matches!(check(&junk, &signer.authority()), Err(Invalid::Document(_))));
    }
}

#[test]
fn files_of_certificates_are_read_whole() {
    let (one, two) = (Signer::usual(), Signer::usual());
    let both = certificates(&(one.authority() + &two.certificate() + &one.authority()));
    assert_eq!(both.len(), 2);
    assert_eq!(both[1].subject(), "CN=Test signer");
    assert_eq!(both[0].to_pem().lines().next(), Some("-----BEGIN CERTIFICATE-----"));
    assert_eq!(certificates(&both[0].to_pem()), both[..1]);
    let many: String = (0..=100).map(|_| Signer::usual().certificate()).collect();
    for (file, expected) in [
        (String::new(), CertificateError::None),
        (KeyPair::generate().unwrap().public_key_pem(), CertificateError::None),
        ("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n".into(), CertificateError::Damaged),
        (many, CertificateError::TooMany),
    ] {
        assert_eq!(TrustedCertificate::read_all(file.as_bytes()).unwrap_err(), expected);
    }
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(TrustedCertificate::read_all(junk.as_bytes()), Err(CertificateError::Unreadable(_))));
}
