//! Which bucket, where, and below which prefix.

use aws_sdk_s3::types::ObjectCannedAcl;
use raas_types::{BucketAccess, ObjectKey, VendorName};

use crate::settings::S3Settings;

/// Below the prefix: uploads whose key is not known before their end. No repository's name begins with `_`.
const UPLOADS: &str = "_uploads/";

/// A vendor's part of a bucket.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(super) vendor: VendorName,
    pub(super) bucket: String,
    /// What all keys begin with: nothing, or a path with a slash at its end.
    pub(super) prefix: String,
    pub(super) region: String,
    /// The service's base URL, where it is not AWS.
    pub(super) endpoint: Option<String>,
    /// How clients get at the objects.
    pub(super) access: BucketAccess,
    /// Whether access is by the ACL of each object.
    pub(super) by_acl: bool,
    path_style: bool,
    /// The base URL of the objects, where it is not the bucket's own.
    public_url: Option<String>,
}

impl Place {
    /// Of the vendor's settings; the endpoint may come from AWS's own configuration too.
    pub(crate) fn new(
        vendor: &VendorName,
        settings: &S3Settings,
        region: &str,
        endpoint: Option<&str>,
    ) -> Self {
        let bucket = settings.bucket.as_str();
        let prefix = settings.prefix.as_deref().filter(|prefix| !prefix.is_empty());
        Self {
            vendor: vendor.clone(),
            bucket: bucket.to_owned(),
            prefix: prefix.map(|prefix| format!("{prefix}/")).unwrap_or_default(),
            region: region.to_owned(),
            endpoint: endpoint.map(|url| url.trim_end_matches('/').to_owned()),
            access: settings.access,
            by_acl: settings.public_acl && settings.access == BucketAccess::Public,
            // A certificate for *.s3.… does not cover a name with dots in it.
            path_style: settings.path_style || bucket.contains('.'),
            public_url: settings.cdn_url.clone().filter(|_| settings.access == BucketAccess::Cdn),
        }
    }

    pub(super) fn path_style(&self) -> bool {
        self.path_style
    }

    /// The ACL that an object is stored with, where access is by ACL. What is for those who publish stays private.
    pub(super) fn acl(&self, key: &ObjectKey) -> Option<ObjectCannedAcl> {
        let private = matches!(key, ObjectKey::History { .. } | ObjectKey::Turn(_) | ObjectKey::Probe(_));
        (self.by_acl && !private).then_some(ObjectCannedAcl::PublicRead)
    }

    /// The key as the bucket knows it.
    pub(super) fn key(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// What all unfinished objects begin with.
    pub(super) fn uploads(&self) -> String {
        format!("{}{UPLOADS}", self.prefix)
    }

    /// A key of the bucket as raas knows it; `None` for one of an unfinished object or outside the prefix.
    pub(super) fn relative<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.prefix).filter(|key| !key.starts_with(UPLOADS))
    }

    /// The bucket as people write it.
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

    /// The service as people know it.
    pub(super) fn service(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| self.aws_endpoint())
    }

    fn aws_endpoint(&self) -> String {
        let end = if self.region.starts_with("cn-") { ".cn" } else { "" };
        format!("https://s3.{}.amazonaws.com{end}", self.region)
    }

    /// Whether clients are sent to it, or to the CDN before it.
    pub(crate) fn sends_clients(&self) -> bool {
        self.access != BucketAccess::Proxy
    }

    /// The host that clients are sent to, without its port.
    pub(crate) fn host(&self) -> String {
        let url = self.base_url();
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or(rest);
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host.to_owned(),
            _ => authority.to_owned(),
        }
    }

    /// The bucket in a policy.
    pub(super) fn arn(&self) -> String {
        let partition = match &self.region {
            region if region.starts_with("cn-") => "aws-cn",
            region if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        format!("arn:{partition}:s3:::{}", self.bucket)
    }

    /// All objects below the prefix in a policy.
    pub(super) fn objects_arn(&self) -> String {
        self.arn_of("*")
    }

    /// The objects below the prefix whose keys match, in a policy.
    pub(super) fn arn_of(&self, pattern: &str) -> String {
        format!("{}/{}{pattern}", self.arn(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(settings: S3Settings, bucket: &str, endpoint: Option<&str>) -> Place {
        let settings = S3Settings { bucket: bucket.into(), ..settings };
        Place::new(&"acme".parse().unwrap(), &settings, "eu-central-1", endpoint)
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
            (place(plain(), "acme", None), "https://acme.s3.eu-central-1.amazonaws.com"),
            (place(prefixed(), "acme", None), "https://acme.s3.eu-central-1.amazonaws.com/a/b"),
            (place(path_style(), "acme", None), "https://s3.eu-central-1.amazonaws.com/acme"),
            (place(plain(), "acme.com", None), "https://s3.eu-central-1.amazonaws.com/acme.com"),
            (place(path_style(), "acme", local), "http://127.0.0.1:3900/acme"),
            (place(plain(), "acme", Some("https://s3.x.org/")), "https://acme.s3.x.org"),
            (place(cdn, "acme", None), "https://cdn.acme.com/a/b"),
        ];
        for (place, url) in table {
            assert_eq!(place.base_url(), url);
        }
        assert_eq!(place(path_style(), "acme", local).host(), "127.0.0.1");
        assert_eq!(place(plain(), "acme", None).host(), "acme.s3.eu-central-1.amazonaws.com");
    }

    #[test]
    fn unfinished_objects_are_none_of_the_keys() {
        let place = place(S3Settings { prefix: Some("a".into()), ..Default::default() }, "b", None);
        assert_eq!(place.relative("a/app/_v2/tags/list"), Some("app/_v2/tags/list"));
        assert_eq!(place.relative(&format!("{}x", place.uploads())), None);
        assert_eq!(place.relative("b/app"), None);
        assert_eq!(place.name(), "s3://b/a");
        assert_eq!(place.objects_arn(), "arn:aws:s3:::b/a/*");
    }
}
