//! Protected repositories, and which visitors see them. The headings are those of `docs/request-handling.md`, "Users".

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_server::{BaseUrl, GuessLimit, Options, SiteConfig};
use raas_types::crane::tree;
use raas_types::media_type::DOCKER_MANIFEST;
use serde_json::Value;

use crate::support::{Answer, Folders, Published, Server, soon};

const CHALLENGE: &str =
    "Bearer realm=\"https://registry.example.com/token\",service=\"registry.example.com\"";

struct Site {
    server: Server,
    folders: Folders,
    users: std::path::PathBuf,
    layer: String,
}

fn password(name: &str, password: &str) -> String {
    // The lowest cost of bcrypt.
    format!("{name}:{}\n", bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap())
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

impl Site {
    fn new() -> Self {
        // More than any of these tests needs.
        Self::with_limit(GuessLimit { attempts: 1000, ..GuessLimit::default() })
    }

    fn with_limit(limit: GuessLimit) -> Self {
        let folders = Folders::new("acme");
        let mut layer = String::new();
        for (name, protected) in [("open", false), ("secret", true)] {
            let mut repository = Published::new(name);
            let digest = repository.image(DOCKER_MANIFEST, name, "");
            layer = repository.blob(b"layer").to_string();
            repository.tag("latest", digest);
            folders.publish(&repository);
            folders.write(&tree::document(&repository.name), &repository.document(protected));
        }
        folders.revision("one");
        let users = folders.metadata().with_file_name("htpasswd");
        fs::write(&users, format!("# people\n{}plain:secret\n", password("ann", "päss:word"))).unwrap();
        let site = SiteConfig { users: Some(users.clone()), ..folders.site() };
        let options = Options {
            poll: Duration::from_millis(50),
            trusted_proxies: vec!["127.0.0.2/32".parse().unwrap(), "127.0.0.1/32".parse().unwrap()],
            guess_limit: limit,
            ..Options::default()
        };
        Self { server: Server::start_with(vec![site], options), folders, users, layer }
    }

    fn ask(&self, path: &str, authorization: &str) -> Answer {
        self.server.ask("GET", path, &[("authorization", authorization)])
    }

    fn token(&self, authorization: Option<&str>) -> String {
        let path = "/token?service=registry.example.com&scope=repository:secret:pull";
        let headers: Vec<(&str, &str)> = authorization.map(|a| ("authorization", a)).into_iter().collect();
        let answer = self.server.ask("GET", path, &headers);
        assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(json["token"], json["access_token"]);
        assert_eq!(json["expires_in"], 3600);
        format!("Bearer {}", json["token"].as_str().unwrap())
    }
}

#[test]
fn anonymous_clients_see_public_repositories_and_get_a_challenge() {
    let site = Site::new();
    let base = site.server.get("/v2/");
    assert_eq!((base.status, base.header("www-authenticate")), (401, Some(CHALLENGE)));
    assert!(base.text().contains("UNAUTHORIZED"));
    assert_eq!(base.header("docker-distribution-api-version"), Some("registry/2.0"));
    assert_eq!(site.server.get("/v2/open/manifests/latest").status, 200);
    assert_eq!(site.server.get(&format!("/v2/open/blobs/{}", site.layer)).status, 200);
    // The answer does not reveal whether the repository exists.
    for name in ["secret", "nothing"] {
        let scoped = format!("{CHALLENGE},scope=\"repository:{name}:pull\"");
        for path in ["manifests/latest", "tags/list", &format!("blobs/{}", site.layer)] {
            let answer = site.server.get(&format!("/v2/{name}/{path}"));
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(scoped.as_str())));
        }
        let head = site.server.ask("HEAD", &format!("/v2/{name}/manifests/latest"), &[]);
        assert_eq!((head.status, head.header("www-authenticate")), (401, Some(scoped.as_str())));
    }
    // Clients log in only after a challenge, and a list without the protected names would look like the whole one.
    let catalog = format!("{CHALLENGE},scope=\"registry:catalog:*\"");
    for path in ["/v2/_catalog", "/v2/_catalog?n=1"] {
        let answer = site.server.get(path);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(catalog.as_str())));
    }
    assert!(!site.server.get("/").text().contains("secret"));
    assert_eq!(site.server.get("/v2/Bad/tags/list").status, 400);
    assert_eq!(site.server.get("/v1/_ping").status, 200);
}

#[test]
fn guests_see_what_anonymous_clients_see() {
    let site = Site::new();
    let token = site.token(None);
    assert_eq!(site.ask("/v2/", &token).status, 200);
    assert_eq!(site.ask("/v2/open/manifests/latest", &token).status, 200);
    assert_eq!(site.ask("/v2/_catalog", &token).text(), r#"{"repositories":["open"]}"#);
    // docker then says that the image may require a login, of missing images too.
    for name in ["secret", "nothing"] {
        let scoped = format!("{CHALLENGE},scope=\"repository:{name}:pull\",error=\"insufficient_scope\"");
        let answer = site.ask(&format!("/v2/{name}/manifests/latest"), &token);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(scoped.as_str())));
    }
    // A guest is told of a missing tag of a public repository.
    assert_eq!(site.ask("/v2/open/manifests/nothing", &token).status, 404);
}

#[test]
fn a_users_token_gives_no_other_token() {
    let site = Site::new();
    let token = site.token(Some(&basic("ann", "päss:word")));
    let answer = site.ask("/token", &token);
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
    let guest = site.token(None);
    assert_eq!(site.ask("/token", &guest).status, 200, "a guest stays a guest");
}

#[test]
fn the_realm_is_where_clients_reach_the_registry() {
    let site = Site::new();
    let realm = |server: &Server, headers: &[(&str, &str)]| {
        let answer = server.ask("GET", "/v2/", headers);
        let challenge = answer.header("www-authenticate").unwrap().to_owned();
        challenge.split('"').nth(1).unwrap().to_owned()
    };
    let local = ("host", "localhost:8443");
    let table: [(&[(&str, &str)], &str); 4] = [
        (&[local], "http://localhost:8443/token"),
        (&[local, ("x-forwarded-proto", "https")], "https://localhost:8443/token"),
        (&[local, ("forwarded", "for=192.0.2.1;proto=https")], "https://localhost:8443/token"),
        (&[local, ("x-forwarded-proto", "http")], "http://localhost:8443/token"),
    ];
    for (headers, expected) in table {
        assert_eq!(realm(&site.server, headers), expected, "{headers:?}");
    }
    let config = SiteConfig { users: Some(site.users.clone()), ..site.folders.site() };
    let untrusting = Server::start(vec![config.clone()]);
    assert_eq!(realm(&untrusting, &[local, ("x-forwarded-proto", "https")]), "http://localhost:8443/token");
    let public_url = Some(BaseUrl::parse("https://registry.example.org:8443").unwrap());
    let public = Server::start_with(
        vec![config.clone()],
        Options { public_url: public_url.clone(), ..Options::default() },
    );
    assert_eq!(realm(&public, &[local]), "https://registry.example.org:8443/token");
    // Of several sites each has its own host.
    let other = Folders::new("other");
    let sites = vec![config, other.site()];
    let several = Server::start_with(sites, Options { public_url, ..Options::default() });
    assert_eq!(realm(&several, &[("host", "acme.localhost:5000")]), "https://acme.localhost:5000/token");
}

#[test]
fn protected_and_missing_repositories_look_alike() {
    let site = Site::new();
    let mut secret = Published::new("secret");
    let manifest = secret.image(DOCKER_MANIFEST, "secret", "").to_string();
    let guest = site.token(None);
    for headers in [&[][..], &[("authorization", guest.as_str())]] {
        crate::hidden::is_like_nothing(["secret", "secreu"], [&manifest, &site.layer], |method, path| {
            site.server.ask(method, path, headers)
        });
    }
}

#[test]
fn tokens_are_issued_for_get_only() {
    // containerd begins with a POST, and continues with a GET after this answer.
    let site = Site::new();
    for method in ["POST", "PUT", "DELETE"] {
        let answer = site.server.ask(method, "/token", &[]);
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
    }
}

#[test]
fn users_see_everything_by_token_or_by_password() {
    let site = Site::new();
    let password = basic("ann", "päss:word");
    let token = site.token(Some(&password));
    for authorization in [&password, &token] {
        assert_eq!(site.ask("/v2/", authorization).text(), "{}");
        assert_eq!(site.ask("/v2/secret/manifests/latest", authorization).status, 200);
        let blob = site.ask(&format!("/v2/secret/blobs/{}", site.layer), authorization);
        assert_eq!(blob.header("cache-control"), Some("private, max-age=31536000, immutable"));
        assert_eq!(site.ask("/v2/_catalog", authorization).text(), r#"{"repositories":["open","secret"]}"#);
        assert_eq!(site.ask("/v2/nothing/manifests/latest", authorization).status, 404);
    }
}

#[test]
fn every_server_with_the_same_file_accepts_a_token() {
    let site = Site::new();
    let token = site.token(Some(&basic("ann", "päss:word")));
    let other = SiteConfig { users: Some(site.users.clone()), ..site.folders.site() };
    let other = Server::start(vec![other]);
    let headers = [("authorization", token.as_str())];
    assert_eq!(other.ask("GET", "/v2/secret/manifests/latest", &headers).status, 200);
}

#[test]
fn wrong_credentials_are_rejected_at_every_path() {
    let site = Site::new();
    let wrong = [
        basic("ann", "other"),
        basic("bob", "päss:word"),
        basic("plain", "secret"),
        basic("# people", ""),
        "Basic ???".to_owned(),
        "Basic".to_owned(),
        "Digest x".to_owned(),
        "Bearer x.y".to_owned(),
    ];
    let challenge = format!("{CHALLENGE},error=\"invalid_token\"");
    for authorization in &wrong {
        for path in ["/v2/", "/v2/open/manifests/latest", "/v2/_catalog"] {
            let answer = site.ask(path, authorization);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(challenge.as_str())));
        }
        let answer = site.ask("/token", authorization);
        assert_eq!(answer.status, 401);
        assert!(answer.header("www-authenticate").unwrap().starts_with("Basic "));
        assert_eq!(site.ask("/-/healthz", authorization).status, 200);
    }
}

#[test]
fn guessing_throttles_only_the_guessers_address() {
    let site = Site::with_limit(GuessLimit { attempts: 3, forget_after: Duration::from_secs(60) });
    let right = basic("ann", "päss:word");
    let token = site.token(Some(&right));
    let from = |address: &str, path: &str, authorization: &str| {
        let headers = [("authorization", authorization), ("x-forwarded-for", address)];
        site.server.ask("GET", path, &headers)
    };
    let guesser = "203.0.113.9, 192.0.2.1, 127.0.0.2";
    for wrong in [basic("ann", "one"), basic("bob", "two"), "Bearer x.y".to_owned()] {
        assert_eq!(from(guesser, "/token", &wrong).status, 401);
    }
    // A throttled address gets the same answer for right and wrong passwords of any user.
    for (path, authorization) in [
        ("/token", &basic("ann", "three")),
        ("/token", &right),
        ("/v2/secret/manifests/latest", &right),
        ("/v2/", &"Bearer x.y".to_owned()),
        ("/?login", &right),
    ] {
        let answer = from("192.0.2.1", path, authorization);
        assert_eq!(answer.status, 429, "{path}");
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        assert_eq!(
            (answer.header("www-authenticate"), answer.header("cache-control")),
            (None, Some("no-store"))
        );
        // Clients parse the errors of both.
        if path != "/?login" {
            assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
            let error: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(error["errors"][0]["code"], "TOOMANYREQUESTS");
        }
    }
    // A valid token cannot be a guess, and neither can a request without credentials.
    assert_eq!(from("192.0.2.1", "/v2/secret/manifests/latest", &token).status, 200);
    assert_eq!(
        site.server.ask("GET", "/v2/open/manifests/latest", &[("x-forwarded-for", "192.0.2.1")]).status,
        200
    );
    assert_eq!(from("192.0.2.1", "/-/healthz", &right).status, 200);
    for other in ["192.0.2.2", "2001:db8::1"] {
        assert_eq!(from(other, "/token", &right).status, 200);
        assert_eq!(from(other, "/token", &basic("ann", "four")).status, 401);
    }
}

#[test]
fn expired_tokens_never_throttle() {
    let site = Site::with_limit(GuessLimit { attempts: 1, forget_after: Duration::from_secs(60) });
    for _ in 0..3 {
        assert_eq!(site.ask("/v2/", "Basic ???").status, 401);
        assert_eq!(site.ask("/v2/", &basic("ann", "päss:word")).status, 200);
    }
}

#[test]
fn a_changed_file_is_read_again() {
    let site = Site::new();
    let token = site.token(Some(&basic("ann", "päss:word")));
    fs::write(&site.users, password("ann", "another")).unwrap();
    assert!(soon(|| site.ask("/v2/", &token).status == 401), "a changed file revokes its tokens");
    assert_eq!(site.ask("/v2/", &basic("ann", "päss:word")).status, 401);
    assert_eq!(site.ask("/v2/", &basic("ann", "another")).status, 200);
    fs::remove_file(&site.users).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(site.ask("/v2/", &basic("ann", "another")).status, 200, "a removed file changes nothing");
}

#[test]
fn a_protected_repository_that_does_not_load_is_hidden_from_users_too() {
    let site = Site::new();
    let user = basic("ann", "päss:word");
    let name = "secret".parse().unwrap();
    fs::remove_dir_all(site.folders.metadata().join(tree::manifests(&name))).unwrap();
    let mut other = Published::new("secret");
    let digest = other.image(DOCKER_MANIFEST, "changed", "");
    other.tag("latest", digest);
    site.folders.write(&tree::document(&name), &other.document(true));
    site.folders.revision("two");
    assert!(soon(|| site.server.get("/-/revision").text() == "two"));
    assert_eq!(site.ask("/v2/secret/manifests/latest", &user).status, 404);
    assert_eq!(site.ask("/v2/open/manifests/latest", &user).status, 200);
}

#[test]
fn without_users_there_is_no_login() {
    let folders = Folders::new("acme");
    folders.revision("one");
    let server = Server::start(vec![folders.site()]);
    let answer = server.get("/token");
    assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/json")));
    let page = server.get("/?login");
    assert!(page.status == 200 && !page.text().contains("Log in"), "{}", page.text());
    let answer = server.ask("GET", "/v2/", &[("authorization", "Basic ???")]);
    assert_eq!((answer.status, answer.text()), (200, "{}"));
}
