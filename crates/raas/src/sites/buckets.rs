//! Makes the buckets of sites from the vendors' settings.

use std::sync::Arc;

use raas_server::{AddressError, BaseUrl, Bucket, CredentialSource, Origin, S3Location, Signer};

use super::{SiteError, delivery};
use crate::config::VendorSettings;
use raas_types::BucketAccess;

/// Makes buckets from settings.
#[derive(Debug)]
pub(crate) struct Buckets {
    /// The region of buckets whose section has none.
    region: Option<String>,
    credentials: Arc<dyn CredentialSource>,
}

impl Buckets {
    /// All buckets use these credentials, and those without a region of their own this one.
    pub(crate) fn new(region: Option<&str>, credentials: Arc<dyn CredentialSource>) -> Self {
        Self { region: region.map(str::to_owned), credentials }
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
        Self::new(Some("eu-west-1"), Arc::new(Arc::new(key)))
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
        location(self.region.as_deref(), settings, bucket)
    }

    fn signer(&self, location: &S3Location) -> Result<Arc<Signer>, AddressError> {
        Ok(Arc::new(Signer::new(location, Arc::clone(&self.credentials))?))
    }
}

/// The location of a bucket. The region is that of buckets whose section has none.
pub(super) fn location(region: Option<&str>, settings: &VendorSettings, bucket: &str) -> S3Location {
    let region = settings.s3_region.as_deref().or(region);
    S3Location {
        endpoint: settings.s3_endpoint.clone(),
        // The region that services without regions expect.
        region: region.unwrap_or("us-east-1").to_owned(),
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
