//! The error codes of S3 services.

use std::fmt;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::Response;
use hyper::body::Incoming;

/// The code of an error, such as `NoSuchKey`.
///
/// Source: Amazon S3 API Reference, "Error responses": an XML document `<Error><Code>…</Code>…</Error>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ErrorCode(String);

/// Longer than any error of S3, in bytes.
const LIMIT: usize = 16 * 1024;
/// How long to read the body of an error. It is only for the log and for one decision.
const TIMEOUT: Duration = Duration::from_secs(5);

impl ErrorCode {
    /// The code in the body of an answer. None if the body is not an error of S3.
    pub(super) async fn read(answer: Response<Incoming>) -> Option<Self> {
        let mut body = answer.into_body();
        let mut bytes = BytesMut::new();
        let reading = async {
            while let Some(Ok(frame)) = body.frame().await {
                let Ok(piece) = frame.into_data() else { continue };
                if bytes.len() + piece.len() > LIMIT {
                    break;
                }
                bytes.extend_from_slice(&piece);
            }
        };
        // After a timeout the received bytes are parsed.
        let _ = tokio::time::timeout(TIMEOUT, reading).await;
        Self::find(std::str::from_utf8(&bytes).ok()?)
    }

    fn find(body: &str) -> Option<Self> {
        let (_, rest) = body.split_once("<Code>")?;
        let (code, _) = rest.split_once("</Code>")?;
        let is_code =
            (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
        is_code.then(|| Self(code.to_owned()))
    }

    /// Whether the bucket does not exist.
    pub(super) fn is_no_bucket(&self) -> bool {
        self.0 == "NoSuchBucket"
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_error_code_is_found() {
        let table = [
            (
                "<?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><Message>x</Message></Error>",
                Some("NoSuchBucket"),
            ),
            ("<Error><Code>Access Denied\n</Code></Error>", None),
            ("<Error><Code></Code></Error>", None),
            ("<html>404</html>", None),
            ("", None),
        ];
        for (body, code) in table {
            assert_eq!(ErrorCode::find(body).map(|code| code.to_string()).as_deref(), code, "{body}");
        }
    }
}
