//! Content that the server fetches from a bucket or a location and passes on.

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};
use raas_types::{Digest, ObjectKey};

use super::Opened;
use crate::body::{Body, ProxyStream};
use crate::error::{ApiError, ApiErrorCode};
use crate::http::byte_range::{self, ByteRange, number_text};
use crate::http::headers::Headers;
use crate::http_client::{AllowedHosts, Buffering, HttpClient};
use crate::origin::Origin;
use crate::response::Response;

/// An object to fetch and to pass on.
pub(crate) struct ProxyPlan {
    pub(crate) source: ProxySource,
    /// The length according to the document, in bytes.
    pub(crate) size: Option<u64>,
    /// The maximal length in bytes, if the document has none.
    pub(crate) limit: u64,
    /// The headers of an answer with the whole object, without its length.
    pub(crate) headers: Headers,
}

/// Where the server fetches from.
pub(crate) enum ProxySource {
    /// An object of the bucket.
    Object(Origin, ObjectKey),
    /// The location of a masked layer at an allowed host, and its digest if it is known. The location may redirect the
    /// server to another allowed host.
    Location { url: String, hosts: AllowedHosts, digest: Option<Digest> },
}

impl ProxySource {
    /// The name for the log. It holds no secret: every client sees locations, and queries are left out.
    fn display_name(&self) -> String {
        match self {
            ProxySource::Object(origin, key) => format!("{}/{key}", origin.display_name()),
            ProxySource::Location { url, .. } => url.split('?').next().unwrap_or_default().to_owned(),
        }
    }

    async fn fetch(
        &self,
        client: &HttpClient,
        method: &Method,
        size: Option<u64>,
        headers: &[(HeaderName, HeaderValue)],
        buffering: Buffering,
    ) -> Result<hyper::Response<Incoming>, String> {
        match self {
            ProxySource::Object(origin, key) => {
                let url = origin.url(method, key, size).map_err(|error| error.to_string())?;
                client.fetch(method, &url, headers, buffering).await.map_err(|error| error.to_string())
            }
            ProxySource::Location { url, hosts, .. } => {
                let answer = client.fetch_location(hosts, method, url, headers, buffering).await;
                answer.map_err(|error| error.to_string())
            }
        }
    }
}

impl ProxyPlan {
    /// Fetches the object, or the range of it that the request names, and answers with it.
    /// The memory that it takes depends on the number of answers in flight on the connection.
    pub(crate) async fn open(
        self,
        client: &HttpClient,
        method: &Method,
        request: &HeaderMap,
        in_flight: u64,
    ) -> Opened {
        let ProxyPlan { source, size, limit, mut headers } = self;
        // An object of unknown length is small and is always answered whole.
        let mut part = None;
        if let Some(size) = size {
            match byte_range::requested(method, request, &mut headers, size) {
                Ok(range) => part = Some(range),
                Err(length) => return Opened::RangeBeyondEnd(length),
            }
        }
        let failed = |code: ApiErrorCode, fault: &str| {
            tracing::error!(object = source.display_name(), fault, "cannot fetch a published object");
            let message = match code {
                ApiErrorCode::Unavailable => "the storage of this registry does not answer; try again later",
                _ => "the object is published but cannot be read from storage",
            };
            Opened::Error(ApiError::new(code, message))
        };
        let range = part.as_ref().filter(|part| part.status == StatusCode::PARTIAL_CONTENT).map(range);
        let (count, proxied) = client.proxy();
        let buffering = Buffering::of(in_flight, count);
        let answer = match source.fetch(client, method, size, range.as_slice(), buffering).await {
            Ok(answer) => answer,
            Err(fault) => return failed(ApiErrorCode::Unavailable, &fault),
        };
        let (head, incoming) = answer.into_parts();
        let length = head.headers.get(header::CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse().ok());
        let part = match (head.status, part, length) {
            (StatusCode::PARTIAL_CONTENT, Some(part), Some(length))
                if part.length == length && is_range(&head.headers, &headers) =>
            {
                part
            }
            (StatusCode::OK, None, Some(length)) if length > limit => {
                let fault = format!("{length} bytes, and at most {limit} are passed on");
                return failed(ApiErrorCode::Unknown, &fault);
            }
            // The whole object: a service may ignore ranges.
            (StatusCode::OK, part, Some(length)) if size.is_none_or(|size| size == length) => match part {
                Some(part) if part.status == StatusCode::OK => part,
                _ => byte_range::whole(&mut headers, length),
            },
            (status @ (StatusCode::OK | StatusCode::PARTIAL_CONTENT), ..) => {
                let length =
                    length.map_or("an unknown number of".to_owned(), |length: u64| length.to_string());
                return failed(ApiErrorCode::Unknown, &format!("{status} with {length} bytes"));
            }
            (StatusCode::NOT_FOUND, ..) => return failed(ApiErrorCode::Unknown, "the object does not exist"),
            (status, ..) => {
                return failed(ApiErrorCode::Unavailable, &format!("the service answers {status}"));
            }
        };
        let body = if method == Method::HEAD {
            Body::empty()
        } else {
            // Only content of other hosts is verified. The content of the vendor's own bucket was verified when it was
            // stored.
            let expected = match &source {
                ProxySource::Location { digest, .. } if part.status == StatusCode::OK => *digest,
                _ => None,
            };
            Body::proxied(ProxyStream::new(incoming, part.length, source.display_name(), expected, proxied))
        };
        Opened::Answer(Box::new(Response { status: part.status, headers, body }))
    }
}

fn range(part: &ByteRange) -> (HeaderName, HeaderValue) {
    (header::RANGE, number_text(format!("bytes={}-{}", part.start, part.start + part.length - 1)))
}

/// Whether the service answers with exactly the range that the client is told.
fn is_range(answered: &HeaderMap, expected: &Headers) -> bool {
    answered.get(header::CONTENT_RANGE) == expected.get(&header::CONTENT_RANGE)
}
