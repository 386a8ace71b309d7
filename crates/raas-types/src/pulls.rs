//! What counts as a pull: one rule, for the server's metrics and for whoever reads its access log.
//!
//! A pull is a manifest that was given to somebody with GET, once for each client and tag within [`WINDOW`]. Docker and
//! containerd ask with HEAD for a tag and then with GET for the digest that it has; podman and skopeo ask with GET for
//! the tag; of an index, all of them ask for the platform's manifest next, by its digest. Each of these is one pull of
//! the tag. What is asked for with HEAD alone is a look, and what is attached to images, and what mirrors take, is
//! counted apart.
//!
//! A client is an address with a `User-Agent`: many machines behind one address that run the same program are one.

mod kind;
mod recent;

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

pub use kind::{Kind, is_mirror};
use recent::Recent;

use crate::{Digest, Utc};

/// How long, in seconds, what a client asks for again is part of the same pull.
pub const WINDOW: u64 = 600;

/// Who asks for manifests under more tags of one repository than this, within [`WINDOW`], copies it.
pub const MOST_TAGS: u32 = 16;

/// The label of a pull by a digest that has no tag.
pub const UNTAGGED: &str = "@";

/// A request that was answered well.
#[derive(Debug, Clone, Copy)]
pub struct Fetch<'a> {
    /// When.
    pub time: Utc,
    /// From where.
    pub client: IpAddr,
    /// With what; empty if the client does not say.
    pub user_agent: &'a str,
    /// Whose registry.
    pub vendor: &'a str,
    /// Of which repository.
    pub repository: &'a str,
    /// What it was for.
    pub kind: Kind,
    /// Whether the client got it: GET and a whole answer, not HEAD, nor that it has it already.
    pub got: bool,
    /// The tag that it was asked for by, if it was.
    pub tag: Option<&'a str>,
    /// The tags that it has, `a|b`, if it was asked for by its digest; empty if it has none.
    pub tags: &'a str,
    /// The manifest's digest.
    pub digest: Option<Digest>,
}

/// What a request is counted as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted<'a> {
    /// A pull of a tag; of several, `a|b`, if only the digest was said and it has those; of [`UNTAGGED`] if it has
    /// none.
    Pull(Cow<'a, str>),
    /// Part of a pull that was counted.
    Again,
    /// A look: whether there is something new.
    Poll,
    /// Something that is attached to an image.
    Attachment(Kind),
    /// As a pull, by somebody who copies the repository.
    Mirror,
    /// Nothing of these.
    Other,
}

/// What is known of a client and one repository.
#[derive(Debug, Default)]
struct Visit {
    /// When the client asked for the list of tags.
    listed: Option<Utc>,
    /// The tag of the manifest that it asked for last.
    last: Option<Box<str>>,
    /// How many tags it has got manifests of, and since when that is counted.
    tags: (u32, Option<Utc>),
}

/// Counts. What it remembers is bounded: of very many clients at once the oldest are forgotten, and what they ask for
/// then is counted once more.
#[derive(Debug, Default)]
pub struct Counter {
    hasher: RandomState,
    visits: Recent<Visit>,
    /// For a client, a repository and a digest: the tag that the client knows it by.
    names: Recent<Box<str>>,
    /// What was counted, for a client, a repository and a tag.
    counted: Recent<()>,
}

impl Counter {
    /// Counts a request. Those of a client should come in their order.
    pub fn count<'a>(&mut self, fetch: &Fetch<'a>) -> Counted<'a> {
        let who = (fetch.client, fetch.user_agent, fetch.vendor, fetch.repository);
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
        // Digests that have no tag have nothing else that tells them apart.
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

    /// The tag that a manifest is asked for by, whatever the client says.
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
            // An index is never a part of another in practice; a manifest without a tag is one of an index.
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

    /// `HEAD` or `GET`, a kind, a tag or `@digest`, the tags of that digest.
    fn ask(counter: &mut Counter, at: u64, agent: &str, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        let by_digest = words[2].strip_prefix('@');
        let fetch = Fetch {
            time: Utc::from_unix(1_000_000 + at),
            client: "192.0.2.1".parse().unwrap(),
            user_agent: agent,
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
