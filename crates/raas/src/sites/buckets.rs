//! Makes the buckets of sites from the vendors' settings.

use std::sync::Arc;

use raas_server::{AddressError, BaseUrl, Bucket, CredentialSource, Origin, S3Location, Signer};

use super::{SiteError, delivery};
use crate::config::{Aws, VendorSettings};
use raas_types::BucketAccess;

/// Makes buckets from settings.
#[derive(Debug)]
pub(crate) struct Buckets {
    aws: Aws,
    credentials: Arc<dyn CredentialSource>,
}

impl Buckets {
    /// All buckets use the settings of `[aws]` and these credentials.
    pub(crate) fn new(aws: &Aws, credentials: Arc<dyn CredentialSource>) -> Self {
        Self { aws: aws.clone(), credentials }
    }

    /// A region and a key for tests.
    #[cfg(test)]
    pub(crate) fn example() -> Self {
        let key = raas_server::Credentials {
            access_key_id: "KEY".into(),
            secret_access_key: "secret".into(),
            session_token: None,
            expires: None,
        };
        Self::new(&Aws { region: Some("eu-west-1".into()), ..Aws::default() }, Arc::new(Arc::new(key)))
    }

    /// The vendor's bucket. `None` if the settings name none.
    pub(super) fn bucket(&self, settings: &VendorSettings) -> Result<Option<Bucket>, SiteError> {
        let Some(bucket) = &settings.s3_bucket else { return Ok(None) };
        let location = self.location(settings, bucket);
        Ok(Some(match settings.access {
            BucketAccess::Presigned => Bucket::Redirect(Origin::Signed(self.signer(&location)?)),
            BucketAccess::Public => Bucket::Redirect(Origin::Open(location.base_url()?)),
            BucketAccess::Cdn => Bucket::Redirect(delivery::cdn(cdn(settings)?, &settings.delivery)?),
            BucketAccess::Proxy => Bucket::Proxy(Origin::Signed(self.signer(&location)?)),
        }))
    }

    /// The origin from which this machine reads the vendor's bucket. `None` if the settings name no bucket.
    pub(super) fn own(&self, settings: &VendorSettings) -> Result<Option<Origin>, AddressError> {
        settings.s3_bucket.as_ref().map(|bucket| self.origin(settings, bucket)).transpose()
    }

    /// The origin of the metadata in the bucket. Requests for it are signed, since not even `access = public` lets
    /// everybody read it. A server of such a bucket without any credentials reads it unsigned: the operator must have
    /// opened it.
    pub(super) fn metadata(&self, settings: &VendorSettings, bucket: &str) -> Result<Origin, AddressError> {
        if settings.access == BucketAccess::Public && self.credentials.current().is_err() {
            return Ok(Origin::Open(self.location(settings, bucket).base_url()?));
        }
        Ok(Origin::Signed(self.signer(&self.location(settings, bucket))?))
    }

    /// The origin from which this machine reads the bucket.
    fn origin(&self, settings: &VendorSettings, bucket: &str) -> Result<Origin, AddressError> {
        let location = self.location(settings, bucket);
        Ok(match settings.access {
            BucketAccess::Public => Origin::Open(location.base_url()?),
            BucketAccess::Presigned | BucketAccess::Cdn | BucketAccess::Proxy => {
                Origin::Signed(self.signer(&location)?)
            }
        })
    }

    fn location(&self, settings: &VendorSettings, bucket: &str) -> S3Location {
        location(&self.aws, settings, bucket)
    }

    fn signer(&self, location: &S3Location) -> Result<Arc<Signer>, AddressError> {
        Ok(Arc::new(Signer::new(location, Arc::clone(&self.credentials))?))
    }
}

/// The location of a bucket.
pub(super) fn location(aws: &Aws, settings: &VendorSettings, bucket: &str) -> S3Location {
    let environment = || {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        set("AWS_REGION").or_else(|| set("AWS_DEFAULT_REGION"))
    };
    let region = settings.s3_region.clone().or_else(|| aws.region.clone()).or_else(environment);
    S3Location {
        endpoint: settings.s3_endpoint.clone(),
        // The region that services without regions expect.
        region: region.unwrap_or_else(|| "us-east-1".to_owned()),
        bucket: bucket.to_owned(),
        prefix: settings.s3_prefix.clone(),
        path_style: settings.s3_path_style,
    }
}

/// The base URL at the CDN. The CDN's paths are the bucket's keys, with the prefix.
pub(super) fn cdn(settings: &VendorSettings) -> Result<BaseUrl, AddressError> {
    let base = settings.cdn_url.as_deref().unwrap_or_default();
    match settings.s3_prefix.as_deref() {
        Some(prefix) if !prefix.is_empty() => BaseUrl::parse(&format!("{base}/{prefix}")),
        _ => BaseUrl::parse(base),
    }
}
