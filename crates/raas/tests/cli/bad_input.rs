//! Sources that must be rejected: the error names the member and the rule, and the push stores and changes nothing.

use std::process::Command;

use raas_testkit::docker_save::{self, Saved};
use raas_testkit::layers::{Pack, gzip, layer};
use raas_testkit::oci::Layout;
use raas_testkit::pulp2::Export;
use raas_testkit::{TarBuilder, fixtures};

use crate::client::Client;
use crate::sandbox::Sandbox;

/// A good layout of one image, with the descriptors of its parts, so that tests can break it.
struct Good {
    layout: Layout,
    image: raas_types::Descriptor,
    layer: raas_types::Descriptor,
}

fn good() -> Good {
    let mut layout = Layout::new();
    let layer = layout.layer(&[("file", b"content")], Pack::Gzip);
    let image = layout.image("amd64", std::slice::from_ref(&layer));
    layout.tag(&image, "1.0");
    Good { layout, image, layer: layer.descriptor }
}

fn broken(change: impl FnOnce(&mut Good)) -> Vec<u8> {
    let mut good = good();
    change(&mut good);
    good.layout.tar()
}

/// Each bad source, with words of its error.
fn table() -> Vec<(&'static str, Vec<u8>, Vec<String>)> {
    let say = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let tar = good().layout.tar();
    let layer_name = format!("blobs/sha256/{}", good().layer.digest.hex());
    let image_name = format!("blobs/sha256/{}", good().image.digest.hex());
    let chain = [layer(&[("base", b"base")]), layer(&[("app", b"app")])];
    // The base's json names a parent. This format has no other information about parents.
    let with_parent = |parent: &dyn Fn(&str) -> String| {
        let mut files = docker_save::oldest(&[Saved { names: &["app:1.0"], layers: &chain }]);
        let json: Vec<String> =
            files.names().filter(|name| name.ends_with("/json")).map(str::to_owned).collect();
        let is_base = |name: &&String| !String::from_utf8_lossy(files.get(name)).contains("parent");
        let base = json.iter().find(is_base).unwrap().clone();
        let top = json.iter().find(|name| **name != base).unwrap().trim_end_matches("/json").to_owned();
        files.replace(&base, "\"id\"", &format!("\"parent\":\"{}\",\"id\"", parent(&top)));
        files.tar()
    };
    let cycle = with_parent(&|top| top.to_owned());
    let orphan = with_parent(&|_| "f".repeat(64));
    let names = |tag: &str| {
        let mut layout = good().layout;
        layout.untag();
        layout.tag(&good().image, tag);
        layout.tar()
    };
    let saved = {
        let layers = [layer(&[("a", b"a")])];
        docker_save::newest(&[Saved { names: &["app:1.0"], layers: &layers }]).tar()
    };
    vec![
        ("text", b"hello, this is no archive\n".repeat(100), say(&["not an image"])),
        ("empty", Vec::new(), say(&["not an image", "empty"])),
        ("other tar", TarBuilder::new().file("README", "x").finish(), say(&["not an image", "README"])),
        ("truncated", tar[..tar.len() / 2].to_vec(), say(&["truncated"])),
        (
            "truncated gzip",
            {
                let packed = gzip(&saved);
                packed[..packed.len() / 2].to_vec()
            },
            say(&["truncated"]),
        ),
        (
            "digest",
            broken(|g| g.layout.falsify(&g.layer.digest, gzip(&layer(&[("file", b"CONTENT")])))),
            say(&[&layer_name]),
        ),
        (
            "manifest digest",
            broken(|g| {
                let mut b = g.layout.bytes(&g.image.digest).to_vec();
                b.push(b'\n');
                g.layout.falsify(&g.image.digest, b);
            }),
            say(&[&image_name]),
        ),
        (
            "missing blob",
            broken(|g| g.layout.remove(&g.layer.digest)),
            say(&["neither the source nor the bucket has it", &good().layer.digest.to_string()]),
        ),
        (
            "missing manifest",
            broken(|g| g.layout.remove(&g.image.digest)),
            say(&[&image_name, "not in the source"]),
        ),
        ("cycle", cycle, say(&["circle"])),
        ("orphan", orphan, say(&[&"f".repeat(64)])),
        (
            "twins",
            TarBuilder::new().file("oci-layout", "{}").file("./oci-layout", "{ }").finish(),
            say(&["oci-layout", "two members"]),
        ),
        ("absolute", TarBuilder::new().file("/etc/passwd", "x").finish(), say(&["/etc/passwd", "absolute"])),
        ("parent", TarBuilder::new().file("a/../../b", "x").finish(), say(&["a/../../b", "`..`"])),
        (
            "link out",
            TarBuilder::new().symlink("manifest.json", "../../etc/passwd").finish(),
            say(&["manifest.json", "outside"]),
        ),
        ("device", TarBuilder::new().special("dev/null", b'3').finish(), say(&["dev/null", "a device"])),
        ("not utf-8", TarBuilder::new().file(b"a\xff", "x").finish(), say(&["UTF-8"])),
        ("bad tag", names("-bad"), say(&["-bad"])),
        (
            "huge json",
            TarBuilder::new()
                .file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#)
                .file("index.json", vec![b' '; 100 << 20])
                .finish(),
            say(&["index.json"]),
        ),
    ]
}

#[test]
fn a_bad_source_is_rejected_with_member_and_rule_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let path = fixtures::pulp2();
    sandbox.ok(&["push", "acme", "app", "--from", path.to_str().unwrap()]);
    let published = || {
        // Content with a correct digest may have been stored before the bad part was read. No document names it.
        let unnamed = |name: &String| !name.contains("/_v2/blobs/");
        let stored: Vec<String> = sandbox.files("acme/bucket").into_iter().filter(unnamed).collect();
        (stored, sandbox.files("acme/checkout"), sandbox.commits("acme"))
    };
    let before = published();
    for (what, archive, words) in table() {
        let file = sandbox.write("source", &archive);
        for from in [file.as_str(), "-"] {
            let output = sandbox.fed(&archive, &["push", "acme", "app", "--from", from]);
            let said = String::from_utf8(output.stderr).unwrap();
            let code = output.status.code();
            assert!(matches!(code, Some(3 | 4)), "{what} from {from}: {code:?} {said}");
            for word in &words {
                assert!(said.contains(word), "{what} from {from}: `{word}` is not in {said}");
            }
            let after = published();
            assert!(after == before, "{what} from {from} changed something: {after:?}");
        }
        std::fs::remove_file(&file).unwrap();
    }
    let outside: Vec<_> = std::fs::read_dir(sandbox.path("")).unwrap().collect();
    assert!(outside.is_empty(), "nothing is written outside the home: {outside:?}");
    let server = sandbox.serve(&[]);
    assert_eq!(Client::new(server.address).pull("app", "latest")["linux/amd64"].layers.len(), 7);
}

/// Every client gets the URL of a manifest's layer, and the server puts it into its headers.
#[test]
fn a_layer_outside_source_and_bucket_needs_a_url_for_clients() {
    let sandbox = Sandbox::new();
    let foreign = |url: &str, content: &str| {
        let mut layout = Layout::new();
        let mut layer = layout.layer(&[("file", content.as_bytes())], Pack::Gzip);
        layout.remove(&layer.descriptor.digest);
        layer.descriptor.urls = vec![url.to_owned()];
        let image = layout.image("amd64", &[layer]);
        layout.tag(&image, "2.0");
        layout.tar()
    };
    let own = sandbox.write("own.tar", good().layout.tar());
    sandbox.ok(&["push", "acme", "app", "--from", &own]);
    for url in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://x/a b",
        "https://x/a\nX-Evil: 1",
        "https://u:p@x/y",
    ] {
        let path = sandbox.write("foreign.tar", foreign(url, "elsewhere"));
        let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &path]);
        assert!(failure.contains("the URL in its manifest cannot be used"), "{url}: {failure}");
    }
    assert_eq!(sandbox.commits("acme"), 1);
    // A layer that the bucket has is served from there, whatever URL a later manifest has.
    let path = sandbox.write("foreign.tar", foreign("https://evil.example/x", "content"));
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    client.pull("app", "1.0");
    client.pull("app", "2.0");
    assert_eq!(sandbox.json(&["status", "acme", "--json"])["healthy"], true);
}

#[test]
fn a_published_docker_v1_image_never_changes_under_its_id() {
    let sandbox = Sandbox::new();
    let export = Export::chain("app", 2);
    let path = sandbox.write("app.tar", export.tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let before = sandbox.files("acme/bucket");
    let id = export.id(1);
    let json = sandbox.home().join(format!("acme/bucket/app/{id}/json"));
    let published = std::fs::read(&json).unwrap();
    let mut files = export.files();
    files.replace(&format!("web/{id}/json"), "\"id\"", "\"comment\":\"another\",\"id\"");
    let other_json = sandbox.write("json.tar", files.tar());
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &other_json]);
    assert!(failure.contains(&id) && failure.contains("with a different json"), "{failure}");
    let mut export = export;
    export.images[1].layer = layer(&[("other", b"content")]);
    let other_layer = sandbox.write("layer.tar", export.tar());
    let failure = sandbox.fails(3, &["push", "acme", "app", "--from", &other_layer]);
    assert!(failure.contains(&id) && failure.contains("with a different layer"), "{failure}");
    assert_eq!((std::fs::read(&json).unwrap(), sandbox.files("acme/bucket")), (published, before));
}

#[test]
fn control_characters_are_not_sent_to_a_terminal() {
    let sandbox = Sandbox::new();
    let layers = [layer(&[("a", b"a")])];
    let names = ["x/\u{1b}[31m\u{202e}app:1"];
    let path = sandbox.write(
        "app.tar",
        docker_save::newer(&[Saved { names: &names, layers: &layers }], docker_save::LayerPlaces::Folders)
            .tar(),
    );
    let output = sandbox.run(&["push", "acme", "app", "--from", &path]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.contains("x/\\u{1b}[31m\\u{202e}app"), "{said}");
    let document = sandbox.write("bad.json", "{\"type\": \"\\u001b[31m\"}");
    let output = sandbox.run(&["lint", &document]);
    assert!(!output.stdout.contains(&0x1b));
}

#[test]
fn a_password_in_an_address_is_never_shown() {
    let sandbox = Sandbox::new();
    for from in [
        "https://user:hunter2@127.0.0.1:1/a.tar?signature=hunter2",
        "HTTPS://user:hunter2@127.0.0.1:1/a.tar",
        "https://user:hunt/hunter2@127.0.0.1:1/a.tar",
        "ftp://user:hunter2@127.0.0.1/a.tar",
        " ftp://user:hunter2@127.0.0.1/a.tar",
        "http:/user:hunter2@127.0.0.1/a.tar",
    ] {
        let output = sandbox.run(&["push", "acme", "app", "--from", from]);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!output.status.success() && !said.contains("hunter2"), "{from}: {said}");
    }
}

#[test]
fn invalid_names_are_rejected_before_anything_is_read() {
    let sandbox = Sandbox::new();
    let id = "a".repeat(64);
    for (arguments, word) in [
        (["push", "Acme", "app"], "vendor name"),
        (["push", "..", "app"], "vendor name"),
        (["push", "acme", "App"], "repository name"),
        (["push", "acme", "../app"], "repository name"),
        (["push", "acme", "app:.x"], "tag"),
        (["push", "acme", "_v2"], "repository name"),
        (["push", "acme", id.as_str()], "Docker v1 image id"),
        (["push", "acme", "app.json/x"], "metadata document"),
    ] {
        let failure = sandbox.fails(2, &arguments);
        assert!(failure.contains(word), "{failure}");
    }
    assert!(!sandbox.home().exists());
}

#[test]
fn the_error_of_an_unwritable_home_names_its_path() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("home-is-a-file", "x");
    let archive = fixtures::pulp2();
    let arguments = ["--home", file.as_str(), "push", "acme", "app", "--from", archive.to_str().unwrap()];
    let failure = sandbox.fails(4, &arguments);
    assert!(failure.contains("home-is-a-file"), "{failure}");
}

#[test]
fn a_missing_file_is_the_same_exit_code_however_it_was_named() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    for arguments in [
        &["push", "acme", "app", "--from", "nowhere.tar"][..],
        &["push", "acme", "nowhere"],
        &["push", "acme", "app", "--config", "nowhere.tar"],
        &["lint", "nowhere.tar"],
        &["pulls", "nowhere.tar"],
        &["pulls", "acme", "app", "nowhere.tar"],
        &["access", "list", "acme", "--log", "nowhere.tar"],
        &["serve", "--tls-certificate", "nowhere.tar", "--tls-key", "nowhere.tar"],
        &["serve", "--tls-folder", "nowhere.tar"],
        &["serve", "--token-key", "nowhere.tar"],
        &["serve", "--crane-config", "nowhere.tar"],
        &["serve", "--acme-domain", "a.invalid", "--acme-folder", "acme", "--acme-ca", "nowhere.tar"],
    ] {
        let failure = sandbox.fails(2, arguments);
        assert!(failure.contains("nowhere.tar"), "{arguments:?}: {failure}");
    }
    sandbox.ok(&["setup", "acme"]);
    let here = sandbox.write("here.pem", "");
    for arguments in [
        &["serve", "--tls-certificate", "nowhere.pem", "--tls-key", &here][..],
        &["serve", "--tls-certificate", &here, "--tls-key", "nowhere.pem"],
        &["serve", "--tls-folder", "nowhere"],
        &["serve", "--token-key", "nowhere"],
        &["serve", "--metadata", "acme=.", "--bucket", "acme=.", "--htpasswd", "acme=nowhere"],
        &["serve", "--metadata", "acme=.", "--bucket", "acme=.", "--client-ca", "acme=nowhere.pem"],
        &["list", "--config-repo", "./nowhere"],
        &["list", "--config-repo", "file:///nowhere"],
    ] {
        let listen: &[&str] = if arguments[0] == "serve" { &["--listen", "127.0.0.1:0"] } else { &[] };
        let failure = sandbox.fails(2, &[arguments, listen].concat());
        assert!(failure.contains("nowhere") && !failure.contains("Serving"), "{arguments:?}: {failure}");
    }
    for (config, serve) in [
        ("[redhat]\nmetadata = nowhere\n", &[][..]),
        ("[acme]\nclient_ca = nowhere\n", &["acme"]),
        ("[acme]\nhtpasswd = nowhere\n", &["--metadata", "acme=.", "--bucket", "acme=."]),
    ] {
        sandbox.write("raas.cfg", config);
        assert!(sandbox.fails(2, &["config", "check"]).contains("nowhere"));
        if !serve.is_empty() {
            let failure = sandbox.fails(2, &[&["serve", "--listen", "127.0.0.1:0"], serve].concat());
            assert!(failure.contains("nowhere") && !failure.contains("Serving"), "{config}: {failure}");
        }
    }
    for settings in [
        "[redhat]\nmetadata = nowhere",
        "[redhat]\nmask_images = ./nowhere",
        "[acme]\nclient_ca = nowhere\ns3_bucket = bucket",
        "[acme]\ntoken_keys = nowhere\ntoken_realm = http://x/\ntoken_service = x\ntoken_issuer = y\ns3_bucket = bucket",
    ] {
        sandbox.write("raas.cfg", settings);
        let failure = sandbox.fails(2, &["config", "check"]);
        assert!(failure.contains("nowhere"), "{settings}: {failure}");
    }
    sandbox.write("raas.cfg", "[pulpserver]\nhost = http://127.0.0.1:1\n\n[acme]\n");
    assert!(sandbox.fails(2, &["pulp-upload", "acme", "nowhere.tar"]).contains("nowhere.tar"));
}

#[test]
fn an_empty_variable_counts_as_unset_and_yes_has_several_spellings() {
    let sandbox = Sandbox::new();
    let reference = include_str!("../../../../docs/cli.md");
    let is_part = |c: char| c == '_' || c.is_ascii_uppercase() || c.is_ascii_digit();
    let names: Vec<&str> = reference
        .split(|c| !is_part(c))
        .filter(|word| word.starts_with("RAAS_") && *word != "RAAS_")
        .collect();
    assert!(names.len() > 20 && names.contains(&"RAAS_HTPASSWD") && names.contains(&"RAAS_OFFLINE"));
    for (arguments, error) in [
        (&["push", "acme", "app", "--from", "nowhere.tar"][..], "nowhere.tar"),
        (&["serve", "nobody"], "no vendor nobody"),
    ] {
        let mut command = sandbox.command(arguments);
        command.envs(names.iter().filter(|name| **name != "RAAS_HOME").map(|name| (name, "")));
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(error), "{said}");
    }
    for (value, error) in [("1", "nowhere.tar"), ("Yes", "nowhere.tar"), ("off", "nowhere.tar"), ("x", "'x'")]
    {
        let mut command = sandbox.command(&["push", "acme", "app", "--from", "nowhere.tar"]);
        let output = command.env("RAAS_OFFLINE", value).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && said.contains(error), "{value}: {said}");
    }
}

#[test]
fn hints_name_the_vendor_of_the_command() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["push", "bigdatainc", "app", "--from", fixtures::pulp2().to_str().unwrap()]);
    for arguments in [
        &["diff", "bigdatainc", "ffff", "ffff"][..],
        &["diff", "bigdatainc", "nothing"],
        &["rollback", "bigdatainc", "nothing"],
        &["rollback", "bigdatainc", "app", "--to", "ffff"],
        &["unpublish", "bigdatainc", "nothing"],
        &["log", "bigdatainc", "nothing"],
        &["log", "nobody"],
        &["list", "bigdatainc", "nothing"],
        &["list", "nobody"],
        &["tag", "bigdatainc", "app", "app:latest"],
        &["tag", "bigdatainc", "nothing:1", "nothing:2"],
        &["deprecate", "bigdatainc", "nothing:1", "--use", "2"],
        &["retire", "bigdatainc", "nothing", "--keep", "1"],
        &["gc", "nobody"],
        &["protect", "nobody", "*"],
        &["access", "list", "nobody"],
        &["access", "show", "bigdatainc", "nobody"],
        &["access", "revoke", "bigdatainc", "nobody"],
        &["access", "add", "bigdatainc", "bigbank"],
        &["pulls", "bigdatainc", "nowhere"],
    ] {
        let failure = sandbox.fails(2, arguments);
        let hints: Vec<&str> = failure.lines().filter(|line| line.starts_with("hint: ")).collect();
        assert!(!hints.is_empty() && hints.iter().all(|hint| !hint.contains("ISV")), "{failure}");
    }
}

/// A limit on the length of files replaces a full disk here. Both fail a write in the middle of an object.
#[test]
fn a_full_disk_leaves_the_publication_unchanged() {
    let sandbox = Sandbox::new();
    let small = sandbox.write("small.tar", Export::chain("app", 2).tar());
    sandbox.ok(&["push", "acme", "app", "--from", &small]);
    let (stored, commits) = (sandbox.files("acme/bucket"), sandbox.commits("acme"));
    let noise = raas_testkit::layers::noise(1, 3 << 20);
    let layers = [layer(&[("noise", &noise)])];
    let large = sandbox.write(
        "large.tar",
        docker_save::newer(
            &[Saved { names: &["app:2"], layers: &layers }],
            docker_save::LayerPlaces::Folders,
        )
        .tar(),
    );
    let mut command = Command::new("sh");
    sandbox.contain(&mut command);
    let script = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" push acme app --from \"$1\"";
    let output = command.args(["-c", script, env!("CARGO_BIN_EXE_raas"), &large]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("cannot write") && said.contains("File too large"), "{said}");
    assert_eq!((sandbox.files("acme/bucket"), sandbox.commits("acme")), (stored, commits));
    sandbox.ok(&["push", "acme", "app", "--from", &large]);
    assert_eq!(sandbox.commits("acme"), commits + 1);
}
