//! A config or a layer: what the registry says of it, where it sends clients, and what they get there.

use std::io::Read;
use std::time::SystemTime;

use raas_types::{Descriptor, Digest, Sha256, Utc};

use super::session::{SKEW, Session, clock};
use super::signed;
use super::web::{Answer, authority, bare, follow};
use super::{Problem, judged};
use crate::forwarding::forwards;
use crate::push::bytes;
use crate::status::Check;

/// The part of a blob that is asked for, in bytes.
const PART: u64 = 1024;

/// As many redirects as clients follow.
const MOST_HOPS: usize = 10;

/// A slow line, in bytes a second, on which a signed URL should last for the whole blob.
const SLOW: u64 = 1024 * 1024;

#[derive(Debug)]
pub(super) struct Blob {
    pub(super) what: &'static str,
    pub(super) digest: Digest,
    size: u64,
}

impl Blob {
    pub(super) fn new(what: &'static str, descriptor: &Descriptor) -> Self {
        Self { what, digest: descriptor.digest, size: descriptor.size }
    }
}

/// Looks at it; with `deep`, at every byte.
pub(super) fn check(session: &Session<'_>, blob: &Blob, deep: bool) -> Check {
    let url = session.url(&format!("blobs/{}", blob.digest));
    let mut problems = head(session, &url, blob);
    let range = format!("bytes=0-{}", PART.min(blob.size.max(1)) - 1);
    let got = get(session, &url, Some(&range), blob, &mut problems);
    let mut subject = format!("{} {}", blob.digest.short(), bytes(blob.size));
    if let Some((answer, from)) = got {
        subject = format!("{subject} from {}", authority(&from));
        problems.extend(part(answer, blob, authority(&from)));
        if deep {
            problems.extend(whole(session, &url, blob));
        }
    }
    judged(blob.what, &subject, if deep { ", all of it read" } else { "" }, problems)
}

fn head(session: &Session<'_>, url: &str, blob: &Blob) -> Vec<Problem> {
    let fix =
        "let the registry answer HEAD itself, from its metadata: a URL that is signed for GET refuses HEAD";
    let mut at = url.to_owned();
    for _ in 0..MOST_HOPS {
        let answer =
            if at == url { session.ask("HEAD", &at, &[]) } else { session.web.ask("HEAD", &at, &[]) };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return vec![Problem::failed(format!("HEAD is not answered: {error}"), fix)],
        };
        if answer.is_redirect() {
            at = follow(&at, answer.header("location").unwrap_or_default());
            continue;
        }
        let whose =
            if at == url { String::new() } else { format!(" is redirected to {}, which", authority(&at)) };
        if answer.status != 200 {
            return vec![Problem::failed(format!("HEAD{whose} answers {}", answer.status), fix)];
        }
        return match answer.number("content-length") {
            Some(told) if told != blob.size => vec![Problem::failed(
                format!("HEAD{whose} says {told} bytes, the manifest {}", blob.size),
                "what is stored is not what was published: publish the image again",
            )],
            _ => Vec::new(),
        };
    }
    vec![Problem::failed("HEAD is redirected again and again", fix)]
}

/// Follows redirects as clients do; what answers in the end, and where that is.
fn get(
    session: &Session<'_>,
    url: &str,
    range: Option<&str>,
    blob: &Blob,
    problems: &mut Vec<Problem>,
) -> Option<(Answer, String)> {
    let mut at = url.to_owned();
    let mut began = None;
    for _ in 0..MOST_HOPS {
        let mut headers: Vec<(&str, &str)> = range.map(|range| ("range", range)).into_iter().collect();
        let forwarded = at == url || forwards(bare(authority(url)), bare(authority(&at)));
        if let (Some(authorization), true) = (&session.authorization, forwarded) {
            headers.push(("authorization", authorization));
        }
        let answer = match session.web.ask("GET", &at, &headers) {
            Ok(answer) => answer,
            Err(error) => {
                let host = authority(&at);
                let fix = format!("clients need {host} too: see that it runs, and open it in the firewall");
                problems.push(Problem::failed(format!("{host} does not answer: {error}"), fix));
                return None;
            }
        };
        if answer.is_redirect() {
            let to = follow(&at, answer.header("location").unwrap_or_default());
            began = clock(&answer);
            look(session, &answer, &at, &to, blob, problems);
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
    problems.push(Problem::failed(
        "GET is redirected again and again",
        "correct the redirects, which lead in a circle",
    ));
    None
}

/// A redirect.
fn look(
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
            format!("it is sent from {host} without TLS"),
            "give that host a certificate; many clients refuse it as it is",
        ));
    }
    let own = authority(from);
    if session.authorization.is_some() && host != own && forwards(bare(own), bare(host)) {
        problems.push(Problem::warning(
            format!(
                "clients written in Go send the registry's token to {host}, which is below {}",
                bare(own)
            ),
            "give the bucket or the CDN a name that is not below the registry's",
        ));
    }
    let Some(signed) = signed::read(to) else { return };
    let now = Utc::of(SystemTime::now());
    let left = signed.ends.map(|ends| ends.unix().saturating_sub(clock(answer).unwrap_or(now).unix()));
    match (signed.ends, left) {
        (Some(ends), Some(0)) => problems.push(Problem::failed(
            format!("the signed URL of {host} has ended already, at {ends}"),
            "set the clock of the registry, and let no cache keep redirects",
        )),
        (Some(_), Some(left)) if blob.size / SLOW > left => problems.push(Problem::warning(
            format!(
                "the signed URL of {host} is good for {left} s, a slow line takes {} s for {}",
                blob.size / SLOW,
                bytes(blob.size)
            ),
            "let URLs live longer for larger layers, and sign with credentials that do",
        )),
        _ => {}
    }
    let cache = answer.header("cache-control").unwrap_or_default().to_ascii_lowercase();
    let kept = ["public", "max-age=", "s-maxage=", "immutable"].iter().any(|word| cache.contains(word));
    let not_kept = ["no-store", "no-cache", "private", "max-age=0"].iter().any(|word| cache.contains(word));
    if kept && !not_kept {
        problems.push(Problem::failed(
            format!("the redirect to a signed URL may be kept (Cache-Control: {cache})"),
            "answer such redirects with Cache-Control: no-store: a cache gives out URLs that have ended",
        ));
    }
}

/// Why the end of the way refuses.
fn refusal(answer: Answer, at: &str, sent_token: bool, began: Option<Utc>) -> Problem {
    let (status, theirs, host) = (answer.status, clock(&answer), authority(at).to_owned());
    let signed = signed::read(at);
    let body = answer.bytes(64 * 1024).unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    let code =
        body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    // A word of a service's; whatever else stands there is not repeated.
    let code = code.filter(|code| code.len() < 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()));
    let found = format!("{host} answers {status}{}", code.map(|code| format!(" {code}")).unwrap_or_default());
    if sent_token {
        let fix = "it was sent the registry's token, as clients written in Go do below the registry's host: give it a name elsewhere";
        return Problem::failed(found, fix);
    }
    let off = signed.and_then(|signed| signed.begins).or(began).zip(theirs).map(|(a, b)| a.distance(b));
    if code == Some("RequestTimeTooSkewed") || off.is_some_and(|off| signed.is_some() && off > SKEW) {
        let by = off
            .map(|off| format!("; the registry's clock and that of {host} are {off} s apart"))
            .unwrap_or_default();
        return Problem::failed(format!("{found}{by}"), "set the registry's clock by NTP");
    }
    let fix = match (status, code) {
        (403, Some("AccessDenied")) if signed.is_some() => {
            "the URL may have ended, or whoever signed it may not read the object (s3:GetObject), or it is not there".to_owned()
        }
        (403, Some("SignatureDoesNotMatch")) => "check the secret key and the region that the registry signs with".into(),
        (403, Some("InvalidAccessKeyId" | "ExpiredToken" | "InvalidToken")) => {
            "give the registry credentials that are good".into()
        }
        (401 | 403, _) if signed.is_none() => format!("let {host} be read by everybody, or let the registry sign URLs"),
        (404, _) => "the object is not there: publish the image again".into(),
        (429 | 500..=599, _) => format!("{host} is busy or broken: look into its log"),
        _ => format!("look into the log of {host}"),
    };
    Problem::failed(found, fix)
}

/// The part that was asked for.
fn part(answer: Answer, blob: &Blob, host: &str) -> Vec<Problem> {
    let fix = "what is stored is not what was published: publish the image again";
    let mut problems = Vec::new();
    let total = match answer.status {
        206 => {
            let range = answer.header("content-range").unwrap_or_default();
            range.rsplit('/').next().and_then(|total| total.trim().parse().ok())
        }
        416 => Some(0),
        _ => {
            if blob.size > PART {
                problems.push(Problem::warning(
                    format!("{host} ignores ranges, so downloads that break off begin again"),
                    "let it answer Range with 206",
                ));
            }
            answer.number("content-length")
        }
    };
    match total {
        Some(total) if total != blob.size => problems
            .push(Problem::failed(format!("{host} has {total} bytes, the manifest says {}", blob.size), fix)),
        Some(_) => {}
        None => problems.push(Problem::warning(
            format!("{host} does not say how long it is"),
            "let it send Content-Length, and Content-Range for parts",
        )),
    }
    problems
}

/// Every byte.
fn whole(session: &Session<'_>, url: &str, blob: &Blob) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut again = Vec::new();
    let Some((answer, from)) = get(session, url, None, blob, &mut again) else { return again };
    let host = authority(&from);
    let mut reader = answer.body.into_reader().take(blob.size.saturating_add(1));
    let mut hash = Sha256::default();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) => {
                let found = format!("{host} breaks off after {} bytes: {error}", hash.length());
                problems.push(Problem::failed(
                    found,
                    format!("look into the log of {host}, and at proxies with time limits"),
                ));
                return problems;
            }
        }
    }
    let length = hash.length();
    let digest = hash.finish();
    if digest != blob.digest {
        problems.push(Problem::failed(
            format!("{length} bytes from {host} have the digest {digest}"),
            "what is stored is damaged: delete it and publish the image again",
        ));
    }
    problems
}
