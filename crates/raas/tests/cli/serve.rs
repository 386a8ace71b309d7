//! `raas serve` over a home.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::{Duration, Instant};

use raas_testkit::pulp2::Export;

use crate::client::Client;
use crate::sandbox::Sandbox;

pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_host_name_selects_the_vendor_and_hides_the_others() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let server = sandbox.serve(&[]);
    assert_eq!(Client::of(server.address, "registry.acme.example").tags("app"), ["latest"]);
    let said = sandbox.ok(&["push", "bigdatainc", "other", "--from", &path, "--terse"]);
    assert_eq!(said.trim(), format!("bigdatainc.localhost:{}/other:latest", server.address.port()));
    let of =
        |vendor: &str| Client::of(server.address, &format!("{vendor}.localhost:{}", server.address.port()));
    of("bigdatainc").pull("other", "latest");
    of("acme").pull("app", "latest");
    for (vendor, name) in [("acme", "other"), ("bigdatainc", "app"), ("nobody", "app")] {
        assert_eq!(of(vendor).get(&format!("/v2/{name}/manifests/latest")).status, 404, "{vendor}/{name}");
    }
    let catalog = of("acme").get("/v2/_catalog").json();
    assert_eq!(catalog["repositories"].as_array().unwrap().len(), 1);
}

#[test]
fn named_vendors_are_served_and_others_are_not() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    for vendor in ["acme", "bigdatainc"] {
        sandbox.ok(&["push", vendor, "app", "--from", &path]);
    }
    let server = sandbox.serve(&["acme"]);
    Client::of(server.address, "any.example").pull("app", "latest");
    let failure = sandbox.fails(2, &["serve", "nobody"]);
    assert!(failure.contains("raas setup nobody"), "{failure}");
    let status = sandbox.run(&["status", "bigdatainc"]);
    assert!(String::from_utf8(status.stdout).unwrap().contains("no server of bigdatainc runs"));
}

#[test]
fn a_server_stops_on_sigterm_and_removes_its_registration() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    wait_for("the server answers", || client.get("/v2/").status == 200);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(sandbox.files("_servers"), Vec::<String>::new());
}

#[test]
fn a_server_whose_log_nobody_reads_stops() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    let (_reader, full) = std::io::pipe().unwrap();
    let mut filler = full.try_clone().unwrap();
    // Blocks when the pipe is full, until the reader is dropped.
    std::thread::spawn(move || while filler.write_all(&[b'x'; 4096]).is_ok() {});
    let server = sandbox.serve_logged(&[], full);
    let client = Client::new(server.address);
    wait_for("the server answers", || client.get("/v2/").status == 200);
    let begun = Instant::now();
    assert_eq!(server.stop(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn the_second_signal_ends_a_server_at_once() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    let server = sandbox.serve(&["--drain-delay", "600"]);
    let client = Client::new(server.address);
    wait_for("the server answers", || client.get("/v2/").status == 200);
    server.signal();
    wait_for("the server drains", || client.get("/-/readyz").status == 503);
    assert_eq!(client.get("/v2/").status, 200);
    assert_eq!(server.stop(), Some(143));
}

#[test]
fn servers_of_a_home_accept_each_others_tokens() {
    let sandbox = Sandbox::new();
    sandbox.ok(&["setup", "acme"]);
    let users = "ann:$2y$05$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu\n";
    std::fs::write(sandbox.home().join("acme/htpasswd"), users).unwrap();
    let servers = [sandbox.serve(&[]), sandbox.serve(&[])];
    let clients = servers.each_ref().map(|server| Client::new(server.address));
    wait_for("the servers answer", || clients.iter().all(|client| client.get("/v2/").status == 401));
    let token = clients[0].get("/token").json();
    let authorization = format!("Bearer {}", token["token"].as_str().unwrap());
    for client in &clients {
        assert_eq!(client.get_with("/v2/", &authorization).status, 200);
    }
    let key = sandbox.home().join("_token_key");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_vendor_does_not_affect_the_others() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    for vendor in ["acme", "broken"] {
        sandbox.ok(&["push", vendor, "app", "--from", &path]);
    }
    std::fs::remove_dir_all(sandbox.home().join("broken/metadata.git")).unwrap();
    let server = sandbox.serve(&[]);
    for vendor in ["acme", "broken"] {
        Client::of(server.address, &format!("{vendor}.localhost")).pull("app", "latest");
    }
    // A new record would withdraw what is served. It gets the content of the checkout, and the vendor can push to it.
    assert!(sandbox.fails(4, &["setup", "broken"]).contains("setup broken --repair"));
    sandbox.ok(&["setup", "broken", "--repair"]);
    sandbox.ok(&["push", "broken", "app", "--from", &path]);
    Client::of(server.address, "broken.localhost").pull("app", "latest");
}

#[test]
fn a_file_of_users_in_the_vendors_folder_gives_access_to_protected_repositories() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    let server = sandbox.serve(&[]);
    let client = Client::new(server.address);
    wait_for("the server answers", || client.get("/v2/").status == 200);
    // Without users the server asks nobody to log in. With users it tells clients where to log in.
    let users = sandbox.home().join("acme/htpasswd");
    std::fs::write(&users, "ann:$2y$05$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu\n").unwrap();
    wait_for("the users are read", || client.get("/v2/").status == 401);
    assert!(client.get("/v2/").headers["www-authenticate"].contains("realm=\"http://127.0.0.1:"));
    client.pull("app", "latest");
    // A repository that becomes protected is not reported as unserved.
    let data = sandbox.home().join("acme/checkout/crane/data");
    for document in ["app.json", "app/_v1.json"].map(|name| data.join(name)) {
        let text = std::fs::read_to_string(&document).unwrap();
        std::fs::write(document, text.replace("\"protected\": false", "\"protected\": true")).unwrap();
    }
    let revision = sandbox.home().join("acme/checkout/revision");
    std::fs::write(&revision, std::fs::read(&revision).unwrap()).unwrap();
    wait_for("it is hidden", || client.get("/v2/app/tags/list").status == 401);
    let said = String::from_utf8(sandbox.run(&["status", "acme"]).stdout).unwrap();
    assert!(said.contains("for which the server asks for a login: 1"), "{said}");
    assert!(said.contains("and serves the last publication"), "{said}");
    std::fs::remove_file(&users).unwrap();
    wait_for("the users are gone", || client.get("/v2/").status == 200);
}

#[test]
fn a_port_in_use_is_an_error_with_a_hint() {
    let sandbox = Sandbox::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failure = sandbox.fails(4, &["serve", "--listen", &address]);
    assert!(failure.contains(&address) && failure.contains("--listen"), "{failure}");
}

#[test]
fn push_and_status_find_a_server_with_tls() {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    // The certificate is for another name than the address of the requests.
    let made = rcgen::generate_simple_self_signed(vec!["registry.example.com".to_owned()]).unwrap();
    let certificate = sandbox.write("tls.crt", made.cert.pem());
    let key = sandbox.write("tls.key", made.signing_key.serialize_pem());
    let server = sandbox.serve(&["--tls-certificate", &certificate, "--tls-key", &key]);
    sandbox.ok(&["setup", "acme"]);
    // The push waits until the server serves the commit.
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    // A registry with users asks for a login, but it does answer.
    std::fs::write(sandbox.home().join("acme/htpasswd"), "ann:$2y$05$x\n").unwrap();
    let status = sandbox.ok(&["status", "acme"]);
    assert!(status.contains("serves the last publication"), "{status}");
    assert_eq!(server.stop(), Some(0));
}
