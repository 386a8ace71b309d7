//! Whether uploads to a bucket carry checksums.

/// Whether requests to an S3 service carry the SHA-256 of their bytes as a checksum (`x-amz-checksum-sha256`). Some
/// services refuse that header. Without it, the signature covers the SHA-256 of the bytes (`x-amz-content-sha256`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChecksumPolicy {
    /// They carry it, unless the service refuses it.
    #[default]
    Auto,
    /// They carry it. If the service refuses it, that is an error.
    Required,
    /// They never carry it.
    Off,
}
