//! How clients get at the objects of a bucket.

/// How clients get at the objects of a vendor's bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BucketAccess {
    /// The bucket is private; the server redirects clients to signed URLs that expire soon.
    #[default]
    Presigned,
    /// Everybody may read the bucket; the server redirects clients there.
    Public,
    /// The server redirects clients to a CDN in front of the bucket.
    Cdn,
    /// The server reads the bucket and sends the bytes to the client itself.
    Proxy,
}
