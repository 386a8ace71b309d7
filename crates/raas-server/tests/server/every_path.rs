//! What holds for every path.

use raas_types::media_type::DOCKER_MANIFEST;

use crate::answers::ask;
use crate::support::Answer;

/// A path of each kind.
const PATHS: [&str; 38] = [
    "/",
    "/feed.atom",
    "/?image=tools/app",
    "/?image=tools/app&tag=multi",
    "/?image=none",
    "/-/healthz",
    "/-/readyz",
    "/-/revision",
    "/-/metadata",
    "/crane/repositories",
    "/crane/repositories/v2",
    "/nothing",
    "/token",
    "/v2",
    "/v2/",
    "/v2/%zz",
    "/v2/_catalog?n=1",
    "/v2/tools/app",
    "/v2/tools/app/tags/list?n=1",
    "/v2/tools/app/tags/list?n=x",
    "/v2/tools/app/manifests/1.0",
    "/v2/tools/app/manifests/multi",
    "/v2/tools/app/manifests/{amd64}",
    "/v2/tools/app/manifests/none",
    "/v2/tools/app/blobs/{blob}",
    "/v2/tools/app/blobs/{empty}",
    "/v2/tools/app/blobs/{nothing}",
    "/v2/tools/app/blobs/x",
    "/v2/tools/app/blobs/uploads/1",
    "/v2/tools/app/referrers/{amd64}",
    "/v2/hidden/tags/list",
    "/v1/_ping",
    "/v1/users",
    "/v1/search?q=app",
    "/v1/repositories/tools/old/images",
    "/v1/repositories/tools/old/tags/latest",
    "/v1/images/{1}/layer",
    "/v1/images/{1}/json",
];

/// The parts of an answer that must be equal: everything but the time.
fn told(answer: &Answer) -> (u16, Vec<(&str, &str)>) {
    (answer.status, answer.all_headers())
}

/// The method
#[test]
fn head_is_get_without_a_body() {
    for headers in [&[][..], &[("accept", DOCKER_MANIFEST)], &[("if-none-match", "*")]] {
        for path in PATHS {
            let (get, head) = (ask("GET", path, headers), ask("HEAD", path, headers));
            assert_eq!(told(&get), told(&head), "{path} {headers:?}");
            assert_eq!(head.text(), "", "{path}");
            if get.status != 304 {
                let length = get.body.len().to_string();
                assert_eq!(get.header("content-length"), Some(length.as_str()), "{path}");
            }
        }
    }
}

/// The method
#[test]
fn methods_that_write_are_rejected_with_allow() {
    // Where pushing clients begin, in particular the mount of a blob, for an existing repository.
    let more = [
        "/v2/tools/app/blobs/uploads/",
        "/v2/tools/app/blobs/uploads/?mount={blob}&from=a/manifests/b",
        "/v2/tools/app/blobs/uploads/?digest={blob}",
        "/v2/tools/app/blobs/uploads/1?digest={blob}",
        "/v2/hidden/blobs/uploads/?mount={hidden layer}&from=hidden",
        "/v2/none/blobs/uploads/",
        "/v2/none/manifests/latest",
        "/v2/Bad/manifests/latest",
        "/v2/tools/app/blobs/{masked}",
        "/v2/legacy/four/manifests/multi",
    ];
    for path in PATHS.into_iter().chain(more) {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let answer = ask(method, path, &[]);
            let exists = !matches!(path, "/nothing" | "/token" | "/v2/tools/app" | "/v2/%zz");
            let logs_in = method == "POST" && path == "/v1/users";
            let expected = match (exists, logs_in) {
                (true, false) => 405,
                (true, true) => 201,
                (false, _) if path == "/v2/%zz" => 400,
                (false, _) => 404,
            };
            assert_eq!(answer.status, expected, "{method} {path}");
            assert_eq!(answer.header("location"), None, "{method} {path}");
            if expected != 201 {
                assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
            }
            let allowed = (expected == 405).then_some("GET, HEAD");
            assert_eq!(answer.header("allow"), allowed, "{method} {path}");
            if path.starts_with("/v2") {
                let version = answer.header("docker-distribution-api-version");
                assert_eq!(version, Some("registry/2.0"), "{method} {path}");
                assert!(
                    answer.text().contains(r#""code":"UNSUPPORTED""#),
                    "{method} {path}: {}",
                    answer.text()
                );
            }
            if expected == 405 {
                assert!(answer.text().contains("`raas push`"), "{method} {path}: {}", answer.text());
            }
        }
    }
}

/// v2, and Docker v1
#[test]
fn every_answer_has_the_headers_of_its_api() {
    for path in PATHS {
        let answer = ask("GET", path, &[]);
        // There are no tokens here. Clients read that error as one of v2.
        let is_v2 = path.starts_with("/v2") || path == "/token";
        let version = is_v2.then_some("registry/2.0");
        assert_eq!(answer.header("docker-distribution-api-version"), version, "{path}");
        let registry = path.starts_with("/v1").then_some("0.6.6");
        assert_eq!(answer.header("x-docker-registry-version"), registry, "{path}");
        // No browser takes an answer of either API for a page.
        if version.or(registry).is_some() {
            assert_eq!(answer.header("content-security-policy"), Some("sandbox"), "{path}");
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        }
    }
}
