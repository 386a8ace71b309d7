//! How the service can verify the bytes of a request.
//!
//! raas sends the SHA-256 of the bytes as a checksum. Some services refuse such headers: Backblaze B2 all of them,
//! Cloudflare R2 those of parts. Then raas signs the SHA-256 of the bytes instead: every service that knows signatures
//! of version 4 must verify it. A note in the home remembers the refusal for the next run.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::ChecksumAlgorithm;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use md5::digest::Digest as _;
use raas_base::files;
use raas_types::{ChecksumPolicy, Digest};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::bucket_location::BucketLocation;
use super::errors::FailedRequest;

/// How the service can verify the bytes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integrity {
    /// A header has the SHA-256 of the bytes. The signature covers the header, and the header covers the bytes.
    Checksum,
    /// The signature covers the SHA-256 of the bytes.
    SignedPayload,
}

impl Integrity {
    /// The algorithm for an upload in parts.
    pub(super) fn algorithm(self) -> Option<ChecksumAlgorithm> {
        (self == Self::Checksum).then_some(ChecksumAlgorithm::Sha256)
    }
}

/// What is known about checksums at a service.
#[derive(Debug)]
pub(super) struct Checksums {
    policy: ChecksumPolicy,
    refused: AtomicBool,
    note: PathBuf,
    about: About,
}

/// The bucket that a note is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    service: String,
    bucket: String,
}

/// The note in the home. It exists only if the service has refused checksums.
#[derive(Debug, Serialize, Deserialize)]
struct ChecksumNote {
    #[serde(flatten)]
    about: About,
    checksums: Finding,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Finding {
    Refused,
}

impl Checksums {
    /// What the note says about the bucket. The note need not exist.
    pub(super) fn new(policy: ChecksumPolicy, note: PathBuf, location: &BucketLocation) -> Self {
        let about = About { service: location.service(), bucket: location.bucket.clone() };
        // A note that cannot be read costs one refused request.
        let known = fs::read(&note).ok().and_then(|text| serde_json::from_slice::<ChecksumNote>(&text).ok());
        let refused = known.is_some_and(|known| known.about == about);
        Self { policy, refused: AtomicBool::new(refused), note, about }
    }

    /// How the next request is verified.
    pub(super) fn integrity(&self) -> Integrity {
        match self.policy {
            ChecksumPolicy::Off => Integrity::SignedPayload,
            ChecksumPolicy::Auto if self.refused.load(Ordering::Relaxed) => Integrity::SignedPayload,
            ChecksumPolicy::Auto | ChecksumPolicy::Required => Integrity::Checksum,
        }
    }

    /// Forgets what earlier runs have found, so that the next request tries a checksum.
    pub(super) fn forget(&self) {
        self.refused.store(false, Ordering::Relaxed);
        drop(fs::remove_file(&self.note));
    }

    /// Notes that the service refuses checksums. Returns whether that is new.
    fn note_refusal(&self) -> bool {
        if self.refused.swap(true, Ordering::Relaxed) {
            return false;
        }
        let note = ChecksumNote { about: self.about.clone(), checksums: Finding::Refused };
        // A failure costs the next run one refused request.
        drop(serde_json::to_vec(&note).map(|text| files::write_shared(&self.note, &text)));
        true
    }
}

impl Shared {
    /// Sends a request that the service can verify like this. If the service refuses the checksum, the request is sent
    /// again without, and so are all others of the bucket from then on. Returns the answer, and how the request was
    /// verified.
    ///
    /// # Errors
    /// The request failed, and not for its checksum.
    pub(super) async fn send_verified<T, E, F>(
        &self,
        integrity: Integrity,
        send: impl Fn(Integrity) -> F,
    ) -> Result<(T, Integrity), Box<SdkError<E, HttpResponse>>>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let refusal = match send(integrity).await {
            Ok(answer) => return Ok((answer, integrity)),
            Err(error) => error,
        };
        let failed = FailedRequest::of(&refusal);
        let falls_back = self.checksums.policy == ChecksumPolicy::Auto && integrity == Integrity::Checksum;
        if !falls_back || !failed.may_refuse_checksum() {
            return Err(Box::new(refusal));
        }
        // Services have many words for this refusal. The same request without a checksum shows whether it is one.
        match send(Integrity::SignedPayload).await {
            Ok(answer) => {
                if self.checksums.note_refusal() {
                    self.say.line(&format!(
                        "Note: {} refuses checksums in headers; the signature of each request covers its bytes instead",
                        self.location.service()
                    ));
                }
                Ok((answer, Integrity::SignedPayload))
            }
            Err(error) if failed.names_checksum() => Err(Box::new(error)),
            Err(_) => Err(Box::new(refusal)),
        }
    }
}

/// The digest in a checksum that the service tells. The checksum of an object in parts may be one of its parts' checksums, and
/// then has their number behind it.
pub(super) fn digest_of(checksum: &str) -> Option<Digest> {
    let bytes = BASE64_STANDARD.decode(checksum).ok()?;
    Digest::from_hex(&hex::encode(bytes)).ok()
}

/// Puts `Content-MD5` in the place of the checksum that the SDK adds to a setting of a bucket: S3 demands one of them.
#[derive(Debug)]
pub(super) struct ContentMd5;

impl Intercept for ContentMd5 {
    fn name(&self) -> &'static str {
        "ContentMd5"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let md5 = BASE64_STANDARD.encode(Md5::digest(request.body().bytes().unwrap_or_default()));
        let headers = request.headers_mut();
        let is_checksum =
            |name: &str| name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm";
        let checksums: Vec<String> =
            headers.iter().map(|(name, _)| name.to_owned()).filter(|name| is_checksum(name)).collect();
        for name in checksums {
            headers.remove(name);
        }
        headers.try_insert("content-md5", md5)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::S3Settings;

    fn checksums(policy: ChecksumPolicy, note: &std::path::Path, bucket: &str) -> Checksums {
        let settings = S3Settings { bucket: bucket.into(), ..S3Settings::default() };
        let location = BucketLocation::new(&"acme".parse().unwrap(), &settings, "us-east-1");
        Checksums::new(policy, note.to_owned(), &location)
    }

    #[test]
    fn a_checksum_is_a_digest_unless_it_is_of_parts() {
        let digest = Digest::of(b"x");
        let told = BASE64_STANDARD.encode(digest.bytes());
        assert_eq!(digest_of(&told), Some(digest));
        assert_eq!((digest_of(&format!("{told}-2")), digest_of("eA=="), digest_of("")), (None, None, None));
    }

    #[test]
    fn a_refusal_is_remembered_for_its_bucket_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("note.json");
        let integrity = |policy, bucket| checksums(policy, &note, bucket).integrity();
        let first = checksums(ChecksumPolicy::Auto, &note, "one");
        assert_eq!(first.integrity(), Integrity::Checksum);
        assert!(first.note_refusal() && !first.note_refusal());
        assert_eq!(first.integrity(), Integrity::SignedPayload);
        assert_eq!(integrity(ChecksumPolicy::Auto, "one"), Integrity::SignedPayload);
        assert_eq!(integrity(ChecksumPolicy::Auto, "two"), Integrity::Checksum);
        assert_eq!(integrity(ChecksumPolicy::Required, "one"), Integrity::Checksum);
        assert_eq!(integrity(ChecksumPolicy::Off, "two"), Integrity::SignedPayload);
        first.forget();
        assert_eq!(first.integrity(), Integrity::Checksum);
        assert_eq!(integrity(ChecksumPolicy::Auto, "one"), Integrity::Checksum);
        fs::write(&note, "{}").unwrap();
        assert_eq!(integrity(ChecksumPolicy::Auto, "one"), Integrity::Checksum);
    }
}
