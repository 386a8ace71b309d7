//! Repositories whose bytes the server passes on, while it sends clients elsewhere for the rest: for those who reach
//! nothing but the registry.

use std::collections::BTreeSet;

use hyper::Uri;
use raas_types::{HostName, RepositoryName, RepositoryPattern};

use crate::origin::Origin;

/// What is passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passing {
    /// The repositories.
    pub repositories: Vec<RepositoryPattern>,
    /// Where the server takes their objects from, if clients are sent to a bucket for the rest.
    pub origin: Option<Origin>,
    /// The hosts that masked layers are taken from. Metadata names them, and a server must not fetch whatever that
    /// says: it may reach what its clients may not.
    pub hosts: BTreeSet<HostName>,
}

impl Passing {
    /// Whether this repository's bytes are passed on.
    pub(crate) fn has(&self, repository: &RepositoryName) -> bool {
        self.repositories.iter().any(|pattern| pattern.matches(repository))
    }

    /// Whether the server may take something from this URL.
    pub(crate) fn may_ask(&self, url: &str) -> bool {
        let Ok(uri) = url.parse::<Uri>() else { return false };
        // With a user in it, the host may be another than it looks like.
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let host = authority.and_then(|authority| authority.host().parse::<HostName>().ok());
        host.is_some_and(|host| self.hosts.contains(&host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_the_operator_names_are_asked() {
        let passing = Passing {
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
            assert_eq!(passing.may_ask(url), expected, "{url}");
        }
    }
}
