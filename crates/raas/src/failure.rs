//! Why a command ended without doing what it was asked for: what happened, to what, why, and what to do.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use raas_image::ImageError;
use raas_types::NameError;

use crate::storage::StorageError;

/// What went wrong, as far as a script must know: each kind has an exit code of its own. Exit code 1 is of commands
/// that did what they were asked for and found a check that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line or the configuration asks for something that cannot be (exit code 2).
    Usage,
    /// The input is not fit to be published (exit code 3).
    Refused,
    /// A disk, a network, a service or a program that raas needs failed (exit code 4).
    Environment,
}

/// A failure, ready to be told.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None, hint: None }
    }

    /// Adds what the failure came from.
    pub(crate) fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Says before the message what is true nevertheless.
    pub(crate) fn preceded_by(mut self, said: &str) -> Self {
        self.message = format!("{said}: {}", self.message);
        self
    }

    /// Adds what the user can do.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::Environment => 4,
        })
    }
}

impl fmt::Display for Failure {
    /// The message, the causes below it, and the hint last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn Error);
        let mut said = self.message.clone();
        while let Some(error) = cause {
            // Libraries like to repeat their cause in their own message; people read it once.
            let text = error.to_string();
            if !said.ends_with(&text) {
                write!(f, "\n  because: {text}")?;
            }
            said = text;
            cause = error.source();
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Says what was being done when something failed.
pub(crate) trait Context<T> {
    /// The failure of the environment, with this message before the error.
    fn context(self, message: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Kind::Environment, message()).caused_by(error))
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let message = error.to_string();
        let (kind, hint) = match &error {
            ImageError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                (Kind::Environment, Some("is the path right? It is meant from the current folder"))
            }
            ImageError::Read { .. } => (Kind::Environment, None),
            ImageError::Write { .. } => (
                Kind::Environment,
                Some("what was published before is served unchanged; push again when that is mended"),
            ),
            ImageError::Refused { .. } => (Kind::Refused, Some("nothing was published")),
            ImageError::NotAnImage { .. } => (
                Kind::Refused,
                Some(
                    "raas reads Pulp 2 and Pulp 3 exports, docker save archives, OCI image layouts and `dir:` folders of \
                     skopeo, plain or packed with gzip, Zstandard or xz",
                ),
            ),
            ImageError::Choice(_) => (Kind::Refused, None),
        };
        let mut failure = Failure::new(kind, message);
        failure.hint = hint.map(str::to_owned);
        failure.cause = match error {
            ImageError::Read { source, .. } => Some(source.into()),
            ImageError::Write { source, .. } => match source.downcast::<StorageError>() {
                // The storage knows better what to do.
                Ok(error) => return error.into(),
                Err(source) => Some(source.into()),
            },
            _ => None,
        };
        failure
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        let (message, source, hint) = error.into_parts();
        let mut failure = Failure::new(Kind::Environment, message).caused_by(source);
        failure.hint = hint;
        failure
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Failure::new(Kind::Usage, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_failure_tells_what_why_and_what_to_do() {
        let failed: Result<(), io::Error> = Err(io::Error::other("the disk is on fire"));
        let failure = failed.context(|| "cannot write x".into()).unwrap_err().hint("put it out");
        assert_eq!(
            failure.to_string(),
            "error: cannot write x\n  because: the disk is on fire\nhint: put it out"
        );
    }

    #[test]
    fn a_cause_is_not_told_twice() {
        let inner = io::Error::other("inner");
        let failure = Failure::new(Kind::Usage, "outer: inner").caused_by(inner);
        assert_eq!(failure.to_string(), "error: outer: inner");
    }
}
