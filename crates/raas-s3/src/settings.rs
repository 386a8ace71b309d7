//! The settings of a bucket, and of AWS.

use std::time::Duration;

use raas_base::Secret;
use raas_types::{BucketAccess, ChecksumPolicy};

/// Where a vendor's bucket is, and how clients get its objects.
#[derive(Debug, Clone, Default)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// The beginning of all keys, without a slash at the end.
    pub prefix: Option<String>,
    /// The service's base URL, if it is not AWS.
    pub endpoint: Option<String>,
    /// The bucket's region; otherwise the region of [`AwsSettings`], of the environment or of the profile.
    pub region: Option<String>,
    /// Whether the bucket's name is in the path of its URL. Otherwise it is in the host name.
    pub path_style: bool,
    /// Whether objects of a public bucket are stored with an ACL that lets everybody read them, for a service without
    /// bucket policies.
    pub public_acl: bool,
    /// Whether requests carry checksums.
    pub checksums: ChecksumPolicy,
    /// How long a request may stand still before it is tried again, if it is not 60 s.
    pub stall_timeout: Option<Duration>,
    /// The longest pause between two attempts of a request, if it is not 20 s. It also bounds the pauses that the service asks
    /// for, which are 30 s at most.
    pub longest_pause: Option<Duration>,
    /// How clients get the objects.
    pub access: BucketAccess,
    /// The base URL of the CDN in front of the bucket, for [`BucketAccess::Cdn`].
    pub cdn_url: Option<String>,
}

/// Credentials and region that take precedence over AWS's standard chain.
#[derive(Debug, Clone, Default)]
pub struct AwsSettings {
    /// The access key's id; it needs [`secret_access_key`](Self::secret_access_key).
    pub access_key_id: Option<String>,
    /// The access key's secret.
    pub secret_access_key: Option<Secret>,
    /// The session token of a temporary key.
    pub session_token: Option<Secret>,
    /// A profile of `~/.aws/config` and `~/.aws/credentials`.
    pub profile: Option<String>,
    /// The region of buckets without a region of their own.
    pub region: Option<String>,
}
