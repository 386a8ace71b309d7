//! Parses the path of a request, once.
//!
//! Names and tags stay text. They are only looked up in the catalog, whose keys are valid. If a name is not found, it
//! is checked, so that an invalid name and an unknown name get different errors. No path on disk is ever made from
//! them.

use std::str::FromStr;

use raas_types::{Digest, DigestError, ImageId, V1File};

/// The API of a path. It decides the form of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    /// Docker's v1: text.
    V1,
    /// Docker's v2 and OCI, and the tokens for it: JSON.
    V2,
    /// Everything else: text.
    Plain,
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    /// `/-/healthz`: whether the process runs.
    Health,
    /// `/-/readyz`: whether it can answer.
    Ready,
    /// `/-/revision`: the commit that the site serves.
    Revision,
    /// `/-/metadata`: the commit, and why nothing newer is served.
    Metadata,
    /// `/token`: a token for a user, a customer or a guest.
    Token,
    /// `/`: the page for people.
    Page,
    /// `/feed.atom`: the last publications.
    Feed,
    /// `/crane/repositories[/v1]` and `/crane/repositories/v2`: Crane's own lists.
    Crane {
        /// Whether it is the list of the v2 API.
        v2: bool,
    },
    /// Docker's v1.
    V1(V1<'a>),
    /// Docker's v2 and OCI.
    V2(V2<'a>),
    /// No such path.
    Unknown(Api),
}

/// A path of Docker's v1 API.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum V1<'a> {
    /// `/v1/_ping`
    Ping,
    /// `/v1/users`
    Users,
    /// `/v1/search`
    Search,
    /// `/v1/repositories/<name>/images`
    Images(&'a str),
    /// `/v1/repositories/<name>/tags`
    Tags(&'a str),
    /// `/v1/repositories/<name>/tags/<tag>`
    Tag(&'a str, &'a str),
    /// `/v1/images/<id>/{layer,json,ancestry}`
    File(ImageId, V1File),
}

/// A path of Docker's v2 API.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum V2<'a> {
    /// `/v2/`
    Base,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/tags/list`
    Tags(&'a str),
    /// `/v2/<name>/manifests/<tag>`
    Tag(&'a str, &'a str),
    /// `/v2/<name>/manifests/<digest>`
    Manifest(&'a str, Result<Digest, DigestError>),
    /// `/v2/<name>/blobs/<digest>`
    Blob(&'a str, Result<Digest, DigestError>),
    /// `/v2/<name>/referrers/<digest>`
    Referrers(&'a str, Result<Digest, DigestError>),
    /// `/extensions/v2/<name>/signatures/<digest>`, outside of `/v2/`
    Signatures(&'a str, Result<Digest, DigestError>),
    /// `/v2/<name>/blobs/uploads/…`, where clients begin a push
    Upload,
}

impl<'a> V2<'a> {
    /// The name of the repository in the path.
    pub(crate) fn name(&self) -> Option<&'a str> {
        match self {
            V2::Base | V2::Catalog | V2::Upload => None,
            V2::Tags(name)
            | V2::Tag(name, _)
            | V2::Manifest(name, _)
            | V2::Blob(name, _)
            | V2::Signatures(name, _)
            | V2::Referrers(name, _) => Some(name),
        }
    }
}

impl Route<'_> {
    /// The API of the path.
    pub(crate) fn api(&self) -> Api {
        match self {
            Route::V1(_) => Api::V1,
            // Clients parse the errors of `/token` as those of v2.
            Route::V2(_) | Route::Token => Api::V2,
            Route::Unknown(api) => *api,
            Route::Health
            | Route::Ready
            | Route::Revision
            | Route::Metadata
            | Route::Page
            | Route::Feed
            | Route::Crane { .. } => Api::Plain,
        }
    }
}

impl Route<'_> {
    /// The path without what it names. None for a path that is no route.
    pub(crate) fn template(&self) -> Option<&'static str> {
        Some(match self {
            Route::Health => "/-/healthz",
            Route::Ready => "/-/readyz",
            Route::Revision => "/-/revision",
            Route::Metadata => "/-/metadata",
            Route::Token => "/token",
            Route::Page => "/",
            Route::Feed => "/feed.atom",
            Route::Crane { v2: false } => "/crane/repositories",
            Route::Crane { v2: true } => "/crane/repositories/v2",
            Route::V1(V1::Ping) => "/v1/_ping",
            Route::V1(V1::Users) => "/v1/users",
            Route::V1(V1::Search) => "/v1/search",
            Route::V1(V1::Images(_)) => "/v1/repositories/{name}/images",
            Route::V1(V1::Tags(_)) => "/v1/repositories/{name}/tags",
            Route::V1(V1::Tag(..)) => "/v1/repositories/{name}/tags/{tag}",
            Route::V1(V1::File(..)) => "/v1/images/{id}/{file}",
            Route::V2(V2::Base) => "/v2/",
            Route::V2(V2::Catalog) => "/v2/_catalog",
            Route::V2(V2::Tags(_)) => "/v2/{name}/tags/list",
            Route::V2(V2::Tag(..)) => "/v2/{name}/manifests/{tag}",
            Route::V2(V2::Manifest(..)) => "/v2/{name}/manifests/{digest}",
            Route::V2(V2::Blob(..)) => "/v2/{name}/blobs/{digest}",
            Route::V2(V2::Referrers(..)) => "/v2/{name}/referrers/{digest}",
            Route::V2(V2::Signatures(..)) => "/extensions/v2/{name}/signatures/{digest}",
            Route::V2(V2::Upload) => "/v2/{name}/blobs/uploads/",
            Route::Unknown(_) => return None,
        })
    }
}

/// The API of a path that is not decoded.
pub(crate) fn api(path: &str) -> Api {
    let under =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if under("/v2") || under("/extensions/v2") {
        Api::V2
    } else if under("/v1") {
        Api::V1
    } else {
        Api::Plain
    }
}

/// Parses a decoded path.
pub(crate) fn parse(path: &str) -> Route<'_> {
    if let Some(rest) = path.strip_prefix("/v2/") {
        return v2(rest).map_or(Route::Unknown(Api::V2), Route::V2);
    }
    if let Some(rest) = path.strip_prefix("/v1/") {
        return v1(rest).map_or(Route::Unknown(Api::V1), Route::V1);
    }
    if let Some(rest) = path.strip_prefix("/extensions/v2/") {
        return signatures(rest).map_or(Route::Unknown(Api::V2), Route::V2);
    }
    // Crane accepts a slash at the end.
    match path.strip_prefix("/crane/").map(|rest| rest.strip_suffix('/').unwrap_or(rest)) {
        Some("repositories" | "repositories/v1") => return Route::Crane { v2: false },
        Some("repositories/v2") => return Route::Crane { v2: true },
        _ => {}
    }
    match path {
        "/" => Route::Page,
        "/feed.atom" => Route::Feed,
        "/v2" => Route::V2(V2::Base),
        "/token" => Route::Token,
        "/-/healthz" => Route::Health,
        "/-/readyz" => Route::Ready,
        "/-/revision" => Route::Revision,
        "/-/metadata" => Route::Metadata,
        _ => Route::Unknown(api(path)),
    }
}

/// Parses a path of the v2 API. In each path the keyword is the last but one segment. So a repository may have keywords
/// in its own name, and a tag may be called `tags`.
fn v2(rest: &str) -> Option<V2<'_>> {
    match rest {
        "" => return Some(V2::Base),
        "_catalog" => return Some(V2::Catalog),
        _ => {}
    }
    let (before, argument) = rsplit_once(rest)?;
    let (name, word) = rsplit_once(before)?;
    Some(match word {
        "manifests" if argument.contains(':') => V2::Manifest(name, Digest::from_str(argument)),
        "manifests" => V2::Tag(name, argument),
        // `uploads` is not a digest.
        "blobs" if argument == "uploads" => V2::Upload,
        "blobs" => V2::Blob(name, Digest::from_str(argument)),
        "tags" if argument == "list" => V2::Tags(name),
        "referrers" => V2::Referrers(name, Digest::from_str(argument)),
        "uploads" if name.ends_with("/blobs") => V2::Upload,
        _ => return None,
    })
}

/// Parses a path of the extension for signatures. Source: OpenShift's registry.
fn signatures(rest: &str) -> Option<V2<'_>> {
    let (before, digest) = rsplit_once(rest)?;
    match rsplit_once(before)? {
        (name, "signatures") => Some(V2::Signatures(name, Digest::from_str(digest))),
        _ => None,
    }
}

/// Splits a path at its last slash. memchr is faster than the standard library here, because digests are long.
fn rsplit_once(path: &str) -> Option<(&str, &str)> {
    let at = memchr::memrchr(b'/', path.as_bytes())?;
    Some((&path[..at], &path[at + 1..]))
}

fn v1(rest: &str) -> Option<V1<'_>> {
    match rest {
        "_ping" => return Some(V1::Ping),
        "users" | "users/" => return Some(V1::Users),
        "search" => return Some(V1::Search),
        _ => {}
    }
    if let Some(image) = rest.strip_prefix("images/") {
        let (id, file) = image.split_once('/')?;
        let file = V1File::ALL.into_iter().find(|known| known.name() == file)?;
        return Some(V1::File(id.parse().ok()?, file));
    }
    let path = rest.strip_prefix("repositories/")?;
    // Old versions of docker add `library/` to a name without a slash. Crane removes it too.
    let path = path.strip_prefix("library/").unwrap_or(path);
    let (before, last) = path.rsplit_once('/')?;
    match (before.rsplit_once('/'), last) {
        (Some((name, "tags")), tag) => Some(V1::Tag(name, tag)),
        (_, "tags") => Some(V1::Tags(before)),
        (_, "images") => Some(V1::Images(before)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_route() {
        let digest = Digest::of(b"");
        let id = "ab".repeat(32);
        let image_id: ImageId = id.parse().unwrap();
        let v1 = Route::V1;
        let v2 = Route::V2;
        let table: Vec<(String, Route<'_>)> = vec![
            ("/".into(), Route::Page),
            ("/-/healthz".into(), Route::Health),
            ("/-/readyz".into(), Route::Ready),
            ("/-/revision".into(), Route::Revision),
            ("/-/metadata".into(), Route::Metadata),
            ("/crane/repositories".into(), Route::Crane { v2: false }),
            ("/crane/repositories/".into(), Route::Crane { v2: false }),
            ("/crane/repositories/v1".into(), Route::Crane { v2: false }),
            ("/crane/repositories/v2".into(), Route::Crane { v2: true }),
            ("/crane/repositories/v3".into(), Route::Unknown(Api::Plain)),
            ("/crane".into(), Route::Unknown(Api::Plain)),
            ("/token".into(), Route::Token),
            ("/-/other".into(), Route::Unknown(Api::Plain)),
            ("/v3/".into(), Route::Unknown(Api::Plain)),
            ("/v20/".into(), Route::Unknown(Api::Plain)),
            ("".into(), Route::Unknown(Api::Plain)),
            ("//v2/".into(), Route::Unknown(Api::Plain)),
            ("/v2".into(), v2(V2::Base)),
            ("/v2/".into(), v2(V2::Base)),
            ("/v2/_catalog".into(), v2(V2::Catalog)),
            ("/v2/app/tags/list".into(), v2(V2::Tags("app"))),
            ("/v2/a/b/c/tags/list".into(), v2(V2::Tags("a/b/c"))),
            ("/v2/app/tags/list/".into(), Route::Unknown(Api::V2)),
            ("/v2/app/tags/other".into(), Route::Unknown(Api::V2)),
            ("/v2/app/manifests/1.0".into(), v2(V2::Tag("app", "1.0"))),
            ("/v2/app/manifests/tags".into(), v2(V2::Tag("app", "tags"))),
            ("/v2/app/manifests/manifests".into(), v2(V2::Tag("app", "manifests"))),
            ("/v2/a/manifests/b/manifests/1".into(), v2(V2::Tag("a/manifests/b", "1"))),
            ("/v2/a/tags/list/manifests/1".into(), v2(V2::Tag("a/tags/list", "1"))),
            ("/v2/manifests/manifests/1".into(), v2(V2::Tag("manifests", "1"))),
            ("/v2/manifests/1".into(), Route::Unknown(Api::V2)),
            ("/v2//manifests/1".into(), v2(V2::Tag("", "1"))),
            ("/v2/app//manifests/1".into(), v2(V2::Tag("app/", "1"))),
            ("/v2/../manifests/1".into(), v2(V2::Tag("..", "1"))),
            ("/v2/app/manifests/".into(), v2(V2::Tag("app", ""))),
            (format!("/v2/app/manifests/{digest}"), v2(V2::Manifest("app", Ok(digest)))),
            (format!("/v2/app/blobs/{digest}"), v2(V2::Blob("app", Ok(digest)))),
            (format!("/v2/app/referrers/{digest}"), v2(V2::Referrers("app", Ok(digest)))),
            (format!("/extensions/v2/a/b/signatures/{digest}"), v2(V2::Signatures("a/b", Ok(digest)))),
            ("/extensions/v2/app/other/1".into(), Route::Unknown(Api::V2)),
            ("/extensions/v2/app".into(), Route::Unknown(Api::V2)),
            ("/extensions".into(), Route::Unknown(Api::Plain)),
            ("/v2/app/blobs/x".into(), v2(V2::Blob("app", "x".parse()))),
            ("/v2/app/blobs/uploads".into(), v2(V2::Upload)),
            ("/v2/app/blobs/uploads/".into(), v2(V2::Upload)),
            ("/v2/a/b/blobs/uploads/5".into(), v2(V2::Upload)),
            ("/v2/app".into(), Route::Unknown(Api::V2)),
            ("/v1".into(), Route::Unknown(Api::V1)),
            ("/v1/_ping".into(), v1(V1::Ping)),
            ("/v1/users".into(), v1(V1::Users)),
            ("/v1/users/".into(), v1(V1::Users)),
            ("/v1/search".into(), v1(V1::Search)),
            ("/v1/repositories/app/images".into(), v1(V1::Images("app"))),
            ("/v1/repositories/library/app/images".into(), v1(V1::Images("app"))),
            ("/v1/repositories/a/b/c/images".into(), v1(V1::Images("a/b/c"))),
            ("/v1/repositories/a/b/tags".into(), v1(V1::Tags("a/b"))),
            ("/v1/repositories/app/tags/1.0".into(), v1(V1::Tag("app", "1.0"))),
            ("/v1/repositories/app/tags/images".into(), v1(V1::Tag("app", "images"))),
            ("/v1/repositories/images".into(), Route::Unknown(Api::V1)),
            ("/v1/repositories/app".into(), Route::Unknown(Api::V1)),
            (format!("/v1/images/{id}/layer"), v1(V1::File(image_id, V1File::Layer))),
            (format!("/v1/images/{id}/json"), v1(V1::File(image_id, V1File::Json))),
            (format!("/v1/images/{id}/ancestry"), v1(V1::File(image_id, V1File::Ancestry))),
            (format!("/v1/images/{id}/other"), Route::Unknown(Api::V1)),
            (format!("/v1/images/{id}/../json"), Route::Unknown(Api::V1)),
            ("/v1/images/../../etc/json".into(), Route::Unknown(Api::V1)),
        ];
        for (path, route) in &table {
            assert_eq!(parse(path), *route, "{path}");
        }
    }
}
