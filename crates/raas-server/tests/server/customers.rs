//! Customers with keys. The headings are those of `docs/request-handling.md`, "Customers".

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_server::Options;
use raas_types::access::{Customer, CustomerKey, SecretHash};
use raas_types::crane::{V2Content, tree};
use raas_types::media_type::DOCKER_MANIFEST;
use raas_types::{RepositoryPattern, Utc};
use serde_json::Value;

use crate::hidden::is_like_nothing;
use crate::support::{
    Answer, Folders, Published, Server, image_id, pulp_document, soon, store_v1, v1_document,
};

const CHALLENGE: &str =
    "Bearer realm=\"https://registry.example.com/token\",service=\"registry.example.com\"";

pub(crate) fn basic(name: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{secret}")))
}

fn patterns(texts: &[&str]) -> Vec<RepositoryPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A customer whose only key has the customer's name as its secret.
pub(crate) fn customer(name: &str, granted: &[&str], edit: impl FnOnce(&mut CustomerKey)) -> Vec<u8> {
    let mut customer = Customer::new(patterns(granted));
    let mut key = CustomerKey::new(SecretHash::of(name), Utc::from_unix(0), None);
    edit(&mut key);
    customer.keys.insert("ci".parse().unwrap(), key);
    customer.to_bytes()
}

struct Site {
    server: Server,
    folders: Folders,
    manifest: String,
    layer: String,
}

/// Every repository, and whether it is protected.
const REPOSITORIES: [(&str, bool); 5] =
    [("appliance/db", true), ("appliance/ui", true), ("open", false), ("tools", true), ("zoo", false)];

impl Site {
    fn new() -> Self {
        let folders = Folders::new("acme");
        let (mut manifest, mut layer) = (String::new(), String::new());
        for (name, protected) in REPOSITORIES {
            let mut repository = Published::new(name);
            let digest = repository.image(DOCKER_MANIFEST, "the same", "");
            (manifest, layer) = (digest.to_string(), repository.blob(b"layer").to_string());
            repository.tag("latest", digest);
            folders.publish(&repository);
            folders.write(&tree::document(&repository.name), &repository.document(protected));
        }
        // Docker v1 images in a public and in a protected repository.
        for (name, digit, protected) in
            [("open", '1', false), ("appliance/ui", '2', true), ("tools", '3', true)]
        {
            let id = image_id(digit);
            let document = v1_document(name, &[("latest", id)], &[(id, None)], true);
            let text = String::from_utf8(document).unwrap();
            let text = text.replace("\"protected\": false", &format!("\"protected\": {protected}"));
            folders.write(&tree::v1_document(&name.parse().unwrap()), text.as_bytes());
            store_v1(&folders, name, id);
        }
        let past = Some(Utc::from_unix(5));
        let files = [
            ("bigbank", customer("bigbank", &["appliance/*"], |_| {})),
            ("smallshop", customer("smallshop", &[], |_| {})),
            ("late", customer("late", &["*"], |key| key.expires = past)),
            ("gone", customer("gone", &["*"], |key| key.revoked = past)),
        ];
        for (name, bytes) in files {
            folders.write(&format!("{}{name}", tree::CUSTOMERS), &bytes);
        }
        folders.revision("one");
        let options = Options { poll: Duration::from_millis(50), ..Options::default() };
        Self { server: Server::start_with(vec![folders.site()], options), folders, manifest, layer }
    }

    fn ask(&self, path: &str, authorization: &str) -> Answer {
        self.server.ask("GET", path, &[("authorization", authorization)])
    }

    /// A token of a customer for these scopes.
    fn token(&self, name: &str, scopes: &str) -> String {
        let answer = self.ask(&format!("/token?service=x{scopes}"), &basic(name, name));
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store")),
            "{}",
            answer.text()
        );
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        format!("Bearer {}", json["token"].as_str().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8], revision: &str) {
        self.folders.write(&format!("{}{name}", tree::CUSTOMERS), bytes);
        self.folders.revision(revision);
    }
}

/// "Customers", 1
#[test]
fn a_key_opens_the_granted_repositories_in_every_api() {
    let site = Site::new();
    let key = basic("bigbank", "bigbank");
    let table = [
        ("/v2/", 200),
        ("/v2/open/manifests/latest", 200),
        ("/v2/appliance/ui/manifests/latest", 200),
        ("/v2/appliance/ui/tags/list", 200),
        ("/v2/appliance/ui/referrers/MANIFEST", 200),
        ("/v2/appliance/ui/blobs/LAYER", 200),
        ("/v2/library/appliance/ui/tags/list", 200),
        ("/v2/tools/manifests/latest", 404),
        ("/v2/tools/blobs/LAYER", 404),
        ("/v2/nothing/manifests/latest", 404),
        ("/v1/repositories/appliance/ui/images", 200),
        ("/v1/repositories/tools/images", 404),
        ("/?image=appliance/ui", 200),
        ("/?image=tools", 404),
    ];
    for (path, status) in table {
        let path = path.replace("MANIFEST", &site.manifest).replace("LAYER", &site.layer);
        assert_eq!(site.ask(&path, &key).status, status, "{path}");
    }
    for (digit, status) in [('1', 200), ('2', 200), ('3', 404)] {
        let path = format!("/v1/images/{}/layer", image_id(digit));
        assert_eq!(site.ask(&path, &key).status, status, "{path}");
    }
    let catalog = site.ask("/v2/_catalog", &key);
    assert_eq!(catalog.text(), r#"{"repositories":["appliance/db","appliance/ui","open","zoo"]}"#);
    assert_eq!(site.ask("/v2/_catalog?n=1&last=open", &key).text(), r#"{"repositories":["zoo"]}"#);
    let search = site.ask("/v1/search", &key);
    assert!(search.text().contains(r#""num_results":4"#), "{}", search.text());
    for path in ["/", "/v1/search", "/crane/repositories", "/crane/repositories/v2"] {
        let answer = site.ask(path, &key);
        assert!(answer.text().contains("appliance/ui") && !answer.text().contains("tools"), "{path}");
    }
    let blob = site.ask(&format!("/v2/appliance/ui/blobs/{}", site.layer), &key);
    assert!(blob.header("cache-control").unwrap().starts_with("private"), "{blob:?}");
}

/// "Customers", 2
#[test]
fn what_is_not_granted_is_like_nothing() {
    let site = Site::new();
    let key = basic("bigbank", "bigbank");
    is_like_nothing(["tools", "toolt"], [&site.manifest, &site.layer], |method, path| {
        site.server.ask(method, path, &[("authorization", &key)])
    });
    let all = site.token("bigbank", "&scope=repository:tools:pull&scope=repository:toolt:pull");
    is_like_nothing(["tools", "toolt"], [&site.manifest, &site.layer], |method, path| {
        site.server.ask(method, path, &[("authorization", &all)])
    });
    // Without the customer's key the granted repositories are hidden like all others.
    is_like_nothing(["appliance/ui", "appliance/uj"], [&site.manifest, &site.layer], |method, path| {
        site.server.ask(method, path, &[("authorization", &basic("smallshop", "smallshop"))])
    });
}

/// Requests of each heading of the document, and the statuses for a stranger, a customer with a grant, a customer without
/// one, a customer whose key has expired, and a customer whose key was revoked.
const VISITS: [(&str, &str, [u16; 5]); 65] = [
    ("The path", "GET /v2/%zz", [400, 400, 400, 400, 400]),
    ("The path", "GET /nothing", [404, 404, 404, 401, 401]),
    ("The path", "GET /v1/nothing", [404, 404, 404, 401, 401]),
    ("The path", "GET /v2/nothing", [404, 404, 404, 401, 401]),
    ("The path", "GET /v2//manifests/latest", [400, 400, 400, 401, 401]),
    ("The method", "HEAD /v2/appliance/ui/manifests/latest", [401, 200, 404, 401, 401]),
    ("The method", "POST /v2/appliance/ui/manifests/latest", [405, 405, 405, 401, 401]),
    ("The method", "DELETE /v2/open/manifests/latest", [405, 405, 405, 401, 401]),
    ("The method", "POST /v2/appliance/ui/blobs/uploads/", [405, 405, 405, 401, 401]),
    ("The method", "GET /v2/appliance/ui/blobs/uploads/1", [404, 404, 404, 401, 401]),
    ("The method", "POST /v1/users", [201, 201, 201, 401, 401]),
    ("Operations", "GET /-/healthz", [200, 200, 200, 200, 200]),
    ("Operations", "GET /-/readyz", [200, 200, 200, 200, 200]),
    ("Operations", "GET /-/metadata", [200, 200, 200, 200, 200]),
    ("Operations", "GET /-/revision", [200, 200, 200, 401, 401]),
    ("Operations", "GET /", [200, 200, 200, 401, 401]),
    ("Operations", "GET /?image=open", [200, 200, 200, 401, 401]),
    ("Operations", "GET /?image=appliance/ui", [404, 200, 404, 401, 401]),
    ("Operations", "GET /?image=appliance/ui&tag=latest", [404, 200, 404, 401, 401]),
    ("Operations", "GET /feed.atom", [200, 200, 200, 401, 401]),
    ("Crane's own lists", "GET /crane/repositories", [200, 200, 200, 401, 401]),
    ("Crane's own lists", "GET /crane/repositories/v1", [200, 200, 200, 401, 401]),
    ("Crane's own lists", "GET /crane/repositories/v2", [200, 200, 200, 401, 401]),
    ("Users", "GET /token", [200, 200, 200, 401, 401]),
    ("Users", "GET /token?scope=repository:appliance/ui:pull", [200, 200, 200, 401, 401]),
    ("Docker v1", "GET /v1/_ping", [200, 200, 200, 401, 401]),
    ("Docker v1", "GET /v1/users", [200, 200, 200, 401, 401]),
    ("Docker v1", "GET /v1/repositories/open/images", [200, 200, 200, 401, 401]),
    ("Docker v1", "GET /v1/repositories/appliance/ui/images", [404, 200, 404, 401, 401]),
    ("Docker v1", "GET /v1/repositories/appliance/ui/tags", [404, 200, 404, 401, 401]),
    ("Docker v1", "GET /v1/repositories/appliance/ui/tags/latest", [404, 200, 404, 401, 401]),
    ("Docker v1", "GET /v1/repositories/library/appliance/ui/tags", [404, 200, 404, 401, 401]),
    ("Docker v1", "GET /v1/search?q=ui", [200, 200, 200, 401, 401]),
    ("Docker v1", "GET /v1/images/OPEN/layer", [200, 200, 200, 401, 401]),
    ("Docker v1", "GET /v1/images/HIDDEN/layer", [404, 200, 404, 401, 401]),
    ("Docker v1", "GET /v1/images/HIDDEN/json", [404, 200, 404, 401, 401]),
    ("Docker v1", "HEAD /v1/images/HIDDEN/ancestry", [404, 200, 404, 401, 401]),
    ("v2: the base", "GET /v2/", [401, 200, 200, 401, 401]),
    ("v2: the base", "GET /v2/open/tags/list", [200, 200, 200, 401, 401]),
    ("v2: the base", "GET /v2/library/appliance/ui/tags/list", [401, 200, 404, 401, 401]),
    ("v2: the base", "GET /v2/Open/tags/list", [400, 400, 400, 401, 401]),
    ("v2: the base", "GET /v2/missing/tags/list", [401, 404, 404, 401, 401]),
    ("v2: manifests", "GET /v2/open/manifests/latest", [200, 200, 200, 401, 401]),
    ("v2: manifests", "GET /v2/appliance/ui/manifests/latest", [401, 200, 404, 401, 401]),
    ("v2: manifests", "GET /v2/appliance/ui/manifests/MANIFEST", [401, 200, 404, 401, 401]),
    ("v2: manifests", "GET /v2/appliance/ui/manifests/none", [401, 404, 404, 401, 401]),
    ("v2: manifests", "GET /v2/appliance/ui/manifests/sha256:abc", [401, 400, 404, 401, 401]),
    ("v2: manifests", "GET /v2/missing/manifests/latest", [401, 404, 404, 401, 401]),
    ("v2: documents of Pulp", "GET /v2/appliance/pulp/manifests/1.0", [401, 307, 404, 401, 401]),
    ("v2: documents of Pulp", "GET /v2/appliance/pulp/blobs/LAYER", [401, 307, 404, 401, 401]),
    ("v2: documents of Pulp", "GET /v2/appliance/pulp/referrers/MANIFEST", [401, 200, 200, 401, 401]),
    ("v2: atomic signatures", "GET /extensions/v2/open/signatures/MANIFEST", [200, 200, 200, 401, 401]),
    (
        "v2: atomic signatures",
        "GET /extensions/v2/appliance/ui/signatures/MANIFEST",
        [401, 200, 404, 401, 401],
    ),
    ("v2: blobs", "GET /v2/open/blobs/LAYER", [200, 200, 200, 401, 401]),
    ("v2: blobs", "GET /v2/appliance/ui/blobs/LAYER", [401, 200, 404, 401, 401]),
    ("v2: blobs", "HEAD /v2/appliance/ui/blobs/LAYER", [401, 200, 404, 401, 401]),
    ("v2: blobs", "GET /v2/appliance/ui/blobs/NONE", [401, 404, 404, 401, 401]),
    ("v2: blobs", "GET /v2/appliance/ui/blobs/x", [401, 400, 404, 401, 401]),
    ("v2: lists", "GET /v2/appliance/ui/tags/list", [401, 200, 404, 401, 401]),
    ("v2: lists", "GET /v2/appliance/ui/tags/list?n=x", [401, 400, 404, 401, 401]),
    ("v2: lists", "GET /v2/_catalog", [401, 200, 200, 401, 401]),
    ("v2: lists", "GET /v2/_catalog?n=x", [401, 400, 400, 401, 401]),
    ("v2: lists", "GET /v2/appliance/ui/referrers/MANIFEST", [401, 200, 200, 401, 401]),
    ("v2: lists", "GET /v2/appliance/ui/referrers/x", [401, 400, 400, 401, 401]),
    ("v2: lists", "GET /v2/missing/referrers/MANIFEST", [401, 200, 200, 401, 401]),
];

/// "Customers", 3: each row asked as an anonymous client, a customer with a grant, without, with an expired and a
/// revoked key.
#[test]
fn every_visitor_has_an_answer_to_every_request() {
    let site = Site::new();
    let pulp = String::from_utf8(pulp_document("appliance/pulp", V2Content::default())).unwrap();
    let pulp = pulp.replace("\"protected\": false", "\"protected\": true");
    site.folders.write(&tree::document(&"appliance/pulp".parse().unwrap()), pulp.as_bytes());
    site.folders.revision("two");
    let path_of_pulp = "/v2/appliance/pulp/manifests/1.0";
    assert!(soon(|| site.ask(path_of_pulp, &basic("bigbank", "bigbank")).status == 307));
    // Tokens that were asked for everything in the table.
    let names =
        ["appliance/ui", "library/appliance/ui", "appliance/pulp", "open", "missing", "nothing", "Open"];
    let scopes: Vec<String> = names.iter().map(|name| format!("&scope=repository:{name}:pull")).collect();
    let scopes = format!("{}&scope=registry:catalog:*", scopes.concat());
    let tokens = ["bigbank", "smallshop"].map(|name| site.token(name, &scopes));
    let [granted, without] = ["bigbank", "smallshop"].map(|name| basic(name, name));
    let [late, gone] = ["late", "gone"].map(|name| basic(name, name));
    let words = [
        ("MANIFEST", site.manifest.clone()),
        ("LAYER", site.layer.clone()),
        ("NONE", raas_types::Digest::of(b"none").to_string()),
        ("OPEN", image_id('1').to_string()),
        ("HIDDEN", image_id('2').to_string()),
    ];
    for (heading, request, statuses) in VISITS {
        let (method, path) = request.split_once(' ').unwrap();
        let path = words.iter().fold(path.to_owned(), |path, (word, value)| path.replace(word, value));
        let status = |authorization: Option<&str>| {
            let headers: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
            site.server.ask(method, &path, &headers).status
        };
        let found = [None, Some(&granted), Some(&without), Some(&late), Some(&gone)]
            .map(|by| status(by.map(String::as_str)));
        assert_eq!(found, statuses, "{heading}: {request}");
        // A token that was asked for the repository is as good as the key. Only it gives no other token.
        let by_token = tokens.each_ref().map(|token| status(Some(token)));
        let expected = if path.starts_with("/token") { [401, 401] } else { [statuses[1], statuses[2]] };
        assert_eq!(by_token, expected, "{heading}: {request} by token");
    }
    let referrers = format!("/v2/appliance/ui/referrers/{}", site.manifest);
    let empty = site.ask(&referrers, &without);
    assert!(empty.text().contains(r#""manifests":[]"#), "{}", empty.text());
    // The document has no other headings with requests to a site.
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/request-handling.md"));
    let document = document.unwrap();
    let headings = document.lines().filter_map(|line| line.strip_prefix("## "));
    let elsewhere = [
        "Before the request",
        "The site",
        "Hidden repositories",
        "Customers",
        "Tokens of another issuer",
        "Client certificates",
        "Entitlement certificates",
        "Buckets",
        "In the place of a Crane",
        "Metadata in a folder",
        "Metadata in a bucket",
        "Metrics",
        "The access log",
        "Traces",
    ];
    for heading in headings {
        let is_asked = VISITS.iter().any(|(asked, ..)| heading.starts_with(asked));
        assert_ne!(is_asked, elsewhere.iter().any(|other| heading.starts_with(other)), "{heading}");
    }
}

/// "Customers", 4
#[test]
fn a_refused_key_tells_its_holder_why() {
    let site = Site::new();
    for (name, why) in [("late", "has expired at 1970-01-01T00:00:05Z"), ("gone", "was revoked")] {
        for path in ["/v2/", "/token", "/v2/appliance/ui/manifests/latest"] {
            let answer = site.ask(path, &basic(name, name));
            assert_eq!(answer.status, 401);
            assert!(
                answer.text().contains(why) && answer.text().contains("UNAUTHORIZED"),
                "{}",
                answer.text()
            );
        }
        // Only the holder of the secret is told.
        let guess = site.ask("/v2/", &basic(name, "guess"));
        assert!(guess.status == 401 && !guess.text().contains(why), "{}", guess.text());
    }
    let wrong = site.ask("/v2/appliance/ui/tags/list", &basic("bigbank", "smallshop"));
    assert_eq!(wrong.status, 401, "a key belongs to one customer");
}

/// "Operations, the page and the feed", 9
#[test]
fn a_browser_logs_in_at_the_page() {
    let site = Site::new();
    let ask = |path: &str, authorization: Option<&str>| {
        let mut headers = vec![("accept", "text/html")];
        headers.extend(authorization.map(|value| ("authorization", value)));
        site.server.ask("GET", path, &headers)
    };
    let basic_challenge = Some("Basic realm=\"registry of acme\", charset=\"UTF-8\"");
    let public = ask("/", None);
    let link = "<a href=\"https://registry.example.com/?login\">Log in</a> to see the images";
    assert!(public.text().contains(link) && !public.text().contains("appliance/ui"), "{}", public.text());
    assert_eq!(
        (public.header("vary"), public.header("cache-control")),
        (Some("Authorization"), Some("no-cache"))
    );
    let local = site.server.ask("GET", "/", &[("host", "acme.localhost:5000")]);
    assert!(local.text().contains("<a href=\"/?login\">"), "{}", local.text());
    let hidden = ask("/?image=appliance/ui", None);
    let link = "href=\"https://registry.example.com/?login&amp;image=appliance/ui\"";
    assert!(hidden.status == 404 && hidden.text().contains(link), "{}", hidden.text());
    let asked = ask("/?login", None);
    assert_eq!((asked.status, asked.header("www-authenticate")), (401, basic_challenge));
    assert_eq!(asked.header("cache-control"), Some("no-store"));
    let key = basic("bigbank", "bigbank");
    for path in ["/", "/?login", "/?login&image=appliance/ui"] {
        let own = ask(path, Some(&key));
        assert!(own.status == 200 && own.text().contains("appliance/ui"), "{path}: {}", own.text());
        assert!(own.text().contains("Logged in as bigbank") && !own.text().contains("?login"), "{path}");
        let caches = (own.header("cache-control"), own.header("vary"));
        assert_eq!(caches, (Some("private, no-cache"), Some("Authorization")), "{path}");
    }
    // A wrong password, and one that has ended: the browser asks again, and a person reads why.
    for (key, why) in [(basic("bigbank", "guess"), "is wrong"), (basic("gone", "gone"), "was revoked")] {
        let refused = ask("/", Some(&key));
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, basic_challenge));
        assert!(refused.text().contains(why), "{}", refused.text());
        let api = ask("/v2/", Some(&key));
        assert_eq!(api.header("www-authenticate").unwrap(), format!("{CHALLENGE},error=\"invalid_token\""));
    }
}

/// "Customers", 5
#[test]
fn a_token_is_for_the_repositories_that_it_was_asked_for() {
    let site = Site::new();
    let token = site.token("bigbank", "&scope=repository:appliance/ui:pull&scope=repository:tools:pull");
    assert_eq!(site.ask("/v2/", &token).status, 200);
    assert_eq!(site.ask("/v2/appliance/ui/manifests/latest", &token).status, 200);
    assert_eq!(site.ask("/v2/open/manifests/latest", &token).status, 200);
    assert_eq!(
        site.ask("/v2/tools/manifests/latest", &token).status,
        404,
        "it was asked for, and is not granted"
    );
    for name in ["appliance/db", "appliance/dc"] {
        let scoped = format!("{CHALLENGE},scope=\"repository:{name}:pull\",error=\"insufficient_scope\"");
        let answer = site.ask(&format!("/v2/{name}/manifests/latest"), &token);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(scoped.as_str())));
    }
    assert_eq!(site.ask("/v2/_catalog", &token).status, 401);
    let catalog = site.token("bigbank", "&scope=registry:catalog:*");
    let list = site.ask("/v2/_catalog", &catalog);
    assert_eq!(list.text(), r#"{"repositories":["appliance/db","appliance/ui","open","zoo"]}"#);
    assert_eq!(site.ask("/token", &token).status, 401, "a token gives no other token");
    // A guest sees what everybody sees.
    let guest: Value = serde_json::from_slice(&site.server.get("/token").body).unwrap();
    let guest = format!("Bearer {}", guest["token"].as_str().unwrap());
    assert_eq!(site.ask("/v2/open/manifests/latest", &guest).status, 200);
    assert_eq!(site.ask("/v2/appliance/ui/manifests/latest", &guest).status, 401);
}

/// "Customers", 6
#[test]
fn a_change_reaches_keys_and_tokens_within_a_second() {
    let site = Site::new();
    let (key, path) = (basic("bigbank", "bigbank"), "/v2/appliance/ui/manifests/latest");
    let token = site.token("bigbank", "&scope=repository:appliance/ui:pull&scope=repository:tools:pull");
    let status = |path: &str| (site.ask(path, &key).status, site.ask(path, &token).status);
    assert_eq!(status(path), (200, 200));
    site.write("bigbank", &customer("bigbank", &["tools"], |_| {}), "two");
    assert!(soon(|| status(path) == (404, 404)), "denied: {:?}", status(path));
    assert_eq!(status("/v2/tools/manifests/latest"), (200, 200), "granted");
    let revoked = customer("bigbank", &["*"], |key| key.revoked = Some(Utc::from_unix(9)));
    site.write("bigbank", &revoked, "three");
    assert!(soon(|| status(path) == (401, 401)), "revoked: {:?}", status(path));
    site.write("bigbank", &customer("bigbank", &["*"], |_| {}), "four");
    assert!(soon(|| status(path) == (200, 200)));
    // A file that this server cannot read gives its customer nothing, whatever it gave before.
    site.write("bigbank", br#"{"format": 99}"#, "five");
    assert!(soon(|| status(path) == (401, 401)), "unreadable: {:?}", status(path));
    site.write("bigbank", &customer("bigbank", &["*"], |_| {}), "six");
    assert!(soon(|| status(path) == (200, 200)));
    std::fs::remove_file(site.folders.metadata().join(format!("{}bigbank", tree::CUSTOMERS))).unwrap();
    site.folders.revision("seven");
    assert!(soon(|| status(path) == (401, 401)), "removed: {:?}", status(path));
}

/// "Customers", 2: nothing is visible that no pattern grants, and everything that one grants.
#[test]
fn random_patterns_show_exactly_what_they_grant() {
    const CUSTOMERS: usize = 24;
    let mut random = fastrand::Rng::with_seed(16);
    let parts = ["a", "b", "ab", "library"];
    let mut name = |depth: usize| {
        let parts: Vec<&str> =
            (0..=random.usize(..depth)).map(|_| parts[random.usize(..parts.len())]).collect();
        parts.join("/")
    };
    let names: BTreeSet<String> = (0..60).map(|_| name(3)).collect();
    let grants: Vec<Vec<String>> = (0..CUSTOMERS)
        .map(|n| match n {
            0 => vec!["*".to_owned()],
            1 => vec![],
            n => (0..=n % 3)
                .map(|k| if (n + k) % 2 == 0 { name(3) } else { format!("{}/*", name(2)) })
                .collect(),
        })
        .collect();
    let folders = Folders::new("acme");
    let (mut protected, mut manifests) = (BTreeSet::new(), BTreeMap::new());
    for (at, name) in names.iter().enumerate() {
        let mut repository = Published::new(name);
        let digest = repository.image(DOCKER_MANIFEST, name, "");
        manifests.insert(name.clone(), repository.bytes(&digest).to_owned());
        repository.tag("latest", digest);
        folders.publish(&repository);
        if at % 4 != 0 {
            protected.insert(name.clone());
            folders.write(&tree::document(&repository.name), &repository.document(true));
        }
    }
    for (n, granted) in grants.iter().enumerate() {
        let granted: Vec<&str> = granted.iter().map(String::as_str).collect();
        folders.write(&format!("{}c{n}", tree::CUSTOMERS), &customer(&format!("c{n}"), &granted, |_| {}));
    }
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    for (n, granted) in grants.iter().enumerate() {
        let key = basic(&format!("c{n}"), &format!("c{n}"));
        let ask = |path: &str| server.ask("GET", path, &[("authorization", &key)]);
        let granted: Vec<&str> = granted.iter().map(String::as_str).collect();
        let granted = patterns(&granted);
        let sees = |name: &String| {
            !protected.contains(name) || granted.iter().any(|pattern| pattern.matches(&name.parse().unwrap()))
        };
        let expected: BTreeSet<String> = names.iter().filter(|name| sees(name)).cloned().collect();
        let catalog: Value = serde_json::from_slice(&ask("/v2/_catalog").body).unwrap();
        let listed =
            catalog["repositories"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        assert_eq!(listed.collect::<BTreeSet<_>>(), expected, "{granted:?}");
        let search: Value = serde_json::from_slice(&ask("/v1/search").body).unwrap();
        let found =
            search["results"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned());
        assert_eq!(found.collect::<BTreeSet<_>>(), expected, "{granted:?}");
        let headers = [("authorization", key.as_str()), ("accept", "application/json")];
        let crane = server.ask("GET", "/crane/repositories/v2", &headers);
        let crane: BTreeMap<String, Value> = serde_json::from_slice(&crane.body).unwrap();
        let listed = expected.iter().map(|name| {
            let is_protected = protected.contains(name);
            (name.clone(), serde_json::json!({"protected": is_protected}))
        });
        assert_eq!(crane, listed.collect(), "{granted:?}");
        for name in &names {
            // `library/NAME` leads to `NAME` if the customer sees no `library/NAME`.
            let served = match name.strip_prefix("library/") {
                _ if expected.contains(name) => Some(name.clone()),
                Some(rest) if expected.contains(rest) => Some(rest.to_owned()),
                _ => None,
            };
            let answer = ask(&format!("/token?scope=repository:{name}:pull"));
            let token: Value = serde_json::from_slice(&answer.body).unwrap();
            let token = format!("Bearer {}", token["token"].as_str().unwrap());
            for by in [&key, &token] {
                let ask = |path: String| server.ask("GET", &path, &[("authorization", by)]);
                let answer = ask(format!("/v2/{name}/tags/list"));
                let manifest = ask(format!("/v2/{name}/manifests/latest"));
                match &served {
                    Some(served) => {
                        let json: Value = serde_json::from_slice(&answer.body).unwrap();
                        assert_eq!(json["name"], *served, "{name} with {granted:?}");
                        assert_eq!(manifest.body, manifests[served], "{name} with {granted:?}");
                    }
                    None => {
                        let found = (answer.status, manifest.status);
                        assert_eq!(found, (404, 404), "{name} with {granted:?}");
                    }
                }
            }
        }
    }
}
