//! Opens the S3 bucket of a vendor.

use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Vendor;
use raas_publish::storage::Storage;
use raas_s3::{Retries, S3, S3Options, S3Settings};
use raas_types::BucketAccess;
use raas_types::forwarding::forwards;

use crate::config::{Config, VendorSettings};
use crate::credentials::{aws_settings, proxies};

/// Whether the command can do without the bucket. Then an unanswered request fails sooner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hurry {
    Yes,
    No,
}

pub(crate) fn open(
    vendor: &Vendor,
    config: &Config,
    say: &Say,
    hurry: Hurry,
) -> Result<Box<dyn Storage>, Failure> {
    let settings = config.vendor(vendor.name());
    let (bucket, aws) = (settings_of(&settings), aws_settings(&config.aws));
    let storage = S3::new(&S3Options {
        vendor: vendor.name(),
        settings: &bucket,
        aws: &aws,
        uploads: vendor.uploads(),
        service_note: vendor.service_note(),
        proxies: proxies()?,
        retries: if hurry == Hurry::Yes { Retries::Few } else { Retries::Many },
        say,
    })?;
    if let Some(host) = storage.client_host() {
        for registry in &settings.registry_hosts {
            reject_host_below_registry(registry.as_str(), &host)?;
        }
    }
    Ok(Box::new(storage))
}

/// Opens another bucket, with a prefix of its keys, of the S3 service that the vendor's section names. Everybody may read its
/// objects.
///
/// # Errors
/// The configuration contradicts itself.
pub(crate) fn open_other(
    vendor: &Vendor,
    config: &Config,
    (bucket, prefix): (&str, Option<&str>),
    say: &Say,
) -> Result<Box<dyn Storage>, Failure> {
    let settings = VendorSettings {
        s3_bucket: Some(bucket.to_owned()),
        s3_prefix: prefix.map(str::to_owned),
        access: BucketAccess::Public,
        cdn_url: None,
        ..config.vendor(vendor.name())
    };
    let (bucket, aws) = (settings_of(&settings), aws_settings(&config.aws));
    Ok(Box::new(S3::new(&S3Options {
        vendor: vendor.name(),
        settings: &bucket,
        aws: &aws,
        uploads: vendor.static_uploads(),
        service_note: vendor.static_service_note(),
        proxies: proxies()?,
        retries: Retries::Many,
        say,
    })?))
}

fn settings_of(settings: &VendorSettings) -> S3Settings {
    S3Settings {
        bucket: settings.s3_bucket.clone().unwrap_or_default(),
        prefix: settings.s3_prefix.clone(),
        endpoint: settings.s3_endpoint.clone(),
        region: settings.s3_region.clone(),
        path_style: settings.s3_path_style,
        public_acl: settings.s3_public_acl,
        checksums: settings.s3_checksums,
        stall_timeout: settings.s3_stall_timeout,
        longest_pause: settings.s3_longest_pause,
        access: settings.access,
        cdn_url: settings.cdn_url.clone(),
    }
}

/// Rejects a bucket whose host is below the registry's host. Many clients forward the registry's credentials there, and
/// a bucket refuses requests with credentials of another service.
fn reject_host_below_registry(registry: &str, host: &str) -> Result<(), Failure> {
    if !forwards(registry, host) {
        return Ok(());
    }
    let relation = match host.eq_ignore_ascii_case(registry) {
        true => "is also the registry's host".to_owned(),
        false => format!("is below the registry's host {registry}"),
    };
    let message = format!(
        "the bucket's host {host} {relation}: docker and other Go clients would send the \
         registry's credentials to the bucket, and the bucket would refuse them"
    );
    Err(Failure::new(Kind::Usage, message)
        .hint("serve the objects from another host that is not below the registry's host"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use raas_http::ForwardProxies;
    use raas_s3::AwsSettings;

    use super::*;

    #[test]
    fn a_bucket_below_the_registrys_host_is_rejected() {
        use BucketAccess::{Cdn, Presigned, Proxy, Public};
        let (below, same) = ("https://s3.registry.acme.com", "https://registry.acme.com:9000");
        let beside = "https://s3.acme.com";
        let table = [
            (below, Presigned, None, true),
            (below, Public, None, true),
            (same, Presigned, None, true),
            ("https://S3.Registry.Acme.COM", Presigned, None, true),
            ("https://acme.com", Presigned, None, false),
            (beside, Presigned, None, false),
            ("https://badregistry.acme.com", Presigned, None, false),
            // The registry itself sends the bytes.
            (below, Proxy, None, false),
            // Clients are redirected to the CDN only.
            (below, Cdn, Some("https://cdn.acme.com"), false),
            (beside, Cdn, Some("https://cdn.registry.acme.com/x"), true),
        ];
        let aws = AwsSettings {
            access_key_id: Some("AKIAEXAMPLE".into()),
            secret_access_key: Some(raas_base::Secret::new("hunter2")),
            region: Some("us-east-1".into()),
            ..AwsSettings::default()
        };
        for (endpoint, access, cdn, refused) in table {
            let settings = settings_of(&VendorSettings {
                s3_bucket: Some("b".into()),
                s3_endpoint: Some(endpoint.into()),
                access,
                cdn_url: cdn.map(str::to_owned),
                s3_path_style: access != Public,
                ..VendorSettings::default()
            });
            let vendor = "acme".parse().unwrap();
            let options = S3Options {
                vendor: &vendor,
                settings: &settings,
                aws: &aws,
                uploads: "/dev/null/x".into(),
                service_note: "/dev/null/y".into(),
                proxies: Arc::new(ForwardProxies::none()),
                retries: Retries::Many,
                say: &Say::nothing(),
            };
            let storage = S3::new(&options).unwrap();
            let found = storage
                .client_host()
                .map_or(Ok(()), |host| reject_host_below_registry("registry.acme.com", &host));
            assert_eq!(found.is_err(), refused, "{endpoint} {access:?} {cdn:?}");
            if let (Err(failure), true) = (found, endpoint == same) {
                assert!(failure.message().contains("is also the registry's host"), "{failure}");
            }
        }
    }
}
