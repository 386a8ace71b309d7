//! `raas mirror-config`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use raas_testkit::oci::Layout;
use serde_json::{Value, json};

use crate::sandbox::Sandbox;

const HOST: &str = "registry.acme.com";

fn content(sandbox: &Sandbox, format: &str, more: &[&str]) -> String {
    let command = ["mirror-config", "acme", "--to", "registry.customer.lan/acme", "--format", format];
    let text = sandbox.ok(&[&command, more].concat());
    let report = sandbox.json(&[&command, more, &["--json"]].concat());
    assert_eq!(report["registry_hosts"], json!([HOST]));
    assert_eq!(report["files"][0]["content"].as_str().unwrap().trim_end(), text.trim_end());
    text
}

fn configured() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", format!("[acme]\nregistry_host = {HOST}\n"));
    sandbox
}

#[test]
fn files_in_toml_can_be_read_back() {
    let sandbox = configured();
    let parsed = |text: &str| text.parse::<toml::Table>().unwrap();
    let registries = parsed(&content(&sandbox, "registries.conf", &["--only-mirror", "--plain-http"]));
    let expected: toml::Table = format!(
        "[[registry]]\nlocation = '{HOST}'\nblocked = true\n[[registry.mirror]]\nlocation = \
         'registry.customer.lan/acme'\ninsecure = true\n"
    )
    .parse()
    .unwrap();
    assert_eq!(registries, expected);
    let hosts = parsed(&content(&sandbox, "containerd", &["--insecure"]));
    let mirror = &hosts["host"]["https://registry.customer.lan/v2/acme"];
    assert_eq!(hosts["server"].as_str(), Some("https://registry.acme.com"));
    assert_eq!(mirror["override_path"].as_bool(), Some(true));
    assert_eq!(mirror["skip_verify"].as_bool(), Some(true));
}

#[test]
fn a_mirror_set_names_source_and_mirror() {
    let sandbox = configured();
    for (format, kind) in [("idms", "ImageDigestMirrorSet"), ("itms", "ImageTagMirrorSet")] {
        let text = content(&sandbox, format, &[]);
        assert!(text.contains(&format!("kind: {kind}\n")), "{text}");
        assert!(text.contains(&format!("- source: \"{HOST}\"\n")), "{text}");
    }
}

/// Publishes an image with a signature.
fn publish(sandbox: &Sandbox, name: &str, more: &[&str]) {
    let mut layout = Layout::new();
    let image = layout.simple_image(name);
    layout.tag(&image, "1.0");
    layout.cosign_signature(&image);
    let path = sandbox.write("in.tar", layout.tar());
    sandbox.ok(&[&["push", "acme", name, "--from", &path], more].concat());
}

/// The images that a script pulls.
fn pulled(script: &str) -> Vec<&str> {
    script.lines().filter_map(|line| line.strip_prefix("pull ")).collect()
}

#[test]
fn docker_gets_a_script_with_each_image() {
    let sandbox = configured();
    publish(&sandbox, "app", &[]);
    let script = content(&sandbox, "docker", &["--insecure"]);
    assert_eq!(pulled(&script), ["app:1.0"]);
    let daemon =
        script.lines().find_map(|line| line.strip_prefix("# /etc/docker/daemon.json needs: ")).unwrap();
    let daemon: Value = serde_json::from_str(daemon).unwrap();
    assert_eq!(daemon, json!({"insecure-registries": ["registry.customer.lan"]}));
}

#[test]
fn a_script_names_no_protected_image_of_another_customer() {
    let sandbox = configured();
    publish(&sandbox, "app", &[]);
    for protected in ["bank/ui", "bank/db", "shop/ui"] {
        publish(&sandbox, protected, &["--protected"]);
    }
    sandbox.ok(&["access", "add", "acme", "bigbank", "--repositories", "bank/*"]);
    assert_eq!(pulled(&content(&sandbox, "docker", &[])), ["app:1.0"]);
    let command = ["mirror-config", "acme", "--to", "registry.customer.lan", "--format", "docker"];
    let output = sandbox.run(&command);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("protected repositories that are left out: 3"), "{said}");
    let script = content(&sandbox, "docker", &["--customer", "bigbank"]);
    assert_eq!(pulled(&script), ["app:1.0", "bank/db:1.0", "bank/ui:1.0"]);
    let said = sandbox.fails(2, &[&command[..], &["--customer", "nobody"]].concat());
    assert!(said.contains("acme has no customer nobody"), "{said}");
}

#[test]
fn the_script_goes_on_after_an_image_that_the_mirror_lacks() {
    let sandbox = configured();
    for name in ["app", "missing", "tools"] {
        publish(&sandbox, name, &[]);
    }
    let script = sandbox.write("pull.sh", content(&sandbox, "docker", &[]));
    let log = sandbox.path("docker.log");
    let docker = "#!/bin/sh\necho \"$@\" >> \"$LOG\"\ncase \"$*\" in \"pull \"*missing*) exit 1 ;; esac\n";
    let folder = sandbox.path("bin");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("docker"), docker).unwrap();
    fs::set_permissions(folder.join("docker"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let run = Command::new("sh").arg(script).env("PATH", path).env("LOG", &log).output().unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert_eq!((run.status.code(), said.trim_end()), (Some(1), "These images were not pulled: missing:1.0"));
    let mirror = "registry.customer.lan/acme";
    let expected = [
        format!("pull {mirror}/app:1.0"),
        format!("tag {mirror}/app:1.0 {HOST}/app:1.0"),
        format!("pull {mirror}/missing:1.0"),
        format!("pull {mirror}/tools:1.0"),
        format!("tag {mirror}/tools:1.0 {HOST}/tools:1.0"),
    ];
    assert_eq!(fs::read_to_string(log).unwrap().lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_vendor_without_a_known_address_is_an_error() {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[acme]\n");
    let command = |to: &'static str| ["mirror-config", "acme", "--to", to, "--format", "idms"];
    let failure = sandbox.fails(2, &command("registry.customer.lan"));
    assert!(failure.contains("registry_host"), "{failure}");
    let failure = sandbox.fails(2, &command("https://registry.customer.lan"));
    assert!(failure.contains("is not the name of a host"), "{failure}");
    let failure = configured().fails(2, &command(HOST));
    assert!(failure.contains("no mirror of it"), "{failure}");
}
