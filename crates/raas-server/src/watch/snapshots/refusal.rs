//! Why the metadata in a bucket is refused.

use std::time::Duration;

use hyper::StatusCode;
use raas_http::ClientError;
use raas_types::{Digest, ObjectKey, PointerError};

use super::super::archive::ArchiveError;
use super::super::error_code::ErrorCode;
use crate::catalog::OverBudget;
use crate::origin::CredentialError;

/// How long a bucket may take to answer a request for the pointer, with all attempts. Until then the server believes that
/// it serves the current metadata.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// Why the metadata in a bucket is refused.
#[derive(Debug, thiserror::Error)]
pub(in crate::watch) enum Refusal {
    #[error("the bucket does not exist")]
    NoBucket,
    #[error("cannot sign a URL: {0}")]
    Sign(#[from] CredentialError),
    #[error("{0}: {1}")]
    Ask(ObjectKey, ClientError),
    #[error("{0}: the service answers {1}{2}")]
    Status(ObjectKey, StatusCode, String),
    #[error("{0}: the transfer broke off: {1}")]
    Broken(ObjectKey, String),
    #[error("{0}: the service has not answered for {seconds} s", seconds = PATIENCE.as_secs())]
    Silent(ObjectKey),
    #[error("{0}: the object is longer than {1} bytes")]
    TooLong(ObjectKey, u64),
    #[error("the pointer has been removed from the bucket")]
    Gone,
    #[error(
        "the pointer is at publication {found}, and this server has followed it to {served} before: start the server with \
         --allow-rollback if the bucket was restored on purpose"
    )]
    Earlier { found: u64, served: u64 },
    #[error("the pointer: {0}")]
    Pointer(#[from] PointerError),
    #[error(
        "the pointer was written by an older raas and names no parts: publish with this version, or run `raas setup`"
    )]
    Older,
    #[error("{0}: the object has {1} bytes instead of {2}")]
    Size(ObjectKey, u64, u64),
    #[error("{0}: the content of the object has the digest {1}")]
    Digest(ObjectKey, Digest),
    #[error("{0}: {1}")]
    Archive(ObjectKey, ArchiveError),
    /// The same content was refused before. The values are the reason, and the reason for everybody.
    #[error("{0}")]
    Again(String, String),
    #[error(transparent)]
    Memory(#[from] OverBudget),
    #[error("the reader of the metadata failed; see the log")]
    Reader,
}

impl Refusal {
    /// The reason for everybody. It names no repository: a protected one may be hidden.
    pub(super) fn for_everybody(&self) -> String {
        match self {
            Refusal::Memory(error) => error.to_string(),
            Refusal::Again(_, reason) => reason.clone(),
            Refusal::Older | Refusal::Earlier { .. } | Refusal::NoBucket | Refusal::Gone => self.to_string(),
            Refusal::Sign(_)
            | Refusal::Ask(..)
            | Refusal::Status(..)
            | Refusal::Broken(..)
            | Refusal::Silent(_) => "the bucket cannot be read; the server's log says why".into(),
            Refusal::TooLong(..)
            | Refusal::Pointer(_)
            | Refusal::Size(..)
            | Refusal::Digest(..)
            | Refusal::Archive(..)
            | Refusal::Reader => "the metadata in the bucket is not valid; the server's log says why".into(),
        }
    }

    /// Whether the metadata could not be read at all. Otherwise it was read and is not valid.
    pub(super) fn is_failure_to_read(&self) -> bool {
        match self {
            // A part that is missing makes its snapshot incomplete.
            Refusal::Status(_, status, _) => *status != StatusCode::NOT_FOUND,
            Refusal::NoBucket
            | Refusal::Sign(_)
            | Refusal::Ask(..)
            | Refusal::Broken(..)
            | Refusal::Silent(_) => true,
            Refusal::TooLong(..)
            | Refusal::Gone
            | Refusal::Earlier { .. }
            | Refusal::Pointer(_)
            | Refusal::Older
            | Refusal::Size(..)
            | Refusal::Digest(..)
            | Refusal::Archive(..)
            | Refusal::Again(..)
            | Refusal::Memory(_)
            | Refusal::Reader => false,
        }
    }

    /// Whether the same content will be refused again. Bytes with the right digest are always the same.
    pub(super) fn is_of_content(&self) -> bool {
        matches!(self, Refusal::Archive(..) | Refusal::Memory(_))
    }

    pub(super) fn status(key: ObjectKey, status: StatusCode, code: Option<ErrorCode>) -> Self {
        Refusal::Status(key, status, code.map_or(String::new(), |code| format!(" ({code})")))
    }
}
