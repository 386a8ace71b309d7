//! Why a storage could not do what it was asked for.

use std::error::Error;
use std::fmt;
use std::io;

use raas_base::failure::{Failure, Kind};
use raas_types::ObjectKey;

/// A failed operation of a storage.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    message: String,
    source: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
    unanswered: bool,
}

impl StorageError {
    /// An error with what failed, on what, and why.
    pub fn new(message: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { message: message.into(), source: source.into(), hint: None, unanswered: false }
    }

    /// Adds what the user can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what the user can do, unless the error has a hint already.
    pub fn or_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Marks that the service has not answered at all.
    pub fn unanswered(self) -> Self {
        Self { unanswered: true, ..self }
    }

    /// Whether the service has not answered at all. Another request would take as long and fail as well.
    pub fn is_unanswered(&self) -> bool {
        self.unanswered
    }

    /// The error of reading an object that was there.
    pub fn reading(key: &impl fmt::Display, source: io::Error) -> Self {
        let error = match source.downcast::<StorageError>() {
            Ok(error) => error,
            Err(source) => Self::new(format!("cannot read {key}"), source),
        };
        error.or_hint(
            "run the command again: the storage, or a proxy before it, has ended its answer too early; look there if it \
             does so again",
        )
    }

    /// The error of a failed `write` of an [`Upload`](super::Upload).
    pub fn writing(key: &ObjectKey, source: io::Error) -> Self {
        // A storage's own error says more than a wrapper around it would.
        match source.downcast::<StorageError>() {
            Ok(error) => error,
            Err(source) => Self::new(format!("cannot store {key}"), source),
        }
    }

    /// The message, the cause, and the hint.
    pub fn into_parts(self) -> (String, Box<dyn Error + Send + Sync>, Option<String>) {
        (self.message, self.source, self.hint)
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let (message, source, hint) = error.into_parts();
        Failure::new(Kind::Environment, message).caused_by(source).hint_if(hint)
    }
}

impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        io::Error::other(error)
    }
}
