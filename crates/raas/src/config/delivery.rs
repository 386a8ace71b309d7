//! The keys of a vendor's section that say how its bytes come to clients: a CDN's tokens, and what is passed on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use raas_server::{AllowedHost, AllowedHostError, RepositoryPattern, TokenAlgorithm};
use raas_types::RepositoryPatternError;

use super::ini::{IniError, Value};
use super::sections::{text, words};
use raas_base::Secret;

/// How a vendor's bytes come to clients, where that is not said by `access` alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// `cdn_akamai_secret`: what Akamai's tokens are made with, in hex digits.
    pub(crate) akamai_secret: Option<Secret>,
    /// `cdn_akamai_param`: the parameter of the query that has the token.
    pub(crate) akamai_param: Option<String>,
    /// `cdn_akamai_ttl`: how long a token is good at least, in seconds.
    pub(crate) akamai_ttl: Option<Duration>,
    /// `cdn_akamai_algo`.
    pub(crate) akamai_algorithm: TokenAlgorithm,
    /// `cdn_cloudfront_key_id`: how CloudFront calls the public key.
    pub(crate) cloudfront_key_id: Option<String>,
    /// `cdn_cloudfront_key`: the private key.
    pub(crate) cloudfront_key: Option<KeySource>,
    /// `proxy_repositories`: whose bytes are passed on.
    pub(crate) proxy_repositories: Vec<RepositoryPattern>,
    /// `proxy_hosts`: the hosts that their masked layers are taken from, and addresses that are not public.
    pub(crate) proxy_hosts: Vec<AllowedHost>,
}

/// Where a private key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// Here, as PEM.
    Pem(Secret),
    /// In a file, which is read when the server needs it: other commands need none.
    File(PathBuf),
}

impl Delivery {
    /// Takes one of its keys.
    pub(super) fn take(&mut self, key: &str, value: &Value, folder: &Path) -> Result<(), IniError> {
        match key {
            "cdn_akamai_secret" => self.akamai_secret = Some(Secret::new(text(value)?)),
            "cdn_akamai_param" => self.akamai_param = Some(text(value)?),
            "cdn_akamai_ttl" => self.akamai_ttl = Some(seconds(value)?),
            "cdn_akamai_algo" => self.akamai_algorithm = algorithm(value)?,
            "cdn_cloudfront_key_id" => self.cloudfront_key_id = Some(text(value)?),
            "cdn_cloudfront_key" => self.cloudfront_key = Some(key_source(&text(value)?, folder)),
            "proxy_repositories" => {
                let wrong = |error: RepositoryPatternError| value.error(error.to_string());
                let read = |word: &str| word.parse().map_err(wrong);
                self.proxy_repositories = words(value).map(read).collect::<Result<_, _>>()?;
            }
            _ => {
                let wrong = |error: AllowedHostError| value.error(error.to_string());
                let read = |word: &str| word.parse().map_err(wrong);
                self.proxy_hosts = words(value).map(read).collect::<Result<_, _>>()?;
            }
        }
        Ok(())
    }

    /// What does not go together, by the key that it is about; `all` says whether all of the vendor's bytes come
    /// through the server anyway.
    pub(super) fn contradiction(&self, all: bool) -> Option<(&'static str, &'static str)> {
        let (akamai, cloudfront) = (self.akamai_secret.is_some(), self.cloudfront_key.is_some());
        let id = self.cloudfront_key_id.is_some();
        match () {
            () if akamai && (cloudfront || id) => {
                Some(("cdn_akamai_secret", "a CDN is Akamai or CloudFront, not both"))
            }
            () if cloudfront && !id => {
                Some(("cdn_cloudfront_key", "it needs `cdn_cloudfront_key_id`, how CloudFront calls the key"))
            }
            () if id && !cloudfront => {
                Some(("cdn_cloudfront_key_id", "it needs `cdn_cloudfront_key`, the private key or its file"))
            }
            () if !self.proxy_hosts.is_empty() && self.proxy_repositories.is_empty() && !all => {
                Some(("proxy_hosts", "it needs `proxy_repositories`, whose layers are passed on from there"))
            }
            () => None,
        }
    }
}

/// A PEM as it is, a path from the file's own folder.
fn key_source(text: &str, folder: &Path) -> KeySource {
    if text.starts_with("-----BEGIN") {
        KeySource::Pem(Secret::new(text))
    } else {
        KeySource::File(folder.join(text))
    }
}

/// A whole number of them, from 1 to a week.
pub(super) fn seconds(value: &Value) -> Result<Duration, IniError> {
    const WEEK: u64 = 7 * 24 * 60 * 60;
    match value.text.parse() {
        Ok(seconds @ 1..=WEEK) => Ok(Duration::from_secs(seconds)),
        _ => Err(value.error(format!("`{}` is no number of seconds from 1 to {WEEK}", value.text))),
    }
}

pub(super) fn algorithm(value: &Value) -> Result<TokenAlgorithm, IniError> {
    match value.text.to_ascii_lowercase().as_str() {
        "sha256" => Ok(TokenAlgorithm::Sha256),
        "sha1" => Ok(TokenAlgorithm::Sha1),
        "md5" => Ok(TokenAlgorithm::Md5),
        other => Err(value.error(format!("`{other}` is no algorithm: expected sha256, sha1 or md5"))),
    }
}
