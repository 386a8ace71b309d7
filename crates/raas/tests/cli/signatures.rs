//! `require_signature`, `push --sign` and `raas trust`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use raas_signatures::dsse::{Envelope, STATEMENT};
use raas_signatures::signature_manifest::{self, PAYLOAD, SIGNATURE};
use raas_signatures::{KeyFile, PublicKey, SigningKey, bundle, simple_signing};
use raas_testkit::layers::Pack;
use raas_testkit::notation::Signer;
use raas_testkit::oci::Layout;
use raas_testkit::registry::Registry;
use raas_types::{Descriptor, Digest, media_type};
use serde_json::{Value, json};

use crate::client::Client;
use crate::sandbox::{Sandbox, digest_of};

const NAME: &str = "quay.example/acme/app";

/// A private key in PKCS #8, and its public key.
struct Pair {
    private: String,
    key: SigningKey,
}

impl Pair {
    fn new() -> Self {
        let private = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let KeyFile::Plain(key) = KeyFile::read(private.as_bytes()).unwrap() else { panic!("it is plain") };
        Self { private, key }
    }

    fn public(&self) -> String {
        self.key.public_key().to_pem()
    }
}

/// A sandbox whose vendor `acme` trusts this key.
fn sandbox(pair: &Pair, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("acme.pub", pair.public());
    sandbox.write("raas.cfg", format!("[acme]\nrequire_signature = acme.pub\n{more}\n"));
    sandbox
}

/// A layer of a signature manifest: a signed payload.
fn signature(layout: &mut Layout, image: &Descriptor, pair: &Pair) -> Value {
    let payload = simple_signing::payload(NAME, &image.digest);
    let signed = simple_signing::sign(payload, &pair.key).unwrap();
    layout.blob(PAYLOAD, signed.payload.clone());
    serde_json::to_value(signature_manifest::layer(&signed)).unwrap()
}

/// Adds a manifest with an image's config, as cosign makes them.
fn signature_manifest_of(layout: &mut Layout, layers: &[Value]) -> Descriptor {
    let config = layout.document(media_type::OCI_CONFIG, &json!({"architecture": "", "os": ""}));
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": layers,
    });
    layout.document(media_type::OCI_MANIFEST, &manifest)
}

fn sign(layout: &mut Layout, image: &Descriptor, layers: &[Value]) {
    let manifest = signature_manifest_of(layout, layers);
    layout.tag(&manifest, signature_manifest::tag(&image.digest).as_str());
}

/// A layout of one image with the tag 1.0, and a signature whose layers this makes.
fn signed(layers: impl FnOnce(&mut Layout, &Descriptor) -> Vec<Value>) -> Layout {
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    let layers = layers(&mut layout, &image);
    sign(&mut layout, &image, &layers);
    layout
}

/// Pushes the layout, which raas must reject before it stores anything. Returns the error.
pub(crate) fn refused(sandbox: &Sandbox, layout: &Layout) -> String {
    let path = sandbox.write("source.tar", layout.tar());
    for more in [&[][..], &["--dry-run"]] {
        let failure = sandbox.fails(3, &[&["push", "acme", "app", "--from", &path][..], more].concat());
        assert!(failure.contains("`require_signature` of [acme] demands one"), "{failure}");
        assert!(failure.contains("nothing was stored"), "{failure}");
        assert!(failure.len() < 6000, "{failure}");
        assert!(!sandbox.home().join("acme").exists(), "{failure}");
        if !more.is_empty() {
            return failure;
        }
    }
    unreachable!()
}

pub(crate) fn accepted(sandbox: &Sandbox, layout: &Layout) -> Value {
    let path = sandbox.write("source.tar", layout.tar());
    sandbox.json(&["push", "acme", "app", "--from", &path, "--json"])
}

#[test]
fn an_image_needs_a_signature_by_a_trusted_key() {
    let (pair, other) = (Pair::new(), Pair::new());
    let sandbox = sandbox(&pair, "");
    let mut unsigned = Layout::new();
    let image = unsigned.simple_image("app");
    unsigned.tag(&image, "1.0");
    let failure = refused(&sandbox, &unsigned);
    assert!(
        failure.contains(&format!("{} for linux/amd64 (1.0) has no signature", image.digest)),
        "{failure}"
    );
    let failure = refused(&sandbox, &signed(|layout, image| vec![signature(layout, image, &other)]));
    assert!(failure.contains("none of the trusted keys made it"), "{failure}");
    assert!(failure.contains(&image.digest.to_string()), "{failure}");

    let both =
        signed(|layout, image| vec![signature(layout, image, &other), signature(layout, image, &pair)]);
    let report = accepted(&sandbox, &both);
    assert_eq!(report["verified_manifests"], json!([image.digest]));
    let log = git_log(&sandbox);
    assert!(log.contains("Signatures: 1 verified, as require_signature demands"), "{log}");
    assert!(log.contains(&pair.key.public_key().fingerprint().to_string()), "{log}");
    // Content that is published may move inside the registry.
    sandbox.ok(&["tag", "acme", "app:2.0", "app:1.0"]);
}

/// The message of the last publication.
pub(crate) fn git_log(sandbox: &Sandbox) -> String {
    let folder = sandbox.home().join("acme/metadata.git");
    let output =
        std::process::Command::new("git").arg("--git-dir").arg(folder).args(["log", "-1", "main"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn a_signature_that_is_wrong_in_any_way_does_not_count() {
    let pair = Pair::new();
    let sandbox = sandbox(&pair, "");
    let annotated = |layout: &mut Layout, payload: &[u8], signature: &str| {
        let blob = layout.blob(PAYLOAD, payload);
        let mut layer = serde_json::to_value(blob).unwrap();
        layer["annotations"] = json!({SIGNATURE: signature});
        layer
    };
    type Make<'a> = Box<dyn Fn(&mut Layout, &Descriptor) -> Vec<Value> + 'a>;
    let cases: Vec<(&str, Make<'_>)> = vec![
        (
            "it signs another manifest",
            Box::new(|layout, _| {
                let other = layout.simple_image("other");
                vec![signature(layout, &other, &pair)]
            }),
        ),
        (
            "or its content was changed",
            Box::new(|layout, image| {
                let layer = signature(layout, image, &pair);
                let text = layer["annotations"][SIGNATURE].as_str().unwrap().to_owned();
                let changed = simple_signing::payload("evil.example/app", &image.digest);
                vec![annotated(layout, &changed, &text)]
            }),
        ),
        (
            "it has no annotation `dev.cosignproject.cosign/signature`",
            Box::new(|layout, image| {
                let mut layer = signature(layout, image, &pair);
                layer.as_object_mut().unwrap().remove("annotations");
                vec![layer]
            }),
        ),
        (
            "its signature is not Base64",
            Box::new(|layout, image| {
                vec![annotated(layout, &simple_signing::payload(NAME, &image.digest), "?")]
            }),
        ),
        (
            "its signature is not Base64",
            Box::new(|layout, image| {
                vec![annotated(layout, &simple_signing::payload(NAME, &image.digest), &"A".repeat(100_000))]
            }),
        ),
        (
            "and raas reads at most 65536",
            Box::new(|layout, _| vec![annotated(layout, &vec![b' '; 10 << 20], "AAAA")]),
        ),
        (
            "its media type is not",
            Box::new(|layout, image| {
                let mut layer = signature(layout, image, &pair);
                layer["mediaType"] = "application/json".into();
                vec![layer]
            }),
        ),
        (
            "its signed document cannot be read",
            Box::new(|layout, _| {
                let payload = b"{\"critical\":{},\"critical\":{}}".to_vec();
                let signed = simple_signing::sign(payload, &pair.key).unwrap();
                vec![annotated(layout, &signed.payload, &signed.signature)]
            }),
        ),
        ("has no signature", Box::new(|_, _| Vec::new())),
    ];
    for (reason, make) in cases {
        let failure = refused(&sandbox, &signed(make));
        assert!(failure.contains(reason), "{reason}: {failure}");
    }
    // A blob with other bytes than its digest says.
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    let layer = signature(&mut layout, &image, &pair);
    sign(&mut layout, &image, std::slice::from_ref(&layer));
    let digest: Digest = layer["digest"].as_str().unwrap().parse().unwrap();
    let length = layout.bytes(&digest).len();
    layout.falsify(&digest, vec![b'x'; length]);
    assert!(refused(&sandbox, &layout).contains("its content does not have the digest"));
    layout.remove(&digest);
    assert!(refused(&sandbox, &layout).contains("the source does not have its content"));
}

#[test]
fn thousands_of_signatures_cost_little_and_hide_nothing() {
    let pair = Pair::new();
    let sandbox = sandbox(&pair, "");
    let junk = |layout: &mut Layout, count: usize| -> Vec<Value> {
        let mut layers = Vec::new();
        for n in 0..count {
            let mut layer = serde_json::to_value(layout.blob(PAYLOAD, format!("{{\"n\":{n}}}"))).unwrap();
            layer["annotations"] = json!({SIGNATURE: "AAAA"});
            layers.push(layer);
        }
        layers
    };
    let many = signed(|layout, image| {
        let mut layers = junk(layout, 9_000);
        layers.push(signature(layout, image, &pair));
        layers
    });
    let failure = refused(&sandbox, &many);
    assert!(failure.contains("more"), "{failure}");
    // The same payload many times is one.
    let twice = signed(|layout, image| vec![signature(layout, image, &pair); 100]);
    accepted(&sandbox, &twice);
}

#[test]
fn an_image_cannot_hide_as_a_signature_or_as_a_referrer() {
    let pair = Pair::new();
    let sandbox = sandbox(&pair, "");
    // Under the tag of a signature, with the type of one.
    for (media_type, pack) in
        [(PAYLOAD, Pack::Gzip), (Pack::Gzip.media_type(), Pack::Gzip), (PAYLOAD, Pack::Plain)]
    {
        let layout = signed(|layout, image| {
            let layer = layout.layer(&[("bin/sh", b"evil")], pack);
            let mut layer = serde_json::to_value(layer.descriptor).unwrap();
            layer["mediaType"] = media_type.into();
            vec![signature(layout, image, &pair), layer]
        });
        let failure = refused(&sandbox, &layout);
        assert!(failure.contains(".sig)"), "{failure}");
    }
    // Attached to a signed image.
    let mut layout = signed(|layout, image| vec![signature(layout, image, &pair)]);
    let image = layout.simple_image("app");
    let layer = layout.layer(&[("bin/sh", b"evil")], Pack::Gzip);
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]}});
    let config = layout.document(media_type::OCI_CONFIG, &config);
    let subject = json!({"mediaType": image.media_type, "digest": image.digest, "size": image.size});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": [layer.descriptor],
        "subject": subject, "artifactType": "application/vnd.example.sbom",
    });
    let attached = layout.document(media_type::OCI_MANIFEST, &manifest);
    layout.untagged(&attached);
    assert!(refused(&sandbox, &layout).contains(&attached.digest.to_string()));
}

#[test]
fn a_signed_index_covers_its_images_and_signed_images_cover_their_index() {
    let pair = Pair::new();
    let images = |layout: &mut Layout| {
        let mut image = |architecture: &str| {
            let layer = layout.layer(&[("content", architecture.as_bytes())], Pack::Gzip);
            layout.image(architecture, &[layer])
        };
        [image("amd64"), image("arm64")]
    };
    let build = |signed: &[usize]| {
        let mut layout = Layout::new();
        let children = images(&mut layout);
        let index = layout.index(&children);
        layout.tag(&index, "1.0");
        let all = [&index, &children[0], &children[1]];
        for n in signed {
            let layers = [signature(&mut layout, all[*n], &pair)];
            sign(&mut layout, all[*n], &layers);
        }
        (layout, index.digest, children.map(|child| child.digest))
    };
    for (signed, is_enough) in
        [(&[][..], false), (&[0], true), (&[1], false), (&[1, 2], true), (&[0, 1, 2], true)]
    {
        let sandbox = sandbox(&pair, "");
        let (layout, index, children) = build(signed);
        if is_enough {
            assert_eq!(accepted(&sandbox, &layout)["tags"][0]["digest"], json!(index), "{signed:?}");
        } else {
            let failure = refused(&sandbox, &layout);
            assert!(failure.contains(&children[1].to_string()), "{failure}");
            assert_eq!(failure.contains(&children[0].to_string()), signed.is_empty(), "{failure}");
        }
    }
    // A narrowed index has a digest of its own, which nobody has signed.
    let sandbox = sandbox(&pair, "");
    let (layout, ..) = build(&[0]);
    let path = sandbox.write("source.tar", layout.tar());
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &path, "--platform", "linux/arm64"]);
    assert!(failure.contains("has no signature"), "{failure}");
}

#[test]
fn a_bundle_of_sigstore_counts_and_other_signatures_are_named() {
    let pair = Pair::new();
    let sandbox = sandbox(&pair, "");
    let with = |artifact_type: &str, predicate: &str| {
        let mut layout = Layout::new();
        let image = layout.simple_image("app");
        layout.tag(&image, "1.0");
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": image.digest.hex()}}],
            "predicateType": predicate, "predicate": {},
        })
        .to_string();
        let envelope = Envelope::sign(STATEMENT, statement.as_bytes(), &pair.key).unwrap();
        let content = json!({
            "mediaType": bundle::MEDIA_TYPE, "verificationMaterial": {"publicKey": {"hint": ""}}, "dsseEnvelope": envelope,
        });
        let content = layout.document(bundle::MEDIA_TYPE, &content);
        let config = layout.blob("application/vnd.oci.empty.v1+json", "{}");
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": artifact_type, "config": config,
            "layers": [content], "subject": {"mediaType": image.media_type, "digest": image.digest, "size": image.size},
        });
        let attached = layout.document(media_type::OCI_MANIFEST, &manifest);
        layout.untagged(&attached);
        layout
    };
    let signs = "https://sigstore.dev/cosign/sign/v1";
    let sbom = with(bundle::MEDIA_TYPE, "https://spdx.dev/Document");
    assert!(
        refused(&sandbox, &sbom).contains("it is no signature of an image, but `https://spdx.dev/Document`")
    );
    let notation = with("application/vnd.cncf.notary.signature", signs);
    assert!(
        refused(&sandbox, &notation)
            .contains("it has not one layer with the media type application/jose+json")
    );
    accepted(&sandbox, &with(bundle::MEDIA_TYPE, signs));
}

#[test]
fn a_signature_must_give_an_allowed_name() {
    let pair = Pair::new();
    let layout = signed(|layout, image| vec![signature(layout, image, &pair)]);
    let strict = sandbox(&pair, "signature_identity = quay.example/other/*");
    let failure = refused(&strict, &layout);
    assert!(
        failure.contains("it is for `quay.example/acme/app`, which `signature_identity` does not allow"),
        "{failure}"
    );
    accepted(&sandbox(&pair, "signature_identity = quay.example/other/*, quay.example/acme/*"), &layout);
}

#[test]
fn a_policy_that_cannot_be_read_stops_the_push_and_the_check_of_the_configuration() {
    let pair = Pair::new();
    for (value, reason) in [
        ("missing.pub", "cannot read"),
        ("acme.key", "it holds a private key"),
        ("p384.pub", "no ECDSA key of the curve P-256"),
        ("keyless-ci@acme.example", "needs an identity and its issuer"),
        ("ci@acme.example", "or write `IDENTITY from ISSUER`"),
        ("ci@acme.example from id.example", "is no issuer of identities"),
        ("https://github.com/* from https://id.example", "belong to everybody"),
        ("awskms://alias/acme", "is no file"),
        ("", "the value is empty"),
    ] {
        let sandbox = sandbox(&pair, "");
        sandbox.write("acme.key", &pair.private);
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        sandbox.write("p384.pub", p384.public_key_pem());
        sandbox.write("raas.cfg", format!("[acme]\nrequire_signature = {value}\n"));
        let layout = signed(|layout, image| vec![signature(layout, image, &pair)]);
        let path = sandbox.write("source.tar", layout.tar());
        for arguments in [&["push", "acme", "app", "--from", &path][..], &["config", "check"]] {
            let failure = sandbox.fails(2, arguments);
            assert!(failure.contains(reason) && !failure.contains("BEGIN"), "{failure}");
        }
        assert!(!sandbox.home().join("acme").exists());
    }
}

/// A docker save archive, whose manifest raas makes.
const SAVED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/docker-save.tar");

fn with_key(sandbox: &Sandbox, pair: &Pair, name: &str) -> String {
    let path = sandbox.write(name, &pair.private);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn a_push_signs_the_names_that_people_pull() {
    let pair = Pair::new();
    let sandbox = sandbox(&pair, "registry_host = r.acme.example, mirror.acme.example:5000");
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", SAVED]);
    assert!(failure.contains("nobody can have signed it"), "{failure}");
    assert!(!sandbox.home().join("acme").exists());
    let other = with_key(&sandbox, &Pair::new(), "other.key");
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", SAVED, "--sign", &other]);
    assert!(
        failure.contains("other.key is none of the keys that `require_signature` of [acme] trusts"),
        "{failure}"
    );
    assert!(!sandbox.home().join("acme").exists());

    let key = with_key(&sandbox, &pair, "acme.key");
    let push = ["push", "acme", "app", "--from", SAVED, "--sign", &key, "--json"];
    let report = sandbox.json(&push);
    let signed = report["signed_manifests"].as_array().unwrap().clone();
    assert!(!signed.is_empty());
    assert_eq!(report["verified_manifests"], json!(signed));
    let count = format!("Signatures: {} verified, as require_signature demands", signed.len());
    assert!(git_log(&sandbox).contains(&count), "{}", git_log(&sandbox));
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    for image in &signed {
        let image: Digest = image.as_str().unwrap().parse().unwrap();
        let tag = signature_manifest::tag(&image);
        let manifest = client.get(&format!("/v2/app/manifests/{tag}")).json();
        let layers = manifest["layers"].as_array().unwrap();
        assert_eq!(layers.len(), 2, "a signature for each host");
        let keys = [pair.key.public_key().clone()];
        let names = layers.iter().map(|layer| {
            let payload = client.get(&format!("/v2/app/blobs/{}", layer["digest"].as_str().unwrap())).body;
            let signature = layer["annotations"][SIGNATURE].as_str().unwrap();
            simple_signing::verify(&payload, signature, &image, &keys).unwrap().reference.unwrap()
        });
        let names: Vec<String> = names.collect();
        assert_eq!(names, ["r.acme.example/app", "mirror.acme.example:5000/app"]);
        let config = client.get(&format!("/v2/app/blobs/{}", manifest["config"]["digest"].as_str().unwrap()));
        assert_eq!(config.status, 200);
    }
    assert!(
        git_log(&sandbox)
            .contains("Signed: as r.acme.example/app, mirror.acme.example:5000/app with sha256:")
    );

    // A signature of ECDSA differs each time, and a valid one is not made again.
    let again = sandbox.json(&push);
    assert_eq!(again["changed"], false);
    assert_eq!(again["signed_manifests"], json!([]), "no signature is new");
    assert_eq!(again["verified_manifests"], json!(signed));
    assert_eq!(
        digest_of(&again, signed_tag(&signed[0]).as_str()),
        digest_of(&report, signed_tag(&signed[0]).as_str())
    );
}

fn signed_tag(digest: &Value) -> String {
    signature_manifest::tag(&digest.as_str().unwrap().parse().unwrap()).to_string()
}

#[test]
fn signatures_of_the_source_stay_beside_those_of_the_push() {
    let (vendor, operator) = (Pair::new(), Pair::new());
    let sandbox = sandbox(&vendor, "registry_host = r.acme.example");
    let key = with_key(&sandbox, &operator, "operator.key");
    let layout = signed(|layout, image| vec![signature(layout, image, &vendor)]);
    let path = sandbox.write("source.tar", layout.tar());
    let push = ["push", "acme", "app", "--from", &path, "--sign", &key, "--json"];
    let report = sandbox.json(&push);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let tag = signed_tag(&report["signed_manifests"][0]);
    let layers = client.get(&format!("/v2/app/manifests/{tag}")).json()["layers"].clone();
    assert_eq!(layers.as_array().unwrap().len(), 2, "{layers}");
    assert_eq!(report["signed_manifests"].as_array().unwrap().len(), 1, "the signature itself is not signed");
    assert_eq!(sandbox.json(&push)["changed"], false);
    assert_eq!(sandbox.json(&[&push[..], &["--prune"]].concat())["changed"], false);
}

#[test]
fn the_key_of_a_push_is_private_and_its_password_comes_from_a_file_or_a_variable() {
    let pair = Pair::new();
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[acme]\nregistry_host = r.acme.example\n");
    let push = |key: &str| ["push", "acme", "app", "--from", SAVED, "--sign", key].map(str::to_owned);
    let run = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        sandbox.fails(2, &arguments)
    };
    let open = with_key(&sandbox, &pair, "open.key");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(run(&push(&open)).contains("every user of this machine may use"));
    assert!(run(&push("missing.key")).contains("cannot read missing.key, the file of --sign"));
    let public = sandbox.write("acme.pub", pair.public());
    fs::set_permissions(&public, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(run(&push(&public)).contains("it holds no private key"));

    let des = sandbox.write("des.key", include_str!("../../../raas-signatures/tests/data/des3.key"));
    fs::set_permissions(&des, fs::Permissions::from_mode(0o600)).unwrap();
    let failure = run(&push(&des));
    assert!(failure.contains("encrypted in a way that raas does not read"), "{failure}");
    assert!(failure.contains("openssl pkcs8 -topk8 -v2 aes-256-cbc"), "{failure}");

    for file in [
        include_str!("../../../raas-signatures/tests/data/encrypted.key"),
        include_str!("../../../raas-signatures/tests/data/pbkdf2.key"),
    ] {
        encrypted_key_opens_with_its_password(file);
    }
    sandbox.write("raas.cfg", "");
    assert!(run(&push(&open)).contains("the vendor has no `registry_host`"));
}

/// Signs with an encrypted key, whose password is `secret`.
fn encrypted_key_opens_with_its_password(file: &str) {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[acme]\nregistry_host = r.acme.example\n");
    let encrypted = sandbox.write("acme.key", file);
    let push = |key: &str| ["push", "acme", "app", "--from", SAVED, "--sign", key].map(str::to_owned);
    let run = |arguments: &[String]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        sandbox.fails(2, &arguments)
    };
    fs::set_permissions(&encrypted, fs::Permissions::from_mode(0o600)).unwrap();
    let failure = run(&push(&encrypted));
    assert!(failure.contains("there is no password") && failure.contains("COSIGN_PASSWORD"), "{failure}");
    let password = sandbox.write("password", "wrong\n");
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let with_file = [&push(&encrypted)[..], &["--sign-password-file".to_owned(), password.clone()]].concat();
    assert!(run(&with_file).contains("the password of its private key is wrong"));
    assert!(!sandbox.home().join("acme").exists());
    fs::write(&password, "secret\n").unwrap();
    let with_file: Vec<&str> = with_file.iter().map(String::as_str).collect();
    sandbox.ok(&with_file);
    let mut command = sandbox.command(&push(&encrypted).each_ref().map(String::as_str));
    let output = command.env("COSIGN_PASSWORD", "secret").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_name_that_a_push_signs_must_be_allowed() {
    let pair = Pair::new();
    let more = "registry_host = r.acme.example\nsignature_identity = quay.example/acme/*";
    let sandbox = sandbox(&pair, more);
    let key = with_key(&sandbox, &pair, "acme.key");
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    let path = sandbox.write("source.tar", layout.tar());
    for from in [path.as_str(), SAVED] {
        let failure = sandbox.fails(3, &["push", "acme", "app", "--from", from, "--sign", &key]);
        assert!(
            failure.contains(
                "it names the image r.acme.example/app, which `signature_identity` of [acme] does not"
            ),
            "{failure}"
        );
        assert!(failure.contains("hint: add r.acme.example/app to `signature_identity`"), "{failure}");
        assert!(!failure.contains("--sign KEY"), "{failure}");
    }
}

#[test]
fn a_published_signature_counts_and_published_content_needs_none() {
    let pair = Pair::new();
    let sandbox = Sandbox::new();
    let demand = |more: &str| {
        sandbox.write("acme.pub", pair.public());
        sandbox.write("raas.cfg", format!("[acme]\nregistry_host = r.acme.example\n{more}"));
    };
    let push = |layout: &Layout, more: &[&str]| {
        let path = sandbox.write("source.tar", layout.tar());
        sandbox.json(&[&["push", "acme", "app", "--from", &path, "--json"][..], more].concat())
    };
    let image = |seed: &str, tag: &str| {
        let mut layout = Layout::new();
        let image = layout.simple_image(seed);
        layout.tag(&image, tag);
        (layout, image)
    };
    // Published before signatures were demanded, and not refused since.
    demand("");
    let (old, _) = image("old", "0.9");
    push(&old, &[]);
    demand("require_signature = acme.pub\n");
    assert_eq!(push(&old, &[])["changed"], false);
    assert_eq!(push(&old, &[])["verified_manifests"], json!([]));
    // Signed here, while the source has no signature.
    let key = with_key(&sandbox, &pair, "acme.key");
    let (signed, descriptor) = image("signed", "1.0");
    push(&signed, &["--sign", &key]);
    let again = push(&signed, &[]);
    assert_eq!(
        (&again["changed"], &again["verified_manifests"]),
        (&false.into(), &json!([descriptor.digest]))
    );
    // A push that removes everything else keeps the signature by which the image counts as signed.
    let pruned = push(&signed, &["--prune"]);
    assert_eq!(pruned["removed_tags"], json!(["0.9"]));
    assert_eq!(pruned["verified_manifests"], json!([descriptor.digest]));
    let tag = signature_manifest::tag(&descriptor.digest).to_string();
    let listed = sandbox.ok(&["list", "acme", "app", "--json"]);
    assert!(listed.contains(&tag), "{listed}");
    // A signature of another key at the source does not replace it.
    let mut other = signed;
    let layers = [signature(&mut other, &descriptor, &Pair::new())];
    sign(&mut other, &descriptor, &layers);
    for more in [&[][..], &["--prune"]] {
        assert_eq!(push(&other, more)["verified_manifests"], json!([descriptor.digest]));
        let server = sandbox.serve(&[]);
        let found = Client::new(server.address).get(&format!("/v2/app/manifests/{tag}")).json();
        assert_eq!(found["layers"].as_array().unwrap().len(), 2, "{found}");
    }
    let (new, _) = image("new", "2.0");
    let path = sandbox.write("source.tar", new.tar());
    sandbox.fails(3, &["push", "acme", "app", "--from", &path]);
}

/// An artifact that refers to an image.
fn attach(layout: &mut Layout, image: &Descriptor, artifact_type: &str, layers: &[Value]) -> Descriptor {
    let config = layout.blob("application/vnd.oci.empty.v1+json", "{}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": artifact_type, "config": config,
        "layers": layers, "subject": image,
    });
    layout.document(media_type::OCI_MANIFEST, &manifest)
}

#[test]
fn a_published_signature_in_a_referrer_counts_and_stays_published() {
    let pair = Pair::new();
    let notation = Signer::usual();
    type Attach<'a> = Box<dyn Fn(&mut Layout, &Descriptor) -> Descriptor + 'a>;
    let attachments: [(&str, Attach<'_>); 3] = [
        (
            "a bundle",
            Box::new(|layout, image| {
                let statement = json!({
                    "_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {"sha256": image.digest.hex()}}],
                    "predicateType": "https://sigstore.dev/cosign/sign/v1", "predicate": {},
                });
                let envelope =
                    Envelope::sign(STATEMENT, statement.to_string().as_bytes(), &pair.key).unwrap();
                layout.bundle(
                    image,
                    &json!({
                        "mediaType": bundle::MEDIA_TYPE, "verificationMaterial": {"publicKey": {"hint": ""}},
                        "dsseEnvelope": envelope,
                    }),
                )
            }),
        ),
        (
            "a payload of cosign",
            Box::new(|layout, image| {
                let layer = signature(layout, image, &pair);
                attach(layout, image, "application/vnd.dev.cosign.artifact.sig.v1+json", &[layer])
            }),
        ),
        (
            "an envelope of Notation",
            Box::new(|layout, image| {
                let envelope = notation.sign(&image.media_type, &image.digest, image.size).to_string();
                layout.notation(image, "application/jose+json", envelope.as_bytes())
            }),
        ),
    ];
    for (what, attach_signature) in attachments {
        let sandbox = Sandbox::new();
        sandbox.write("acme.pub", pair.public());
        sandbox.write("acme.pem", notation.authority());
        sandbox.write("raas.cfg", "[acme]\nrequire_signature = acme.pub, acme.pem\n");
        let push = |layout: &Layout, more: &[&str]| {
            let path = sandbox.write("source.tar", layout.tar());
            sandbox.json(&[&["push", "acme", "app", "--from", &path, "--json"][..], more].concat())
        };
        let mut bare = Layout::new();
        let image = bare.simple_image("app");
        bare.tag(&image, "1.0");
        let mut signed = bare.clone();
        let signature = attach_signature(&mut signed, &image);
        signed.untagged(&signature);
        let sbom = signed.blob("application/spdx+json", "{}");
        let sbom = serde_json::to_value(sbom).unwrap();
        let sbom = attach(&mut signed, &image, "application/spdx+json", &[sbom]);
        signed.untagged(&sbom);
        assert_eq!(push(&signed, &[])["verified_manifests"], json!([image.digest]), "{what}");
        let listed = || {
            let server = sandbox.serve(&[]);
            let found =
                Client::new(server.address).get(&format!("/v2/app/referrers/{}", image.digest)).json();
            let digests = found["manifests"].as_array().unwrap().iter();
            digests.map(|one| one["digest"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
        };
        let both = BTreeSet::from([signature.digest.to_string(), sbom.digest.to_string()]);
        assert_eq!(listed(), both, "{what}");
        // The source has the image alone.
        let again = push(&bare, &[]);
        assert_eq!(
            (&again["changed"], &again["verified_manifests"]),
            (&false.into(), &json!([image.digest])),
            "{what}"
        );
        assert_eq!(push(&bare, &["--prune"])["verified_manifests"], json!([image.digest]), "{what}");
        assert_eq!(listed(), BTreeSet::from([signature.digest.to_string()]), "{what}");
        let once_more = push(&bare, &["--prune"]);
        assert_eq!(
            (&once_more["changed"], &once_more["verified_manifests"]),
            (&false.into(), &json!([image.digest])),
            "{what}"
        );
        // A key that is not trusted any more vouches for nothing.
        sandbox.write("acme.pub", Pair::new().public());
        sandbox.write("acme.pem", Signer::usual().authority());
        assert_eq!(push(&bare, &["--prune"])["verified_manifests"], json!([]), "{what}");
        assert_eq!(listed(), BTreeSet::new(), "{what}");
    }
}

#[test]
fn a_sync_of_an_unsigned_image_fails_and_its_dry_run_says_so() {
    let pair = Pair::new();
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    let registry = Registry::new("team/app");
    registry.fill(&layout);
    registry.tag("1.0", &image.digest);
    let sandbox = sandbox(&pair, &format!("sync.app = {}", registry.address()));
    for more in [&["--dry-run"][..], &[]] {
        let output = sandbox.run(&[&["sync", "acme", "--json"][..], more].concat());
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let repository = &report["repositories"][0];
        assert_eq!(
            (&repository["outcome"], &repository["error"]["exit_code"]),
            (&"failed".into(), &3.into()),
            "{report}"
        );
        let command = format!("run `raas push acme app --from {} --sign KEY`", registry.address());
        assert!(repository["error"].to_string().contains(&command), "{report}");
        assert!(!sandbox.home().join("acme").exists());
    }
}

#[test]
fn a_sync_that_removes_tags_keeps_signed_and_unchanged_images() {
    let pair = Pair::new();
    let sandbox = Sandbox::new();
    sandbox.write("acme.pub", pair.public());
    let registry = Registry::new("team/app");
    let mut layout = Layout::new();
    let (old, gone) = (layout.simple_image("old"), layout.simple_image("gone"));
    registry.fill(&layout);
    registry.tag("1.2.0", &old.digest);
    registry.tag("1.1.0", &gone.digest);
    let config = |more: &str, tags: &str| {
        let sync = format!("sync.app = {}\n    tags = {tags}\n    prune = 1\n", registry.address());
        sandbox.write("raas.cfg", format!("[acme]\n{more}{sync}"));
    };
    config("", "*");
    sandbox.ok(&["sync", "acme"]);
    let new = layout.simple_image("new");
    let layer = signature(&mut layout, &new, &pair);
    let manifest = signature_manifest_of(&mut layout, &[layer]);
    registry.fill(&layout);
    registry.tag("1.7.0", &new.digest);
    registry.tag(signature_manifest::tag(&new.digest).as_str(), &manifest.digest);
    config("require_signature = acme.pub\n", "!1.1.0");
    let dry = sandbox.ok(&["sync", "acme", "--dry-run"]);
    assert!(dry.contains("would publish 1 tag (1.7.0), would remove 1 tag (1.1.0)"), "{dry}");
    let run = sandbox.ok(&["sync", "acme"]);
    assert!(run.contains("published 1 tag (1.7.0), removed 1 tag (1.1.0)"), "{run}");
    assert!(sandbox.ok(&["sync", "acme"]).contains("unchanged"));
    // The comparison of `status` leaves out what the rule leaves out.
    let status = sandbox.run(&["status", "acme", "app", "--source", &registry.address(), "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let checks = status["vendors"][0]["checks"].as_array().unwrap();
    let source = checks.iter().find(|check| check["name"] == "source").unwrap();
    assert_eq!(source["outcome"], "ok", "{source}");
}

#[test]
fn a_sync_does_not_move_an_immutable_tag_and_names_the_command_that_does() {
    let sandbox = Sandbox::new();
    let registry = Registry::new("team/app");
    let mut layout = Layout::new();
    let (one, two) = (layout.simple_image("one"), layout.simple_image("two"));
    registry.fill(&layout);
    registry.tag("1.0", &one.digest);
    registry.tag("2.0", &one.digest);
    let sync = format!("sync.app = {}\n    prune = 1\n", registry.address());
    sandbox.write("raas.cfg", format!("[acme]\nimmutable_tags = *.*\n{sync}"));
    sandbox.ok(&["sync", "acme"]);
    registry.tag("1.0", &two.digest);
    for more in [&["--dry-run"][..], &[]] {
        let output = sandbox.run(&[&["sync", "acme"][..], more].concat());
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        let command =
            format!("run `raas push acme app --from {} --force-tag` to move it", registry.address());
        assert!(said.contains(&command) && !said.contains("here or to"), "{said}");
    }
}

#[test]
fn customers_get_a_policy_for_each_client() {
    let pair = Pair::new();
    let sandbox = sandbox(&pair, "registry_host = r.acme.example");
    let policy: Value = serde_json::from_str(&sandbox.ok(&["trust", "acme", "--format", "podman"])).unwrap();
    assert!(policy["transports"]["docker"]["r.acme.example"].is_array(), "{policy}");
    let all = sandbox.ok(&["trust", "acme"]);
    for begin in
        ["# podman: /etc/containers/policy.json", "# registries-d: /etc/containers/registries.d/acme.yaml"]
    {
        assert!(all.contains(begin), "{all}");
    }
    let mirror = sandbox.ok(&["trust", "acme", "--mirror", "r.lan/acme", "--format", "registries-d"]);
    assert!(mirror.contains("\"r.lan/acme\":\n    use-sigstore-attachments: true"), "{mirror}");
    let notes = &sandbox.json(&[
        "mirror-config",
        "acme",
        "--to",
        "r.lan",
        "--format",
        "registries.conf",
        "--json",
    ])["notes"];
    assert!(
        notes[0].as_str().unwrap().contains("`raas trust acme --mirror r.lan --format registries-d`"),
        "{notes}"
    );
    let report = sandbox.json(&["trust", "acme", "--json"]);
    assert_eq!(report["policies"].as_array().unwrap().len(), 5);
    assert_eq!(report["trusted_keys"], json!([pair.key.public_key().fingerprint()]));
    let other = Pair::new();
    let file = sandbox.write("other.pub", other.public());
    let report = sandbox.json(&["trust", "acme", "--key", &file, "--json"]);
    assert_eq!(report["trusted_keys"], json!([other.key.public_key().fingerprint()]));
    let keys = PublicKey::read_all(other.public().as_bytes()).unwrap();
    assert_eq!(&keys[0], other.key.public_key());
    sandbox.write("both.pub", pair.public() + &other.public());
    let failure = sandbox.fails(2, &["trust", "acme", "--key", "both.pub", "--format", "openshift"]);
    assert!(failure.contains("has one key"), "{failure}");
    sandbox.write("raas.cfg", "[acme]\nregistry_host = r.acme.example\n");
    assert!(sandbox.fails(2, &["trust", "acme"]).contains("no key of acme is known"));
    sandbox.write("raas.cfg", "");
    assert!(sandbox.fails(2, &["trust", "acme", "--key", &file]).contains("no `registry_host`"));
}
