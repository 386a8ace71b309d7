//! One fault of a registry or bucket at a time: the check that reports the fault, and the suggested fix.

use raas_testkit::http::Reply;
use raas_types::Digest;
use raas_types::media_type::OCI_MANIFEST;

use super::{Fault, LAYER, by_tag, correct, diagnose, is_blob, is_tag, signed_at};
use crate::status::Outcome::{self, Failed, Warning};

/// A fault, and the expected check.
struct Case {
    name: &'static str,
    registry: Fault,
    bucket: Fault,
    /// The name of the check that reports the fault.
    check: &'static str,
    outcome: Outcome,
    /// A part of what the check found.
    found: &'static str,
    /// A part of the suggested fix.
    fix: &'static str,
}

impl Case {
    const DEFAULT: Self =
        Self { name: "", registry: correct, bucket: correct, check: "", outcome: Failed, found: "", fix: "" };
}

#[test]
fn each_fault_is_reported_with_its_fix() {
    for case in cases() {
        let Case { name, check, outcome, found, fix, .. } = case;
        let diagnosis = diagnose(case.registry, case.bucket, |_| {});
        let reported = diagnosis.checks.iter().find(|candidate| {
            let text = format!("{} {}", candidate.found, candidate.details.join(" "));
            candidate.name == check && candidate.outcome == outcome && text.contains(found)
        });
        let reported = reported.unwrap_or_else(|| panic!("{name}: {found}: {:#?}", diagnosis.checks));
        let fixes = format!("{} {}", reported.fix.as_deref().unwrap_or_default(), reported.details.join(" "));
        assert!(fixes.contains(fix), "{name}: {fix}: {reported:?}");
        assert_eq!(diagnosis.healthy, outcome != Failed, "{name}: {:#?}", diagnosis.checks);
        assert!(!serde_json::to_string(&diagnosis).unwrap().contains("hunter2"), "{name}");
    }
}

fn cases() -> [Case; 32] {
    [
        Case {
            name: "the ping answers 404",
            registry: |r, a| if r.target == "/v2/" { Reply::new(404, "") } else { a },
            check: "ping",
            outcome: Failed,
            found: "answers 404",
            fix: "is not a registry",
            ..Case::DEFAULT
        },
        Case {
            name: "the ping asks for a login without a challenge",
            registry: |r, a| if r.target == "/v2/" { Reply::new(401, "") } else { a },
            check: "ping",
            outcome: Failed,
            found: "does not say how to log in",
            fix: "WWW-Authenticate",
            ..Case::DEFAULT
        },
        Case {
            name: "the ping is redirected",
            registry: |r, a| {
                if r.target == "/v2/" {
                    Reply::new(302, "").with("Location", "https://x/login?token=hunter2")
                } else {
                    a
                }
            },
            check: "ping",
            outcome: Failed,
            found: "redirects to https://x/login",
            fix: "own name",
            ..Case::DEFAULT
        },
        Case {
            name: "the clock of the registry is wrong",
            registry: |r, a| {
                if r.target == "/v2/" { a.with("Date", "Tue, 24 Nov 2020 08:00:00 GMT") } else { a }
            },
            check: "clock",
            outcome: Warning,
            found: "2020-11-24",
            fix: "NTP",
            ..Case::DEFAULT
        },
        Case {
            name: "the challenge is unknown to clients",
            registry: |r, a| {
                if r.target == "/v2/" { Reply::new(401, "").with("WWW-Authenticate", "Negotiate") } else { a }
            },
            check: "login",
            outcome: Failed,
            found: "clients do not know the registry's challenge",
            fix: "Bearer",
            ..Case::DEFAULT
        },
        Case {
            name: "the tag is unknown",
            registry: |r, a| by_tag(r, a, |_| Reply::new(404, "{}")),
            check: "manifest",
            outcome: Failed,
            found: "answers 404",
            fix: "check the name app",
            ..Case::DEFAULT
        },
        Case {
            name: "the registry says that the tag is unknown",
            registry: |r, a| {
                let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such tag"}]}"#;
                by_tag(r, a, |_| Reply::new(404, body))
            },
            check: "manifest",
            outcome: Failed,
            found: "answers 404: it says MANIFEST_UNKNOWN, no such tag",
            fix: "skopeo list-tags",
            ..Case::DEFAULT
        },
        Case {
            name: "the registry hides the repository from a client without a login",
            registry: |r, a| {
                let body = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"not known"}]}"#;
                by_tag(r, a, |_| Reply::new(404, body))
            },
            check: "manifest",
            outcome: Failed,
            found: "it says NAME_UNKNOWN, not known",
            fix: "log in with `docker login",
            ..Case::DEFAULT
        },
        Case {
            name: "the registry is not ready",
            registry: |r, a| {
                let body = r#"{"errors":[{"code":"UNAVAILABLE","message":"not loaded yet"}]}"#;
                if r.target == "/v2/" { Reply::new(503, body) } else { a }
            },
            check: "ping",
            outcome: Failed,
            found: "answers 503: it says UNAVAILABLE, not loaded yet",
            fix: "",
            ..Case::DEFAULT
        },
        Case {
            name: "the registry limits requests",
            registry: |r, a| by_tag(r, a, |_| Reply::new(429, "{}")),
            check: "manifest",
            outcome: Failed,
            found: "answers 429",
            fix: "wait",
            ..Case::DEFAULT
        },
        Case {
            name: "the registry refuses HEAD of manifests",
            registry: |r, a| if is_tag(r) && r.method == "HEAD" { Reply::new(405, "") } else { a },
            check: "manifest",
            outcome: Failed,
            found: "HEAD answers 405, GET 200",
            fix: "containerd",
            ..Case::DEFAULT
        },
        Case {
            name: "HEAD gives another digest",
            registry: |r, a| {
                if is_tag(r) && r.method == "HEAD" {
                    a.with("Docker-Content-Digest", Digest::of(b"other"))
                } else {
                    a
                }
            },
            check: "manifest",
            outcome: Failed,
            found: "HEAD says sha256:",
            fix: "same publication",
            ..Case::DEFAULT
        },
        Case {
            name: "HEAD gives another length",
            registry: |r, a| if is_tag(r) && r.method == "HEAD" { a.with("Content-Length", 3) } else { a },
            check: "manifest",
            outcome: Failed,
            found: "HEAD says 3 bytes",
            fix: "answer HEAD as GET",
            ..Case::DEFAULT
        },
        Case {
            name: "the bytes of the manifest do not match their digest",
            registry: |r, a| by_tag(r, a, |a| a.with("Docker-Content-Digest", Digest::of(b"other"))),
            check: "manifest",
            outcome: Failed,
            found: "but the bytes have the digest",
            fix: "proxy changes the bytes",
            ..Case::DEFAULT
        },
        Case {
            name: "the manifest has no digest header",
            registry: |r, a| {
                by_tag(r, a, |mut a| {
                    a.headers.retain(|(name, _)| name != "Docker-Content-Digest");
                    a
                })
            },
            check: "manifest",
            outcome: Warning,
            found: "no Docker-Content-Digest",
            fix: "send Docker-Content-Digest",
            ..Case::DEFAULT
        },
        Case {
            name: "the content type is no manifest",
            registry: |r, a| by_tag(r, a, |a| a.with("Content-Type", "application/json")),
            check: "manifest",
            outcome: Failed,
            found: "`application/json`, which no client",
            fix: "media type",
            ..Case::DEFAULT
        },
        Case {
            name: "the content type is not the one in the bytes",
            registry: |r, a| by_tag(r, a, |a| a.with("Content-Type", OCI_MANIFEST)),
            check: "manifest",
            outcome: Failed,
            found: "ambiguous",
            fix: "publish the image again",
            ..Case::DEFAULT
        },
        Case {
            name: "the tag is unknown to a client without indexes",
            registry: |r, a| {
                if is_tag(r) && !r.headers["accept"].contains("index") { Reply::new(404, "") } else { a }
            },
            check: "accept",
            outcome: Warning,
            found: "gets the answer 404",
            fix: "do nothing",
            ..Case::DEFAULT
        },
        Case {
            name: "a manifest of the index is not a manifest",
            registry: |r, a| {
                if r.target.contains("manifests/sha256") && a.body.len() < 700 {
                    Reply { body: b"{}".to_vec(), ..a }
                } else {
                    a
                }
            },
            check: "manifest",
            outcome: Failed,
            found: "cannot use the manifest",
            fix: "publish the image again",
            ..Case::DEFAULT
        },
        Case {
            name: "the bucket refuses HEAD of blobs",
            registry: |r, a| if is_blob(r, "HEAD") { Reply::new(403, "") } else { a },
            check: "layer",
            outcome: Failed,
            found: "HEAD answers 403",
            fix: "signed for GET",
            ..Case::DEFAULT
        },
        Case {
            name: "HEAD of a blob gives another length",
            registry: |r, a| if is_blob(r, "HEAD") { a.with("Content-Length", 1) } else { a },
            check: "layer",
            outcome: Failed,
            found: "HEAD says 1 bytes, the manifest 5000",
            fix: "raas setup ISV --repair",
            ..Case::DEFAULT
        },
        Case {
            name: "the signed URL has expired",
            registry: |r, a| signed_at(r, a, 1000, 600),
            check: "layer",
            outcome: Failed,
            found: "has expired already",
            fix: "clock of the registry",
            ..Case::DEFAULT
        },
        Case {
            name: "caches may store the redirect to a signed URL",
            registry: |r, a| {
                if is_blob(r, "GET") { a.with("Cache-Control", "public, max-age=3600") } else { a }
            },
            check: "layer",
            outcome: Failed,
            found: "may store the redirect",
            fix: "no-store",
            ..Case::DEFAULT
        },
        Case {
            name: "the bucket is unreachable",
            registry: |r, a| if is_blob(r, "GET") { a.with("Location", "http://127.0.0.1:1/x") } else { a },
            check: "layer",
            outcome: Failed,
            found: "127.0.0.1:1 does not answer",
            fix: "open it in the firewall",
            ..Case::DEFAULT
        },
        Case {
            name: "the redirects lead in a circle",
            registry: |r, a| if is_blob(r, "GET") { a.with("Location", &r.target) } else { a },
            check: "layer",
            outcome: Failed,
            found: "in a circle",
            fix: "correct the redirects",
            ..Case::DEFAULT
        },
        Case {
            name: "the bucket denies access",
            bucket: |_, _| Reply::new(403, "<Error><Code>AccessDenied</Code></Error>"),
            check: "layer",
            outcome: Failed,
            found: "answers 403 AccessDenied",
            fix: "s3:GetObject",
            ..Case::DEFAULT
        },
        Case {
            name: "the signature is wrong",
            bucket: |_, _| Reply::new(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>"),
            check: "layer",
            outcome: Failed,
            found: "SignatureDoesNotMatch",
            fix: "secret key",
            ..Case::DEFAULT
        },
        Case {
            name: "the bucket reports a wrong clock",
            bucket: |_, _| Reply::new(403, "<Error><Code>RequestTimeTooSkewed</Code></Error>"),
            check: "layer",
            outcome: Failed,
            found: "RequestTimeTooSkewed",
            fix: "NTP",
            ..Case::DEFAULT
        },
        Case {
            name: "the clocks of registry and bucket differ",
            bucket: |_, a| {
                Reply::new(403, "").with("Date", "Tue, 24 Nov 2020 08:00:00 GMT").with("X", a.status)
            },
            check: "layer",
            outcome: Failed,
            found: "s apart",
            fix: "NTP",
            ..Case::DEFAULT
        },
        Case {
            name: "the bucket does not have the blob",
            bucket: |_, _| Reply::new(404, ""),
            check: "layer",
            outcome: Failed,
            found: "answers 404",
            fix: "raas setup ISV --repair",
            ..Case::DEFAULT
        },
        Case {
            name: "the bucket ignores ranges",
            bucket: |r, a| {
                if r.target.contains(&Digest::of(&LAYER).hex()) { Reply::new(200, LAYER) } else { a }
            },
            check: "layer",
            outcome: Warning,
            found: "ignores ranges",
            fix: "206",
            ..Case::DEFAULT
        },
        Case {
            name: "the stored blob has another length",
            bucket: |_, a| a.with("Content-Range", "bytes 0-1023/4999"),
            check: "layer",
            outcome: Failed,
            found: "has 4999 bytes, the manifest says 5000",
            fix: "raas setup ISV --repair",
            ..Case::DEFAULT
        },
    ]
}
