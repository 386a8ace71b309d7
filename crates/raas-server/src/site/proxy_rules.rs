//! Repositories whose bytes the server passes on, for customers who reach only the registry's host.

use raas_types::{RepositoryName, RepositoryPattern};

use crate::http_client::AllowedHosts;
use crate::origin::Origin;

/// What the server passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyRules {
    /// The repositories.
    pub repositories: Vec<RepositoryPattern>,
    /// Where the server fetches their objects, if other clients are redirected to the bucket.
    pub origin: Option<Origin>,
    /// The hosts that the server may fetch masked layers from.
    pub hosts: AllowedHosts,
}

impl ProxyRules {
    /// Whether the server passes on the bytes of this repository.
    pub(crate) fn covers(&self, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|pattern| pattern.matches(repository))
    }

    /// Whether the server may fetch this URL.
    pub(crate) fn allows_url(&self, url: &str) -> bool {
        self.hosts.allows_url(url)
    }
}
