//! The errors that clients see, with the codes of the specification.

use hyper::StatusCode;

/// What went wrong.
///
/// Source: OCI distribution-spec 1.1, "Error Codes". `UNKNOWN`, `UNAVAILABLE`, `PAGINATION_NUMBER_INVALID` and
/// `RANGE_INVALID` are from CNCF distribution, for errors that the specification has no code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiErrorCode {
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

impl ApiErrorCode {
    /// The code in the body of an answer.
    pub(crate) fn text(self) -> &'static str {
        match self {
            ApiErrorCode::Unauthorized => "UNAUTHORIZED",
            ApiErrorCode::TooManyRequests => "TOOMANYREQUESTS",
            ApiErrorCode::NameUnknown => "NAME_UNKNOWN",
            ApiErrorCode::NameInvalid => "NAME_INVALID",
            ApiErrorCode::ManifestUnknown => "MANIFEST_UNKNOWN",
            ApiErrorCode::BlobUnknown => "BLOB_UNKNOWN",
            ApiErrorCode::UploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            ApiErrorCode::DigestInvalid => "DIGEST_INVALID",
            ApiErrorCode::PaginationNumberInvalid => "PAGINATION_NUMBER_INVALID",
            ApiErrorCode::RangeInvalid => "RANGE_INVALID",
            ApiErrorCode::Unsupported | ApiErrorCode::NotFound | ApiErrorCode::BadRequest => "UNSUPPORTED",
            ApiErrorCode::Unknown => "UNKNOWN",
            ApiErrorCode::Unavailable => "UNAVAILABLE",
        }
    }

    /// The status of an answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            ApiErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
            ApiErrorCode::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            ApiErrorCode::NameUnknown
            | ApiErrorCode::ManifestUnknown
            | ApiErrorCode::BlobUnknown
            | ApiErrorCode::UploadUnknown
            | ApiErrorCode::NotFound => StatusCode::NOT_FOUND,
            ApiErrorCode::NameInvalid
            | ApiErrorCode::DigestInvalid
            | ApiErrorCode::PaginationNumberInvalid
            | ApiErrorCode::BadRequest => StatusCode::BAD_REQUEST,
            ApiErrorCode::RangeInvalid => StatusCode::RANGE_NOT_SATISFIABLE,
            ApiErrorCode::Unsupported => StatusCode::METHOD_NOT_ALLOWED,
            ApiErrorCode::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            ApiErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An error to answer with.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) code: ApiErrorCode,
    pub(crate) message: String,
    /// The name or digest in the request, if it helps to find the error.
    pub(crate) detail: Option<serde_json::Value>,
}

impl ApiError {
    pub(crate) fn new(code: ApiErrorCode, message: impl Into<String>) -> Self {
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
