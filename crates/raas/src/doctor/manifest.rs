//! The checks of a manifest, by HEAD and GET, as each kind of client requests it.

use raas_types::{Descriptor, Digest, Manifest, Reference, media_type};

use super::session::{Session, fix_of_ended_login};
use super::web::{Answer, NoAnswer};
use super::{Options, Problem, check_of_problems};
use crate::status::{Check, Outcome};

/// The `Accept` of today's clients.
const ACCEPT_ALL: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                   application/vnd.docker.distribution.manifest.list.v2+json, \
                   application/vnd.docker.distribution.manifest.v2+json";
/// The `Accept` of a client that does not know indexes.
const ACCEPT_NO_INDEX: &str =
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Checks the manifest of a reference. Returns the manifest, and a list with it if it is an image manifest. `None` if
/// no client can pull it.
pub(super) fn check(
    session: &mut Session<'_>,
    reference: &Reference,
    checks: &mut Vec<Check>,
) -> Option<(Manifest, Vec<Manifest>)> {
    let url = session.url(&format!("manifests/{reference}"));
    let got = fetch(session, &url, checks)?;
    let mut problems = got.problems;
    let head = session.ask("HEAD", &url, &[("accept", ACCEPT_ALL)]);
    problems.extend(compare(head, got.status, &got.digest, got.length));
    if let Reference::Digest(requested) = reference
        && *requested != got.digest
    {
        problems.push(Problem::failed(
            format!("the bytes of the answer have the digest {}", got.digest),
            "publish the image again: the stored manifest is damaged",
        ));
    }
    let kind = if got.manifest.children().is_empty() { "image" } else { "index" };
    let subject = format!("{reference}, an {kind} of {} bytes, {}", got.length, got.digest);
    checks.push(check_of_problems("manifest", &subject, ", by HEAD and by GET", problems));
    if !got.manifest.children().is_empty() {
        checks.extend(check_without_index(session, &url, reference));
        if matches!(reference, Reference::Tag(_)) {
            let by_digest = session.url(&format!("manifests/{}", got.digest));
            let same = session.ask("GET", &by_digest, &[("accept", ACCEPT_ALL)]).ok();
            let same = same.and_then(|answer| answer.bytes(Manifest::MAX_SIZE).ok());
            if same.is_none_or(|bytes| Digest::of(&bytes) != got.digest) {
                let found = format!("the digest {} gives other bytes than the tag", got.digest);
                checks.push(Check::failed(
                    "manifest",
                    found,
                    "publish the image again: docker requests the digest after the tag",
                ));
            }
        }
        return Some((got.manifest, Vec::new()));
    }
    Some((got.manifest.clone(), vec![got.manifest]))
}

/// Checks a manifest of an index.
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
                "the manifest has {} bytes and the digest {}, the index says {} and {}",
                got.length, got.digest, child.size, child.digest
            ),
            "publish the image again: the stored manifest is damaged",
        ));
    }
    let platform = child.platform.as_ref().map_or("no platform".to_owned(), |platform| platform.to_string());
    checks.push(check_of_problems("platform", &format!("{platform}, {}", child.digest), "", problems));
    Some(got.manifest)
}

/// A manifest that the registry sent, with its problems.
struct FetchedManifest {
    manifest: Manifest,
    status: u16,
    digest: Digest,
    length: u64,
    problems: Vec<Problem>,
}

fn fetch(session: &mut Session<'_>, url: &str, checks: &mut Vec<Check>) -> Option<FetchedManifest> {
    let before = checks.len();
    let answer = match session.ask_logged_in("GET", url, &[("accept", ACCEPT_ALL)], checks) {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => {
            // A failed login is reported already, and is the reason for this answer.
            if checks[before..].iter().all(|check| check.outcome != Outcome::Failed) {
                let status = answer.status;
                let said = answer.said();
                let fix = fix_of(status, &said, session);
                checks.push(Check::failed("manifest", format!("{url} answers {status}{said}"), fix));
            }
            return None;
        }
        Err(error) => return fail(checks, format!("{url} does not answer: {error}"), LOG),
    };
    let content_type = answer.header("content-type").map(str::to_owned);
    let digest_header = answer.header("docker-content-digest").map(str::to_owned);
    let bytes = match answer.bytes(Manifest::MAX_SIZE) {
        Ok(bytes) => bytes,
        Err(error) => {
            return fail(checks, format!("{url} ends the answer early: {error}"), LOG);
        }
    };
    let digest = Digest::of(&bytes);
    let mut problems = Vec::new();
    match digest_header {
        Some(header) if header == digest.to_string() => {}
        Some(header) => problems.push(Problem::failed(
            format!("Docker-Content-Digest says {header}, but the bytes have the digest {digest}"),
            "answer the published bytes: a proxy changes the bytes (compression, reformatting), or the registry is damaged",
        )),
        None => problems.push(Problem::warning(
            "the answer has no Docker-Content-Digest",
            "send Docker-Content-Digest, so that clients need not fetch what they have; a proxy may have removed it",
        )),
    }
    let plain =
        content_type.as_deref().map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
    let known =
        plain.as_deref().filter(|text| media_type::is_index(text) || media_type::is_image_manifest(text));
    if known.is_none() {
        let found = format!(
            "its Content-Type is `{}`, which no client accepts for a manifest",
            plain.as_deref().unwrap_or("")
        );
        problems.push(Problem::failed(
            found,
            "answer manifests with the media type with which they were published",
        ));
    }
    match Manifest::parse(&bytes, known) {
        Ok(manifest) => {
            Some(FetchedManifest { manifest, status: 200, digest, length: bytes.len() as u64, problems })
        }
        Err(error) => {
            fail(checks, format!("cannot use the manifest of {url}: {error}"), "publish the image again")
        }
    }
}

const LOG: &str = "read the registry's log";

fn fail(checks: &mut Vec<Check>, found: String, fix: &str) -> Option<FetchedManifest> {
    checks.push(Check::failed("manifest", found, fix));
    None
}

/// What to do about an answer other than 200, with the server's own words.
fn fix_of(status: u16, said: &str, session: &Session<'_>) -> String {
    let Options { host, name, login, .. } = session.options;
    let log_in = format!("log in with `docker login {host}`, or give --username");
    match status {
        401 | 403 if login.is_some() => fix_of_ended_login(said, host).unwrap_or_else(|| {
            format!("ask the registry's operator whether {name} exists and the user may pull it")
        }),
        401 | 403 => log_in,
        404 if said.contains("MANIFEST_UNKNOWN") => {
            format!("check the tag: `skopeo list-tags docker://{host}/{name}` lists the tags of {name}")
        }
        404 if login.is_some() => format!(
            "check the name {name} and the tag; if they are right, ask the registry's operator to let the user pull {name}"
        ),
        404 => format!(
            "check the name {name} and the tag; if they are right, {log_in}: a registry may hide {name}"
        ),
        406 => "update the registry, which knows none of today's media types".into(),
        429 => "log in, or wait: the registry limits the number of requests".into(),
        301..=308 => "let the registry itself answer manifests, without a redirect".into(),
        _ => "read the registry's log".into(),
    }
}

/// Compares the answer to HEAD with the answer to GET.
fn compare(head: Result<Answer, NoAnswer>, status: u16, digest: &Digest, length: u64) -> Option<Problem> {
    let fix = "answer HEAD as GET, without the body: containerd and docker begin with HEAD";
    let head = match head {
        Ok(head) => head,
        Err(error) => return Some(Problem::failed(format!("HEAD gets no answer: {error}"), fix)),
    };
    if head.status != status {
        return Some(Problem::failed(format!("HEAD answers {}, GET {status}", head.status), fix));
    }
    match head.header("docker-content-digest") {
        Some(header) if header != digest.to_string() => {
            return Some(Problem::failed(
                format!("HEAD says {header}, GET gives {digest}"),
                "answer both from the same publication",
            ));
        }
        _ => {}
    }
    match head.number("content-length") {
        Some(header) if header != length => {
            Some(Problem::failed(format!("HEAD says {header} bytes, GET gives {length}"), fix))
        }
        Some(_) => None,
        None => Some(Problem::warning("HEAD has no Content-Length", fix)),
    }
}

/// Checks what the registry sends to a client that does not know indexes.
fn check_without_index(session: &Session<'_>, url: &str, reference: &Reference) -> Option<Check> {
    if matches!(reference, Reference::Digest(_)) {
        return None;
    }
    let answer = session.ask("GET", url, &[("accept", ACCEPT_NO_INDEX)]);
    let fix = "do nothing, unless such clients (docker before 2016, some scanners) must pull the image";
    Some(match answer {
        Ok(answer) if answer.status == 200 => {
            let kind = answer.header("content-type").unwrap_or_default().to_owned();
            if media_type::is_index(kind.split(';').next().unwrap_or_default().trim()) {
                Check::warning("accept", "a client that does not know indexes gets one nevertheless").fix(fix)
            } else {
                Check::ok("accept", "a client that does not know indexes gets an image of one platform")
            }
        }
        Ok(answer) => {
            let found = format!("a client that does not know indexes gets the answer {}", answer.status);
            Check::warning("accept", found).fix(fix)
        }
        Err(error) => Check::failed(
            "accept",
            format!("a client that does not know indexes gets no answer: {error}"),
            "read the registry's log",
        ),
    })
}
