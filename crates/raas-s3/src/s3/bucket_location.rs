//! The location of a vendor's objects: service, region, bucket and prefix.

use aws_sdk_s3::types::ObjectCannedAcl;
use raas_types::{BucketAccess, ObjectKey, VendorName};

use crate::settings::S3Settings;

/// The folder of uploads whose key is known only at their end. No repository's name begins with `_`.
const UPLOADS: &str = "_uploads/";

/// The location of a vendor's objects.
#[derive(Debug, Clone)]
pub(crate) struct BucketLocation {
    pub(super) vendor: VendorName,
    pub(super) bucket: String,
    /// The beginning of all keys: empty, or a path with a slash at its end.
    pub(super) prefix: String,
    pub(super) region: String,
    /// The service's base URL, if the service is not AWS.
    pub(super) endpoint: Option<String>,
    /// How clients get the objects.
    pub(super) access: BucketAccess,
    /// Whether each object is made public by an ACL of its own.
    pub(super) by_acl: bool,
    path_style: bool,
    /// The base URL of the objects, if it is not the bucket's own.
    public_url: Option<String>,
}

impl BucketLocation {
    /// The location that the vendor's settings describe.
    pub(crate) fn new(vendor: &VendorName, settings: &S3Settings, region: &str) -> Self {
        let bucket = settings.bucket.as_str();
        let prefix = settings.prefix.as_deref().filter(|prefix| !prefix.is_empty());
        Self {
            vendor: vendor.clone(),
            bucket: bucket.to_owned(),
            prefix: prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default(),
            region: region.to_owned(),
            endpoint: settings.endpoint.as_ref().map(|url| url.trim_end_matches('/').to_owned()),
            access: settings.access,
            by_acl: settings.public_acl && settings.access == BucketAccess::Public,
            // The certificate for *.s3.… does not cover a bucket with a dot in its name.
            path_style: settings.path_style || bucket.contains('.'),
            public_url: settings.cdn_url.clone().filter(|_| settings.access == BucketAccess::Cdn),
        }
    }

    pub(super) fn path_style(&self) -> bool {
        self.path_style
    }

    /// The ACL of an object, if access is by ACL. Objects for servers and publishers stay private.
    pub(super) fn acl(&self, key: &ObjectKey) -> Option<ObjectCannedAcl> {
        let private = matches!(
            key,
            ObjectKey::Snapshot(_)
                | ObjectKey::Pointer
                | ObjectKey::History { .. }
                | ObjectKey::PublishLease(_)
                | ObjectKey::Probe(_)
        );
        (self.by_acl && !private).then_some(ObjectCannedAcl::PublicRead)
    }

    /// The key in the bucket.
    pub(super) fn key(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The beginning of the keys of unfinished objects.
    pub(super) fn uploads(&self) -> String {
        format!("{}{UPLOADS}", self.prefix)
    }

    /// The key below the prefix; `None` for an unfinished object or a key outside the prefix.
    pub(super) fn relative<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.prefix).filter(|key| !key.starts_with(UPLOADS))
    }

    /// The URL that people use for the bucket.
    pub(crate) fn name(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix).trim_end_matches('/').to_owned()
    }

    /// The URL before the keys, without a slash at the end.
    pub(crate) fn base_url(&self) -> String {
        let base = self.public_url.clone().unwrap_or_else(|| self.bucket_url());
        format!("{base}/{}", self.prefix).trim_end_matches('/').to_owned()
    }

    fn bucket_url(&self) -> String {
        let endpoint = self.endpoint.clone().unwrap_or_else(|| self.aws_endpoint());
        match endpoint.split_once("://") {
            Some((scheme, host)) if !self.path_style => format!("{scheme}://{}.{host}", self.bucket),
            _ => format!("{endpoint}/{}", self.bucket),
        }
    }

    /// The URL of the service.
    pub(super) fn service(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| self.aws_endpoint())
    }

    fn aws_endpoint(&self) -> String {
        let end = if self.region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://s3.{}.amazonaws.com{end}", self.region)
    }

    /// Whether the server redirects clients to the bucket or its CDN.
    pub(crate) fn redirects_clients(&self) -> bool {
        self.access != BucketAccess::Proxy
    }

    /// The host that clients are redirected to, without its port.
    pub(crate) fn host(&self) -> String {
        let url = self.base_url();
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host.to_owned(),
            _ => authority.to_owned(),
        }
    }

    /// The name of the bucket in a policy.
    pub(super) fn arn(&self) -> String {
        let partition = match &self.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:s3:::{}", self.bucket)
    }

    /// The name of all objects below the prefix in a policy.
    pub(super) fn objects_arn(&self) -> String {
        self.arn_of("*")
    }

    /// The name in a policy of the objects below the prefix whose keys match.
    pub(super) fn arn_of(&self, pattern: &str) -> String {
        format!("{}/{}{pattern}", self.arn(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(settings: S3Settings, bucket: &str, endpoint: Option<&str>) -> BucketLocation {
        let endpoint = endpoint.map(str::to_owned);
        let settings = S3Settings { bucket: bucket.into(), endpoint, ..settings };
        BucketLocation::new(&"acme".parse().unwrap(), &settings, "eu-central-1")
    }

    #[test]
    fn the_base_url_is_the_buckets_or_the_cdns() {
        let plain = S3Settings::default;
        let prefixed = || S3Settings { prefix: Some("a/b".into()), ..plain() };
        let path_style = || S3Settings { path_style: true, ..plain() };
        let cdn = S3Settings {
            access: BucketAccess::Cdn,
            cdn_url: Some("https://cdn.acme.com".into()),
            ..prefixed()
        };
        let local = Some("http://127.0.0.1:3900");
        let table = [
            (location(plain(), "acme", None), "https://acme.s3.eu-central-1.amazonaws.com"),
            (location(prefixed(), "acme", None), "https://acme.s3.eu-central-1.amazonaws.com/a/b"),
            (location(path_style(), "acme", None), "https://s3.eu-central-1.amazonaws.com/acme"),
            (location(plain(), "acme.com", None), "https://s3.eu-central-1.amazonaws.com/acme.com"),
            (location(path_style(), "acme", local), "http://127.0.0.1:3900/acme"),
            (location(plain(), "acme", Some("https://s3.x.org/")), "https://acme.s3.x.org"),
            (location(cdn, "acme", None), "https://cdn.acme.com/a/b"),
        ];
        for (location, url) in table {
            assert_eq!(location.base_url(), url);
        }
        assert_eq!(location(path_style(), "acme", local).host(), "127.0.0.1");
        assert_eq!(location(plain(), "acme", None).host(), "acme.s3.eu-central-1.amazonaws.com");
    }

    #[test]
    fn keys_of_unfinished_objects_are_hidden() {
        let location = location(S3Settings { prefix: Some("a".into()), ..Default::default() }, "b", None);
        assert_eq!(location.relative("a/app/_v2/tags/list"), Some("app/_v2/tags/list"));
        assert_eq!(location.relative(&format!("{}x", location.uploads())), None);
        assert_eq!(location.relative("b/app"), None);
        assert_eq!(location.name(), "s3://b/a");
        assert_eq!(location.objects_arn(), "arn:aws:s3:::b/a/*");
    }
}
