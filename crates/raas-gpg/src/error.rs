//! Why a gpg command failed.

use std::io;

use raas_base::failure::{Failure, Kind};

/// A gpg command that failed.
#[derive(Debug, thiserror::Error)]
pub enum GpgError {
    /// The program is not on this machine.
    #[error("the program gpg is not installed")]
    Missing,
    /// The program cannot be run, or its folder cannot be made.
    #[error("gpg cannot be run")]
    Run(#[source] io::Error),
    /// The command took longer than its time limit.
    #[error("gpg took longer than {0} s")]
    TimedOut(u64),
    /// The command printed more than it may.
    #[error("gpg printed more than {0} bytes")]
    TooLong(usize),
    /// A file holds no public key.
    #[error("it holds no public key of OpenPGP that gpg can use{0}")]
    NoKey(String),
    /// The user's keys have none, or several, with this name.
    #[error("gpg has {0} private keys for `{1}`")]
    NotOneKey(usize, String),
    /// Anything else: what gpg printed.
    #[error("gpg failed{0}")]
    Failed(String),
}

impl GpgError {
    /// The failure of a command, with the message of the caller.
    pub fn because_of(self, kind: Kind, message: impl Into<String>) -> Failure {
        let kind = match &self {
            GpgError::NoKey(_) | GpgError::NotOneKey(..) | GpgError::Failed(_) => kind,
            _ => Kind::Environment,
        };
        let hint = match &self {
            GpgError::Missing => Some("install GnuPG: the package is gpg, gnupg or gnupg2"),
            _ => None,
        };
        Failure::new(kind, message).caused_by(self).hint_if(hint)
    }
}

/// What gpg printed for people, in one line and behind a colon. Empty if it printed nothing.
pub(crate) fn printed(output: &[u8]) -> String {
    /// The last lines say most.
    const LINES: usize = 3;
    let text = String::from_utf8_lossy(output);
    let lines = text.lines().map(|line| line.trim().trim_start_matches("gpg: "));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let last = lines[lines.len().saturating_sub(LINES)..].join("; ");
    let last: String = last.chars().filter(|c| !c.is_control()).take(400).collect();
    if last.is_empty() { last } else { format!(": {last}") }
}
