//! The places of documents and manifests in the metadata tree, which git records and servers read.
//!
//! ```text
//! crane/data/<image>.json                      version 4 document: what today's clients pull
//! crane/data/<image>/_v1.json                  version 1 document: what Docker v1 clients pull
//! crane/data/<image>/_manifests/sha256/<hex>   a manifest's exact bytes
//! crane/data/+operator/<image>.json            the same two documents for the operator's own repositories, published
//! crane/data/+operator/<image>/_v1.json          beside the vendor's; their manifests lie with all others
//! crane/data/_access/protected                 the patterns of repositories that are born protected
//! crane/data/_access/customers/<customer>      a customer: the granted repositories, and hashes of the keys
//! revision                                     in a checkout only: the commit that it holds, written last
//! ```
//!
//! No part of a repository name begins with `_` or `+`, so files of two repositories never have the same path. A legacy
//! Crane takes every `.json` file of the tree, so it reads both documents and leaves the manifests.

use crate::access::CustomerName;
use crate::{Digest, RepositoryName};

/// The folder of all documents, as in Crane's own installations.
pub const DATA: &str = "crane/data";

/// The file of a checkout with the id of its commit.
pub const REVISION: &str = "revision";

/// The file of a checkout that exists while a run changes the files.
pub const UNFINISHED: &str = "unfinished";

/// Whether a path is a checkout's own file, the `.new` file with its next content, or a path below one of these. No
/// file of a commit may have such a path.
pub fn is_of_checkout(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or(path);
    [REVISION, UNFINISHED].contains(&first.strip_suffix(".new").unwrap_or(first))
}

/// The path of a repository's version 4 document.
pub fn document(repository: &RepositoryName) -> String {
    format!("{DATA}/{repository}.json")
}

/// The path of a repository's version 1 document.
pub fn v1_document(repository: &RepositoryName) -> String {
    format!("{DATA}/{repository}/_v1.json")
}

/// The folder of the operator's documents, ending in a slash.
pub const OPERATOR: &str = "crane/data/+operator/";

/// The path of the operator's version 4 document of a repository.
pub fn operators_document(repository: &RepositoryName) -> String {
    format!("{OPERATOR}{repository}.json")
}

/// The path of the operator's version 1 document of a repository.
pub fn operators_v1_document(repository: &RepositoryName) -> String {
    format!("{OPERATOR}{repository}/_v1.json")
}

/// Whether the path is one of the operator's documents.
pub fn is_operators(path: &str) -> bool {
    path.starts_with(OPERATOR)
}

/// The folder of the files that say who may read protected repositories, ending in a slash.
pub const ACCESS: &str = "crane/data/_access/";

/// Whether the path is a file that says who may read protected repositories.
pub fn is_access(path: &str) -> bool {
    path.starts_with(ACCESS)
}

/// The file with the patterns of protected repositories. Its name does not end in `.json`, so a legacy Crane does not
/// take it for a document.
pub const PROTECTED: &str = "crane/data/_access/protected";

/// The folder of customers, ending in a slash.
pub const CUSTOMERS: &str = "crane/data/_access/customers/";

/// The path of a customer's file.
pub fn customer(name: &CustomerName) -> String {
    format!("{CUSTOMERS}{name}")
}

/// The customer whose file this is. `None` for any other path.
pub fn customer_of(path: &str) -> Option<CustomerName> {
    path.strip_prefix(CUSTOMERS)?.parse().ok()
}

/// The folder of a repository's manifests, ending in a slash.
pub fn manifests(repository: &RepositoryName) -> String {
    format!("{DATA}/{repository}/_manifests/sha256/")
}

/// The path of a manifest's bytes.
pub fn manifest(repository: &RepositoryName, digest: &Digest) -> String {
    format!("{}{}", manifests(repository), digest.hex())
}
