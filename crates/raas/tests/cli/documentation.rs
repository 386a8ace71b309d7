//! The pages whose commands run: the tutorials, and the pages of tasks that need neither a cluster nor a client.
//!
//! A block `console` of a page is a part of a reader's session, which goes on from block to block. `UPDATE=1` writes what
//! the commands print into the page.

mod session;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;

use raas_testkit::fixtures;
use raas_testkit::kubernetes::cluster::{Cluster, Rollout, TOKEN};
use raas_testkit::oci::Layout;
use raas_testkit::registry::Registry;
use raas_testkit::s3;

use session::Session;

/// Every page with a transcript. The test of the same name as the page runs it.
const PAGES: &[&str] = &[
    "docs/behind-a-firewall.md",
    "docs/json/README.md",
    "docs/migrate-from-crane.md",
    "docs/migrate-from-registry.md",
    "docs/move-a-bucket.md",
    "docs/rotate-keys.md",
    "docs/tutorial-cluster.md",
    "docs/tutorial-domain.md",
    "docs/tutorial-first-vendor.md",
];

const HOST: &str = "registry.bigdatainc.example";
const BUCKET: &str = "bigdatainc-images";

#[test]
fn every_transcript_of_the_documents_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = [root.clone(), root.join("docs"), root.join("docs/json")];
    let names =
        folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let with_transcript = names
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .filter(|path| fs::read_to_string(path).unwrap().contains("\n```console\n"))
        .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
    assert_eq!(
        with_transcript.collect::<BTreeSet<_>>(),
        PAGES.iter().map(|page| (*page).to_owned()).collect()
    );
}

#[test]
fn tutorial_first_vendor() {
    let mut session = Session::new();
    session.has_sample();
    session.write("bigdata-app-2.tar", &image("2.0", "two"));
    session.run("docs/tutorial-first-vendor.md");
}

#[test]
fn tutorial_domain() {
    let service = s3::Server::new(&[]);
    let mut session = with_bucket(&service);
    // Not the address of the bucket: clients are redirected from the one to the other.
    let address = free_address("127.0.0.4");
    session.stands_in("0.0.0.0:443", &address);
    session.stands_in(HOST, &address);
    let certificate = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
    session.write("registry.crt", certificate.cert.pem().as_bytes());
    session.write("registry.key", certificate.signing_key.serialize_pem().as_bytes());
    session.run("docs/tutorial-domain.md");
}

#[test]
fn tutorial_cluster() {
    let (service, cluster) = (s3::Server::new(&[BUCKET]), Cluster::openshift());
    cluster.set_rollout(Rollout::Unpublished);
    let mut session = with_bucket(&service);
    session.stands_in("https://api.openshift.example.com:6443", &cluster.url());
    session.set("OPENSHIFT_TOKEN", TOKEN);
    let address = free_address("127.0.0.4");
    session.stands_in(HOST, &address);
    session.says("127.0.0.4", HOST);
    session.before(move |command, session| {
        if command.starts_with("raas push") {
            // What stands behind the route.
            session.server_elsewhere(&address);
        }
        if let Some(commit) = session.last_commit().filter(|_| command.starts_with("raas status")) {
            cluster.serve(&commit);
            cluster.set_rollout(Rollout::Good);
        }
    });
    session.run("docs/tutorial-cluster.md");
}

#[test]
fn behind_a_firewall() {
    let service = s3::Server::new(&[]);
    let mut session = with_bucket(&service);
    session.set("AWS_ENDPOINT_URL", &service.url());
    let (host, in_page) =
        (service.url().replace("http://", ""), format!("{BUCKET}.s3.eu-central-1.amazonaws.com"));
    session.says(&host, &in_page);
    // The column of names is narrower than this name.
    session.says(&format!("{in_page}{:1$}", "", 40 - host.len()), &in_page);
    let vendor = format!("[bigdatainc]\nregistry_host = {HOST}\ns3_bucket = {BUCKET}\n");
    session.write("raas.cfg", format!("{KEYS}{vendor}").as_bytes());
    session.prepare("raas setup bigdatainc --create");
    session.prepare(PUSH);
    session.run("docs/behind-a-firewall.md");
}

#[test]
fn rotate_keys() {
    let mut session = Session::new();
    session.has_sample();
    session.prepare(PUSH);
    session.prepare("raas protect bigdatainc bigdata-app");
    session.prepare("raas access add bigdatainc bigbank --repositories bigdata-app");
    session.run("docs/rotate-keys.md");
}

#[test]
fn json() {
    let mut session = Session::new();
    session.prepare("raas setup bigdatainc");
    session.run("docs/json/README.md");
}

#[test]
fn move_a_bucket() {
    let service = s3::Server::new(&["bigdatainc-frankfurt"]);
    let mut session = with_bucket(&service);
    session.write("raas.cfg", format!("{KEYS}[bigdatainc]\n{}\n", bucket_of(&service)).as_bytes());
    session.prepare("raas setup bigdatainc --create");
    session.prepare(PUSH);
    session.before(move |command, _| {
        // The test has no program that copies a bucket.
        if command.contains("--accept-storage") {
            for key in service.keys(BUCKET) {
                service.put("bigdatainc-frankfurt", &key, &service.object(BUCKET, &key).unwrap());
            }
        }
    });
    session.run("docs/move-a-bucket.md");
}

#[test]
fn migrate_from_registry() {
    let registry = Registry::new("bigdata/app");
    let mut layout = Layout::new();
    let images = ["1.0", "1.1"].map(|tag| (tag, layout.simple_image(tag)));
    registry.fill(&layout);
    images.iter().for_each(|(tag, image)| registry.tag(tag, &image.digest));
    let mut session = Session::new();
    session.stands_in("old-registry.example.com", &registry.host());
    session.run("docs/migrate-from-registry.md");
}

#[test]
fn migrate_from_crane() {
    let mut session = Session::new();
    session.has_sample();
    // A document as Pulp 2 exports it for Crane.
    let mut archive = tar::Archive::new(fs::File::open(fixtures::pulp2()).unwrap());
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut document =
        entries.find(|entry| entry.path().unwrap().extension().is_some_and(|end| end == "json")).unwrap();
    let mut bytes = Vec::new();
    document.read_to_end(&mut bytes).unwrap();
    session.write("crane/data/bigdata-app.json", &bytes);
    session.write("crane.conf", b"[general]\ndata_dir = crane/data\n");
    session.stands_in("/etc/crane.conf", "crane.conf");
    session.stands_in("/var/lib/crane/data", "crane/data");
    session.run("docs/migrate-from-crane.md");
}

const PUSH: &str = "raas push bigdatainc bigdata-app --from fixtures/bigdata-app.tar";

/// The access key of the bucket service.
const KEYS: &str = "[aws]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = ${BIGDATAINC_SECRET}\n\
     region = eu-central-1\n\n";

/// A session with a bucket service, whose access key the page calls AKIAEXAMPLE.
fn with_bucket(service: &s3::Server) -> Session {
    let mut session = Session::new();
    session.has_sample();
    session.stands_in(&format!("s3_bucket = {BUCKET}"), &bucket_of(service));
    session.set("BIGDATAINC_SECRET", "hunter2");
    session.says(&format!("http://{}", host_of(service)), "AWS");
    session.says("raas.cfg, 7 keys", "raas.cfg, 5 keys");
    session.says(&host_of(service), "bigdatainc-images.s3.eu-central-1.amazonaws.com");
    session.hides("warning: `s3_endpoint` of [bigdatainc] sends clients to 127.0.0.1");
    session
}

fn host_of(service: &s3::Server) -> String {
    service.url().replace("http://", "")
}

/// The keys of a bucket of this service.
fn bucket_of(service: &s3::Server) -> String {
    format!("s3_bucket = {BUCKET}\ns3_endpoint = {}\ns3_path_style = yes", service.url())
}

fn image(tag: &str, content: &str) -> Vec<u8> {
    let mut layout = Layout::new();
    let image = layout.simple_image(content);
    layout.tag(&image, tag);
    layout.tar()
}

/// An address of loopback with a free port.
fn free_address(ip: &str) -> String {
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().to_string()
}
