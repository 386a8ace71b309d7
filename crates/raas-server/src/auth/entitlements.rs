//! Entitlement certificates: client certificates of Red Hat's subscription manager that list the paths that their
//! holders may see. Crane compared these paths with the path of the `url` of a repository's document.
//!
//! Source: `EntitlementCertificate.check_path` of python-rhsm, which Crane calls. python-rhsm grants more than the
//! paths say in three cases, and raas does not:
//!
//! - A path of version 1 must match in whole segments. In python-rhsm it is the beginning of a regular expression, so
//!   `a/b` also matches `a/bc`, and `a.c` matches `abc`.
//! - A path without a segment, and a certificate without paths, grant nothing. In python-rhsm they grant everything.
//! - A path that ends in `listing` is like any other. python-rhsm grants it to everybody who may see a part of it.

use raas_types::CertificateExtension;

use super::View;
use crate::catalog::{Catalog, RepositoryKind};
use crate::route::Route;

mod bits;
mod huffman;
mod path_tree;
mod payload;

use path_tree::PathTree;

/// The object identifier of Red Hat's extensions, 1.3.6.1.4.1.2312.9, as certificates have it.
const REDHAT: [u8; 8] = [0x2b, 6, 1, 4, 1, 0x92, 0x08, 9];

/// The numbers behind it: the version of the certificate, and the paths of version 3.
const VERSION: [u8; 1] = [6];
const PAYLOAD: [u8; 1] = [7];

/// The name of the order. Of the certificates of version 1, only an entitlement has it.
const ORDER: [u8; 2] = [4, 1];

/// What an entitlement certificate grants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entitlements {
    paths: PathTree,
}

/// Why a certificate grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EntitlementError {
    #[error("it cannot be read")]
    Certificate,
    #[error("it is no entitlement certificate")]
    Other,
    #[error("it is an entitlement certificate of version {0}; this server reads versions 1 and 3")]
    Version(String),
    #[error("its list of paths cannot be read: {0}")]
    Paths(#[from] PathsError),
}

/// Why the paths of a certificate cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathsError {
    #[error("it is damaged")]
    Damaged,
    #[error("it has more than {limit} {what}", limit = .0.limit(), what = .0.name())]
    TooMany(Limited),
}

/// The things of which a list of paths may have a bounded number. A real certificate has a few thousand of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limited {
    /// The bytes of all words.
    Bytes,
    /// The nodes of the tree.
    Nodes,
    /// The edges of the tree.
    Edges,
}

impl Limited {
    const fn limit(self) -> usize {
        match self {
            Limited::Bytes => 256 * 1024,
            Limited::Nodes => 16 * 1024,
            Limited::Edges => 64 * 1024,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Limited::Bytes => "bytes of words",
            Limited::Nodes => "nodes",
            Limited::Edges => "edges",
        }
    }

    /// Checks that there are not too many.
    fn check(self, count: usize) -> Result<(), PathsError> {
        if count <= self.limit() { Ok(()) } else { Err(PathsError::TooMany(self)) }
    }
}

impl Entitlements {
    /// Reads a certificate in DER.
    pub(super) fn of(certificate: &[u8]) -> Result<Self, EntitlementError> {
        let all = CertificateExtension::all_of(certificate).ok_or(EntitlementError::Certificate)?;
        let own: Vec<(&[u8], &CertificateExtension<'_>)> =
            all.iter().filter_map(|one| Some((one.id.strip_prefix(&REDHAT)?, one))).collect();
        let find = |id: &[u8]| own.iter().find(|(own, _)| *own == id).map(|(_, one)| *one);
        let paths = match find(&VERSION) {
            None => listed(&own)?,
            Some(version) => {
                let text =
                    version.string().and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
                match text.split('.').next().unwrap_or_default() {
                    "1" => listed(&own)?,
                    "3" => {
                        let payload = find(&PAYLOAD).ok_or(EntitlementError::Other)?;
                        payload::read(payload.string().ok_or(PathsError::Damaged)?)?
                    }
                    _ => return Err(EntitlementError::Version(text.chars().take(20).collect())),
                }
            }
        };
        Ok(Self { paths })
    }

    /// Whether a path begins with a granted path.
    pub(crate) fn grant(&self, path: &str) -> bool {
        self.paths.covers(&segments(path))
    }

    /// The catalog for a request. `public` is the catalog that everybody sees.
    pub(crate) fn view(&self, route: &Route<'_>, public: &Catalog) -> View {
        let whole = public.whole();
        View::of(route, public, |name, kind: RepositoryKind| {
            whole.url_path(name, kind).is_some_and(|path| self.grant(path))
        })
    }
}

/// The paths of a certificate of version 1: one in each extension 2.….1.6.
fn listed(own: &[(&[u8], &CertificateExtension<'_>)]) -> Result<PathTree, EntitlementError> {
    if !own.iter().any(|(id, _)| **id == ORDER) {
        return Err(EntitlementError::Other);
    }
    let is_path = |id: &[u8]| match id {
        // The byte before ends a number: only the last byte of a number is below 128.
        [2, .., before, 1, 6] => *before < 0x80,
        [2, 1, 6] => true,
        _ => false,
    };
    let mut paths = Vec::new();
    for (_, extension) in own.iter().filter(|(id, _)| is_path(id)) {
        let text = extension.string().and_then(|text| std::str::from_utf8(text).ok());
        paths.push(segments(text.ok_or(PathsError::Damaged)?));
    }
    Ok(PathTree::of_paths(&paths)?)
}

/// The segments of a path, without `.`, `..` and empty ones.
fn segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => _ = segments.pop(),
            segment => segments.push(segment),
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_compared_without_its_detours() {
        assert_eq!(segments("//a/./b//../c/"), ["a", "c"]);
        assert_eq!(segments("/../a"), ["a"]);
        assert!(segments("/").is_empty() && segments("").is_empty());
    }
}
