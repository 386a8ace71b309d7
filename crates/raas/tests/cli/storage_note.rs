//! The home remembers where a vendor's objects are. No command takes another storage, or another vendor, without a word.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use raas_testkit::layers::Pack;
use raas_testkit::oci::Layout;
use raas_testkit::s3::Server;

use crate::client::Client;
use crate::s3::{BUCKET, sandbox};
use crate::sandbox::{Sandbox, succeeded};

fn image(content: &str) -> Vec<u8> {
    let mut layout = Layout::new();
    let layer = layout.layer(&[("file", content.as_bytes())], Pack::Gzip);
    let image = layout.image("amd64", &[layer]);
    layout.tag(&image, "1.0");
    layout.tar()
}

#[test]
fn a_command_in_the_wrong_folder_uses_no_other_storage() {
    let server = Server::new(&[BUCKET]);
    let sandbox = sandbox(&server, "");
    let app = sandbox.write("app.tar", image("app"));
    let config = sandbox.path("raas.cfg").display().to_string();
    // The setup decides, not the first publication.
    sandbox.ok(&["setup", "acme"]);
    let note = || fs::read_to_string(sandbox.home().join("acme/storage.json")).unwrap();
    let remembered = note();
    for arguments in [
        &["push", "acme", "app", "--from", &app][..],
        &["push", "acme", "app", "--from", &app, "--dry-run"],
        &["setup", "acme"],
        &["serve", "acme", "--listen", "127.0.0.1:0"],
    ] {
        let output = sandbox.elsewhere(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(&config) && said.contains("--accept-storage"), "{arguments:?}: {said}");
    }
    assert_eq!((note(), sandbox.files("acme/bucket")), (remembered, Vec::new()));
    sandbox.ok(&["push", "acme", "app", "--from", &app]);
    let keys = server.keys(BUCKET);
    let commits = sandbox.commits("acme");
    for arguments in [
        &["push", "acme", "app", "--from", &app][..],
        &["push", "acme", "app", "--from", &app, "--dry-run"],
        &["gc", "acme"],
        &["rollback", "acme", "app"],
        &["unpublish", "acme", "app"],
        &["setup", "acme"],
        &["serve", "acme", "--listen", "127.0.0.1:0"],
        &["serve", "--listen", "127.0.0.1:0"],
        &["status", "acme", "--egress"],
    ] {
        let output = sandbox.elsewhere(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        let both = [
            format!("s3://{BUCKET}/reg of {} (configuration: {config})", server.url()),
            "the folder `bucket` of the home (configuration: none)".to_owned(),
        ];
        assert!(both.iter().all(|place| said.contains(place)), "{arguments:?}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    // Commands that only read the home say so in a note; the status has a failed check.
    for (arguments, code) in [(&["list", "acme"], 0), (&["log", "acme"], 0), (&["status", "acme"], 1)] {
        let output = sandbox.elsewhere(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(said.contains("would use the folder"), "{arguments:?}: {said}");
    }
    assert_eq!((server.keys(BUCKET), sandbox.commits("acme")), (keys, commits));
    assert!(sandbox.files("acme/bucket").is_empty());
    // With the configuration by its name, any folder will do.
    succeeded(&sandbox.elsewhere(&["gc", "acme", "--config", &config]).output().unwrap());
    let note = note();
    assert!(note.contains(&config) && !note.contains("hunter2") && !note.contains("AKIA"), "{note}");
}

#[test]
fn a_server_does_not_serve_a_vendor_that_another_configuration_sets_up() {
    let service = Server::new(&[BUCKET]);
    let sandbox = sandbox(&service, "");
    let set_up = |vendor| drop(succeeded(&sandbox.elsewhere(&["setup", vendor]).output().unwrap()));
    // A server of one vendor would answer under every host name.
    ["first", "second"].into_iter().for_each(set_up);
    let config = fs::read(sandbox.path("raas.cfg")).unwrap();
    fs::remove_file(sandbox.path("raas.cfg")).unwrap();
    let server = sandbox.serve(&[]);
    fs::write(sandbox.path("raas.cfg"), config).unwrap();
    // The setup finds that the running server does not serve the vendor.
    assert!(sandbox.fails(4, &["setup", "acme"]).contains("does not answer /v1/_ping for acme"));
    assert!(sandbox.home().join("acme/checkout").is_dir());
    set_up("third");
    let of = |vendor: &str| Client::of(server.address, &format!("{vendor}.localhost")).get("/v2/").status;
    let begun = Instant::now();
    while of("third") != 200 {
        assert!(begun.elapsed() < Duration::from_secs(20), "the server does not serve the new vendor");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((of("first"), of("acme"), of("nobody")), (200, 503, 404));
}

#[test]
fn a_vendor_moves_only_with_all_its_objects() {
    let sandbox = Sandbox::new();
    let app = sandbox.write("app.tar", image("app"));
    sandbox.ok(&["push", "acme", "app", "--from", &app]);
    let server = Server::new(&[BUCKET]);
    let to_bucket = format!(
        "[aws]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = hunter2\n\n\
         [acme]\ns3_bucket = {BUCKET}\ns3_endpoint = {}\ns3_path_style = yes\n",
        server.url()
    );
    sandbox.write("raas.cfg", to_bucket);
    let refused = sandbox.fails(2, &["push", "acme", "app", "--from", &app]);
    assert!(refused.contains("raas setup acme --accept-storage"), "{refused}");
    let refused = sandbox.fails(3, &["setup", "acme", "--accept-storage"]);
    assert!(refused.contains("does not have all that acme publishes: app/_v2/blobs/sha256:"), "{refused}");
    sandbox.fails(2, &["push", "acme", "app", "--from", &app]);
    for file in sandbox.files("acme/bucket") {
        server.put(BUCKET, &file, &fs::read(sandbox.home().join("acme/bucket").join(&file)).unwrap());
    }
    sandbox.ok(&["setup", "acme", "--accept-storage"]);
    let again = sandbox.json(&["push", "acme", "app", "--json", "--from", &app]);
    assert_eq!(again["stored"]["objects"], 0);
}

#[test]
fn a_failed_setup_leaves_no_vendor() {
    let server = Server::new(&[]);
    let sandbox = sandbox(&server, "");
    sandbox.fails(4, &["setup", "acme"]);
    assert!(!sandbox.home().join("acme").exists());
    let listed = sandbox.json(&["list", "--json"]);
    assert_eq!(listed["vendors"].as_array().unwrap().len(), 0);
    // The bucket holds another vendor's registry, which only the last step finds.
    sandbox.ok(&["setup", "acme", "--create"]);
    let app = sandbox.write("app.tar", image("app"));
    sandbox.ok(&["push", "acme", "app", "--from", &app]);
    let config = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    sandbox.write("raas.cfg", config.replace("[acme]", "[bigdatainc]"));
    let refused = sandbox.fails(2, &["setup", "bigdatainc"]);
    assert!(refused.contains("holds the registry of acme"), "{refused}");
    let listed = sandbox.json(&["list", "--json"]);
    assert_eq!(listed["vendors"].as_array().unwrap().len(), 1, "{listed:#}");
}

#[test]
fn a_vendor_with_half_a_bucket_is_not_set_up_in_the_home() {
    let server = Server::new(&[]);
    let sandbox = sandbox(&server, "");
    let config = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    sandbox.write("raas.cfg", config.replace(&format!("s3_bucket = {BUCKET}\n"), ""));
    let app = sandbox.write("app.tar", image("app"));
    let half = "has `s3_endpoint`, but no `s3_bucket`";
    for arguments in [&["setup", "acme", "--create"][..], &["push", "acme", "app", "--from", &app]] {
        let refused = sandbox.fails(2, arguments);
        assert!(refused.contains(half) && refused.contains("--s3bucket"), "{refused}");
        assert!(!sandbox.home().join("acme").exists());
    }
    assert!(sandbox.ok(&["config", "check"]).contains(half));
    // The hint of a setup is the command that works.
    let missing = sandbox.fails(4, &["setup", "acme", "--s3bucket", BUCKET]);
    assert!(missing.contains(&format!("`raas setup acme --s3bucket {BUCKET} --create`")), "{missing}");
    assert!(!sandbox.home().join("acme").exists());
    sandbox.ok(&["setup", "acme", "--s3bucket", BUCKET, "--create"]);
    sandbox.ok(&["push", "acme", "app", "--from", &app]);
    assert!(!server.keys(BUCKET).is_empty());
    // The vendor that is in the home already stays there.
    sandbox.write("raas.cfg", "[other]\n");
    sandbox.ok(&["setup", "other"]);
    sandbox.write("raas.cfg", "[other]\ns3_region = eu-1\n");
    assert!(sandbox.ok(&["setup", "other"]).contains("the objects of other are in the home"));
}

#[test]
fn a_misspelt_vendor_is_not_set_up_by_a_push() {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[bigdatainc]\n[acme]\n");
    let app = sandbox.write("app.tar", image("app"));
    for arguments in [&["push", "bigdatainic", "app", "--from", &app][..], &["log", "bigdatainic"]] {
        let failure = sandbox.fails(2, arguments);
        assert!(failure.contains("raas.cfg has no section [bigdatainic]"), "{failure}");
        assert!(failure.contains("did you mean bigdatainc?"), "{failure}");
        assert!(failure.contains("raas setup bigdatainic"), "{failure}");
    }
    let unlike = sandbox.fails(2, &["push", "somebody", "app", "--from", &app]);
    assert!(unlike.contains("raas setup somebody") && !unlike.contains("did you mean"), "{unlike}");
    assert!(!sandbox.home().join("bigdatainic").exists());
    sandbox.ok(&["push", "bigdatainc", "app", "--from", &app]);
    sandbox.ok(&["setup", "somebody"]);
    sandbox.ok(&["push", "somebody", "app", "--from", &app]);
    // Without a configuration, only a name that is almost a known one is rejected.
    fs::remove_file(sandbox.path("raas.cfg")).unwrap();
    let failure = sandbox.fails(2, &["push", "bigdataic", "app", "--from", &app]);
    assert!(failure.contains("did you mean bigdatainc?"), "{failure}");
    sandbox.ok(&["push", "newcomer", "app", "--from", &app]);
}

#[test]
fn the_users_configuration_is_found_and_named() {
    let sandbox = Sandbox::new();
    let user = sandbox.user_config();
    let none = sandbox.ok(&["config", "show"]);
    assert!(none.contains("no configuration") && none.contains(user.to_str().unwrap()), "{none}");
    assert!(none.contains("/etc/raas/raas.cfg"), "{none}");
    fs::create_dir_all(user.parent().unwrap()).unwrap();
    fs::write(&user, "[acme]\nregistry_host = r.acme.com\n").unwrap();
    let shown = sandbox.ok(&["config", "show"]);
    assert_eq!(shown.lines().next(), Some(&*format!("# {}", user.display())), "{shown}");
    let near = sandbox.write("raas.cfg", "");
    assert_eq!(sandbox.ok(&["config", "show"]).lines().next(), Some(&*format!("# {near}")));
    assert_eq!(sandbox.json(&["config", "show", "--json"])["configuration"], near);
}
