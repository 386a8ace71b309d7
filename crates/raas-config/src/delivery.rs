//! How a vendor's bytes reach clients: tokens of a CDN, and what the server proxies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use raas_base::Secret;
use raas_server::{AllowedHost, TokenAlgorithm};
use raas_types::RepositoryPattern;

/// How a vendor's bytes reach clients, beyond `access`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The key of Akamai's tokens, in hex digits.
    pub akamai_secret: Option<Secret>,
    /// The query parameter that carries the token.
    pub akamai_param: Option<String>,
    /// How long a token is valid at least.
    pub akamai_ttl: Option<Duration>,
    /// The hash of a token.
    pub akamai_algorithm: TokenAlgorithm,
    /// The id of the public key at CloudFront.
    pub cloudfront_key_id: Option<String>,
    /// The private key of that id.
    pub cloudfront_key: Option<KeySource>,
    /// The repositories whose bytes the server proxies.
    pub proxy_repositories: Vec<RepositoryPattern>,
    /// The hosts that the server may fetch masked layers of these repositories from, and the addresses that it may
    /// connect to although they are not public.
    pub proxy_hosts: Vec<AllowedHost>,
}

/// Where a private key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// In the configuration, as PEM.
    Pem(Secret),
    /// In a file. Only a server reads it: other commands need no key.
    File(PathBuf),
}

impl KeySource {
    /// A PEM, or a path. A relative path starts at `folder`.
    pub(crate) fn new(text: &str, folder: &Path) -> Self {
        if text.starts_with("-----BEGIN") {
            Self::Pem(Secret::new(text))
        } else {
            Self::File(folder.join(text))
        }
    }
}

impl Delivery {
    /// The first contradiction between keys: the key to report, and the message. `proxies_all` says whether the server
    /// proxies all bytes of the vendor anyway.
    pub(crate) fn contradiction(&self, proxies_all: bool) -> Option<(&'static str, &'static str)> {
        let (akamai, cloudfront) = (self.akamai_secret.is_some(), self.cloudfront_key.is_some());
        let id = self.cloudfront_key_id.is_some();
        match () {
            () if akamai && (cloudfront || id) => {
                Some(("cdn_akamai_secret", "a CDN is Akamai or CloudFront, not both"))
            }
            () if cloudfront && !id => Some((
                "cdn_cloudfront_key",
                "it needs `cdn_cloudfront_key_id`, the id of the key at CloudFront",
            )),
            () if id && !cloudfront => {
                Some(("cdn_cloudfront_key_id", "it needs `cdn_cloudfront_key`, the private key or its file"))
            }
            () if !self.proxy_hosts.is_empty() && self.proxy_repositories.is_empty() && !proxies_all => {
                Some(("proxy_hosts", "it needs `proxy_repositories`, whose layers come from there"))
            }
            () => None,
        }
    }
}
