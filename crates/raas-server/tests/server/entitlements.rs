//! Entitlement certificates: a client sees the repositories below the paths that its certificate lists. The headings are
//! those of `docs/request-handling.md`, "Entitlement certificates".

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use raas_server::{CertificateFiles, Options, SiteConfig};
use raas_types::Utc;
use raas_types::access::{Customer, CustomerKey, SecretHash};
use raas_types::crane::tree;
use raas_types::media_type::DOCKER_MANIFEST;
use rcgen::CustomExtension;
use serde_json::Value;

use crate::client_certificates::{Authority, Identity};
use crate::support::{Folders, Published, Server, image_id, store_v1, v1_document};
use crate::tls::{StatusAndBody, ask_with, ask_with_login, issue};

const HOST: &str = "acme.localhost";

/// A server with the public repository `open` and protected ones. The path of a repository is its name.
struct Site {
    server: Server,
    files: CertificateFiles,
    authority: Authority,
    folders: Folders,
}

impl Site {
    fn new(protected: &[&str], with_customers: bool) -> Self {
        let (folders, authority) = (Folders::new("acme"), Authority::new("acme"));
        for name in ["open"].iter().chain(protected) {
            let mut repository = Published::new(name);
            let digest = repository.image(DOCKER_MANIFEST, name, "");
            repository.tag("latest", digest);
            folders.publish(&repository);
            folders.write(&tree::document(&repository.name), &repository.document(*name != "open"));
        }
        if with_customers {
            let mut customer = Customer::new(vec!["tools".parse().unwrap()]);
            let key = CustomerKey::new(SecretHash::of("secret"), Utc::from_unix(0), None);
            customer.keys.insert("ci".parse().unwrap(), key);
            folders.write(&format!("{}bigbank", tree::CUSTOMERS), &customer.to_bytes());
        }
        let id = image_id('2');
        let v1 =
            String::from_utf8(v1_document("appliance/ui", &[("latest", id)], &[(id, None)], true)).unwrap();
        let v1 = v1.replace("\"protected\": false", "\"protected\": true");
        if protected.contains(&"appliance/ui") {
            folders.write(&tree::v1_document(&"appliance/ui".parse().unwrap()), v1.as_bytes());
            store_v1(&folders, "appliance/ui", id);
        }
        folders.revision("one");
        let folder = folders.bucket().parent().unwrap().to_owned();
        let ca = folder.join("ca.pem");
        fs::write(&ca, &authority.pem).unwrap();
        let site = SiteConfig { client_ca: Some(ca), client_entitlements: true, ..folders.site() };
        let files = issue(&folder, HOST);
        let poll = Duration::from_millis(50);
        let options = Options { poll, certificates: vec![files.clone()], ..Options::default() };
        Self { server: Server::start_unready(vec![site], options), files, authority, folders }
    }

    fn ask(&self, identity: &Identity, path: &str) -> StatusAndBody {
        ask_with(&self.server, &self.files.certificate, true, HOST, HOST, identity.clone(), path).unwrap()
    }

    fn log_in_and_ask(&self, identity: &Identity, path: &str, authorization: &str) -> StatusAndBody {
        ask_with_login(&self.server, &self.files.certificate, HOST, identity.clone(), path, authorization)
    }

    fn certificate(&self, extensions: Vec<CustomExtension>) -> Identity {
        self.authority.issue(|params| params.custom_extensions = extensions)
    }
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=127 => out.push(short as u8),
        long => out.extend([0x82, (long >> 8) as u8, long as u8]),
    }
    out.extend(content);
    out
}

/// An extension of Red Hat's with a text.
fn text(numbers: &[u64], text: &str) -> CustomExtension {
    extension(numbers, der(0x0c, text.as_bytes()))
}

fn extension(numbers: &[u64], value: Vec<u8>) -> CustomExtension {
    let id = [&[1, 3, 6, 1, 4, 1, 2312, 9], numbers].concat();
    CustomExtension::from_oid_content(&id, value)
}

/// A certificate of version 1: the order, and for each content its type and its path.
fn version_1(paths: &[&str]) -> Vec<CustomExtension> {
    let mut extensions = vec![text(&[4, 1], "Appliance for big banks")];
    for (at, path) in paths.iter().enumerate() {
        // Real ids of content do not fit into 32 bits.
        let content = 1_399_565_837_212 + at as u64;
        extensions.extend([
            text(&[2, content, 1], "file"),
            text(&[2, content, 1, 1], "a name"),
            text(&[2, content, 1, 6], path),
        ]);
    }
    extensions
}

/// A certificate of version 3.
fn version_3(paths: &[&str]) -> Vec<CustomExtension> {
    let payload = extension(&[7], der(0x04, &payload(paths)));
    vec![text(&[6], "3.4"), payload, text(&[8], "OrgLevel")]
}

fn payload(paths: &[&str]) -> Vec<u8> {
    // The root, then the nodes in between. The end of all paths comes last.
    const END: usize = usize::MAX;
    let mut nodes: Vec<BTreeMap<&str, BTreeSet<usize>>> = vec![BTreeMap::new()];
    for path in paths {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (last, before) = parts.split_last().unwrap();
        let mut at = 0;
        for part in before {
            let known = nodes[at].get(part).and_then(|next| next.iter().find(|next| **next != END)).copied();
            at = known.unwrap_or_else(|| {
                nodes.push(BTreeMap::new());
                let new = nodes.len() - 1;
                nodes[at].entry(part).or_default().insert(new);
                new
            });
        }
        nodes[at].entry(last).or_default().insert(END);
    }
    let end = nodes.len();
    nodes.push(BTreeMap::new());
    if nodes.len() == 2 {
        // A single node would have a code without bits.
        nodes.push(BTreeMap::new());
    }
    let words: BTreeSet<&str> = nodes.iter().flat_map(BTreeMap::keys).copied().collect();
    let words: Vec<&str> = words.into_iter().chain([""]).collect();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(words.join("\0").as_bytes()).unwrap();
    let mut out = zlib.finish().unwrap();
    match nodes.len() {
        few @ 0..=127 => out.push(few as u8),
        many => out.extend([130, (many >> 8) as u8, many as u8]),
    }
    let (word_codes, node_codes) = (codes(words.len()), codes(nodes.len() - 1));
    let mut bits = String::new();
    for node in &nodes {
        for (word, next) in node {
            for next in next {
                let next = if *next == END { end } else { *next };
                bits += &word_codes[words.iter().position(|known| known == word).unwrap()];
                bits += &node_codes[next - 1];
            }
        }
        bits += word_codes.last().unwrap();
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('0');
    }
    let bytes = bits.as_bytes().chunks(8).map(|byte| str::from_utf8(byte).unwrap());
    out.extend(bytes.map(|byte| u8::from_str_radix(byte, 2).unwrap()));
    out
}

/// The Huffman codes of values that weigh 1, 2, 3, …: the first two of the lightest are joined, again and again.
fn codes(values: usize) -> Vec<String> {
    let mut codes = vec![String::new(); values];
    let mut open: Vec<(usize, Vec<usize>)> = (0..values).map(|value| (value + 1, vec![value])).collect();
    while open.len() > 1 {
        open.sort_by_key(|(weight, _)| *weight);
        let (zero, one) = (open.remove(0), open.remove(0));
        for (bit, joined) in [("0", &zero.1), ("1", &one.1)] {
            joined.iter().for_each(|value| codes[*value].insert_str(0, bit));
        }
        open.push((zero.0 + one.0, [zero.1, one.1].concat()));
    }
    codes
}

const PROTECTED: [&str; 5] = ["appliance/db", "appliance/ui", "appliances", "content/el7/tools", "tools"];

/// "Entitlement certificates", 1 and 3
#[test]
fn a_certificate_shows_the_repositories_below_its_paths_in_every_api() {
    let site = Site::new(&PROTECTED, false);
    for extensions in [
        version_1(&["/appliance/", "content/$release/tools"]),
        version_3(&["/appliance", "/content/$release/tools"]),
    ] {
        let own = site.certificate(extensions);
        let table = [
            ("/v2/", 200),
            ("/v2/open/manifests/latest", 200),
            ("/v2/appliance/ui/manifests/latest", 200),
            ("/v2/library/appliance/ui/tags/list", 200),
            ("/v2/content/el7/tools/tags/list", 200),
            ("/v2/appliances/tags/list", 404),
            ("/v2/tools/manifests/latest", 404),
            ("/v2/nothing/manifests/latest", 404),
            ("/v1/repositories/appliance/ui/images", 200),
            ("/v1/repositories/tools/images", 404),
            ("/?image=appliance/ui", 200),
            ("/?image=tools", 404),
        ];
        for (path, status) in table {
            assert_eq!(site.ask(&own, path).0, status, "{path}");
        }
        assert_eq!(site.ask(&own, &format!("/v1/images/{}/layer", image_id('2'))).0, 200);
        let catalog = site.ask(&own, "/v2/_catalog").1;
        assert_eq!(catalog, r#"{"repositories":["appliance/db","appliance/ui","content/el7/tools","open"]}"#);
        for path in ["/", "/v1/search", "/crane/repositories/v2"] {
            let body = site.ask(&own, path).1;
            assert!(body.contains("appliance/ui") && !body.contains("appliances"), "{path}: {body}");
        }
    }
    // Without a certificate everything but `open` is hidden.
    assert_eq!(site.ask(&None, "/v2/appliance/ui/manifests/latest").0, 404);
    assert_eq!(site.ask(&None, "/v2/_catalog").1, r#"{"repositories":["open"]}"#);
}

/// "Entitlement certificates", 2
#[test]
fn a_certificate_without_readable_paths_grants_nothing_and_its_holder_is_told_why() {
    let site = Site::new(&PROTECTED, false);
    let whole = payload(&["/appliance"]);
    let cut = &whole[..whole.len() - 1];
    let no_order = version_1(&["/appliance"]).split_off(1);
    let table = [
        (vec![], "no entitlement certificate"),
        (no_order, "no entitlement certificate"),
        (vec![text(&[6], "2.0")], "version 2.0"),
        (vec![text(&[6], "3.2")], "no entitlement certificate"),
        (vec![text(&[6], "3.2"), extension(&[7], der(0x04, cut))], "it is damaged"),
        (vec![text(&[6], "3.2"), extension(&[7], der(0x04, b"nonsense"))], "it is damaged"),
        (vec![text(&[4, 1], "x"), extension(&[2, 5, 1, 6], der(0x0c, b"\xff"))], "it is damaged"),
    ];
    for (extensions, reason) in table {
        let own = site.certificate(extensions);
        assert_eq!(site.ask(&own, "/v2/open/manifests/latest").0, 200);
        for name in ["appliance/ui", "nothing"] {
            let (status, body) = site.ask(&own, &format!("/v2/{name}/manifests/latest"));
            assert!(status == 404 && body.contains(reason), "{reason}: {status} {body}");
        }
    }
    // Lists that can be read, but grant nothing.
    for extensions in [version_1(&[]), version_1(&["", "/", "$any/$any/$any/$any"])] {
        let own = site.certificate(extensions);
        assert_eq!(site.ask(&own, "/v2/_catalog").1, r#"{"repositories":["open"]}"#);
    }
    // The list counts only if one of the site's authorities has issued the certificate.
    let stranger = Authority::new("stranger");
    let foreign = stranger.issue(|params| params.custom_extensions = version_3(&["/appliance"]));
    let (status, body) = site.ask(&foreign, "/v2/appliance/ui/manifests/latest");
    assert!(status == 404 && body.contains("UnknownIssuer"), "{body}");
}

/// "Entitlement certificates", 4
#[test]
fn a_login_comes_before_the_certificate() {
    let site = Site::new(&PROTECTED, true);
    let own = site.certificate(version_3(&["/appliance"]));
    let key = "Basic YmlnYmFuazpzZWNyZXQ=";
    let tags = |name: &str| format!("/v2/{name}/tags/list");
    assert_eq!(site.ask(&own, "/v2/").0, 200, "no login is needed");
    assert_eq!(site.ask(&own, &tags("appliance/ui")).0, 200);
    assert_eq!(site.ask(&own, &tags("tools")).0, 401, "a login may show it");
    assert_eq!(site.ask(&own, &tags("nothing")).0, 401);
    assert_eq!(
        site.ask(&own, "/v2/_catalog").1,
        r#"{"repositories":["appliance/db","appliance/ui","open"]}"#
    );
    assert_eq!(site.log_in_and_ask(&own, &tags("tools"), key).0, 200);
    assert_eq!(site.log_in_and_ask(&own, &tags("appliance/ui"), key).0, 404);
    assert_eq!(site.log_in_and_ask(&own, &tags("appliance/ui"), "Basic Ymlnbjpub25l").0, 401);
    // A guest has not logged in.
    let guest: Value = serde_json::from_str(&site.ask(&own, "/token").1).unwrap();
    let guest = format!("Bearer {}", guest["token"].as_str().unwrap());
    assert_eq!(site.log_in_and_ask(&own, &tags("appliance/ui"), &guest).0, 200);
    // The guest's token grants nothing without the certificate.
    assert_eq!(site.log_in_and_ask(&None, &tags("appliance/ui"), &guest).0, 401);
}

/// "Entitlement certificates", 3: the path of a document's `url` counts, as in Crane.
#[test]
fn the_path_of_the_documents_url_counts() {
    let site = Site::new(&["tools"], false);
    let mut repository = Published::new("tools");
    let digest = repository.image(DOCKER_MANIFEST, "tools", "");
    repository.tag("latest", digest);
    let document = String::from_utf8(repository.document(true)).unwrap();
    let url = "https://cdn.example.com/content//dist/x/../containers/tools/?a=/other";
    let document = document.replace("https://bucket.example.com/tools/", url);
    site.folders.write(&tree::document(&repository.name), document.as_bytes());
    site.folders.revision("two");
    let pull = |path| site.ask(&site.certificate(version_3(&[path])), "/v2/tools/manifests/latest").0;
    assert!(crate::support::soon(|| pull("/content/dist/containers") == 200));
    assert_eq!(
        [pull("/tools"), pull("/other"), pull("/content/dist/x"), pull("/content")],
        [404, 404, 404, 200]
    );
}

/// "Entitlement certificates", 3: nothing is visible that no path grants, and everything that one grants.
#[test]
fn random_paths_show_exactly_what_they_grant() {
    let mut random = fastrand::Rng::with_seed(8);
    let mut name = |parts: &[&str], depth: usize| {
        let parts: Vec<&str> =
            (0..=random.usize(..depth)).map(|_| parts[random.usize(..parts.len())]).collect();
        parts.join("/")
    };
    let names: BTreeSet<String> = (0..40).map(|_| name(&["a", "b", "ab", "listing"], 3)).collect();
    let protected: Vec<&str> = names.iter().map(String::as_str).collect();
    let site = Site::new(&protected, false);
    for round in 0..12 {
        let paths: Vec<String> =
            (0..=round % 4).map(|_| name(&["a", "b", "ab", "$x", "listing"], 3)).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let grants = |path: &str, name: &str| {
            let (path, name): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), name.split('/').collect());
            path.len() <= name.len() && path.iter().zip(&name).all(|(a, b)| a == b || a.starts_with('$'))
        };
        let sees = |name: &str| name == "open" || paths.iter().any(|path| grants(path, name));
        let expected: BTreeSet<&str> =
            protected.iter().copied().chain(["open"]).filter(|name| sees(name)).collect();
        let extensions = if round % 2 == 0 { version_3(&paths) } else { version_1(&paths) };
        let own = site.certificate(extensions);
        let catalog: Value = serde_json::from_str(&site.ask(&own, "/v2/_catalog").1).unwrap();
        let listed = catalog["repositories"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        assert_eq!(listed.collect::<BTreeSet<_>>(), expected, "{paths:?}");
        for name in &protected {
            let status = site.ask(&own, &format!("/v2/{name}/tags/list")).0;
            assert_eq!(status == 200, expected.contains(name), "{name} with {paths:?}: {status}");
        }
    }
}
