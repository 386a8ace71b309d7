//! A CDN's tokens, and what is passed on, of what a vendor's section says.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use raas_server::{AkamaiToken, BaseUrl, Cdn, CdnToken, CloudFront, Origin, ProxyRules};

use super::SiteError;
use crate::config::{Delivery, KeySource, VendorSettings};
use raas_types::BucketAccess;

/// What Crane has for a parameter and a lifetime that nobody sets.
const PARAMETER: &str = "_auth_";
const LIFETIME: Duration = Duration::from_secs(300);

/// What is at a CDN, with tokens if it asks for them.
pub(super) fn cdn(base: BaseUrl, delivery: &Delivery) -> Result<Origin, SiteError> {
    let token = if let Some(secret) = &delivery.akamai_secret {
        CdnToken::Akamai(AkamaiToken::new(
            secret.expose(),
            delivery.akamai_param.as_deref().unwrap_or(PARAMETER),
            delivery.akamai_ttl.unwrap_or(LIFETIME),
            delivery.akamai_algorithm,
        )?)
    } else if let (Some(id), Some(key)) = (&delivery.cloudfront_key_id, &delivery.cloudfront_key) {
        CdnToken::CloudFront(match key {
            KeySource::Pem(pem) => CloudFront::new(id, pem.expose())?,
            KeySource::File(file) => {
                let pem = fs::read_to_string(file);
                let path = || file.display().to_string();
                CloudFront::new(id, &pem.map_err(|error| SiteError::Key { path: path(), error })?)?
            }
        })
    } else {
        return Ok(Origin::Open(base));
    };
    Ok(Origin::Cdn(Arc::new(Cdn::new(base, token)?)))
}

/// What is passed on, from where this machine reads the bucket itself. If all of a vendor's own bytes come through the
/// server, so do masked layers from the hosts that are named.
pub(super) fn passing(settings: &VendorSettings, own: Option<Origin>) -> Option<ProxyRules> {
    let delivery = &settings.delivery;
    let mut repositories = delivery.proxy_repositories.clone();
    let all = settings.access == BucketAccess::Proxy || settings.s3_bucket.is_none();
    if repositories.is_empty() && all && !delivery.proxy_hosts.is_empty() {
        repositories.push("*".parse().expect("it stands for all"));
    }
    let hosts = delivery.proxy_hosts.iter().cloned().collect();
    (!repositories.is_empty()).then_some(ProxyRules { repositories, origin: own, hosts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use raas_base::Secret;

    #[test]
    fn a_cdn_has_the_tokens_that_are_set() {
        let base = || BaseUrl::parse("https://cdn.example.com/x").unwrap();
        assert_eq!(cdn(base(), &Delivery::default()).unwrap(), Origin::Open(base()));
        let akamai = Delivery { akamai_secret: Some(Secret::new("abc123")), ..Delivery::default() };
        let expected = AkamaiToken::new("abc123", "_auth_", LIFETIME, Default::default()).unwrap();
        let expected = Cdn::new(base(), CdnToken::Akamai(expected)).unwrap();
        assert_eq!(cdn(base(), &akamai).unwrap(), Origin::Cdn(Arc::new(expected)));
        let of = |key| Delivery {
            cloudfront_key_id: Some("K2".into()),
            cloudfront_key: Some(key),
            ..Delivery::default()
        };
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../raas-server/tests/data/cloudfront-ec.pem");
        let pem = fs::read_to_string(file).unwrap();
        let from_file = cdn(base(), &of(KeySource::File(file.into()))).unwrap();
        assert_eq!(from_file, cdn(base(), &of(KeySource::Pem(Secret::new(pem)))).unwrap());
        let missing = cdn(base(), &of(KeySource::File("/nonexistent/k.pem".into()))).unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/k.pem"), "{missing}");
    }

    #[test]
    fn what_is_passed_on_is_what_is_named() {
        let settings = |access, repositories: &[&str], hosts: &[&str]| VendorSettings {
            access,
            s3_bucket: Some("b".into()),
            delivery: Delivery {
                proxy_repositories: repositories.iter().map(|r| r.parse().unwrap()).collect(),
                proxy_hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
                ..Delivery::default()
            },
            ..VendorSettings::default()
        };
        let count = |settings: &VendorSettings| {
            passing(settings, None).map(|passing| (passing.repositories.len(), passing.hosts.is_empty()))
        };
        assert_eq!(count(&settings(BucketAccess::Presigned, &[], &[])), None);
        assert_eq!(count(&settings(BucketAccess::Presigned, &["app", "tools/*"], &[])), Some((2, true)));
        assert_eq!(count(&settings(BucketAccess::Proxy, &[], &["cdn.example.com"])), Some((1, false)));
        assert_eq!(count(&settings(BucketAccess::Proxy, &["app"], &["cdn.example.com"])), Some((1, false)));
    }
}
