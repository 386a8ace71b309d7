//! The doctor at registries that misbehave, each in one way.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use raas_testkit::http::{Asked as Request, Reply, Server};
use raas_types::media_type::{DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use raas_types::{Digest, Utc};

use super::{Asked, Diagnosis, examine};
use crate::status::Outcome;
use raas_base::Secret;

type Fault = fn(&Request, Reply) -> Reply;

const LAYER: [u8; 5000] = [7; 5000];
const CONFIG: &[u8] = b"{\"os\":\"linux\"}";

/// An image with one layer for each of two platforms, and its index.
struct Image {
    manifests: Vec<Vec<u8>>,
    index: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        let manifest = |kind: &str| {
            format!(
                r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"{OCI_CONFIG}","digest":"{}","size":{}}},
                "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
                Digest::of(CONFIG),
                CONFIG.len(),
                Digest::of(&LAYER),
                LAYER.len()
            )
            .into_bytes()
        };
        let manifests = vec![manifest(OCI_MANIFEST), manifest(DOCKER_MANIFEST)];
        let children = manifests.iter().zip([(OCI_MANIFEST, "amd64"), (DOCKER_MANIFEST, "arm64")]);
        let children: Vec<String> = children
            .map(|(bytes, (kind, architecture))| {
                format!(
                    r#"{{"mediaType":"{kind}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"{architecture}"}}}}"#,
                    Digest::of(bytes),
                    bytes.len()
                )
            })
            .collect();
        let children = children.join(",");
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{children}]}}"#);
        Self { manifests, index: index.into_bytes() }
    }

    /// What a registry answers that does everything right, and sends clients to this bucket.
    fn answer(&self, request: &Request, bucket: &str) -> Reply {
        let dated = |reply: Reply| reply.with("Date", httpdate::fmt_http_date(SystemTime::now()));
        let path = request.target.split('?').next().unwrap();
        let manifest = |bytes: &Vec<u8>, kind: &str| {
            let reply = Reply::new(200, bytes.clone()).with("Content-Type", kind);
            dated(reply.with("Docker-Content-Digest", Digest::of(bytes)))
        };
        if path == "/v2/" {
            return dated(Reply::new(200, "{}"));
        }
        if path == "/token" {
            return Reply::new(200, r#"{"token":"t"}"#);
        }
        if let Some(reference) = path.strip_prefix("/v2/app/manifests/") {
            let lists = request.headers.get("accept").is_some_and(|accept| accept.contains(OCI_INDEX));
            let kinds = [OCI_MANIFEST, DOCKER_MANIFEST];
            return match reference {
                "1.0" if lists => manifest(&self.index, OCI_INDEX),
                "1.0" => manifest(&self.manifests[0], OCI_MANIFEST),
                digest if digest == Digest::of(&self.index).to_string() => manifest(&self.index, OCI_INDEX),
                digest => self
                    .manifests
                    .iter()
                    .zip(kinds)
                    .find(|(bytes, _)| Digest::of(bytes).to_string() == digest)
                    .map_or(Reply::new(404, "{}"), |(bytes, kind)| manifest(bytes, kind)),
            };
        }
        let Some(digest) = path.strip_prefix("/v2/app/blobs/") else { return Reply::new(404, "") };
        let length = if digest == Digest::of(CONFIG).to_string() { CONFIG.len() } else { LAYER.len() };
        if request.method == "HEAD" {
            return Reply::new(200, "").with("Content-Length", length);
        }
        dated(
            Reply::new(307, "")
                .with("Location", signed(bucket, digest, SystemTime::now(), 600))
                .with("Cache-Control", "no-store"),
        )
    }
}

fn signed(bucket: &str, digest: &str, at: SystemTime, seconds: u64) -> String {
    format!(
        "{bucket}/{digest}?X-Amz-Date={}&X-Amz-Expires={seconds}&X-Amz-Signature=hunter2",
        Utc::of(at).basic()
    )
}

/// What a bucket answers that does everything right.
fn stored(request: &Request) -> Reply {
    let config = request.target.contains(&Digest::of(CONFIG).hex());
    let bytes = if config { CONFIG } else { &LAYER };
    let reply = Reply::new(200, bytes).with("Date", httpdate::fmt_http_date(SystemTime::now()));
    let Some(range) = request.headers.get("range") else { return reply };
    let last: usize = range.strip_prefix("bytes=0-").unwrap().parse().unwrap();
    let part = &bytes[..bytes.len().min(last + 1)];
    Reply { status: 206, body: part.to_vec(), ..reply }
        .with("Content-Range", format!("bytes 0-{}/{}", part.len() - 1, bytes.len()))
}

fn good(_: &Request, reply: Reply) -> Reply {
    reply
}

/// Looks at a registry and a bucket that do one thing wrong.
fn diagnose(registry: Fault, bucket: Fault, change: impl Fn(&mut Asked)) -> Diagnosis {
    let bucket = Server::scripted(move |request| bucket(request, stored(request)));
    let (url, image) = (bucket.url(""), Arc::new(Image::new()));
    let server = Server::scripted(move |request| registry(request, image.answer(request, &url)));
    let mut asked = Asked {
        host: server.address().to_string(),
        name: "app".parse().unwrap(),
        reference: "1.0".parse().unwrap(),
        plain_http: false,
        credentials: None,
        all_platforms: true,
        deep: true,
    };
    change(&mut asked);
    examine(&asked).unwrap()
}

#[test]
fn a_registry_that_does_everything_right_is_well() {
    let diagnosis = diagnose(good, good, |_| {});
    assert!(diagnosis.checks.iter().all(|check| check.outcome == Outcome::Ok), "{:#?}", diagnosis.checks);
    assert!(diagnosis.healthy);
    let names: Vec<&str> = diagnosis.checks.iter().map(|check| check.name).collect();
    assert_eq!(
        names,
        [
            "name",
            "connection",
            "clock",
            "ping",
            "manifest",
            "accept",
            "platform",
            "platform",
            "config",
            "layer"
        ]
    );
    // For this machine and amd64 alone, and not every byte.
    let diagnosis = diagnose(good, good, |asked| (asked.all_platforms, asked.deep) = (false, false));
    assert!(diagnosis.healthy);
    let text = serde_json::to_string(&diagnosis).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
}

fn is_blob(request: &Request, method: &str) -> bool {
    request.target.contains("/blobs/") && request.method == method
}

fn is_tag(request: &Request) -> bool {
    request.target.ends_with("/manifests/1.0")
}

fn by_tag(request: &Request, reply: Reply, change: impl Fn(Reply) -> Reply) -> Reply {
    if is_tag(request) { change(reply) } else { reply }
}

/// With another time in the signed URL.
fn signed_at(request: &Request, reply: Reply, ago: u64, seconds: u64) -> Reply {
    if !is_blob(request, "GET") {
        return reply;
    }
    let location = reply.headers.iter().find(|(name, _)| name == "Location").unwrap().1.clone();
    let (bucket, digest) = location.split_once('?').unwrap().0.rsplit_once('/').unwrap();
    reply.with("Location", signed(bucket, digest, SystemTime::now() - Duration::from_secs(ago), seconds))
}

/// What is done wrong by registry and bucket; the check that tells it, how, and what in it and in its fix.
type Case = (Fault, Fault, &'static str, Outcome, &'static str, &'static str);

#[test]
fn each_fault_is_told_with_its_fix() {
    use Outcome::{Failed, Warning};
    let cases: [Case; 29] = [
        (
            |r, a| if r.target == "/v2/" { Reply::new(404, "") } else { a },
            good,
            "ping",
            Failed,
            "answers 404",
            "is no registry",
        ),
        (
            |r, a| if r.target == "/v2/" { Reply::new(401, "") } else { a },
            good,
            "ping",
            Failed,
            "does not say how to log in",
            "WWW-Authenticate",
        ),
        (
            |r, a| {
                if r.target == "/v2/" {
                    Reply::new(302, "").with("Location", "https://x/login?token=hunter2")
                } else {
                    a
                }
            },
            good,
            "ping",
            Failed,
            "leads to https://x/login",
            "own name",
        ),
        (
            |r, a| if r.target == "/v2/" { a.with("Date", "Tue, 24 Nov 2020 08:00:00 GMT") } else { a },
            good,
            "clock",
            Warning,
            "2020-11-24",
            "NTP",
        ),
        (
            |r, a| {
                if r.target == "/v2/" { Reply::new(401, "").with("WWW-Authenticate", "Negotiate") } else { a }
            },
            good,
            "login",
            Failed,
            "none that clients know",
            "Bearer",
        ),
        (
            |r, a| by_tag(r, a, |_| Reply::new(404, "{}")),
            good,
            "manifest",
            Failed,
            "answers 404",
            "check the name app",
        ),
        (|r, a| by_tag(r, a, |_| Reply::new(429, "{}")), good, "manifest", Failed, "answers 429", "wait"),
        (
            |r, a| if is_tag(r) && r.method == "HEAD" { Reply::new(405, "") } else { a },
            good,
            "manifest",
            Failed,
            "HEAD answers 405, GET 200",
            "containerd",
        ),
        (
            |r, a| {
                if is_tag(r) && r.method == "HEAD" {
                    a.with("Docker-Content-Digest", Digest::of(b"other"))
                } else {
                    a
                }
            },
            good,
            "manifest",
            Failed,
            "HEAD says sha256:",
            "same publication",
        ),
        (
            |r, a| if is_tag(r) && r.method == "HEAD" { a.with("Content-Length", 3) } else { a },
            good,
            "manifest",
            Failed,
            "HEAD says 3 bytes",
            "answer HEAD as GET",
        ),
        (
            |r, a| by_tag(r, a, |a| a.with("Docker-Content-Digest", Digest::of(b"other"))),
            good,
            "manifest",
            Failed,
            "its bytes have",
            "proxy changes the bytes",
        ),
        (
            |r, a| {
                by_tag(r, a, |mut a| {
                    a.headers.retain(|(name, _)| name != "Docker-Content-Digest");
                    a
                })
            },
            good,
            "manifest",
            Warning,
            "no Docker-Content-Digest",
            "send it",
        ),
        (
            |r, a| by_tag(r, a, |a| a.with("Content-Type", "application/json")),
            good,
            "manifest",
            Failed,
            "`application/json`, which no client",
            "media type",
        ),
        (
            |r, a| by_tag(r, a, |a| a.with("Content-Type", OCI_MANIFEST)),
            good,
            "manifest",
            Failed,
            "ambiguous",
            "publish the image again",
        ),
        (
            |r, a| if is_tag(r) && !r.headers["accept"].contains("index") { Reply::new(404, "") } else { a },
            good,
            "accept",
            Warning,
            "answered 404",
            "nothing need be done",
        ),
        (
            |r, a| {
                if r.target.contains("manifests/sha256") && a.body.len() < 700 {
                    Reply { body: b"{}".to_vec(), ..a }
                } else {
                    a
                }
            },
            good,
            "manifest",
            Failed,
            "cannot be used",
            "publish the image again",
        ),
        (
            |r, a| if is_blob(r, "HEAD") { Reply::new(403, "") } else { a },
            good,
            "layer",
            Failed,
            "HEAD answers 403",
            "signed for GET",
        ),
        (
            |r, a| if is_blob(r, "HEAD") { a.with("Content-Length", 1) } else { a },
            good,
            "layer",
            Failed,
            "HEAD says 1 bytes, the manifest 5000",
            "publish",
        ),
        (
            |r, a| signed_at(r, a, 1000, 600),
            good,
            "layer",
            Failed,
            "has ended already",
            "clock of the registry",
        ),
        (
            |r, a| if is_blob(r, "GET") { a.with("Cache-Control", "public, max-age=3600") } else { a },
            good,
            "layer",
            Failed,
            "may be kept",
            "no-store",
        ),
        (
            |r, a| if is_blob(r, "GET") { a.with("Location", "http://127.0.0.1:1/x") } else { a },
            good,
            "layer",
            Failed,
            "127.0.0.1:1 does not answer",
            "open it in the firewall",
        ),
        (
            |r, a| if is_blob(r, "GET") { a.with("Location", &r.target) } else { a },
            good,
            "layer",
            Failed,
            "again and again",
            "circle",
        ),
        (
            good,
            |_, _| Reply::new(403, "<Error><Code>AccessDenied</Code></Error>"),
            "layer",
            Failed,
            "answers 403 AccessDenied",
            "s3:GetObject",
        ),
        (
            good,
            |_, _| Reply::new(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>"),
            "layer",
            Failed,
            "SignatureDoesNotMatch",
            "secret key",
        ),
        (
            good,
            |_, _| Reply::new(403, "<Error><Code>RequestTimeTooSkewed</Code></Error>"),
            "layer",
            Failed,
            "RequestTimeTooSkewed",
            "NTP",
        ),
        (
            good,
            |_, a| Reply::new(403, "").with("Date", "Tue, 24 Nov 2020 08:00:00 GMT").with("X", a.status),
            "layer",
            Failed,
            "s apart",
            "NTP",
        ),
        (good, |_, _| Reply::new(404, ""), "layer", Failed, "answers 404", "publish the image again"),
        (
            good,
            |r, a| if r.target.contains(&Digest::of(&LAYER).hex()) { Reply::new(200, LAYER) } else { a },
            "layer",
            Warning,
            "ignores ranges",
            "206",
        ),
        (
            good,
            |_, a| a.with("Content-Range", "bytes 0-1023/4999"),
            "layer",
            Failed,
            "has 4999 bytes, the manifest says 5000",
            "publish",
        ),
    ];
    for (registry, bucket, name, outcome, found, fix) in cases {
        let diagnosis = diagnose(registry, bucket, |_| {});
        let told = diagnosis.checks.iter().find(|check| {
            let whole = format!("{} {}", check.found, check.details.join(" "));
            check.name == name && check.outcome == outcome && whole.contains(found)
        });
        let told = told.unwrap_or_else(|| panic!("{found}: {:#?}", diagnosis.checks));
        let fixes = format!("{} {}", told.fix.as_deref().unwrap_or_default(), told.details.join(" "));
        assert!(fixes.contains(fix), "{fix}: {told:?}");
        assert_eq!(diagnosis.healthy, outcome != Failed, "{found}: {:#?}", diagnosis.checks);
        assert!(!serde_json::to_string(&diagnosis).unwrap().contains("hunter2"), "{found}");
    }
}

#[test]
fn bytes_that_are_damaged_are_found_by_reading_all_of_them() {
    let damaged: Fault = |request, reply| {
        if request.headers.contains_key("range") {
            reply
        } else {
            Reply { body: vec![8; reply.body.len()], ..reply }
        }
    };
    assert!(diagnose(good, damaged, |asked| asked.deep = false).healthy);
    let diagnosis = diagnose(good, damaged, |_| {});
    let layer = diagnosis.checks.iter().find(|check| check.name == "layer").unwrap();
    assert!(layer.found.contains("have the digest"), "{layer:?}");
}

#[test]
fn a_signed_url_that_is_short_for_its_layer_is_a_warning() {
    let short: Fault = |request, reply| match (is_tag(request), request.target.contains("manifests/sha256")) {
        (false, false) if request.method == "HEAD" => reply.with("Content-Length", 900 * 1024 * 1024),
        (false, false) => signed_at(request, reply, 0, 60),
        _ => {
            let text = String::from_utf8(reply.body.clone()).unwrap();
            let text = text.replace("\"size\":5000", &format!("\"size\":{}", 900 * 1024 * 1024));
            Reply { body: text.into_bytes(), ..reply }
        }
    };
    let diagnosis = diagnose(short, good, |asked| asked.deep = false);
    let told = diagnosis
        .checks
        .iter()
        .any(|check| check.details.iter().any(|detail| detail.contains("is good for")));
    assert!(told, "{:#?}", diagnosis.checks);
}

/// A registry that wants a token, from itself.
fn guarded(request: &Request, reply: Reply) -> Reply {
    let host = &request.headers["host"];
    let authorization = request.headers.get("authorization").map(String::as_str);
    if request.target.starts_with("/token") {
        // `user:right`
        let known = authorization == Some("Basic dXNlcjpyaWdodA==") || authorization.is_none();
        assert!(request.target.contains("service=s&scope=repository:app:pull"), "{}", request.target);
        return if known { reply } else { Reply::new(401, "") };
    }
    if authorization != Some("Bearer t") {
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
        return Reply::new(401, "").with("WWW-Authenticate", challenge);
    }
    reply
}

#[test]
fn a_login_is_done_as_clients_do_it() {
    let user = |password: &str| Some(("user".to_owned(), Secret::new(password)));
    // The bucket is on the same host, so clients give it the token.
    let told = |diagnosis: &Diagnosis, name: &str, text: &str| {
        diagnosis.checks.iter().any(|check| check.name == name && check.found.contains(text))
    };
    let diagnosis = diagnose(guarded, good, |_| {});
    assert!(diagnosis.healthy && told(&diagnosis, "login", "for anybody"), "{:#?}", diagnosis.checks);
    assert!(told(&diagnosis, "layer", "send the registry's token to"), "{:#?}", diagnosis.checks);
    let diagnosis = diagnose(guarded, good, |asked| asked.credentials = user("right"));
    assert!(diagnosis.healthy && told(&diagnosis, "login", "for the user"), "{:#?}", diagnosis.checks);
    let diagnosis = diagnose(guarded, good, |asked| asked.credentials = user("wrong"));
    assert!(!diagnosis.healthy && told(&diagnosis, "login", "refuses the name and the password"));

    let strict: Fault = |request, reply| match request.headers.contains_key("authorization") {
        true => Reply::new(400, "<Error><Code>InvalidArgument</Code></Error>"),
        false => reply,
    };
    let diagnosis = diagnose(guarded, strict, |_| {});
    let layer = diagnosis.checks.iter().find(|check| check.name == "layer").unwrap();
    assert!(
        layer.found.contains("400 InvalidArgument") && layer.fix.as_ref().unwrap().contains("elsewhere"),
        "{layer:?}"
    );

    let basic: Fault = |request, reply| match request.headers.contains_key("authorization") {
        true => reply,
        false => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
    };
    let diagnosis = diagnose(basic, good, |_| {});
    assert!(!diagnosis.healthy && told(&diagnosis, "login", "there are none"), "{:#?}", diagnosis.checks);
    assert!(diagnose(basic, good, |asked| asked.credentials = user("right")).healthy);
    let no_token: Fault = |request, reply| match request.target.starts_with("/token") {
        true => Reply::new(200, "{}"),
        false => guarded(request, reply),
    };
    assert!(told(&diagnose(no_token, good, |_| {}), "login", "answers without a token"));
}

#[test]
fn a_platform_that_is_missing_is_told() {
    let no_platform: Fault = |request, reply| {
        let text = String::from_utf8_lossy(&reply.body)
            .replace("\"amd64\"", "\"s390x\"")
            .replace("\"arm64\"", "\"riscv64\"");
        let body: Vec<u8> =
            if request.target.contains("/manifests/") { text.into_bytes() } else { reply.body.clone() };
        let digest = Digest::of(&body);
        Reply { body, ..reply }.with("Docker-Content-Digest", digest)
    };
    let diagnosis = diagnose(no_platform, good, |asked| asked.all_platforms = false);
    let missing = diagnosis.checks.iter().find(|check| check.name == "platform").unwrap();
    assert!(
        missing.found.contains("nothing for linux/") && missing.found.contains("linux/s390x"),
        "{missing:?}"
    );
    assert_eq!(missing.outcome, Outcome::Warning);
}
