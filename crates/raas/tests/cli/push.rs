//! `raas push` of good sources.

use raas_testkit::docker_save::{self, LayerPlaces, Saved};
use raas_testkit::layers::{Pack, gzip, layer, zstd};
use raas_testkit::oci::Layout;
use raas_testkit::pulp2::Export;
use raas_testkit::{fixtures, http};

use crate::client::Client;
use crate::sandbox::{Sandbox, digest_of, succeeded, tags_of};

fn utf8(path: std::path::PathBuf) -> String {
    path.to_str().unwrap().to_owned()
}

fn first_chunk() -> std::path::PathBuf {
    let mut entries =
        std::fs::read_dir(fixtures::pulp3_chunked()).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.extension().is_some_and(|end| end == "0000")).unwrap()
}

#[test]
fn every_real_export_is_published_and_pulls_completely() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    let server = sandbox.serve(&["acme"]);
    let client = Client::new(server.address);
    let app = ["1.0", "2.0", "latest"].as_slice();
    let table = [
        ("brief", fixtures::pulp2(), None, ["latest"].as_slice()),
        ("saved", fixtures::docker_save(), None, &["1.0"]),
        ("multi", fixtures::oci_multi(), None, &["2.0"]),
        ("new", fixtures::pulp3_new(), Some("bigdatainc/bigdata-app"), app),
        ("base", fixtures::pulp3_new(), Some("acme/base"), &["1"]),
        ("new-chunks", first_chunk(), Some("bigdatainc/bigdata-app"), app),
        ("new-toc", fixtures::toc(&fixtures::pulp3_chunked()), Some("bigdatainc/bigdata-app"), app),
        ("old", fixtures::pulp3_old(), Some("bigdatainc/bigdata-app"), app),
        ("old-toc", fixtures::toc(&fixtures::path("pulp3/old-full")), Some("bigdatainc/bigdata-app"), app),
    ];
    let mut platforms = std::collections::BTreeMap::new();
    for (name, path, repository, tags) in table {
        let path = utf8(path);
        let mut arguments = vec!["push", "acme", name, "--json", "--from", path.as_str()];
        arguments.extend(repository.iter().flat_map(|repository| ["--repository", repository]));
        let report = sandbox.json(&arguments);
        assert_eq!(report["served"], true, "{name}");
        let found = client.tags(name);
        assert!(found.len() == tags.len() || name == "base", "{name}: {found:?}");
        let pulled = found.iter().map(|tag| client.pull(name, tag).len()).sum::<usize>();
        platforms.insert(name, pulled);
        for tag in tags.iter().filter(|_| name != "base") {
            assert!(found.iter().any(|other| other == tag), "{name}:{tag}");
        }
    }
    assert_eq!(platforms["multi"], 2);
    assert_eq!(platforms["new"], 4, "two tags of one platform, one of two");
    assert_eq!((platforms["new"], platforms["new-chunks"]), (platforms["old"], platforms["old-toc"]));
    let status = sandbox.json(&["status", "acme", "--json"]);
    assert_eq!(status["healthy"], true, "{status:#}");
}

/// Sources in every format and packing, all with the same two layers.
fn sources() -> Vec<(&'static str, Vec<u8>)> {
    let layers = [layer(&[("base", b"base")]), layer(&[("app", b"app")])];
    let saved = [Saved { names: &["acme/app:1.0"], layers: &layers }];
    let mut layout = Layout::new();
    let of = [layout.layer(&[("base", b"base")], Pack::Gzip), layout.layer(&[("app", b"app")], Pack::Zstd)];
    let image = layout.image("amd64", &of);
    let signature = layout.artifact(&image, "application/vnd.example.signature", b"signed");
    layout.tag(&image, "1.0");
    layout.untagged(&signature);
    vec![
        ("oldest", docker_save::oldest(&saved).tar()),
        ("newer", docker_save::newer(&saved, LayerPlaces::Links).tar()),
        ("newest", docker_save::newest(&saved).tar()),
        ("layout", layout.tar()),
    ]
}

#[test]
fn every_format_is_read_plain_gzipped_or_zstandard_from_a_file_a_url_or_standard_input() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let expected = [layer(&[("base", b"base")]), layer(&[("app", b"app")])];
    for (n, (kind, tar)) in sources().into_iter().enumerate() {
        let packings = [("plain", tar.clone()), ("gzip", gzip(&tar)), ("zstd", zstd(&tar))];
        for (m, (packing, archive)) in packings.into_iter().enumerate() {
            let name = format!("{kind}/{packing}");
            let web = http::Server::of([("/image", archive.clone())]);
            let url = web.url("/image");
            let file = sandbox.write(&format!("{kind}-{packing}"), &archive);
            // Each input is the first for one of the formats. The other two give the same image.
            let mut ways = [("file", file.as_str()), ("url", &url), ("stdin", "-")];
            ways.rotate_left((n + m) % 3);
            for (way, from) in ways {
                let push = ["push", "acme", &name, "--json", "--from", from];
                let said = succeeded(&sandbox.fed(if way == "stdin" { &archive } else { b"" }, &push));
                let report: serde_json::Value = serde_json::from_str(&said).unwrap();
                assert_eq!(report["changed"], way == ways[0].0, "{name} by {way}");
            }
            assert_eq!(client.pull(&name, "1.0")["linux/amd64"].layers, expected, "{name} by {}", ways[0].0);
        }
    }
    let referrers = {
        let digest = client.get("/v2/layout/plain/manifests/1.0").headers["docker-content-digest"].clone();
        client.get(&format!("/v2/layout/plain/referrers/{digest}")).json()
    };
    assert_eq!(referrers["manifests"].as_array().unwrap().len(), 1, "the signature came along: {referrers}");
}

#[test]
fn a_second_push_of_the_same_source_changes_nothing() {
    let sandbox = Sandbox::new();
    for (n, path) in
        [fixtures::pulp2(), fixtures::docker_save(), fixtures::oci_multi()].into_iter().enumerate()
    {
        let (path, name) = (utf8(path), format!("app{n}"));
        let first = sandbox.json(&["push", "acme", &name, "--json", "--from", &path]);
        assert_eq!((&first["changed"], &first["served"]), (&true.into(), &false.into()));
        let before = (sandbox.files("acme/bucket"), sandbox.commits("acme"));
        let second = sandbox.json(&["push", "acme", &name, "--json", "--from", &path]);
        assert_eq!(second["changed"], false);
        assert_eq!(second["stored"]["objects"], 0, "{second:#}");
        assert_eq!(second["present"]["objects"], first["stored"]["objects"]);
        assert_eq!(second["commit"], first["commit"]);
        assert_eq!((sandbox.files("acme/bucket"), sandbox.commits("acme")), before);
        let said = sandbox.ok(&["push", "acme", &name, "--from", &path]);
        assert!(said.contains("Nothing changed"), "{said}");
    }
}

/// The commands of git that a push starts.
fn gits_of_push(sandbox: &Sandbox, source: &str) -> Vec<String> {
    let log = sandbox.path("gits");
    drop(std::fs::remove_file(&log));
    let path = std::env::var_os("PATH").unwrap();
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join("git"));
    let git = programs.find(|program| program.is_file()).unwrap();
    // The verb is the first word that is neither an option nor the value of one.
    let script = format!(
        "#!/bin/sh\nvalue=\nfor word; do\n  if [ \"$value\" ]; then value=; continue; fi\n  case $word in\n    \
         -c|--git-dir) value=yes ;;\n    *) echo \"$word\" >> '{}'; break ;;\n  esac\ndone\nexec '{}' \"$@\"\n",
        log.display(),
        git.display()
    );
    let folder = sandbox.path("programs");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("git"), script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(folder.join("git"), mode).unwrap();
    let folders = std::iter::once(folder).chain(std::env::split_paths(&path));
    let mut command = sandbox.command(&["push", "acme", "app", "--from", source]);
    command.env("PATH", std::env::join_paths(folders).unwrap());
    succeeded(&command.output().unwrap());
    std::fs::read_to_string(log).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_push_starts_few_processes_of_git_and_only_one_if_nothing_is_new() {
    let sandbox = Sandbox::new();
    let source = sandbox.write("app.tar", tagged(&[("1", "one"), ("2", "two")]));
    let first = gits_of_push(&sandbox, &source);
    assert_eq!(first, ["init", "cat-file", "config", "var", "fast-import", "gc"]);
    assert_eq!(gits_of_push(&sandbox, &source), ["cat-file"]);
    let source = sandbox.write("app.tar", tagged(&[("3", "three")]));
    assert_eq!(gits_of_push(&sandbox, &source), ["cat-file", "config", "var", "fast-import", "gc"]);
}

fn tagged(tags: &[(&str, &str)]) -> Vec<u8> {
    let mut layout = Layout::new();
    for (tag, content) in tags {
        let image = layout.simple_image(content);
        layout.tag(&image, tag);
    }
    layout.tar()
}

#[test]
fn tags_are_added_moved_selected_and_pruned() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    let one = sandbox.write("one.tar", tagged(&[("1.0", "one"), ("latest", "one"), ("extra", "x")]));
    sandbox.ok(&["push", "acme", "app:1.0", "--from", &one]);
    assert_eq!(client.tags("app"), ["1.0"]);
    sandbox.ok(&["push", "acme", "app", "--from", &one]);
    assert_eq!(client.tags("app"), ["1.0", "extra", "latest"]);
    let first = client.pull("app", "latest");
    let two = sandbox.write("two.tar", tagged(&[("2.0", "two"), ("latest", "two")]));
    sandbox.ok(&["push", "acme", "app", "--from", &two]);
    assert_eq!(client.tags("app"), ["1.0", "2.0", "extra", "latest"]);
    assert_ne!(client.pull("app", "latest"), first);
    assert_eq!(client.pull("app", "1.0"), first);
    let foreseen = sandbox.ok(&["push", "acme", "app", "--from", &two, "--prune", "--dry-run"]);
    assert!(foreseen.contains("Would remove tag 1.0\nWould remove tag extra\n"), "{foreseen}");
    let report = sandbox.json(&["push", "acme", "app", "--from", &two, "--prune", "--json"]);
    assert_eq!(report["removed_tags"], serde_json::json!(["1.0", "extra"]));
    assert_eq!(client.tags("app"), ["2.0", "latest"]);
    let stored = sandbox.files("acme/bucket/app/_v2/manifests");
    assert!(!stored.iter().any(|name| name.ends_with("/extra")), "{stored:?}");
    let missing = sandbox.fails(3, &["push", "acme", "app:9", "--from", &two]);
    assert!(missing.contains("no tag `9`; it has 2.0, latest"), "{missing}");
}

#[test]
fn the_command_line_gives_an_untagged_source_its_tag() {
    let sandbox = Sandbox::new();
    let mut layout = Layout::new();
    let image = layout.simple_image("x");
    layout.untagged(&image);
    let path = sandbox.write("x.tar", layout.tar());
    let report = sandbox.json(&["push", "acme", "app:7", "--from", &path, "--json"]);
    assert_eq!(tags_of(&report), ["7"]);
    assert_eq!(report["reference"], "127.0.0.1:5000/app:7");
}

#[test]
fn without_from_the_archive_is_in_the_current_folder() {
    let sandbox = Sandbox::new();
    std::fs::copy(fixtures::pulp2(), sandbox.path("bigdata-app.tar")).unwrap();
    let said = sandbox.ok(&["push", "bigdatainc", "bigdata-app", "--terse"]);
    assert_eq!(said, "127.0.0.1:5000/bigdata-app:latest\n");
    let failure = sandbox.fails(2, &["push", "bigdatainc", "other"]);
    assert!(failure.contains("other.tar") && failure.contains("--from"), "{failure}");
}

#[test]
fn a_dry_run_reports_what_a_push_would_do_and_does_nothing() {
    let sandbox = Sandbox::new();
    let path = utf8(fixtures::oci_multi());
    let report = sandbox.json(&["push", "acme", "app", "--from", &path, "--dry-run", "--json"]);
    assert_eq!((&report["dry_run"], &report["changed"]), (&true.into(), &false.into()));
    assert_eq!(report["stored"]["objects"], 5);
    assert_eq!(
        (&report["reference"], digest_of(&report, "2.0").is_string()),
        (&"127.0.0.1:5000/app:2.0".into(), true)
    );
    assert_eq!(sandbox.files("."), Vec::<String>::new());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let before = sandbox.files(".");
    let report = sandbox.json(&["push", "acme", "app", "--from", &path, "--dry-run", "--json"]);
    assert_eq!((&report["stored"]["objects"], &report["present"]["objects"]), (&0.into(), &5.into()));
    // Content of another repository is new in this repository.
    let other = sandbox.json(&["push", "acme", "other", "--from", &path, "--dry-run", "--json"]);
    assert_eq!((&other["stored"]["objects"], &other["present"]["objects"]), (&5.into(), &0.into()));
    assert_eq!(sandbox.files("."), before);
}

#[test]
fn a_docker_v1_image_moved_to_another_repository_is_not_packed_again() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 3).tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    sandbox.ok(&["push", "acme", "other", "--from", &path]);
    let blobs = |name: &str| sandbox.files(&format!("acme/bucket/{name}/_v2/blobs"));
    assert_eq!(blobs("app"), blobs("other"));
    sandbox.ok(&["setup", "acme"]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    assert_eq!(client.pull("app", "latest"), client.pull("other", "latest"));
}

#[test]
fn objects_that_the_bucket_has_lost_are_stored_again() {
    let sandbox = Sandbox::new();
    let sources = [utf8(fixtures::pulp2()), utf8(fixtures::docker_save()), utf8(fixtures::oci_multi())];
    for (n, path) in sources.iter().enumerate() {
        sandbox.ok(&["push", "acme", &format!("app{n}"), "--from", path]);
    }
    let whole = sandbox.files("acme/bucket");
    std::fs::remove_dir_all(sandbox.home().join("acme/bucket")).unwrap();
    std::fs::create_dir(sandbox.home().join("acme/bucket")).unwrap();
    for (n, path) in sources.iter().enumerate() {
        let report = sandbox.json(&["push", "acme", &format!("app{n}"), "--from", path, "--json"]);
        assert_eq!(report["changed"], false, "the same content gives the same publication");
    }
    assert_eq!(sandbox.files("acme/bucket"), whole);
}

#[test]
fn a_full_standard_error_does_not_stop_a_publication() {
    let sandbox = Sandbox::new();
    let path = utf8(fixtures::oci_multi());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = sandbox.command(&["push", "acme", "app", "--from", &path]).stderr(full).status().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(sandbox.commits("acme"), 1);
}
