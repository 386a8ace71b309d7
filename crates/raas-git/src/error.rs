//! Why git did not do what it was asked for, told apart as far as somebody can act on it.

use std::io;
use std::path::Path;

use raas_base::failure::{Failure, Kind};
use raas_base::redact;

/// A git command that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct GitError {
    /// What went wrong.
    pub kind: GitErrorKind,
    message: String,
    said: String,
    /// Whether it is about a repository elsewhere.
    remote: bool,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitErrorKind {
    /// There is no such repository or branch.
    NotFound,
    /// The other side does not let this user in.
    Authentication,
    /// Somebody else has pushed in between: fetching and trying again helps.
    Rejected,
    /// The other side's rules do not allow the push: trying again does not help.
    Declined,
    /// The other side cannot be reached.
    Unreachable,
    /// It took longer than it may.
    TimedOut,
    /// Git itself cannot be run.
    NoGit,
    /// Anything else.
    Other,
}

impl GitError {
    /// A command that ended with an error; `place` is a folder or an address.
    pub(crate) fn said(verb: &str, place: &str, said: &str) -> Self {
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| is_worth_telling(line)).collect();
        let kind = GitErrorKind::of(said);
        let remote = !place.starts_with('/');
        let place = redact::text(place);
        Self {
            kind,
            remote,
            message: format!("`git {verb}` failed in {place}"),
            said: redact::text(&lines.join("; ")),
        }
    }

    pub(crate) fn timed_out(verb: &str, place: &str, seconds: u64) -> Self {
        Self {
            kind: GitErrorKind::TimedOut,
            message: format!("`git {verb}` in {} took longer than {seconds} s", redact::text(place)),
            said: String::new(),
            remote: true,
        }
    }

    pub(crate) fn odd(folder: &Path, what: &str) -> Self {
        Self {
            kind: GitErrorKind::Other,
            message: format!("git in {}: {what}", folder.display()),
            said: String::new(),
            remote: false,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
    pub(crate) fn no_git(error: io::Error) -> Self {
        Self {
            kind: GitErrorKind::NoGit,
            message: "cannot run `git`, which keeps the record of what is published".into(),
            said: error.to_string(),
            remote: false,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self.kind {
            GitErrorKind::NotFound => {
                "check the address and the branch: `git ls-remote ADDRESS` lists what is there"
            }
            GitErrorKind::Authentication => {
                "raas asks for no password: give git a key in the ssh agent, or a credential helper, so that \
                 `git ls-remote ADDRESS` works without questions"
            }
            GitErrorKind::Rejected => "others push there at this moment; run the command again",
            GitErrorKind::Declined => {
                "the other side's rules or hooks do not allow the push; its message says which"
            }
            GitErrorKind::Unreachable => {
                "check the address and the network; run the command again when it answers"
            }
            GitErrorKind::TimedOut => "check the network, or allow more time with --git-timeout SECONDS",
            GitErrorKind::NoGit => "install git",
            // Of a repository elsewhere its own words have to do.
            GitErrorKind::Other if self.remote => return None,
            GitErrorKind::Other => "`git fsck` in that folder tells whether the repository is damaged",
        })
    }
}

impl GitErrorKind {
    /// What git's words mean. The first that fits counts: later lines follow from earlier ones.
    fn of(said: &str) -> Self {
        const WORDS: [(GitErrorKind, &[&str]); 6] = [
            (
                GitErrorKind::Authentication,
                &[
                    "Authentication failed",
                    "Permission denied",
                    "could not read Username",
                    "could not read Password",
                    "terminal prompts disabled",
                    "returned error: 401",
                    "returned error: 403",
                    "Host key verification failed",
                ],
            ),
            (
                GitErrorKind::Declined,
                &["hook declined", "protected branch", "prohibited", "deny updating", "denyCurrentBranch"],
            ),
            (
                GitErrorKind::Rejected,
                &[
                    "[rejected]",
                    "fetch first",
                    "non-fast-forward",
                    "cannot lock ref",
                    "failed to update ref",
                    "incorrect old value",
                    "reference already exists",
                ],
            ),
            // Whatever else it is refused for is no race.
            (GitErrorKind::Declined, &["remote rejected"]),
            (
                GitErrorKind::NotFound,
                &[
                    "not found",
                    "does not exist",
                    "couldn't find remote ref",
                    "does not appear to be a git repository",
                    "returned error: 404",
                ],
            ),
            (
                GitErrorKind::Unreachable,
                &[
                    "Could not resolve",
                    "Connection refused",
                    "timed out",
                    "unable to access",
                    "Could not read from remote",
                    "hung up unexpectedly",
                    "early EOF",
                ],
            ),
        ];
        let found = WORDS.iter().find(|(_, words)| words.iter().any(|word| said.contains(word)));
        found.map_or(Self::Other, |(kind, _)| *kind)
    }
}

/// Not what git repeats, and no advice on commands that nobody has typed.
fn is_worth_telling(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("hint:") && !line.starts_with("Cloning into")
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        let hint = error.hint();
        let mut failure = Failure::new(Kind::Environment, error.message);
        if !error.said.is_empty() {
            failure = failure.caused_by(error.said);
        }
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gits_words_are_told_apart() {
        let table = [
            ("fatal: repository '/x' does not exist", GitErrorKind::NotFound),
            (
                "warning: Could not find remote branch x\nfatal: Remote branch x not found in upstream origin",
                GitErrorKind::NotFound,
            ),
            ("fatal: Authentication failed for 'https://x/'", GitErrorKind::Authentication),
            (
                "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                GitErrorKind::Authentication,
            ),
            (
                "fatal: could not read Username for 'https://x': terminal prompts disabled",
                GitErrorKind::Authentication,
            ),
            (
                " ! [rejected]        x -> main (fetch first)\nerror: failed to push some refs",
                GitErrorKind::Rejected,
            ),
            (" ! [remote rejected] x -> main (failed to update ref)", GitErrorKind::Rejected),
            (
                " ! [remote rejected] x -> main (cannot lock ref 'refs/heads/main': is at a but expected b)",
                GitErrorKind::Rejected,
            ),
            (
                " ! [remote rejected] x -> main (branch is currently checked out)\nerror: failed to push some refs",
                GitErrorKind::Declined,
            ),
            (" ! [remote rejected] x -> main (pre-receive hook declined)", GitErrorKind::Declined),
            ("fatal: unable to access 'http://x/': Could not resolve host: x", GitErrorKind::Unreachable),
            (
                "ssh: connect to host x port 22: Connection refused\nfatal: Could not read from remote repository.",
                GitErrorKind::Unreachable,
            ),
            ("fatal: bad object", GitErrorKind::Other),
        ];
        for (said, kind) in table {
            assert_eq!(GitErrorKind::of(said), kind, "{said}");
        }
    }

    #[test]
    fn passwords_in_addresses_are_not_told() {
        assert_eq!(
            redact::text("for 'https://u:p@x.org/a' and https://t@y"),
            "for 'https://x.org/a' and https://y"
        );
        assert_eq!(redact::text("https://u:p@x@z.org"), "https://z.org");
        assert_eq!(redact::text("git@x.org:a/b"), "git@x.org:a/b");
        let failure = Failure::from(GitError::said(
            "clone",
            "https://u:secret@x/r",
            "fatal: no 'https://u:secret@x/r'",
        ));
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
}
