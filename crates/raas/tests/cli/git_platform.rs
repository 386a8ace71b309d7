//! Vendors that are deployed by a push to a git repository.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use raas_testkit::layers::Pack;
use raas_testkit::oci::Layout;
use raas_testkit::openshift2::Broker;

use crate::client::Client;
use crate::sandbox::Sandbox;

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .args(["-c", "user.name=A", "-c", "user.email=a@example.com"])
        .args(arguments);
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A sandbox whose vendor `acme` is deployed from a repository, which starts from an application.
fn deployed() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.write("crane/wsgi.py", "app");
    let (crane, hosted) = (sandbox.path("crane"), sandbox.path("deployed.git"));
    git(&crane, &["init", "--quiet", "--initial-branch=main"]);
    git(&crane, &["add", "."]);
    git(&crane, &["commit", "--quiet", "--message=crane"]);
    git(
        &sandbox.path("."),
        &["init", "--quiet", "--bare", "--initial-branch=main", hosted.to_str().unwrap()],
    );
    sandbox.write(
        "raas.cfg",
        format!(
            "[openshift]\nplatform = git\napp_git_url = file://{}\n\n[acme]\ngit_url = file://{}\n",
            crane.display(),
            hosted.display()
        ),
    );
    (sandbox, hosted)
}

fn image(tag: &str) -> Vec<u8> {
    let mut layout = Layout::new();
    let layer = layout.layer(&[("file", tag.as_bytes())], Pack::Gzip);
    let image = layout.image("amd64", &[layer]);
    layout.tag(&image, tag);
    layout.tar()
}

#[test]
fn a_push_delivers_to_the_repository_and_a_server_serves_its_checkout() {
    let (sandbox, hosted) = deployed();
    let setup = sandbox.ok(&["setup", "acme"]);
    assert!(setup.contains("deployed.git starts from file://"), "{setup}");
    assert_eq!(git(&hosted, &["ls-tree", "-r", "--name-only", "main"]), "wsgi.py");
    let archive = sandbox.write("app.tar", image("1.0"));
    let output = sandbox.run(&["push", "acme", "app", "--from", &archive]);
    let said = crate::sandbox::succeeded(&output) + &String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("Delivered to file://"), "{said}");
    let again = sandbox.ok(&["setup", "acme"]);
    assert!(again.contains("has the publication already"), "{again}");

    let checkout = sandbox.path("checkout");
    git(&sandbox.path("."), &["clone", "--quiet", hosted.to_str().unwrap(), checkout.to_str().unwrap()]);
    assert!(checkout.join("wsgi.py").is_file());
    let bucket = sandbox.home().join("acme/bucket");
    let server = sandbox.serve_alone(&[
        "--metadata",
        &format!("acme={}", checkout.display()),
        "--bucket",
        &format!("acme={}", bucket.display()),
    ]);
    let client = Client::of(server.address, "acme.localhost");
    let revision = String::from_utf8(client.get("/-/revision").body).unwrap();
    assert_eq!(revision.trim(), git(&sandbox.home().join("acme/metadata.git"), &["rev-parse", "main"]));
    assert_eq!(client.tags("app"), ["1.0"]);
    client.pull("app", "1.0");

    // What is taken back is taken back there too.
    sandbox.ok(&["unpublish", "acme", "app"]);
    git(&checkout, &["pull", "--quiet"]);
    assert!(!checkout.join("crane/data/app.json").exists());
}

#[test]
fn a_repository_that_refuses_leaves_the_publication_and_the_next_push_delivers() {
    let (sandbox, hosted) = deployed();
    sandbox.ok(&["setup", "acme"]);
    let away = hosted.with_extension("away");
    std::fs::rename(&hosted, &away).unwrap();
    let archive = sandbox.write("app.tar", image("1.0"));
    let error = sandbox.fails(4, &["push", "acme", "app", "--from", &archive]);
    assert!(error.contains("the image is published, but not delivered"), "{error}");
    assert_eq!(sandbox.commits("acme"), 1);
    std::fs::rename(&away, &hosted).unwrap();
    sandbox.ok(&["push", "acme", "app", "--from", &archive]);
    assert!(git(&hosted, &["ls-tree", "-r", "--name-only", "main"]).contains("crane/data/app.json"));
}

#[test]
fn a_vendor_without_a_repository_is_told_to_name_it() {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[openshift]\nplatform = git\n");
    let error = sandbox.fails(2, &["setup", "acme"]);
    assert!(error.contains("hint: set `git_url` in [acme]"), "{error}");
    assert!(!sandbox.home().join("acme").exists());
}

#[test]
fn openshift_2_is_set_up_and_pushed_to_as_by_the_original_tool() {
    let (sandbox, hosted) = deployed();
    // A gear: each push is checked out, and a server serves what is checked out.
    let checkout = sandbox.path("gear");
    std::fs::create_dir(&checkout).unwrap();
    let hook = hosted.join("hooks/post-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let script =
        format!("#!/bin/sh\nexec git --work-tree='{}' checkout --force --quiet main\n", checkout.display());
    std::fs::write(&hook, script).unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bucket = sandbox.home().join("acme/bucket");
    let gear = sandbox.serve_alone(&[
        "--metadata",
        &format!("acme={}", checkout.display()),
        "--bucket",
        &format!("acme={}", bucket.display()),
    ]);
    let git_url = format!("file://{}", hosted.display());
    let app_url = format!("http://{}/", gear.address);
    let broker = Broker::new("asdf1234asdf5678", "mydomain", &git_url, &app_url);
    sandbox.write(
        "raas.cfg",
        format!(
            "[openshift]\nplatform = openshift2\nserver_url = {}\napp_git_url = https://github.com/aweiteka/crane\n\
             auth_token = asdf1234asdf5678\ndomain = mydomain\ncartridge = python-2.7\n",
            broker.url()
        ),
    );
    let said = sandbox.ok(&["setup", "acme"]);
    let transcript = "Creating OpenShift application\nCreated app registry\n\
                      Setting environment variable OPENSHIFT_PYTHON_WSGI_APPLICATION\n\
                      Setting environment variable OPENSHIFT_PYTHON_DOCUMENT_ROOT\nrestarting application\n";
    assert!(said.contains(transcript), "{said}");
    let archive = sandbox.write("app.tar", image("1.0"));
    sandbox.ok(&["push", "acme", "app", "--from", &archive]);
    assert!(git(&hosted, &["ls-tree", "-r", "--name-only", "main"]).contains("crane/data/app.json"));
    let client = Client::of(gear.address, "acme.localhost");
    let published = git(&sandbox.home().join("acme/metadata.git"), &["rev-parse", "main"]);
    let serves = || String::from_utf8(client.get("/-/revision").body).unwrap().trim() == published;
    crate::serve::wait_for("the gear serves the push", serves);
    client.pull("app", "1.0");
    let removed = sandbox.ok(&["teardown", "acme", "--yes"]);
    assert_eq!(removed, "Removed app registry of domain mydomain\n");
    assert!(broker.created().is_none());
}
