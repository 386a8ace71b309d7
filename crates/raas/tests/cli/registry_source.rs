//! Images that come from a registry.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use raas_testkit::layers::Pack;
use raas_testkit::oci::Layout;
use raas_testkit::pulp3::{Facts, Pulp};
use raas_testkit::registry::{Registry, error};
use raas_types::Descriptor;
use serde_json::json;

use crate::sandbox::{Sandbox, digest_of};

/// A registry with one image under the tags `1.0` and `latest`.
fn filled(registry: &Registry) -> (Layout, Descriptor, Descriptor) {
    let mut layout = Layout::new();
    let layer = layout.layer(&[("content", &[7; 300_000])], Pack::Plain);
    let image = layout.image("amd64", std::slice::from_ref(&layer));
    registry.fill(&layout);
    ["1.0", "latest"].iter().for_each(|tag| registry.tag(tag, &image.digest));
    (layout, image, layer.descriptor)
}

#[test]
fn a_repository_of_a_registry_is_published_blob_by_blob() {
    let sandbox = Sandbox::new();
    let registry = Registry::new("team/app");
    let (mut layout, image, layer) = filled(&registry);
    let report = sandbox.json(&["push", "acme", "app", "--from", &registry.address(), "--json"]);
    assert_eq!(*digest_of(&report, "1.0"), json!(image.digest));
    let source = [&report["source"], &report["source_kind"], &report["source_repository"]];
    assert_eq!(source, [registry.address().as_str(), "registry", "team/app"]);
    let files = sandbox.files("acme/bucket");
    let blob = format!("app/_v2/blobs/{}", layer.digest);
    assert!(files.contains(&blob), "{files:?}");
    assert_eq!(
        std::fs::read(sandbox.home().join("acme/bucket").join(&blob)).unwrap(),
        layout.bytes(&layer.digest)
    );

    // A second push fetches no layer, and changes nothing.
    drop(registry.take_log());
    let again = sandbox.json(&["push", "acme", "app", "--from", &registry.address(), "--json"]);
    assert_eq!(again["changed"], json!(false));
    assert_eq!(registry.count(&layer.digest.to_string()), 0);

    // A new image with the same layer fetches what is new.
    let newer = layout
        .image("arm64", &[raas_testkit::oci::Layer { descriptor: layer.clone(), diff_id: layer.digest }]);
    registry.fill(&layout);
    registry.tag("2.0", &newer.digest);
    let report = sandbox.json(&["push", "acme", "app:2.0", "--from", &registry.address(), "--json"]);
    assert_eq!(report["tags"], json!([{"tag": "2.0", "digest": newer.digest}]));
    assert_eq!(registry.count(&layer.digest.to_string()), 0);
}

#[test]
fn an_image_without_a_tag_is_pulled_by_the_digest_that_is_published() {
    let registry = Registry::new("app");
    let mut layout = Layout::new();
    let images = ["amd64", "arm64"].map(|name| {
        let layer = layout.layer(&[("content", name.as_bytes())], Pack::Plain);
        layout.image(name, &[layer])
    });
    let index = layout.index(&images);
    let signature = layout.cosign_signature(&index);
    let attached = layout.artifact(&index, "application/vnd.example.sbom", b"sbom");
    registry.fill(&layout);
    registry.tag(&format!("sha256-{}.sig", index.digest.hex()), &signature.digest);
    registry.attach(&index.digest, &[attached]);
    let address = format!("{}@{}", registry.address(), index.digest);
    let table: [(&[&str], _); 2] = [(&[], index.digest), (&["--platform", "linux/arm64"], images[1].digest)];
    for (more, digest) in table {
        for dry_run in [true, false] {
            let sandbox = Sandbox::new();
            let push = [&["push", "acme", "app", "--from", address.as_str(), "--json"], more].concat();
            let report = match dry_run {
                true => sandbox.json(&[&push[..], &["--dry-run"]].concat()),
                false => sandbox.json(&push),
            };
            assert_eq!(report["reference"], json!(format!("127.0.0.1:5000/app@{digest}")), "{more:?}");
        }
    }
}

#[test]
fn nothing_is_published_unless_everything_is_there_and_the_next_push_goes_on() {
    let sandbox = Sandbox::new();
    let registry = Registry::new("app");
    let mut layout = Layout::new();
    let layers: Vec<_> = (0..4_u8).map(|n| layout.layer(&[("content", &[n; 50_000])], Pack::Plain)).collect();
    let image = layout.image("amd64", &layers);
    registry.fill(&layout);
    registry.tag("1", &image.digest);
    let missing = layers[2].descriptor.digest;
    registry.remove_blob(&missing);
    let others: Vec<String> = [0, 1, 3].map(|n| layers[n].descriptor.digest.to_string()).to_vec();
    let (seen, path) = (Mutex::new(BTreeSet::new()), format!("/blobs/{missing}"));
    registry.change(move |asked, _, reply| {
        seen.lock().unwrap().extend(others.iter().filter(|digest| asked.target.contains(*digest)).cloned());
        // The answer for the missing layer comes when the others are on their way.
        let begun = Instant::now();
        while asked.target.ends_with(&path)
            && seen.lock().unwrap().len() < others.len()
            && begun.elapsed() < Duration::from_secs(10)
        {
            std::thread::yield_now();
        }
        reply
    });
    let error = sandbox.fails(3, &["push", "acme", "app", "--from", &registry.address()]);
    assert!(error.contains(&format!("{missing} is not there")), "{error}");
    assert_eq!(sandbox.commits("acme"), 0);
    registry.behave();
    registry.fill(&layout);
    drop(registry.take_log());
    sandbox.ok(&["push", "acme", "app", "--from", &registry.address()]);
    assert_eq!(sandbox.commits("acme"), 1);
    let fetched = layers.iter().filter(|layer| registry.count(&layer.descriptor.digest.to_string()) > 0);
    assert!(fetched.map(|layer| layer.descriptor.digest).eq([missing]));
}

#[test]
fn damaged_bytes_are_not_published() {
    let sandbox = Sandbox::new();
    let registry = Registry::new("app");
    let (_, _, layer) = filled(&registry);
    let path = format!("/blobs/{}", layer.digest);
    registry.change(move |asked, _, mut reply| {
        if asked.target.ends_with(&path) {
            reply.body[1000] ^= 1;
        }
        reply
    });
    let error = sandbox.fails(3, &["push", "acme", "app", "--from", &registry.address()]);
    assert!(error.contains("it was damaged or changed"), "{error}");
    assert_eq!(sandbox.commits("acme"), 0);
}

#[test]
fn the_address_and_the_other_arguments_must_agree() {
    let sandbox = Sandbox::new();
    let (one, other) = ("a".repeat(64), "b".repeat(64));
    let (pinned, other) = (format!("docker://x.invalid/app@sha256:{one}"), format!("sha256:{other}"));
    let table: [(&[&str], &str); 6] = [
        (
            &["app:2", "--from", "docker://x.invalid/app:1"],
            "--from names the tag `1`, and the image names the tag `2`",
        ),
        (&["app", "--from", &pinned, "--digest", &other], "and --digest names sha256:bbb"),
        (
            &["app", "--from", "docker://x.invalid/app", "--repository", "x"],
            "--repository chooses from an archive",
        ),
        (&["app", "--from", "docker://u:hunter2@x.invalid/app"], "is not an image in a registry"),
        (&["app", "--from", "docker://busybox"], "it names no host"),
        (&["app", "--from", "a.tar", "--src-plain-http"], "are for a registry"),
    ];
    for (arguments, message) in table {
        let error = sandbox.fails(2, &[&["push", "acme"], arguments].concat());
        assert!(error.contains(message) && !error.contains("hunter2"), "{arguments:?}: {error}");
    }
}

#[test]
fn a_login_comes_from_a_file_from_standard_input_or_from_the_files_of_docker() {
    let sandbox = Sandbox::new();
    let registry = Registry::new("app");
    filled(&registry);
    registry.change(|asked, _, reply| match asked.headers.get("authorization").map(String::as_str) {
        // user:hunter2
        Some("Basic dXNlcjpodW50ZXIy") => reply,
        _ => error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    let address = registry.address();
    let push = ["push", "acme", "app", "--from", address.as_str()];
    let failure = sandbox.fails(2, &push);
    assert!(failure.contains("requires a login") && failure.contains("podman login"), "{failure}");
    let file = sandbox.write("login", "user:hunter2\n");
    sandbox.ok(&[&push[..], &["--src-creds", &file]].concat());
    crate::sandbox::succeeded(&sandbox.fed(b"user:hunter2", &[&push[..], &["--src-creds", "-"]].concat()));
    let wrong = sandbox.write("wrong", "user:hunter3");
    let failure = sandbox.fails(2, &[&push[..], &["--src-creds", &wrong]].concat());
    assert!(failure.contains("does not accept the login") && !failure.contains("hunter3"), "{failure}");
    let failure = sandbox.fails(2, &[&push[..], &["--src-creds", "user:hunter2"]].concat());
    assert!(
        failure.contains("into a file that only you may read") && !failure.contains("hunter2"),
        "{failure}"
    );

    let auth = json!({"auths": {registry.host(): {"auth": "dXNlcjpodW50ZXIy"}}});
    let auth_file = sandbox.write("auth.json", auth.to_string());
    let output = sandbox.command(&push).env("REGISTRY_AUTH_FILE", auth_file).output().unwrap();
    crate::sandbox::succeeded(&output);
}

#[test]
fn a_credential_helper_has_the_login_or_has_none() {
    let sandbox = Sandbox::new();
    let registry = Registry::new("app");
    filled(&registry);
    let address = registry.address();
    let host = registry.host();
    let helper = format!(
        "#!/bin/sh\n[ \"$1 $(cat)\" = \"get {host}\" ] && echo '{{\"Username\":\"user\",\"Secret\":\"hunter2\"}}'\n"
    );
    let none = "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n";
    let broken = "#!/bin/sh\necho hunter2\nexit 1\n";
    for (name, script) in [("kept", helper.as_str()), ("none", none), ("broken", broken)] {
        let path = sandbox.write(&format!("helpers/docker-credential-{name}"), script);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", sandbox.path("helpers").display(), std::env::var("PATH").unwrap());
    // An entry beside a helper is an old one.
    let old = json!({"auth": "b2xkOm9sZA=="});
    let push = |helper: &str| {
        let file = json!({"auths": {host.as_str(): old}, "credHelpers": {host.as_str(): helper}});
        let file = sandbox.write("auth.json", file.to_string());
        let push = ["push", "acme", "app", "--from", address.as_str()];
        sandbox.command(&push).env("REGISTRY_AUTH_FILE", file).env("PATH", &path).output().unwrap()
    };
    registry.change(|asked, _, reply| match asked.headers.get("authorization").map(String::as_str) {
        // user:hunter2
        Some("Basic dXNlcjpodW50ZXIy") => reply,
        _ => error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"r\""),
    });
    crate::sandbox::succeeded(&push("kept"));
    let said = |output: std::process::Output| {
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && !text.contains("hunter2"), "{text}");
        text
    };
    let failure = said(push("none"));
    assert!(failure.contains("requires a login for"), "{failure}");
    let failure = said(push("broken"));
    assert!(failure.contains("cannot get the password from docker-credential-broken"), "{failure}");
}

/// Configures the server, and fills it.
fn with_pulp(sandbox: &Sandbox, facts: Facts) -> (Pulp, Descriptor) {
    let pulp = Pulp::of(facts);
    sandbox.write("raas.cfg", pulp.section());
    let (_, image, _) = filled(&pulp.registry);
    (pulp, image)
}

fn facts(base_path: &str) -> Facts {
    Facts {
        base_path: base_path.to_owned(),
        domain: None,
        private: false,
        token_server: false,
        distribution: json!({}),
    }
}

#[test]
fn with_a_pulp_server_no_source_is_needed() {
    let table = [
        (facts("acme/app"), "acme/app"),
        (facts("acme-app"), "acme-app"),
        (Facts { token_server: true, ..facts("acme/app") }, "acme/app"),
        (Facts { domain: Some("default".into()), ..facts("acme/app") }, "default/acme/app"),
    ];
    for (facts, name) in table {
        let sandbox = Sandbox::new();
        let (pulp, image) = with_pulp(&sandbox, facts);
        let report = sandbox.json(&["push", "acme", "app", "--json"]);
        let source = format!("docker://{}/{name}", pulp.registry.host());
        assert_eq!(
            [&report["source"], &report["source_kind"], &report["source_repository"]],
            [source.as_str(), "pulp", name]
        );
        assert_eq!(["1.0", "latest"].map(|tag| digest_of(&report, tag)), [&json!(image.digest); 2]);
    }
}

fn is_protected(sandbox: &Sandbox) -> bool {
    let document = std::fs::read(sandbox.home().join("acme/checkout/crane/data/app.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    document["protected"] == json!(true)
}

#[test]
fn a_private_distribution_is_never_published_for_everybody() {
    let sandbox = Sandbox::new();
    let (pulp, _) = with_pulp(&sandbox, facts("acme/app"));
    sandbox.ok(&["push", "acme", "app"]);
    assert!(!is_protected(&sandbox));
    pulp.set(|facts| facts.private = true);
    let output = sandbox.run(&["push", "acme", "app"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Note: app is protected, as its source says"), "{said}");
    assert!(is_protected(&sandbox));
    // The distribution decides about protecting an image, and the operator about opening it again.
    pulp.set(|facts| facts.private = false);
    sandbox.ok(&["push", "acme", "app"]);
    assert!(is_protected(&sandbox));
}

#[test]
fn a_pulp_server_that_cannot_be_used_says_what_to_do() {
    let sandbox = Sandbox::new();
    let (pulp, _) = with_pulp(&sandbox, facts("other/my-app"));
    let failure = sandbox.fails(3, &["push", "acme", "app"]);
    assert!(failure.contains("no distribution with the base path `acme/app` or `acme-app`"), "{failure}");
    assert!(failure.contains("the server has other/my-app"), "{failure}");
    sandbox.write("raas.cfg", format!("{}base_path = other/my-{{image}}\n", pulp.section()));
    sandbox.ok(&["push", "acme", "app"]);

    sandbox.write("raas.cfg", pulp.section().replace("pw", "wrong"));
    let failure = sandbox.fails(2, &["push", "acme", "app"]);
    assert!(failure.contains("set or correct `username` and `password` in [pulpserver]"), "{failure}");
    sandbox.write("raas.cfg", format!("{}domain = acme\n", pulp.section()));
    let failure = sandbox.fails(2, &["push", "acme", "app"]);
    assert!(failure.contains("has no domains, and [pulpserver] names the domain `acme`"), "{failure}");

    let sandbox = Sandbox::new();
    let distribution = json!({"repository": null});
    let (_pulp, _) = with_pulp(&sandbox, Facts { distribution, ..facts("acme/app") });
    assert!(sandbox.fails(3, &["push", "acme", "app"]).contains("has no repository"));
    let registry = Registry::new("app");
    sandbox.write("raas.cfg", format!("[pulpserver]\nhost = http://{}\n", registry.host()));
    assert!(sandbox.fails(4, &["push", "acme", "app"]).contains("is no Pulp server"));
}

#[test]
fn behind_katello_everything_is_private() {
    let sandbox = Sandbox::new();
    let (pulp, _) = with_pulp(&sandbox, Facts { token_server: true, ..facts("myorg-acme-app") });
    let katello = format!("{}katello = yes\n", pulp.section());
    sandbox.write("raas.cfg", &katello);
    assert!(sandbox.fails(2, &["push", "acme", "app"]).contains("needs one `base_path`"));
    sandbox.write("raas.cfg", format!("{katello}base_path = myorg-{{isv}}-{{image}}\n"));
    sandbox.ok(&["push", "acme", "app"]);
    assert!(is_protected(&sandbox));
    assert_eq!(pulp.registry.count("/pulp/"), 0);
}

#[test]
fn an_archive_beside_a_pulp_server_is_mentioned() {
    let sandbox = Sandbox::new();
    let (_pulp, _) = with_pulp(&sandbox, facts("acme/app"));
    sandbox.write("app.tar", "not read");
    let output = sandbox.run(&["push", "acme", "app"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("app.tar in the current folder is not read"), "{said}");
}
