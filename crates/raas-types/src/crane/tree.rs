//! Where documents and manifests lie in the metadata tree: what git records and what a server reads.
//!
//! ```text
//! crane/data/<image>.json                      version 4 document: what today's clients pull
//! crane/data/<image>/_v1.json                  version 1 document: what Docker v1 clients pull
//! crane/data/<image>/_manifests/sha256/<hex>   a manifest's exact bytes
//! crane/data/+operator/<image>.json            the same two documents of the operator's own repositories, which
//! crane/data/+operator/<image>/_v1.json          are published beside the vendor's; their manifests lie with all others
//! revision                                     in a checkout only: the commit that it holds, written last
//! ```
//!
//! No repository name has a part that begins with `_` or `+`, so nothing here can meet another repository's files; a
//! legacy Crane reads both documents, since it takes every `.json` file of the tree, and leaves the manifests.

use crate::{Digest, RepositoryName};

/// The folder that holds all documents, as Crane's own installations have it.
pub const DATA: &str = "crane/data";

/// The file of a checkout that tells which commit it holds.
pub const REVISION: &str = "revision";

/// The path of a repository's version 4 document.
pub fn document(repository: &RepositoryName) -> String {
    format!("{DATA}/{repository}.json")
}

/// The path of a repository's version 1 document.
pub fn v1_document(repository: &RepositoryName) -> String {
    format!("{DATA}/{repository}/_v1.json")
}

/// The folder of the documents that are the operator's, ending in a slash.
pub const OPERATOR: &str = "crane/data/+operator/";

/// The path of the operator's version 4 document of a repository.
pub fn operators_document(repository: &RepositoryName) -> String {
    format!("{OPERATOR}{repository}.json")
}

/// The path of the operator's version 1 document of a repository.
pub fn operators_v1_document(repository: &RepositoryName) -> String {
    format!("{OPERATOR}{repository}/_v1.json")
}

/// Whether a document is the operator's, by its path.
pub fn is_operators(path: &str) -> bool {
    path.starts_with(OPERATOR)
}

/// The folder of a repository's manifests, ending in a slash.
pub fn manifests(repository: &RepositoryName) -> String {
    format!("{DATA}/{repository}/_manifests/sha256/")
}

/// The path of a manifest's bytes.
pub fn manifest(repository: &RepositoryName, digest: &Digest) -> String {
    format!("{}{}", manifests(repository), digest.hex())
}
