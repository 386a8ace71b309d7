//! The CDN tokens and the proxy rules of a vendor's section.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use raas_server::{AkamaiToken, BaseUrl, Cdn, CdnToken, CloudFront, Origin, ProxyRules};

use super::SiteError;
use crate::config::{Delivery, KeySource, VendorSettings};
use raas_types::BucketAccess;

/// The default name of the query parameter with the token, as in Crane.
const PARAMETER: &str = "_auth_";
/// The default lifetime of a token, as in Crane.
const LIFETIME: Duration = Duration::from_secs(300);

/// The origin at a CDN. URLs have tokens if the section sets them.
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

/// The rules for bytes that the server proxies. `own` is the origin from which this machine reads the bucket. If the
/// server proxies all of a vendor's own bytes, it also proxies masked layers from the hosts in `proxy_hosts`.
pub(super) fn proxy_rules(settings: &VendorSettings, own: Option<Origin>) -> Option<ProxyRules> {
    let delivery = &settings.delivery;
    let mut repositories = delivery.proxy_repositories.clone();
    let all = settings.access == BucketAccess::Proxy || settings.s3_bucket.is_none();
    if repositories.is_empty() && all && !delivery.proxy_hosts.is_empty() {
        repositories.push("*".parse().expect("`*` is a pattern"));
    }
    let hosts = delivery.proxy_hosts.iter().cloned().collect();
    (!repositories.is_empty()).then_some(ProxyRules { repositories, origin: own, hosts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use raas_base::Secret;

    #[test]
    fn the_settings_select_the_tokens_of_a_cdn() {
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
    fn only_configured_repositories_and_hosts_are_proxied() {
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
            proxy_rules(settings, None).map(|rules| (rules.repositories.len(), rules.hosts.is_empty()))
        };
        assert_eq!(count(&settings(BucketAccess::Presigned, &[], &[])), None);
        assert_eq!(count(&settings(BucketAccess::Presigned, &["app", "tools/*"], &[])), Some((2, true)));
        assert_eq!(count(&settings(BucketAccess::Proxy, &[], &["cdn.example.com"])), Some((1, false)));
        assert_eq!(count(&settings(BucketAccess::Proxy, &["app"], &["cdn.example.com"])), Some((1, false)));
    }
}
