//! The doctor at registries and buckets that misbehave.

mod faults;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use raas_testkit::http::{Asked as Request, Reply, Server};
use raas_types::media_type::{DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST};
use raas_types::{Digest, Utc};

use super::{Diagnosis, Options, examine};
use crate::status::Outcome;
use raas_base::Secret;
use raas_sources::credentials::PasswordLogin;

/// Changes a correct reply to a request.
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

    /// The reply of a correct registry, which redirects clients to this bucket.
    fn reply(&self, request: &Request, bucket: &str) -> Reply {
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

/// The reply of a correct bucket.
fn bucket_reply(request: &Request) -> Reply {
    let config = request.target.contains(&Digest::of(CONFIG).hex());
    let bytes = if config { CONFIG } else { &LAYER };
    let reply = Reply::new(200, bytes).with("Date", httpdate::fmt_http_date(SystemTime::now()));
    let Some(range) = request.headers.get("range") else { return reply };
    let last: usize = range.strip_prefix("bytes=0-").unwrap().parse().unwrap();
    let part = &bytes[..bytes.len().min(last + 1)];
    Reply { status: 206, body: part.to_vec(), ..reply }
        .with("Content-Range", format!("bytes 0-{}/{}", part.len() - 1, bytes.len()))
}

fn correct(_: &Request, reply: Reply) -> Reply {
    reply
}

/// Examines the image at a registry and a bucket with these faults.
fn diagnose(
    registry: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
    bucket: Fault,
    change: impl Fn(&mut Options),
) -> Diagnosis {
    let bucket = Server::scripted(move |request| bucket(request, bucket_reply(request)));
    let (url, image) = (bucket.url(""), Arc::new(Image::new()));
    let server = Server::scripted(move |request| registry(request, image.reply(request, &url)));
    let mut options = Options {
        host: server.address().to_string(),
        name: "app".parse().unwrap(),
        reference: "1.0".parse().unwrap(),
        plain_http: false,
        login: None,
        all_platforms: true,
        deep: true,
    };
    change(&mut options);
    examine(&options).unwrap()
}

#[test]
fn a_correct_registry_is_healthy() {
    let diagnosis = diagnose(correct, correct, |_| {});
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
    // The platforms of this machine and amd64 only, without downloading every byte.
    let diagnosis =
        diagnose(correct, correct, |options| (options.all_platforms, options.deep) = (false, false));
    assert!(diagnosis.healthy);
    let text = serde_json::to_string(&diagnosis).unwrap();
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn a_redirect_from_a_name_to_a_private_address_is_a_warning_and_said_once() {
    let named = |options: &mut Options| options.host = options.host.replace("127.0.0.1", "localhost");
    let diagnosis = diagnose(correct, correct, named);
    let warned: Vec<&str> = diagnosis
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Warning && check.found.contains("go-containerregistry"))
        .map(|check| check.name)
        .collect();
    assert!(diagnosis.healthy, "{:#?}", diagnosis.checks);
    assert_eq!(warned, ["config"], "{:#?}", diagnosis.checks);
    let layer = diagnosis.checks.iter().find(|check| check.name == "layer").unwrap();
    assert!(layer.outcome == Outcome::Warning && layer.found.ends_with(": as above"), "{layer:?}");
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

/// Signs the URL `ago` seconds ago, for this number of seconds.
fn signed_at(request: &Request, reply: Reply, ago: u64, seconds: u64) -> Reply {
    if !is_blob(request, "GET") {
        return reply;
    }
    let location = reply.headers.iter().find(|(name, _)| name == "Location").unwrap().1.clone();
    let (bucket, digest) = location.split_once('?').unwrap().0.rsplit_once('/').unwrap();
    reply.with("Location", signed(bucket, digest, SystemTime::now() - Duration::from_secs(ago), seconds))
}

#[test]
fn damaged_bytes_are_found_by_a_deep_examination() {
    let damaged: Fault = |request, reply| {
        if request.headers.contains_key("range") {
            reply
        } else {
            Reply { body: vec![8; reply.body.len()], ..reply }
        }
    };
    assert!(diagnose(correct, damaged, |options| options.deep = false).healthy);
    let diagnosis = diagnose(correct, damaged, |_| {});
    let layer = diagnosis.checks.iter().find(|check| check.name == "layer").unwrap();
    assert!(layer.found.contains("have the digest"), "{layer:?}");
}

#[test]
fn a_signed_url_that_expires_before_a_slow_download_ends_is_a_warning() {
    let short: Fault = |request, reply| match (is_tag(request), request.target.contains("manifests/sha256")) {
        (false, false) if request.method == "HEAD" => reply.with("Content-Length", 900 * 1024 * 1024),
        (false, false) => signed_at(request, reply, 0, 60),
        _ => {
            let text = String::from_utf8(reply.body.clone()).unwrap();
            let text = text.replace("\"size\":5000", &format!("\"size\":{}", 900 * 1024 * 1024));
            Reply { body: text.into_bytes(), ..reply }
        }
    };
    let diagnosis = diagnose(short, correct, |options| options.deep = false);
    let warned = diagnosis
        .checks
        .iter()
        .any(|check| check.details.iter().any(|detail| detail.contains("is valid for")));
    assert!(warned, "{:#?}", diagnosis.checks);
}

/// A registry that asks for a token, which it issues itself.
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
fn the_doctor_logs_in_as_clients_do() {
    let user =
        |password: &str| Some(PasswordLogin { user: "user".to_owned(), password: Secret::new(password) });
    let reports = |diagnosis: &Diagnosis, name: &str, text: &str| {
        diagnosis.checks.iter().any(|check| check.name == name && check.found.contains(text))
    };
    // The bucket is on the same host, so clients send the token to it.
    let diagnosis = diagnose(guarded, correct, |_| {});
    assert!(diagnosis.healthy && reports(&diagnosis, "login", "for anybody"), "{:#?}", diagnosis.checks);
    assert!(reports(&diagnosis, "config", "send the registry's token to"), "{:#?}", diagnosis.checks);
    let diagnosis = diagnose(guarded, correct, |options| options.login = user("right"));
    assert!(diagnosis.healthy && reports(&diagnosis, "login", "for the user"), "{:#?}", diagnosis.checks);
    let diagnosis = diagnose(guarded, correct, |options| options.login = user("wrong"));
    assert!(!diagnosis.healthy && reports(&diagnosis, "login", "refuses the name and the password"));

    // The server's own words decide about the fix.
    for (said, fix) in [
        ("the key `ci` of bank was revoked", "ask the vendor for a new key"),
        ("the key `ci` of bank has expired at 2026-11-24T00:00:00Z", "ask the vendor to extend the key"),
        ("this secret of the key `ci` of bank was replaced by a new one", "take the key's new password"),
        ("the user name or the password is wrong", "correct the name and the password"),
    ] {
        let ended = move |request: &Request, reply: Reply| {
            let body = format!(r#"{{"errors":[{{"code":"UNAUTHORIZED","message":"{said}"}}]}}"#);
            match request.target.starts_with("/token") {
                true => Reply::new(401, body),
                false => guarded(request, reply),
            }
        };
        let diagnosis = diagnose(ended, correct, |options| options.login = user("right"));
        let login = diagnosis.checks.iter().find(|check| check.name == "login").unwrap();
        assert!(login.found.contains(said) && login.fix.as_ref().unwrap().starts_with(fix), "{login:?}");
    }

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
    let diagnosis = diagnose(basic, correct, |_| {});
    assert!(
        !diagnosis.healthy && reports(&diagnosis, "login", "but there are none"),
        "{:#?}",
        diagnosis.checks
    );
    assert!(diagnose(basic, correct, |options| options.login = user("right")).healthy);
    let no_token: Fault = |request, reply| match request.target.starts_with("/token") {
        true => Reply::new(200, "{}"),
        false => guarded(request, reply),
    };
    assert!(reports(&diagnose(no_token, correct, |_| {}), "login", "answers without a token"));
}

#[test]
fn a_missing_platform_is_a_warning() {
    let no_platform: Fault = |request, reply| {
        let text = String::from_utf8_lossy(&reply.body)
            .replace("\"amd64\"", "\"s390x\"")
            .replace("\"arm64\"", "\"riscv64\"");
        let body: Vec<u8> =
            if request.target.contains("/manifests/") { text.into_bytes() } else { reply.body.clone() };
        let digest = Digest::of(&body);
        Reply { body, ..reply }.with("Docker-Content-Digest", digest)
    };
    let diagnosis = diagnose(no_platform, correct, |options| options.all_platforms = false);
    let missing = diagnosis.checks.iter().find(|check| check.name == "platform").unwrap();
    assert!(
        missing.found.contains("no image for linux/") && missing.found.contains("linux/s390x"),
        "{missing:?}"
    );
    assert_eq!(missing.outcome, Outcome::Warning);
}
