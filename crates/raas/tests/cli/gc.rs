//! `raas gc`, and `raas status --deep`.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use raas_testkit::oci::Layout;
use serde_json::Value;

use crate::client::Client;
use crate::sandbox::Sandbox;

fn image(sandbox: &Sandbox, tag: &str, content: &str) -> String {
    let mut layout = Layout::new();
    let image = layout.simple_image(content);
    let index = layout.index(std::slice::from_ref(&image));
    let signature = layout.artifact(&index, "application/vnd.example.signature", content.as_bytes());
    layout.tag(&index, tag);
    layout.untagged(&signature);
    sandbox.write(&format!("{content}.tar"), layout.tar())
}

/// Changes the time of every object to a month ago.
fn age(sandbox: &Sandbox) {
    let old = SystemTime::now() - Duration::from_secs(31 * 24 * 3600);
    for name in sandbox.files("acme/bucket") {
        let path = sandbox.home().join("acme/bucket").join(name);
        fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
    }
}

fn count(garbage: &Value) -> usize {
    garbage["garbage"].as_array().unwrap().len()
}

#[test]
fn published_content_and_recently_published_content_is_kept() {
    let sandbox = Sandbox::new();
    let (one, two) = (image(&sandbox, "latest", "one"), image(&sandbox, "latest", "two"));
    sandbox.ok(&["push", "acme", "app", "--from", &one]);
    sandbox.ok(&["push", "acme", "other", "--from", &one]);
    sandbox.ok(&["push", "acme", "app", "--from", &two, "--prune"]);
    age(&sandbox);
    let all = sandbox.files("acme/bucket");
    let kept = sandbox.json(&["gc", "acme", "--yes", "--json"]);
    assert_eq!((count(&kept), kept["kept_objects"].as_u64().unwrap() as usize), (0, all.len()));
    // The times of commits have whole seconds, so the test waits for the next second.
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    std::thread::sleep(Duration::from_secs(since.as_secs() + 1) - since + Duration::from_millis(10));
    let found = sandbox.json(&["gc", "acme", "--keep-days", "0", "--json"]);
    assert!(count(&found) > 0 && found["dry_run"] == true, "{found:#}");
    assert_eq!(sandbox.files("acme/bucket"), all, "without --yes nothing is done");
    let young =
        sandbox.json(&["gc", "acme", "--keep-days", "0", "--grace-hours", "100000", "--yes", "--json"]);
    assert_eq!((count(&young), young["young_objects"].as_u64().unwrap() as usize), (0, count(&found)));
    let removed = sandbox.json(&["gc", "acme", "--keep-days", "0", "--yes", "--json"]);
    assert_eq!(count(&removed), count(&found));
    assert_eq!(sandbox.files("acme/bucket").len(), all.len() - count(&found));
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    client.pull("app", "latest");
    client.pull("other", "latest");
    let status = sandbox.json(&["status", "acme", "--json", "--deep"]);
    assert_eq!(status["healthy"], true, "{status:#}");
    sandbox.ok(&["push", "acme", "app", "--from", &one]);
    client.pull("app", "latest");
}

#[test]
fn the_remains_of_an_interrupted_push_are_removed_after_the_grace_period() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["push", "acme", "app", "--from", &image(&sandbox, "1", "one")]);
    let stray = sandbox.home().join("acme/bucket/app/_v2/blobs").join(format!("sha256:{}", "a".repeat(64)));
    fs::write(&stray, "of a push that was killed").unwrap();
    assert_eq!(count(&sandbox.json(&["gc", "acme", "--yes", "--json"])), 0);
    age(&sandbox);
    let said = sandbox.ok(&["gc", "acme"]);
    assert!(said.contains("Would remove 1 object") && said.contains("--yes"), "{said}");
    sandbox.ok(&["gc", "acme", "--yes"]);
    assert!(!Path::new(&stray).exists());
    sandbox.fails(2, &["gc", "nobody"]);
}

#[test]
fn an_unreadable_document_prevents_the_removal() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["push", "acme", "app", "--from", &image(&sandbox, "1", "one")]);
    age(&sandbox);
    let git_dir = sandbox.home().join("acme/metadata.git");
    let script = "blob\nmark :1\ndata 1\n{\ncommit refs/heads/main\ncommitter a <a> 1999999999 +0000\ndata 1\nx\nfrom refs/heads/main^0\nM 100644 :1 crane/data/bad.json\n";
    let script = sandbox.write("import", script);
    let mut import = std::process::Command::new("git");
    import
        .arg("--git-dir")
        .arg(git_dir)
        .args(["fast-import", "--quiet"])
        .stdin(fs::File::open(script).unwrap());
    assert!(import.status().unwrap().success());
    let failure = sandbox.fails(4, &["gc", "acme", "--yes"]);
    assert!(failure.contains("bad.json") && failure.contains("nothing was removed"), "{failure}");
}

#[test]
fn a_deep_status_finds_changed_content() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["push", "acme", "app", "--from", &image(&sandbox, "1", "one")]);
    let _server = sandbox.serve(&[]);
    let blob = sandbox.files("acme/bucket/app/_v2/blobs").remove(0);
    let path = sandbox.home().join("acme/bucket/app/_v2/blobs").join(&blob);
    let mut content = fs::read(&path).unwrap();
    content[0] ^= 1;
    fs::write(&path, content).unwrap();
    sandbox.ok(&["status", "acme"]);
    let output = sandbox.run(&["status", "acme", "--deep"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&blob) && said.contains("damaged"), "{said}");
}
