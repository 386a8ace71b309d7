//! Simple signatures of OpenPGP: `require_signature` with a key of GnuPG, and `push --sign-by`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_gpg::Keyring;
use raas_signatures::simple_signing;
use raas_testkit::gpg::Gpg;
use raas_testkit::http::Reply;
use raas_testkit::oci::Layout;
use raas_testkit::pulp3::Pulp;
use raas_testkit::registry::Registry;
use raas_types::{Descriptor, Digest, Utc};
use serde_json::{Value, json};

use crate::client::Client;
use crate::printed_json;
use crate::sandbox::{Sandbox, succeeded};

const NAME: &str = "quay.example/acme/app:1.0";

/// A sandbox whose vendor `acme` trusts this key.
fn sandbox(gpg: &Gpg, key: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("acme.asc", gpg.armoured(key));
    sandbox.write("raas.cfg", format!("[acme]\nrequire_signature = acme.asc\n{more}\n"));
    sandbox
}

/// A simple signature that gives the image this name.
fn signature(gpg: &Gpg, key: &str, name: &str, image: &Digest) -> Vec<u8> {
    gpg.sign(key, &simple_signing::atomic_payload(name, image, "test", Utc::from_unix(1)))
}

/// A `dir:` folder of skopeo with an image, and with signatures of the image. Returns its path.
fn folder(sandbox: &Sandbox, signatures: &[Vec<u8>]) -> String {
    let (layout, image) = layout();
    let file = |name: &str, bytes: &[u8]| sandbox.write(&format!("dir/{name}"), bytes);
    drop(fs::remove_dir_all(sandbox.path("dir")));
    file("version", b"Directory Transport Version: 1.1\n");
    for (digest, bytes) in layout.blobs() {
        match digest == image.digest {
            true => file("manifest.json", bytes),
            false => file(&digest.hex(), bytes),
        };
    }
    for (n, signature) in signatures.iter().enumerate() {
        file(&format!("signature-{}", n + 1), signature);
    }
    sandbox.path("dir").to_str().unwrap().to_owned()
}

/// A layout with one image, which has the tag 1.0.
fn layout() -> (Layout, Descriptor) {
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    (layout, image)
}

#[test]
fn a_simple_signature_of_pulp_a_registry_or_a_folder_counts() {
    let gpg = Gpg::new();
    let key = gpg.key("vendor@example.com");
    let (layout, image) = layout();
    let good = signature(&gpg, &key, NAME, &image.digest);
    let sandbox = sandbox(&gpg, &key, "signature_identity = quay.example/acme/*");

    let pulp = Pulp::new("acme/app");
    pulp.registry.fill(&layout);
    pulp.registry.tag("1.0", &image.digest);
    let config = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    sandbox.write("raas.cfg", config + &pulp.section());
    let address = pulp.registry.address();
    let sources = [&[][..], &["--from", address.as_str()]];
    const PUSH: [&str; 3] = ["push", "acme", "app:1.0"];
    for source in sources {
        sandbox.fails(3, &[&PUSH[..], source].concat());
        assert!(!sandbox.home().join("acme").exists());
    }
    pulp.sign(&image.digest, &STANDARD.encode(&good));
    for source in sources {
        drop(fs::remove_dir_all(sandbox.home()));
        let report = sandbox.json(&[&PUSH[..], &["--json"], source].concat());
        assert_eq!(report["verified_manifests"], json!([image.digest]));
    }
    drop(fs::remove_dir_all(sandbox.home()));
    let path = folder(&sandbox, &[good]);
    let push = ["push", "acme", "app:1.0", "--json", "--from", &path];
    assert_eq!(sandbox.json(&push)["verified_manifests"], json!([image.digest]));

    // The repository publishes the signature. It counts if the source no longer has it, and --prune keeps it.
    let path = folder(&sandbox, &[]);
    for more in [&[][..], &["--prune"]] {
        let push = [&["push", "acme", "app:1.0", "--json", "--from", &path][..], more].concat();
        let report = sandbox.json(&push);
        assert_eq!(report["verified_manifests"], json!([image.digest]));
        assert_eq!(report["changed"], false, "{more:?}");
    }
    assert_eq!(stored(&sandbox, &image.digest).len(), 1);
}

/// The files of an image's simple signatures in the bucket.
fn stored(sandbox: &Sandbox, image: &Digest) -> Vec<Vec<u8>> {
    let file = |n: usize| format!("acme/bucket/app@sha256={}/signature-{n}", image.hex());
    (1..).map_while(|n| fs::read(sandbox.home().join(file(n))).ok()).collect()
}

#[test]
fn a_registry_with_another_answer_has_no_simple_signatures() {
    let pair = rcgen::KeyPair::generate().unwrap().public_key_pem();
    let sandbox = Sandbox::new();
    sandbox.write("acme.pub", pair);
    sandbox.write("raas.cfg", "[acme]\nrequire_signature = acme.pub\n");
    let (layout, image) = layout();
    let registry = Registry::new("acme/app");
    registry.fill(&layout);
    registry.tag("1.0", &image.digest);
    registry.change(|asked, _, reply| match asked.target.starts_with("/extensions/") {
        true => Reply::new(200, "<html>"),
        false => reply,
    });
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &registry.address()]);
    assert!(failure.contains("no atomic signatures are read"), "{failure}");
    assert!(failure.contains("has no signature"), "{failure}");
}

#[test]
fn a_simple_signature_that_is_wrong_in_any_way_does_not_count() {
    let gpg = Gpg::new();
    let (key, other) = (gpg.key("vendor@example.com"), gpg.key("other@example.com"));
    let sandbox = sandbox(&gpg, &key, "signature_identity = quay.example/acme/*");
    let image = layout().1.digest;
    let payload = simple_signing::payload(NAME, &image);
    for (reason, signatures) in [
        ("has no signature", vec![]),
        ("none of the trusted keys made it, but the key", vec![signature(&gpg, &other, NAME, &image)]),
        ("it signs another manifest", vec![signature(&gpg, &key, NAME, &Digest::of(b"other"))]),
        (
            "which `signature_identity` does not allow",
            vec![signature(&gpg, &key, "evil.example/app", &image)],
        ),
        ("but `cosign container image signature`", vec![gpg.sign(&key, &payload)]),
        ("its signed document cannot be read", vec![gpg.sign(&key, b"{}")]),
        ("its content is longer than", vec![gpg.sign(&key, &vec![b' '; 10 << 20])]),
        ("it is no message of OpenPGP with one signature", vec![b"owGbwMvMwMXo".to_vec()]),
    ] {
        let path = folder(&sandbox, &signatures);
        for more in [&["--dry-run"][..], &[]] {
            let push = ["push", "acme", "app:1.0", "--from", &path];
            let failure = sandbox.fails(3, &[&push[..], more].concat());
            assert!(failure.contains(reason), "{reason}: {failure}");
            assert!(failure.contains("give --sign-by FINGERPRINT"), "{failure}");
            assert!(failure.contains("skopeo copy --all --sign-by FINGERPRINT"), "{failure}");
            assert!(!sandbox.home().join("acme").exists());
        }
    }
    // A key of another kind checks no such signature.
    sandbox.write("acme.pub", rcgen::KeyPair::generate().unwrap().public_key_pem());
    sandbox.write("raas.cfg", "[acme]\nrequire_signature = acme.pub\n");
    let path = folder(&sandbox, &[signature(&gpg, &key, NAME, &image)]);
    let failure = sandbox.fails(3, &["push", "acme", "app:1.0", "--from", &path]);
    assert!(failure.contains("none of the trusted keys is one of OpenPGP"), "{failure}");
}

#[test]
fn an_expired_key_signs_nothing_and_a_private_key_is_no_policy() {
    let gpg = Gpg::new();
    let key = gpg.key("vendor@example.com");
    let sandbox = sandbox(&gpg, &key, "");
    let image = layout().1.digest;
    let path = folder(&sandbox, &[signature(&gpg, &key, NAME, &image)]);
    gpg.run(&["--quick-set-expire", &key, "seconds=1"], b"");
    sandbox.write("acme.asc", gpg.public(&key));
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let failure = sandbox.fails(3, &["push", "acme", "app:1.0", "--from", &path]);
    assert!(failure.contains("has expired"), "{failure}");
    sandbox.write("acme.asc", gpg.run(&["--armor", "--export-secret-keys", &key], b""));
    for command in [&["config", "check"][..], &["push", "acme", "app:1.0", "--from", &path]] {
        let failure = sandbox.fails(2, command);
        assert!(failure.contains("acme.asc") && failure.contains("it holds a private key"), "{failure}");
    }
}

/// Runs the command with a GnuPG of the user's.
fn run(sandbox: &Sandbox, gpg: &Gpg, arguments: &[&str]) -> Output {
    let output = sandbox.command(arguments).env("GNUPGHOME", gpg.folder()).output().unwrap();
    printed_json::check(arguments, &output);
    output
}

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&succeeded(output)).unwrap()
}

#[test]
fn a_push_signs_with_gpg_the_names_and_tags_that_people_pull() {
    let gpg = Gpg::new();
    let key = gpg.key_with_password("operator@example.com", "correct horse");
    let sandbox = sandbox(&gpg, &key, "registry_host = r.acme.example, mirror.acme.example:5000");
    let password = sandbox.write("password", "correct horse\n");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let mut layout = Layout::new();
    let (one, two) = (layout.simple_image("one"), layout.simple_image("two"));
    let index = layout.index(&[one.clone(), two.clone()]);
    layout.tag(&index, "1.0");
    layout.tag(&index, "latest");
    let path = sandbox.write("source.tar", layout.tar());
    let push = ["push", "acme", "app", "--from", &path, "--json", "--sign-password-file", &password];
    let sign = [&push[..], &["--sign-by", &key]].concat();
    let report = json_of(&run(&sandbox, &gpg, &sign));
    let mut all: Vec<Digest> = [&one, &two, &index].map(|one| one.digest).into();
    all.sort();
    assert_eq!(report["signed_manifests"], json!(all));
    assert_eq!(report["verified_manifests"], json!(all));

    let mut keyring = Keyring::new().unwrap();
    keyring.add(&gpg.public(&key)).unwrap();
    let names = |image: &Digest| -> Vec<String> {
        let name = |signature: Vec<u8>| {
            let signed = keyring.verify(&signature, 10_000).unwrap().unwrap();
            assert_eq!(signed.fingerprint, key);
            simple_signing::read_atomic(&signed.content, image).unwrap()
        };
        stored(&sandbox, image).into_iter().map(name).collect()
    };
    for image in &all {
        let expected = [
            "mirror.acme.example:5000/app:1.0",
            "mirror.acme.example:5000/app:latest",
            "r.acme.example/app:1.0",
            "r.acme.example/app:latest",
        ];
        assert_eq!(names(image), expected);
    }
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    assert_eq!(client.get("/v2/").headers["x-registry-supports-signatures"], "1");
    let listed = client.get(&format!("/extensions/v2/app/signatures/{}", index.digest)).json();
    assert_eq!(listed["signatures"].as_array().unwrap().len(), 4);

    // A signature has a time, and a valid one is not made again.
    for more in [&[][..], &["--prune"]] {
        let again = json_of(&run(&sandbox, &gpg, &[&sign[..], more].concat()));
        assert_eq!((&again["changed"], &again["signed_manifests"]), (&false.into(), &json!([])), "{more:?}");
    }
    // A new tag gets its own.
    layout.tag(&index, "2.0");
    sandbox.write("source.tar", layout.tar());
    assert_eq!(json_of(&run(&sandbox, &gpg, &sign))["signed_manifests"], json!(all));
    assert_eq!(names(&one.digest).len(), 6);

    fs::write(&password, "wrong\n").unwrap();
    layout.tag(&index, "3.0");
    sandbox.write("source.tar", layout.tar());
    gpg.end_agent();
    let output = run(&sandbox, &gpg, &sign);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("cannot sign mirror.acme.example:5000/app:3.0"), "{said}");
    assert!(said.contains("hint: give the password of the key with --sign-password-file"), "{said}");
}

#[test]
fn the_key_of_sign_by_must_be_one_of_the_user_and_trusted() {
    let gpg = Gpg::new();
    let (key, trusted) = (gpg.key("one@example.com"), gpg.key("two@example.com"));
    let sandbox = sandbox(&gpg, &trusted, "registry_host = r.acme.example");
    let path = sandbox.write("source.tar", layout().0.tar());
    let fails = |code: i32, more: &[&str]| {
        let arguments = [&["push", "acme", "app", "--from", &path][..], more].concat();
        let output = run(&sandbox, &gpg, &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(!sandbox.home().join("acme").exists());
        said
    };
    let foreign = fails(3, &["--sign-by", &key]);
    assert!(foreign.contains(&format!("{key} is none of the keys that `require_signature`")), "{foreign}");
    let several = fails(2, &["--sign-by", "example.com"]);
    assert!(several.contains("gpg has 2 private keys for `example.com`"), "{several}");
    let none = fails(2, &["--sign-by", "nobody@example.com"]);
    assert!(none.contains("gpg has 0 private keys") && none.contains("--list-secret-keys"), "{none}");
    let alone = fails(2, &["--sign-password-file", "x"]);
    assert!(alone.contains("--sign"), "{alone}");
    sandbox.write("raas.cfg", "[acme]\n");
    let unnamed = fails(2, &["--sign-by", &key]);
    assert!(unnamed.contains("--sign-by signs the name that people pull"), "{unnamed}");
}

#[test]
fn customers_get_a_policy_of_podman_for_a_key_of_gpg() {
    let gpg = Gpg::new();
    let key = gpg.key("vendor@example.com");
    let sandbox = sandbox(&gpg, &key, "registry_host = r.acme.example");
    let report = sandbox.json(&["trust", "acme", "--json"]);
    assert_eq!(report["trusted_keys"], json!([key]));
    let policies = report["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 1, "{report}");
    let policy: Value = serde_json::from_str(policies[0]["text"].as_str().unwrap()).unwrap();
    let rule = &policy["transports"]["docker"]["r.acme.example"][0];
    assert_eq!((&rule["type"], &rule["keyType"]), (&"signedBy".into(), &"GPGKeys".into()));
    let mut keyring = Keyring::new().unwrap();
    keyring.add(&STANDARD.decode(rule["keyData"].as_str().unwrap()).unwrap()).unwrap();
    assert_eq!(keyring.fingerprints(), [key]);
    let failure = sandbox.fails(2, &["trust", "acme", "--format", "kyverno"]);
    assert!(
        failure
            .contains("a document for kyverno has public keys of cosign or keyless signers or certificates"),
        "{failure}"
    );
    // A policy of podman with both would demand both.
    let cosign = sandbox.write("acme.pub", rcgen::KeyPair::generate().unwrap().public_key_pem());
    let both = ["trust", "acme", "--key", &cosign, "--key", "acme.asc"];
    let failure = sandbox.fails(2, &[&both[..], &["--format", "podman"]].concat());
    assert!(failure.contains("keys of several kinds are trusted"), "{failure}");
    assert!(sandbox.ok(&both).contains("sigstoreSigned"));
}
