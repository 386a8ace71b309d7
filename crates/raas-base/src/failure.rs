//! The error of a command: what failed, on what, why, and what to do.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use raas_types::NameError;

/// The kind of a failure, for scripts: each kind has an exit code of its own.
///
/// Exit code 1 is no failure: a command did its work, and found a check that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The command line or the configuration asks for something impossible (exit code 2).
    Usage,
    /// The input cannot be published (exit code 3).
    Refused,
    /// A disk, a network, a service or a program that raas needs failed (exit code 4).
    Environment,
}

impl Kind {
    /// The exit code of a command that ends with such a failure.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::Refused => 3,
            Kind::Environment => 4,
        }
    }

    /// The kind of a failure to read a file that the user named, on the command line or in the configuration. A missing
    /// file counts as a wrong name in both.
    pub fn of_named_file(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Kind::Usage,
            _ => Kind::Environment,
        }
    }
}

/// A failure, ready to be shown.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
    hints: Vec<String>,
}

impl Failure {
    /// A failure with this message: what failed, and on what.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cause: None, hints: Vec::new() }
    }

    /// Adds the cause.
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Puts a statement before the message, such as what was done in spite of the failure.
    pub fn preceded_by(mut self, statement: &str) -> Self {
        self.message = format!("{statement}: {}", self.message);
        self
    }

    /// Adds what the user can do. It begins with a verb.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds a hint, if there is one.
    pub fn hint_if(self, hint: Option<impl Into<String>>) -> Self {
        match hint {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }

    /// Puts a vendor's name into the hints, in the place of `ISV`: a library that gives a hint may not know the vendor.
    pub fn of_vendor(mut self, vendor: &str) -> Self {
        for hint in &mut self.hints {
            let words = hint.split(' ').map(|word| {
                let bare = word.trim_matches(|c: char| "`,.:;".contains(c));
                if bare == "ISV" { word.replace("ISV", vendor) } else { word.to_owned() }
            });
            *hint = words.collect::<Vec<_>>().join(" ");
        }
        self
    }

    /// The kind, for scripts.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What failed, and on what.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The causes, the nearest first. A cause is left out if the text before it ends with it: many libraries repeat
    /// their cause in their own message.
    pub fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut shown = self.message.clone();
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn Error);
        while let Some(error) = cause {
            let text = error.to_string();
            if !shown.ends_with(&text) {
                causes.push(text.clone());
            }
            shown = text;
            cause = error.source();
        }
        causes
    }

    /// What the user can do, the first thing to try first.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The exit code of a command that ends with this failure.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit_code())
    }
}

impl fmt::Display for Failure {
    /// The message, the causes below it, and the hints last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        for cause in self.causes() {
            write!(f, "\n  because: {cause}")?;
        }
        self.hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

/// Adds to an error what was being done.
pub trait Context<T> {
    /// Makes the error the cause of a failure of the environment with this message.
    fn context(self, message: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(Kind::Environment, message()).caused_by(error))
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Failure::new(Kind::Usage, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_message_cause_and_hints() {
        let failed: Result<(), io::Error> = Err(io::Error::other("the disk is on fire"));
        let failure =
            failed.context(|| "cannot write x".into()).unwrap_err().hint("put it out").hint("call help");
        assert_eq!(
            failure.to_string(),
            "error: cannot write x\n  because: the disk is on fire\nhint: put it out\nhint: call help"
        );
    }

    #[test]
    fn hints_name_the_vendor() {
        let failure =
            Failure::new(Kind::Usage, "no ISV").hint("run `raas log ISV`, or raas setup ISV: ISV=x DISV");
        let failure = failure.of_vendor("acme").to_string();
        assert_eq!(failure, "error: no ISV\nhint: run `raas log acme`, or raas setup acme: ISV=x DISV");
    }

    #[test]
    fn a_missing_file_is_a_wrong_name() {
        let kind = |kind: io::ErrorKind| Kind::of_named_file(&io::Error::from(kind));
        assert_eq!(kind(io::ErrorKind::NotFound), Kind::Usage);
        assert_eq!(kind(io::ErrorKind::PermissionDenied), Kind::Environment);
    }

    #[test]
    fn a_repeated_cause_is_shown_once() {
        let inner = io::Error::other("inner");
        let failure = Failure::new(Kind::Usage, "outer: inner").caused_by(inner);
        assert_eq!(failure.to_string(), "error: outer: inner");
    }
}
