//! The checks of a config or layer: the registry's answers, its redirects, and the bytes at their end.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::SystemTime;

use raas_types::forwarding::{forwards, is_refused};
use raas_types::url::{authority, host_of};
use raas_types::{Descriptor, Digest, Sha256, Utc};

use super::session::{SKEW, Session, clock};
use super::signed;
use super::web::{Answer, resolve_location};
use super::{Problem, check_of_problems};
use crate::progress::bytes;
use crate::status::{Check, Outcome};
use raas_base::redact;
use raas_sources::registry::said;

/// The length of the range that is requested of a blob, in bytes.
const RANGE: u64 = 1024;

/// The most redirects that clients follow.
const MOST_REDIRECTS: usize = 10;

/// The speed of a slow connection, in bytes per second. A signed URL should last for the whole blob at this speed.
const SLOW_CONNECTION: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Blob {
    /// `config` or `layer`.
    pub(super) kind: &'static str,
    pub(super) digest: Digest,
    size: u64,
}

impl Blob {
    pub(super) fn new(kind: &'static str, descriptor: &Descriptor) -> Self {
        Self { kind, digest: descriptor.digest, size: descriptor.size }
    }
}

/// What was found out about a blob.
#[derive(Debug)]
pub(super) struct Examined {
    kind: &'static str,
    subject: String,
    success: &'static str,
    problems: Vec<Problem>,
}

impl Examined {
    /// The check. A warning that another blob has had is not said again: most warnings are about the hosts.
    pub(super) fn check(self, warned: &mut BTreeSet<String>) -> Check {
        let Self { kind, subject, success, mut problems } = self;
        let all = problems.len();
        problems.retain(|problem| problem.outcome == Outcome::Failed || warned.insert(problem.found.clone()));
        if problems.is_empty() && all > 0 {
            return Check::warning(kind, format!("{subject}: as above"));
        }
        check_of_problems(kind, &subject, success, problems)
    }
}

/// What to do about stored bytes that are not the published ones, or are missing.
const DAMAGED: &str = "if the registry is yours, run `raas status ISV --deep`, and `raas setup ISV --repair`, which takes good \
                       copies from wherever they are; otherwise tell the vendor of the image";

/// Examines a blob. With `deep`, every byte is downloaded and hashed.
pub(super) fn check(session: &Session<'_>, blob: &Blob, deep: bool) -> Examined {
    let url = session.url(&format!("blobs/{}", blob.digest));
    let mut problems = check_head(session, &url, blob);
    let range = format!("bytes=0-{}", RANGE.min(blob.size.max(1)) - 1);
    let got = get(session, &url, Some(&range), blob, &mut problems);
    let mut subject = format!("{} {}", blob.digest.short(), bytes(blob.size));
    if let Some((answer, from)) = got {
        subject = format!("{subject} from {}", authority(&from));
        problems.extend(check_range(answer, blob, authority(&from)));
        if deep {
            problems.extend(check_content(session, &url, blob));
        }
    }
    Examined { kind: blob.kind, subject, success: if deep { ", all of it read" } else { "" }, problems }
}

/// Checks the answer to HEAD, after redirects.
fn check_head(session: &Session<'_>, url: &str, blob: &Blob) -> Vec<Problem> {
    let fix = "let the registry itself answer HEAD: a URL that is signed for GET refuses HEAD";
    let mut at = url.to_owned();
    for _ in 0..MOST_REDIRECTS {
        let answer =
            if at == url { session.ask("HEAD", &at, &[]) } else { session.web.ask("HEAD", &at, &[]) };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return vec![Problem::failed(format!("HEAD gets no answer: {error}"), fix)],
        };
        if answer.is_redirect() {
            at = resolve_location(&at, answer.header("location").unwrap_or_default());
            continue;
        }
        let redirected =
            if at == url { String::new() } else { format!(" is redirected to {}, which", authority(&at)) };
        if answer.status != 200 {
            return vec![Problem::failed(format!("HEAD{redirected} answers {}", answer.status), fix)];
        }
        return match answer.number("content-length") {
            Some(length) if length != blob.size => vec![Problem::failed(
                format!("HEAD{redirected} says {length} bytes, the manifest {}", blob.size),
                DAMAGED,
            )],
            _ => Vec::new(),
        };
    }
    vec![Problem::failed("HEAD is redirected in a circle", fix)]
}

/// Follows redirects as clients do. Returns the last answer, with its URL.
fn get(
    session: &Session<'_>,
    url: &str,
    range: Option<&str>,
    blob: &Blob,
    problems: &mut Vec<Problem>,
) -> Option<(Answer, String)> {
    let mut at = url.to_owned();
    let mut began = None;
    for _ in 0..MOST_REDIRECTS {
        let mut headers: Vec<(&str, &str)> = range.map(|range| ("range", range)).into_iter().collect();
        let forwarded = at == url || forwards(host_of(authority(url)), host_of(authority(&at)));
        if let (Some(authorization), true) = (&session.authorization, forwarded) {
            headers.push(("authorization", authorization));
        }
        let answer = match session.web.ask("GET", &at, &headers) {
            Ok(answer) => answer,
            Err(error) => {
                let host = authority(&at);
                let fix = format!("start {host}, or open it in the firewall: clients need it too");
                problems.push(Problem::failed(format!("{host} does not answer: {error}"), fix));
                return None;
            }
        };
        if answer.is_redirect() {
            let to = resolve_location(&at, answer.header("location").unwrap_or_default());
            began = clock(&answer);
            check_redirect(session, &answer, &at, &to, blob, problems);
            at = to;
            continue;
        }
        if (200..300).contains(&answer.status) || answer.status == 416 && blob.size == 0 {
            return Some((answer, at));
        }
        let sent = at != url && forwarded && session.authorization.is_some();
        problems.push(refusal(answer, &at, sent, began));
        return None;
    }
    problems.push(Problem::failed("GET is redirected in a circle", "correct the redirects"));
    None
}

/// Checks a redirect.
fn check_redirect(
    session: &Session<'_>,
    answer: &Answer,
    from: &str,
    to: &str,
    blob: &Blob,
    problems: &mut Vec<Problem>,
) {
    let host = authority(to);
    if from.starts_with("https://") && !to.starts_with("https://") {
        problems.push(Problem::warning(
            format!("{host} sends the bytes without TLS"),
            "give that host a certificate: many clients refuse hosts without TLS",
        ));
    }
    let own = authority(from);
    if is_refused(host_of(session.host()), host_of(host)) {
        problems.push(Problem::warning(
            format!("clients made with go-containerregistry refuse the redirect to {host}: it is a private address"),
            "redirect to a name: set `s3_endpoint`, `cdn_url` or `layer_url` to a host name",
        ));
    }
    if session.authorization.is_some() && host != own && forwards(host_of(own), host_of(host)) {
        problems.push(Problem::warning(
            format!(
                "clients written in Go send the registry's token to {host}, since it is below {}",
                host_of(own)
            ),
            "give the bucket or the CDN a name that is not below the registry's host",
        ));
    }
    let Some(signed) = signed::read(to) else { return };
    let now = Utc::of(SystemTime::now());
    let left = signed.ends.map(|ends| ends.unix().saturating_sub(clock(answer).unwrap_or(now).unix()));
    match (signed.ends, left) {
        (Some(ends), Some(0)) => problems.push(Problem::failed(
            format!("the signed URL of {host} has expired already, at {ends}"),
            "set the clock of the registry, and let no cache store redirects",
        )),
        (Some(_), Some(left)) if blob.size / SLOW_CONNECTION > left => problems.push(Problem::warning(
            format!(
                "the signed URL of {host} is valid for {left} s, but a slow connection needs {} s for {}",
                blob.size / SLOW_CONNECTION,
                bytes(blob.size)
            ),
            "sign URLs for a longer time, with credentials that are valid as long",
        )),
        _ => {}
    }
    let cache = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
    let cacheable = ["public", "max-age=", "s-maxage=", "immutable"].iter().any(|word| cache.contains(word));
    let not_cacheable =
        ["no-store", "no-cache", "private", "max-age=0"].iter().any(|word| cache.contains(word));
    if cacheable && !not_cacheable {
        problems.push(Problem::failed(
            format!("caches may store the redirect to a signed URL (Cache-Control: {cache})"),
            "answer such redirects with Cache-Control: no-store: a cache would send clients to expired URLs",
        ));
    }
}

/// The problem behind an error that ends the redirects.
fn refusal(answer: Answer, at: &str, sent_token: bool, began: Option<Utc>) -> Problem {
    let (status, theirs, host) = (answer.status, clock(&answer), authority(at).to_owned());
    let signed = signed::read(at);
    let body = answer.bytes(64 * 1024).unwrap_or_default();
    let words = redact::text(&said(&body));
    let body = String::from_utf8_lossy(&body);
    let code =
        body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    // Only a plain word is shown, since the body comes from an untrusted service.
    let code = code.filter(|code| code.len() < 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()));
    let found =
        format!("{host} answers {status}{}{words}", code.map(|code| format!(" {code}")).unwrap_or_default());
    if sent_token {
        let fix = format!(
            "give {host} a name elsewhere: below the registry's host, clients written in Go send it the registry's token"
        );
        return Problem::failed(found, fix);
    }
    let off = signed.and_then(|signed| signed.begins).or(began).zip(theirs).map(|(a, b)| a.distance(b));
    if code == Some("RequestTimeTooSkewed") || off.is_some_and(|off| signed.is_some() && off > SKEW) {
        let difference = off
            .map(|off| format!("; the registry's clock and that of {host} are {off} s apart"))
            .unwrap_or_default();
        return Problem::failed(format!("{found}{difference}"), "set the registry's clock by NTP");
    }
    let fix = match (status, code) {
        (403, Some("AccessDenied")) if signed.is_some() => {
            "allow s3:GetObject to the registry's credentials; the URL may also have expired, or the object may be missing".to_owned()
        }
        (403, Some("SignatureDoesNotMatch")) => "check the secret key and the region that the registry signs with".into(),
        (403, Some("InvalidAccessKeyId" | "ExpiredToken" | "InvalidToken")) => {
            "give the registry valid credentials".into()
        }
        (401 | 403, _) if signed.is_none() => format!("let everybody read {host}, or let the registry sign URLs"),
        (404, _) => DAMAGED.into(),
        (429 | 500..=599, _) => format!("read the log of {host}, which is busy or broken"),
        _ => format!("read the log of {host}"),
    };
    Problem::failed(found, fix)
}

/// Checks the answer to a request for a range.
fn check_range(answer: Answer, blob: &Blob, host: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let total = match answer.status {
        206 => {
            let range = answer.header("content-range").unwrap_or_default();
            range.rsplit('/').next().and_then(|total| total.trim().parse().ok())
        }
        416 => Some(0),
        _ => {
            if blob.size > RANGE {
                problems.push(Problem::warning(
                    format!("{host} ignores ranges, so interrupted downloads start again from the beginning"),
                    "let that host answer Range with 206",
                ));
            }
            answer.number("content-length")
        }
    };
    match total {
        Some(total) if total != blob.size => problems.push(Problem::failed(
            format!("{host} has {total} bytes, the manifest says {}", blob.size),
            DAMAGED,
        )),
        Some(_) => {}
        None => problems.push(Problem::warning(
            format!("{host} does not send the length of the blob"),
            "let that host send Content-Length, and Content-Range for ranges",
        )),
    }
    problems
}

/// Downloads and hashes every byte.
fn check_content(session: &Session<'_>, url: &str, blob: &Blob) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut again = Vec::new();
    let Some((answer, from)) = get(session, url, None, blob, &mut again) else { return again };
    let host = authority(&from);
    let mut reader = answer.body.take(blob.size.saturating_add(1));
    let mut hash = Sha256::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) => {
                let found = format!("{host} ends the download after {} bytes: {error}", hash.length());
                problems.push(Problem::failed(
                    found,
                    format!("read the log of {host}, and check proxies for time limits"),
                ));
                return problems;
            }
        }
    }
    let length = hash.length();
    let digest = hash.finish();
    if digest != blob.digest {
        problems
            .push(Problem::failed(format!("{length} bytes from {host} have the digest {digest}"), DAMAGED));
    }
    problems
}
