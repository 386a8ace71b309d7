//! The manifest: by HEAD and GET, as each kind of client asks for it.

use raas_types::{Descriptor, Digest, Manifest, Reference, media_type};

use super::session::Session;
use super::web::Answer;
use super::{Problem, judged};
use crate::status::{Check, Outcome};

/// What clients of today accept.
const ALL: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                   application/vnd.docker.distribution.manifest.list.v2+json, \
                   application/vnd.docker.distribution.manifest.v2+json";
/// The same of one that knows no indexes.
const NO_LISTS: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Looks at the manifest; what it is, and all of it that is an image. `None` if nobody can pull it.
pub(super) fn check(
    session: &mut Session<'_>,
    reference: &Reference,
    checks: &mut Vec<Check>,
) -> Option<(Manifest, Vec<Manifest>)> {
    let url = session.url(&format!("manifests/{reference}"));
    let got = fetch(session, &url, checks)?;
    let mut problems = got.problems;
    let head = session.ask("HEAD", &url, &[("accept", ALL)]);
    problems.extend(compare(head, got.status, &got.digest, got.length));
    if let Reference::Digest(asked) = reference
        && *asked != got.digest
    {
        problems.push(Problem::failed(
            format!("its bytes have the digest {}", got.digest),
            "what is stored under that digest is damaged: publish it again",
        ));
    }
    let kind = if got.manifest.children().is_empty() { "image" } else { "index" };
    let subject = format!("{reference}, an {kind} of {} bytes, {}", got.length, got.digest);
    checks.push(judged("manifest", &subject, ", by HEAD and by GET", problems));
    if !got.manifest.children().is_empty() {
        checks.extend(without_lists(session, &url, reference));
        if matches!(reference, Reference::Tag(_)) {
            let by_digest = session.url(&format!("manifests/{}", got.digest));
            let same = session
                .ask("GET", &by_digest, &[("accept", ALL)])
                .and_then(|answer| answer.bytes(Manifest::MAX_SIZE));
            if !same.is_ok_and(|bytes| Digest::of(&bytes) == got.digest) {
                let found = format!("by its digest {} it is not what the tag has", got.digest);
                checks.push(Check::failed(
                    "manifest",
                    found,
                    "docker asks for the digest next: publish the image again",
                ));
            }
        }
        return Some((got.manifest, Vec::new()));
    }
    Some((got.manifest.clone(), vec![got.manifest]))
}

/// One of an index.
pub(super) fn check_child(
    session: &mut Session<'_>,
    child: &Descriptor,
    checks: &mut Vec<Check>,
) -> Option<Manifest> {
    let url = session.url(&format!("manifests/{}", child.digest));
    let got = fetch(session, &url, checks)?;
    let mut problems = got.problems;
    if got.digest != child.digest || got.length != child.size {
        problems.push(Problem::failed(
            format!(
                "it has {} bytes and the digest {}, the index says {} and {}",
                got.length, got.digest, child.size, child.digest
            ),
            "what is stored under that digest is damaged: publish the image again",
        ));
    }
    let platform = child.platform.as_ref().map_or("no platform".to_owned(), |platform| platform.to_string());
    checks.push(judged("platform", &format!("{platform}, {}", child.digest), "", problems));
    Some(got.manifest)
}

struct Got {
    manifest: Manifest,
    status: u16,
    digest: Digest,
    length: u64,
    problems: Vec<Problem>,
}

fn fetch(session: &mut Session<'_>, url: &str, checks: &mut Vec<Check>) -> Option<Got> {
    let before = checks.len();
    let answer = match session.ask_logged_in("GET", url, &[("accept", ALL)], checks) {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => {
            // A login that failed is told of, and this is why.
            if checks[before..].iter().all(|check| check.outcome != Outcome::Failed) {
                let found = format!("{url} answers {}", answer.status);
                checks.push(Check::failed("manifest", found, why(&answer, session)));
            }
            return None;
        }
        Err(error) => return fail(checks, format!("{url} does not answer: {error}"), LOG),
    };
    let content_type = answer.header("content-type").map(str::to_owned);
    let told_digest = answer.header("docker-content-digest").map(str::to_owned);
    let bytes = match answer.bytes(Manifest::MAX_SIZE) {
        Ok(bytes) => bytes,
        Err(error) => {
            return fail(checks, format!("{url} breaks off: {error}"), LOG);
        }
    };
    let digest = Digest::of(&bytes);
    let mut problems = Vec::new();
    match told_digest {
        Some(told) if told == digest.to_string() => {}
        Some(told) => problems.push(Problem::failed(
            format!("Docker-Content-Digest says {told}, its bytes have {digest}"),
            "a proxy changes the bytes (compression, reformatting), or the registry is damaged: answer them as they were published",
        )),
        None => problems.push(Problem::warning(
            "it has no Docker-Content-Digest",
            "send it, so that clients need not fetch what they have; a proxy may have taken it away",
        )),
    }
    let plain =
        content_type.as_deref().map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
    let known =
        plain.as_deref().filter(|text| media_type::is_index(text) || media_type::is_image_manifest(text));
    if known.is_none() {
        let found = format!(
            "its Content-Type is `{}`, which no client takes for a manifest",
            plain.as_deref().unwrap_or("")
        );
        problems.push(Problem::failed(
            found,
            "answer manifests with the media type that they were published with",
        ));
    }
    match Manifest::parse(&bytes, known) {
        Ok(manifest) => Some(Got { manifest, status: 200, digest, length: bytes.len() as u64, problems }),
        Err(error) => {
            fail(checks, format!("what {url} answers cannot be used: {error}"), "publish the image again")
        }
    }
}

const LOG: &str = "look into the registry's log";

fn fail(checks: &mut Vec<Check>, found: String, fix: &str) -> Option<Got> {
    checks.push(Check::failed("manifest", found, fix));
    None
}

/// What to do about an answer that is no manifest.
fn why(answer: &Answer, session: &Session<'_>) -> String {
    let name = &session.asked.name;
    match answer.status {
        401 | 403 if session.authorization.is_some() => {
            format!(
                "the user may not pull {name}, or the registry does not know it: ask who runs the registry"
            )
        }
        401 | 403 => format!("log in (docker login {}), or give --username", session.asked.host),
        404 => {
            format!("check the name {name} and the tag; what is not published, or hidden, looks like this")
        }
        406 => "the registry knows none of today's media types: bring it up to date".into(),
        429 => "the registry limits how often it is asked: log in, or wait".into(),
        301..=308 => "manifests are to be answered by the registry itself, not by a redirect".into(),
        _ => "look into the registry's log".into(),
    }
}

/// HEAD against what GET said.
fn compare(head: Result<Answer, String>, status: u16, digest: &Digest, length: u64) -> Option<Problem> {
    let fix = "answer HEAD as GET, without the body: containerd and docker begin with it";
    let head = match head {
        Ok(head) => head,
        Err(error) => return Some(Problem::failed(format!("HEAD is not answered: {error}"), fix)),
    };
    if head.status != status {
        return Some(Problem::failed(format!("HEAD answers {}, GET {status}", head.status), fix));
    }
    match head.header("docker-content-digest") {
        Some(told) if told != digest.to_string() => {
            return Some(Problem::failed(
                format!("HEAD says {told}, GET gives {digest}"),
                "answer both from the same publication",
            ));
        }
        _ => {}
    }
    match head.number("content-length") {
        Some(told) if told != length => {
            Some(Problem::failed(format!("HEAD says {told} bytes, GET gives {length}"), fix))
        }
        Some(_) => None,
        None => Some(Problem::warning("HEAD has no Content-Length", fix)),
    }
}

/// What a client gets that knows no indexes.
fn without_lists(session: &Session<'_>, url: &str, reference: &Reference) -> Option<Check> {
    if matches!(reference, Reference::Digest(_)) {
        return None;
    }
    let answer = session.ask("GET", url, &[("accept", NO_LISTS)]);
    let fix = "nothing need be done, unless such clients (docker before 2016, some scanners) are to pull it";
    Some(match answer {
        Ok(answer) if answer.status == 200 => {
            let kind = answer.header("content-type").unwrap_or_default().to_owned();
            if media_type::is_index(kind.split(';').next().unwrap_or_default().trim()) {
                Check::warning("accept", "a client that knows no indexes is given one all the same").fix(fix)
            } else {
                Check::ok("accept", "a client that knows no indexes is given an image of one platform")
            }
        }
        Ok(answer) => {
            let found = format!("a client that knows no indexes is answered {}", answer.status);
            Check::warning("accept", found).fix(fix)
        }
        Err(error) => Check::failed(
            "accept",
            format!("without lists in Accept there is no answer: {error}"),
            "look into the registry's log",
        ),
    })
}
