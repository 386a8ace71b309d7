//! Repositories whose bytes the server passes on, for customers who reach only the registry's host.

use std::collections::BTreeSet;

use hyper::Uri;
use raas_types::{HostName, RepositoryName, RepositoryPattern};

use crate::origin::Origin;

/// What the server passes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyRules {
    /// The repositories.
    pub repositories: Vec<RepositoryPattern>,
    /// Where the server fetches their objects, if other clients are redirected to the bucket.
    pub origin: Option<Origin>,
    /// The hosts that the server may fetch masked layers from. Vendors choose the locations in metadata, and the server
    /// may reach hosts that its clients must not reach.
    pub hosts: BTreeSet<HostName>,
}

impl ProxyRules {
    /// Whether the server passes on the bytes of this repository.
    pub(crate) fn covers(&self, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|pattern| pattern.matches(repository))
    }

    /// Whether the server may fetch this URL.
    pub(crate) fn allows_url(&self, url: &str) -> bool {
        let Ok(uri) = url.parse::<Uri>() else { return false };
        // A user name may hide the real host from a reader.
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let host = authority.and_then(|authority| authority.host().parse::<HostName>().ok());
        host.is_some_and(|host| self.hosts.contains(&host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_at_allowed_hosts_are_fetched() {
        let rules = ProxyRules {
            repositories: Vec::new(),
            origin: None,
            hosts: ["cdn.example.com".parse().unwrap()].into(),
        };
        let table = [
            ("https://cdn.example.com/layer", true),
            ("http://CDN.example.com:8080/layer", true),
            ("https://cdn.example.com.evil.example/layer", false),
            ("http://169.254.169.254/latest", false),
            ("https://cdn.example.com@10.0.0.1/", false),
            ("https://[::1]/", false),
            ("/layer", false),
        ];
        for (url, expected) in table {
            assert_eq!(rules.allows_url(url), expected, "{url}");
        }
    }
}
