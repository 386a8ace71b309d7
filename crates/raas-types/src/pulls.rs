//! What counts as a pull: one rule for the server's metrics and for readers of its access log.
//!
//! A pull is an answer to GET with a manifest, counted once for each client and tag within [`WINDOW`]. Docker and
//! containerd send HEAD for a tag and then GET for its digest; podman and skopeo send GET for the tag. If the tag is an
//! index, all of them request the manifest of their platform next, by its digest. Each of these sequences is one pull
//! of the tag. HEAD alone is a poll. Attachments of images and requests of mirrors are counted separately.
//!
//! A client is an address with a `User-Agent`, and with the customer if the request had a customer's key: machines of one
//! customer behind one address that run the same program count as one.

mod kind;
mod recent;

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

pub use kind::{Kind, is_mirror};
use recent::Recent;

use crate::{Digest, Utc};

/// The time, in seconds, in which further requests of a client belong to the same pull.
pub const WINDOW: u64 = 600;

/// A client that requests manifests of more than this number of tags of one repository within [`WINDOW`] is a mirror.
pub const MOST_TAGS: u32 = 16;

/// The label of a pull by a digest without a tag.
pub const UNTAGGED: &str = "@";

/// A request with a successful answer.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// The time of the request.
    pub time: Utc,
    /// The address of the client.
    pub client: IpAddr,
    /// The client's `User-Agent`; empty if it sent none.
    pub user_agent: &'a str,
    /// The customer whose key or token the request had; empty if it had none.
    pub customer: &'a str,
    /// The vendor of the registry.
    pub vendor: &'a str,
    /// The repository.
    pub repository: &'a str,
    /// What the request was for.
    pub kind: Kind,
    /// Whether the client got the bytes: a complete answer to GET, not to HEAD, and not 304.
    pub got: bool,
    /// The tag in the request, if it had one.
    pub tag: Option<&'a str>,
    /// For a request by digest: the tags of the manifest, `a|b`; empty if it has none.
    pub tags: &'a str,
    /// The manifest's digest.
    pub digest: Option<Digest>,
}

/// What a request counts as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted<'a> {
    /// A pull of a tag. A pull by digest alone has all tags of the manifest, `a|b`, or [`UNTAGGED`] if there are none.
    Pull(Cow<'a, str>),
    /// Part of a pull that was counted before.
    Again,
    /// A check for something new.
    Poll,
    /// An attachment of an image.
    Attachment(Kind),
    /// A request of a client that copies the repository.
    Mirror,
    /// Any other request.
    Other,
}

/// The state of a client and one repository.
#[derive(Debug, Default)]
struct Visit {
    /// The time at which the client requested the list of tags.
    listed: Option<Utc>,
    /// The tag of the manifest that the client requested last.
    last: Option<Box<str>>,
    /// The number of tags whose manifests the client got, and the start of that count.
    tags: (u32, Option<Utc>),
}

/// Counts pulls. Its memory is bounded: with very many clients at once it forgets the oldest, and counts their next
/// request as a new pull.
#[derive(Debug, Default)]
pub struct Counter {
    hasher: RandomState,
    visits: Recent<Visit>,
    /// For a client, a repository and a digest: the tag by which the client knows the digest.
    names: Recent<Box<str>>,
    /// The pulls that were counted, by client, repository and tag.
    counted: Recent<()>,
}

impl Counter {
    /// Counts a request. The requests of one client should come in order.
    pub fn count<'a>(&mut self, fetch: &Fetch<'a>) -> Counted<'a> {
        let who = (fetch.client, fetch.user_agent, fetch.customer, fetch.vendor, fetch.repository);
        let visit = self.hasher.hash_one(who);
        match fetch.kind {
            Kind::Tags => {
                self.visits.entry(visit, fetch.time).listed = Some(fetch.time);
                return Counted::Other;
            }
            Kind::Blob => return Counted::Other,
            Kind::Index | Kind::Manifest => {}
            _ if fetch.got => return Counted::Attachment(fetch.kind),
            _ => return Counted::Poll,
        }
        let tag = self.tag(fetch, visit);
        let known = self.visits.entry(visit, fetch.time);
        known.last = Some(tag.as_ref().into());
        if !fetch.got || kind::is_ours(fetch.user_agent) {
            return Counted::Poll;
        }
        // Without a tag, only the digest distinguishes two pulls.
        let digest = fetch.digest.filter(|_| tag == UNTAGGED);
        if !self.counted.first(self.hasher.hash_one((visit, &*tag, digest)), fetch.time) {
            return Counted::Again;
        }
        let (tags, since) = &mut known.tags;
        if since.is_none_or(|since| fetch.time.distance(since) > WINDOW) {
            (*tags, *since) = (0, Some(fetch.time));
        }
        *tags += 1;
        let lists = known.listed.is_some_and(|listed| fetch.time.distance(listed) <= WINDOW);
        if lists || known.tags.0 > MOST_TAGS || is_mirror(fetch.user_agent) {
            return Counted::Mirror;
        }
        Counted::Pull(tag)
    }

    /// The tag that the client means, which it may not have sent.
    fn tag<'a>(&mut self, fetch: &Fetch<'a>, visit: u64) -> Cow<'a, str> {
        let name = |digest: Digest| self.hasher.hash_one((visit, digest));
        match (fetch.tag, fetch.digest) {
            (Some(tag), digest) => {
                if let Some(digest) = digest {
                    *self.names.entry(name(digest), fetch.time) = tag.into();
                }
                tag.into()
            }
            (None, Some(digest)) if let Some(known) = self.names.find(name(digest), fetch.time) => {
                known.to_string().into()
            }
            (None, _) if !fetch.tags.is_empty() => fetch.tags.into(),
            // In practice no index lists another index, so a manifest without a tag belongs to the last index.
            (None, _) if fetch.kind == Kind::Manifest => {
                let last = self.visits.find(visit, fetch.time).and_then(|visit| visit.last.as_deref());
                last.map_or(UNTAGGED.into(), |tag| tag.to_owned().into())
            }
            (None, _) => UNTAGGED.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn ask(counter: &mut Counter, at: u64, agent: &str, line: &str) -> String {
        ask_as(counter, "", at, agent, line)
    }

    /// `HEAD` or `GET`, a kind, a tag or `@digest`, the tags of that digest.
    fn ask_as(counter: &mut Counter, customer: &str, at: u64, agent: &str, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let by_digest = words[2].strip_prefix('@');
        let fetch = Fetch {
            time: Utc::from_unix(1_000_000 + at),
            client: "192.0.2.1".parse().unwrap(),
            user_agent: agent,
            customer,
            vendor: "acme",
            repository: "app",
            kind: Kind::from_name(words[1]).unwrap(),
            got: words[0] == "GET",
            tag: by_digest.is_none().then_some(words[2]),
            tags: if by_digest.is_some() { words.get(3).copied().unwrap_or("") } else { "" },
            digest: Some(digest(by_digest.or(words.get(3).copied()).unwrap_or("x"))),
        };
        match counter.count(&fetch) {
            Counted::Pull(tag) => format!("pull {tag}"),
            Counted::Again => "again".into(),
            Counted::Poll => "poll".into(),
            Counted::Attachment(kind) => kind.name().into(),
            Counted::Mirror => "mirror".into(),
            Counted::Other => "other".into(),
        }
    }

    /// Requests of one client, a second apart, and what each counts as.
    fn conversation(agent: &str, lines: &[(&str, &str)]) {
        let mut counter = Counter::default();
        for (at, (line, expected)) in lines.iter().enumerate() {
            assert_eq!(ask(&mut counter, at as u64, agent, line), *expected, "{agent}: {line}");
        }
    }

    #[test]
    fn each_client_pulls_once() {
        // Of an index, with HEAD first; its digest has another tag too.
        conversation(
            "docker/27.0 go/go1.22",
            &[
                ("HEAD index latest I", "poll"),
                ("GET index @I 1.0|latest", "pull latest"),
                ("GET manifest @amd64", "again"),
                ("GET blob @config", "other"),
            ],
        );
        conversation(
            "containers/5.34 (github.com/containers/image)",
            &[("GET index 1.0 I", "pull 1.0"), ("GET manifest @amd64", "again")],
        );
        // Has the index already, and not the platform's manifest.
        conversation(
            "containerd/2.0",
            &[("HEAD index 1.0 I", "poll"), ("GET manifest @arm64", "pull 1.0"), ("GET blob @x", "other")],
        );
        // By digest: with one tag, with two, with none, and of an index without any.
        conversation(
            "cri-o/1.30",
            &[
                ("GET manifest @one 2.0", "pull 2.0"),
                ("GET manifest @two a|b", "pull a|b"),
                ("GET index @old", "pull @"),
                ("GET manifest @amd64", "pull @"),
                ("GET manifest @amd64", "again"),
            ],
        );
        conversation("x", &[("GET manifest @alone", "pull @"), ("GET manifest @alone", "again")]);
    }

    #[test]
    fn what_comes_again_later_is_another_pull() {
        let mut counter = Counter::default();
        let line = "GET manifest 1.0 one";
        assert_eq!(ask(&mut counter, 0, "x", line), "pull 1.0");
        assert_eq!(ask(&mut counter, WINDOW, "x", line), "again");
        assert_eq!(ask(&mut counter, WINDOW, "y", line), "pull 1.0", "another program");
        assert_eq!(ask(&mut counter, WINDOW + 1, "x", line), "pull 1.0");
        // A log that goes back a little is no new pull.
        assert_eq!(ask(&mut counter, WINDOW - 5, "x", line), "again");
    }

    #[test]
    fn customers_behind_one_address_are_clients_of_their_own() {
        let mut counter = Counter::default();
        let mut of = |customer: &str, line: &str| ask_as(&mut counter, customer, 0, "skopeo/1.18", line);
        let line = "GET manifest 1.0 one";
        assert_eq!((of("bigbank", line), of("smallshop", line)), ("pull 1.0".into(), "pull 1.0".into()));
        assert_eq!((of("bigbank", line), of("smallshop", line)), ("again".into(), "again".into()));
        // A list of tags makes a mirror of the customer who requests it.
        of("bigbank", "GET tags list");
        let line = "GET manifest 2.0 two";
        assert_eq!((of("bigbank", line), of("smallshop", line)), ("mirror".into(), "pull 2.0".into()));
    }

    #[test]
    fn looks_and_attachments_are_no_pulls() {
        conversation("raas/0.1.0", &[("GET index 1.0 I", "poll")]);
        conversation("watchtower", &[("HEAD manifest 1.0 one", "poll"), ("HEAD manifest 1.0 one", "poll")]);
        conversation(
            "cosign/v2.4",
            &[
                ("GET sig sha256-x.sig s", "sig"),
                ("HEAD att sha256-x.att a", "poll"),
                ("GET referrers @x", "referrers"),
            ],
        );
    }

    #[test]
    fn mirrors_are_told_by_what_they_do_or_say() {
        conversation(
            "skopeo/1.18",
            &[("GET tags list", "other"), ("GET index 1.0 I", "mirror"), ("GET manifest @amd64", "again")],
        );
        conversation("skopeo/1.18", &[("GET index 1.0 I", "pull 1.0")]);
        conversation("harbor-registry-client", &[("GET index 1.0 I", "mirror")]);
        let mut counter = Counter::default();
        for n in 0..2 * MOST_TAGS {
            let expected = if n < MOST_TAGS { format!("pull {n}") } else { "mirror".into() };
            assert_eq!(ask(&mut counter, 0, "x", &format!("GET manifest {n} m{n}")), expected);
        }
    }
}
