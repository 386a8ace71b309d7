//! Errors in the words of the specifications.

use hyper::StatusCode;

/// What went wrong, as a v2 client is told.
///
/// Source: OCI distribution-spec 1.1, "Error Codes". `UNKNOWN`, `UNAVAILABLE`, `PAGINATION_NUMBER_INVALID` and
/// `RANGE_INVALID` are CNCF distribution's, for what the specification has no code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Unauthorized,
    TooManyRequests,
    NameUnknown,
    NameInvalid,
    ManifestUnknown,
    BlobUnknown,
    UploadUnknown,
    DigestInvalid,
    PaginationNumberInvalid,
    RangeInvalid,
    Unsupported,
    NotFound,
    BadRequest,
    Unknown,
    Unavailable,
}

impl Code {
    /// The code in the answer's body.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Code::Unauthorized => "UNAUTHORIZED",
            Code::TooManyRequests => "TOOMANYREQUESTS",
            Code::NameUnknown => "NAME_UNKNOWN",
            Code::NameInvalid => "NAME_INVALID",
            Code::ManifestUnknown => "MANIFEST_UNKNOWN",
            Code::BlobUnknown => "BLOB_UNKNOWN",
            Code::UploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Code::DigestInvalid => "DIGEST_INVALID",
            Code::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            Code::RangeInvalid => "RANGE_INVALID",
            Code::Unsupported | Code::NotFound | Code::BadRequest => "UNSUPPORTED",
            Code::Unknown => "UNKNOWN",
            Code::Unavailable => "UNAVAILABLE",
        }
    }

    /// The answer's status.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Code::Unauthorized => StatusCode::UNAUTHORIZED,
            Code::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Code::NameUnknown
            | Code::ManifestUnknown
            | Code::BlobUnknown
            | Code::UploadUnknown
            | Code::NotFound => StatusCode::NOT_FOUND,
            Code::NameInvalid | Code::DigestInvalid | Code::PaginationNumberInvalid | Code::BadRequest => {
                StatusCode::BAD_REQUEST
            }
            Code::RangeInvalid => StatusCode::RANGE_NOT_SATISFIABLE,
            Code::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            Code::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An error to answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// What the request named, where that helps.
    pub(crate) detail: Option<serde_json::Value>,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None }
    }

    pub(crate) fn detail(mut self, key: &str, value: impl Into<String>) -> Self {
        self.detail = Some(serde_json::json!({ key: value.into() }));
        self
    }

    /// The body of a v2 answer.
    pub(crate) fn json(&self) -> Vec<u8> {
        let mut error = serde_json::json!({ "code": self.code.text(), "message": self.message });
        if let Some(detail) = &self.detail {
            error["detail"] = detail.clone();
        }
        serde_json::json!({ "errors": [error] }).to_string().into_bytes()
    }
}
