//! Reads objects of a bucket, with a size limit.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, IF_NONE_MATCH};
use hyper::{Method, Response, StatusCode};
use raas_types::{Digest, ObjectKey, Part, Sha256};

use super::super::archive::room;
use super::super::error_code::ErrorCode;
use super::refusal::Refusal;
use crate::http_client::{Buffering, HttpClient};
use crate::origin::Origin;

/// How long a bucket may be silent in the middle of an object.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A bucket, and the client that reads it.
#[derive(Clone)]
pub(super) struct BucketReader {
    pub(super) origin: Origin,
    pub(super) client: Arc<HttpClient>,
}

impl BucketReader {
    /// Requests an object, unless it still has this entity tag.
    pub(super) async fn request(
        &self,
        key: &ObjectKey,
        unless: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Refusal> {
        let url = self.origin.url(&Method::GET, key, None)?;
        let headers = unless.map(|etag| (IF_NONE_MATCH, etag.clone()));
        let response = self.client.fetch(&Method::GET, &url, headers.as_slice(), Buffering::Medium).await;
        response.map_err(|error| Refusal::Ask(key.clone(), error))
    }

    /// The bytes of a part. They must have exactly the length and the digest that the pointer names.
    pub(super) async fn part(&self, part: Part) -> Result<Vec<u8>, Refusal> {
        let key = part.key();
        let answer = self.request(&key, None).await?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            return Err(Refusal::status(key, status, ErrorCode::read(answer).await));
        }
        let (packed, digest) = read(answer, &key, part.size).await?;
        if packed.len() as u64 != part.size {
            return Err(Refusal::Size(key, packed.len() as u64, part.size));
        }
        if digest != part.digest {
            return Err(Refusal::Digest(key, digest));
        }
        Ok(packed)
    }
}

/// The bytes of an answer and their digest. More bytes than the limit are an error.
pub(super) async fn read(
    answer: Response<Incoming>,
    key: &ObjectKey,
    limit: u64,
) -> Result<(Vec<u8>, Digest), Refusal> {
    let too_long = || Refusal::TooLong(key.clone(), limit);
    let mut body = answer.into_body();
    let mut bytes = Vec::with_capacity(room(usize::try_from(limit).map_err(|_| too_long())?));
    let mut digest = Sha256::default();
    loop {
        let frame = tokio::time::timeout(TIMEOUT, body.frame()).await;
        let frame = frame.map_err(|_| Refusal::Broken(key.clone(), "the service stopped sending".into()))?;
        let Some(frame) = frame else { return Ok((bytes, digest.finish())) };
        let frame = frame.map_err(|error| Refusal::Broken(key.clone(), error.to_string()))?;
        if let Ok(piece) = frame.into_data() {
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(too_long());
            }
            bytes.extend_from_slice(&piece);
            digest.update(&piece);
        }
    }
}
