//! Vendors whose servers run in a cluster.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_testkit::kubernetes::cluster::{Cluster, Rollout, TOKEN};
use raas_testkit::s3::Server as S3;
use serde_json::Value;

use crate::client::Client;
use crate::s3::{BUCKET, layout, sandbox};
use crate::sandbox::Sandbox;

const IMAGE: &str =
    "registry.example.com/raas@sha256:dd3ba91ae52eb5a99b1cbcd70b06c4ee2b1c84ffdca4e5b7d9e6df7e5d4b1a7f";

fn cluster_section(cluster: &Cluster) -> String {
    format!(
        "\n[openshift]\nplatform = kubernetes\nserver_url = {}\nauth_token = {TOKEN}\ndomain = mydomain\ncartridge = {IMAGE}\n",
        cluster.url()
    )
}

fn in_cluster(s3: &S3, cluster: &Cluster) -> Sandbox {
    sandbox(s3, &cluster_section(cluster))
}

/// Gives the vendor a host: an address, so that no resolver is asked.
fn with_host(sandbox: &Sandbox, host: &str) {
    let text = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    sandbox.write("raas.cfg", text.replace("[acme]\n", &format!("[acme]\nregistry_host = {host}\n")));
}

#[test]
fn setup_deploys_a_second_one_changes_nothing_and_teardown_removes_it_again() {
    let (s3, cluster) = (S3::new(&[BUCKET]), Cluster::openshift());
    let sandbox = in_cluster(&s3, &cluster);
    let preview = sandbox.ok(&["setup", "acme", "--dry-run"]);
    assert!(
        preview.contains("+ Deployment raas-acme\n") && preview.contains("+ Route raas-acme\n"),
        "{preview}"
    );
    assert!(cluster.paths().is_empty() && !sandbox.home().join("acme").exists(), "a preview makes nothing");

    let output = sandbox.run(&["setup", "acme"]);
    let text = crate::sandbox::succeeded(&output);
    assert!(text.contains("2 servers answer at https://raas-acme-mydomain.apps.example.com\n"), "{text}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("Setting up acme in project mydomain on {}", cluster.url())), "{said}");
    let again = sandbox.ok(&["setup", "acme"]);
    assert!(again.contains("Nothing changed in project mydomain"), "{again}");
    assert!(
        sandbox.ok(&["setup", "acme", "--dry-run"]).starts_with("Nothing would change in project mydomain")
    );
    let json = sandbox.json(&["setup", "acme", "--json"]);
    assert_eq!((&json["platform"], json["servers"].as_array().unwrap().len()), (&"kubernetes".into(), 2));

    let image = sandbox.write("app.tar", layout(1, 1000));
    let pushed = sandbox.ok(&["push", "acme", "app", "--from", &image]);
    assert!(pushed.contains("`raas status acme` shows them") && !pushed.contains("docker pull"), "{pushed}");

    let unasked = sandbox.fails(2, &["teardown", "acme"]);
    assert!(unasked.contains("Deployment raas-acme") && unasked.contains("hint: give --yes"), "{unasked}");
    assert!(!cluster.paths().is_empty());
    let removed = sandbox.json(&["teardown", "acme", "--yes", "--json"]);
    assert_eq!(removed["removed_resources"].as_array().unwrap().len(), 9);
    assert!(cluster.paths().is_empty() && sandbox.home().join("acme").exists());
    assert!(sandbox.ok(&["teardown", "acme"]).contains("Nothing of acme is in project mydomain"));
}

#[test]
fn the_deployed_arguments_and_files_start_a_server_that_serves_the_vendor() {
    let (s3, cluster) = (S3::new(&[BUCKET]), Cluster::openshift());
    let sandbox = in_cluster(&s3, &cluster);
    sandbox.ok(&["setup", "acme"]);
    let image = sandbox.write("app.tar", layout(1, 1000));
    let pushed = sandbox.json(&["push", "acme", "app", "--from", &image, "--json"]);

    // What the kubelet does: the files of the secret, the environment of the config map, the arguments of the container.
    let object = |path: &str| cluster.object(path).unwrap();
    let folder = sandbox.path("etc");
    fs::create_dir(&folder).unwrap();
    let secret = object("/api/v1/namespaces/mydomain/secrets/raas-acme");
    for (name, value) in secret["data"].as_object().unwrap() {
        fs::write(folder.join(name), STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap();
    }
    // The test reads the address of the server from its log in text.
    let here = |text: &str| {
        text.replace("/etc/raas", folder.to_str().unwrap()).replace("0.0.0.0:5000", "127.0.0.1:0")
    };
    let deployment = object("/apis/apps/v1/namespaces/mydomain/deployments/raas-acme");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments: Vec<String> =
        container["args"].as_array().unwrap().iter().map(|one| here(one.as_str().unwrap())).collect();
    let arguments: Vec<String> = arguments
        .into_iter()
        .map(|one| one.replace("0.0.0.0:9090", "127.0.0.1:0").replace("json", "text"))
        .collect();
    let environment = object("/api/v1/namespaces/mydomain/configmaps/raas-acme");
    let mut command = sandbox.command(&[]);
    command.args(&arguments).env_remove("RAAS_HOME").env("HOME", "/nonexistent");
    for (name, value) in environment["data"].as_object().unwrap() {
        command.env(name, here(value.as_str().unwrap()));
    }
    let server = crate::sandbox::Server::started(command);
    let client = Client::of(server.address, "acme.localhost");
    assert_eq!(client.get("/-/readyz").status, 200);
    let revision = String::from_utf8(client.get("/-/revision").body).unwrap();
    assert_eq!(revision.trim(), pushed["commit"].as_str().unwrap());
    assert_eq!(client.get("/v2/app/manifests/1.0").status, 200);
}

#[test]
fn status_asks_each_server_of_the_cluster() {
    let (s3, cluster) = (S3::new(&[BUCKET]), Cluster::openshift());
    let sandbox = in_cluster(&s3, &cluster);
    with_host(&sandbox, "127.0.0.2");
    sandbox.ok(&["setup", "acme"]);
    let image = sandbox.write("app.tar", layout(1, 1000));
    let pushed = sandbox.json(&["push", "acme", "app", "--from", &image, "--json"]);
    let servers = |sandbox: &Sandbox| -> Vec<Value> {
        let output = sandbox.run(&["status", "acme", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(status["vendors"][0]["platform"], "kubernetes");
        status["vendors"][0]["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|check| check["name"] == "server")
            .cloned()
            .collect()
    };
    let old = servers(&sandbox);
    assert_eq!(old.len(), 2);
    assert!(old.iter().all(|check| check["outcome"] == "failed"), "{old:?}");
    cluster.serve(pushed["commit"].as_str().unwrap());
    assert!(servers(&sandbox).iter().all(|check| check["outcome"] == "ok"), "{:?}", servers(&sandbox));
}

#[test]
fn before_the_first_publication_setup_ends_and_status_says_what_the_servers_wait_for() {
    let (s3, cluster) = (S3::new(&[BUCKET]), Cluster::openshift());
    cluster.set_rollout(Rollout::Unpublished);
    let sandbox = in_cluster(&s3, &cluster);
    let text = sandbox.ok(&["setup", "acme"]);
    assert!(
        text.contains("2 servers run, and answer at https://raas-acme-mydomain.apps.example.com as soon as"),
        "{text}"
    );
    let output = sandbox.run(&["status", "acme", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&status["healthy"], output.status.code()), (&true.into(), Some(0)), "{status}");
    let checks = status["vendors"][0]["checks"].as_array().unwrap();
    let waiting = |name: &str| {
        let of_name = checks.iter().filter(|check| check["name"] == name);
        let waits = |check: &&Value| check["found"].as_str().unwrap().ends_with("the first publication");
        of_name.filter(waits).count()
    };
    assert_eq!((waiting("rollout"), waiting("server")), (1, 2), "{status}");
    assert!(checks.iter().all(|check| check["seconds"].is_f64()), "{status}");
}

#[test]
fn status_goes_through_the_route_to_the_servers() {
    let (s3, cluster) = (S3::new(&[BUCKET]), Cluster::openshift());
    let sandbox = in_cluster(&s3, &cluster);
    let image = sandbox.write("app.tar", layout(1, 1000));
    sandbox.ok(&["setup", "acme"]);
    let pushed = sandbox.json(&["push", "acme", "app", "--from", &image, "--json"]);
    cluster.serve(pushed["commit"].as_str().unwrap());
    // What stands behind the route, at another address than the bucket.
    let server =
        crate::sandbox::Server::started(sandbox.command(&["serve", "acme", "--listen", "127.0.0.4:0"]));
    with_host(&sandbox, &server.address.to_string());
    sandbox.ok(&["setup", "acme"]);
    let status = sandbox.json(&["status", "acme", "--json"]);
    let found = |name: &str| -> Vec<&str> {
        let checks = status["vendors"][0]["checks"].as_array().unwrap().iter();
        checks.filter(|check| check["name"] == name).map(|check| check["found"].as_str().unwrap()).collect()
    };
    assert!(found("project")[0].starts_with("project mydomain on http://127.0.0.1:"), "{status}");
    assert_eq!(found("rollout"), ["2 servers run what was set up, and are ready"]);
    assert_eq!(found("route"), ["Route raas-acme.127.0.0.4 brings clients of 127.0.0.4 in"]);
    assert_eq!(found("server").len(), 2);
    assert!(
        found("registry")[0].ends_with("answers /v1/_ping and /v2/ and serves the last publication"),
        "{status}"
    );
    cluster.refuse_routes("HostAlreadyClaimed", "route other already exposes 127.0.0.4 and is older");
    let output = sandbox.run(&["status", "acme"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let refused = "FAIL  route      Route raas-acme.127.0.0.4 brings no client of 127.0.0.4 in: HostAlreadyClaimed: route other";
    assert!(output.status.code() == Some(1) && text.contains(refused), "{text}");
}

#[test]
fn a_fleet_serves_all_vendors_with_a_bucket() {
    let (s3, cluster) = (S3::new(&[BUCKET]), Cluster::openshift());
    let sandbox = in_cluster(&s3, &cluster);
    let error = sandbox.fails(2, &["setup", "--fleet"]);
    assert!(error.contains("hint: set `fleet = yes` in [openshift]"), "{error}");
    let text = fs::read_to_string(sandbox.path("raas.cfg")).unwrap();
    let text = text.replace("[openshift]\n", "[openshift]\nfleet = yes\n");
    sandbox.write("raas.cfg", &text);
    let error = sandbox.fails(2, &["setup", "--fleet"]);
    assert!(error.contains("acme has no host") && error.contains("`registry_host` in [acme]"), "{error}");
    let text = text.replace("[acme]\n", "[acme]\nregistry_host = 127.0.0.2\n");
    sandbox.write(
        "raas.cfg",
        format!("{text}\n[other]\ns3_bucket = {BUCKET}-other\nregistry_host = 127.0.0.3\n"),
    );

    let output = sandbox.run(&["setup", "--fleet"]);
    let made = crate::sandbox::succeeded(&output);
    for line in ["+ Deployment raas\n", "+ Route raas.127.0.0.2\n", "2 servers answer at https://127.0.0.3\n"]
    {
        assert!(made.contains(line), "{made}");
    }
    assert!(sandbox.ok(&["setup", "--fleet"]).contains("Nothing changed in project mydomain"));
    assert!(sandbox.ok(&["setup", "--fleet", "--dry-run"]).starts_with("Nothing would change"));
    let json = sandbox.json(&["setup", "--fleet", "--json"]);
    assert_eq!(
        (json["changed"].as_bool(), json["served_vendors"].as_array().unwrap().len()),
        (Some(false), 2)
    );
    // A vendor's own setup knows the fleet.
    sandbox.ok(&["setup", "acme"]);
    assert!(cluster.paths().iter().all(|path| !path.ends_with("/raas-acme")), "{:?}", cluster.paths());
    let image = sandbox.write("app.tar", layout(1, 1000));
    let pushed = sandbox.json(&["push", "acme", "app", "--from", &image, "--json"]);
    cluster.serve(pushed["commit"].as_str().unwrap());
    let output = sandbox.run(&["status", "acme", "--json"]);
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let servers: Vec<&Value> = status["vendors"][0]["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["name"] == "server")
        .collect();
    assert!(servers.len() == 2 && servers.iter().all(|check| check["outcome"] == "ok"), "{status}");
    // Nobody removes the servers of all vendors by naming one.
    let error = sandbox.fails(2, &["teardown", "acme", "--yes"]);
    assert!(error.contains("are those of the fleet") && error.contains("raas teardown --fleet"), "{error}");
    let removed = sandbox.json(&["teardown", "--fleet", "--yes", "--json"]);
    assert!(removed["vendor"].is_null() && cluster.paths().is_empty(), "{removed}");
    assert!(sandbox.ok(&["teardown", "--fleet"]).contains("Nothing of the fleet is in project mydomain"));
}

#[test]
fn printed_manifests_have_no_secret_and_ask_no_cluster() {
    let cluster = Cluster::openshift();
    let sandbox = in_cluster(&S3::new(&[]), &cluster);
    let printed = sandbox.ok(&["setup", "acme", "--print"]);
    assert!(printed.starts_with("---\napiVersion: v1\nkind: ServiceAccount\n"), "{printed}");
    for secret in ["hunter2", TOKEN, &STANDARD.encode("hunter2")] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(printed.contains("stringData:\n  raas.cfg: |\n    [aws]\n"), "{printed}");
    assert!(printed.contains("    aws_secret_access_key = REPLACE-ME\n"), "{printed}");
    assert!(cluster.changes().is_empty());
}

#[test]
fn each_contradiction_is_found_before_anything_is_made() {
    let (s3, cluster) = (S3::new(&[BUCKET]), Cluster::openshift());
    let whole = cluster_section(&cluster);
    let table = [
        (whole.replace("domain = mydomain\n", ""), "the project of acme in the cluster is not known"),
        (whole.replace("domain = mydomain", "domain = kube-system"), "a project of the cluster itself"),
        (whole.replace(&format!("cartridge = {IMAGE}\n"), ""), "set `cartridge` in [openshift]"),
        (whole.replace(IMAGE, "python-2.7"), "`cartridge` of [openshift] cannot be used"),
        (format!("{whole}servers = lots\n"), "`lots` is no number of servers"),
        (format!("{whole}ingress_class = nginx\n"), "set `registry_host` in [acme]"),
        (whole.replace(&format!("auth_token = {TOKEN}\n"), ""), "set `auth_token`"),
    ];
    for (section, message) in table {
        let sandbox = sandbox(&s3, &section);
        let error = sandbox.fails(2, &["setup", "acme"]);
        assert!(error.contains(message), "{message}: {error}");
        assert!(!sandbox.home().join("acme").exists(), "{message}");
    }
    // A vendor without a bucket, and one without keys for it.
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", &whole);
    assert!(sandbox.fails(2, &["setup", "acme"]).contains("hint: set `s3_bucket` in [acme]"));
    sandbox.write("raas.cfg", format!("[acme]\ns3_bucket = {BUCKET}\n{whole}"));
    let error = sandbox.fails(2, &["setup", "acme", "--dry-run"]);
    assert!(error.contains("your own keys") && error.contains("`server_secret`"), "{error}");
    assert!(cluster.changes().is_empty());
}

#[test]
fn commands_for_clusters_say_that_the_platform_is_this_machine() {
    let sandbox = Sandbox::new();
    sandbox.write("raas.cfg", "[openshift]\nserver_url = https://openshift.redhat.com\n");
    for arguments in [&["setup", "acme", "--dry-run"][..], &["teardown", "acme"]] {
        assert!(sandbox.fails(2, arguments).contains("hint: set `platform = kubernetes`"), "{arguments:?}");
    }
    let output = sandbox.run(&["setup", "acme"]);
    let note = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(output.status.success() && note.contains("nothing is deployed there"), "{note}");
}
