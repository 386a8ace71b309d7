//! Why a git command failed, in the kinds that people and programs can act on.

use std::io;
use std::path::Path;

use raas_base::failure::{Failure, Kind};
use raas_base::redact;

/// A git command that failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct GitError {
    /// The kind of the error.
    pub kind: GitErrorKind,
    message: String,
    /// What git printed, without its own hints and without secrets.
    output: String,
    /// Whether the repository is on another machine.
    remote: bool,
}

/// Why a git command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GitErrorKind {
    /// There is no such repository or branch.
    NotFound,
    /// The remote does not accept this user.
    Authentication,
    /// Another push came first: fetching and trying again helps.
    Rejected,
    /// The rules of the remote do not allow the push: trying again does not help.
    Declined,
    /// The remote protects the branch from this user.
    ProtectedBranch,
    /// The remote has a working tree of the branch.
    CheckedOut,
    /// git distrusts the repository, since it belongs to another user.
    DubiousOwnership,
    /// The commit cannot be signed.
    Signature,
    /// The remote cannot be reached.
    Unreachable,
    /// The command took longer than its time limit.
    TimedOut,
    /// The `git` program cannot be run.
    NoGit,
    /// The `git` program lacks an option that raas needs.
    TooOld,
    /// Anything else.
    Other,
}

impl GitError {
    /// The error of a command that ended with an error. `repository` is its folder or its address.
    pub(crate) fn command_failed(verb: &str, repository: &str, printed: &str) -> Self {
        let lines: Vec<&str> = printed.lines().map(str::trim).filter(|line| is_worth_showing(line)).collect();
        let kind = GitErrorKind::of(printed);
        let remote = !repository.starts_with('/');
        Self {
            kind,
            remote,
            message: format!("`git {verb}` failed in {}", redact::address(repository)),
            output: redact::text(&lines.join("; ")),
        }
    }

    /// The error of a command that signs. Unless the disk has failed, the reason is the key or its program. The words
    /// of `gpg` and `ssh-keygen` for this are too many to list.
    pub(crate) fn of_signing(self) -> Self {
        const DISK: [&str; 4] =
            ["No space left", "unable to write", "unable to create", "insufficient permission"];
        let is_disk = DISK.iter().any(|words| self.output.contains(words));
        if is_disk { self } else { Self { kind: GitErrorKind::Signature, ..self } }
    }

    pub(crate) fn timed_out(verb: &str, address: &str, seconds: u64) -> Self {
        Self {
            kind: GitErrorKind::TimedOut,
            message: format!("`git {verb}` in {} took longer than {seconds} s", redact::address(address)),
            output: String::new(),
            remote: true,
        }
    }

    /// The error of an answer that raas does not expect from git.
    pub(crate) fn unexpected(folder: &Path, what: &str) -> Self {
        Self {
            kind: GitErrorKind::Other,
            message: format!("git in {}: {what}", folder.display()),
            output: String::new(),
            remote: false,
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
    pub(crate) fn no_git(error: io::Error) -> Self {
        Self {
            kind: GitErrorKind::NoGit,
            message: "cannot run `git`, which keeps the record of what is published".into(),
            output: error.to_string(),
            remote: false,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        let hint = HINTS.iter().find(|(kind, _)| *kind == self.kind).map(|(_, hint)| *hint);
        // For an unknown error of a remote there is no hint: git's own output has to suffice.
        hint.or((!self.remote)
            .then_some("run `git fsck` in that folder: it says whether the repository is damaged"))
    }
}

/// What people can do about each kind of error.
const HINTS: [(GitErrorKind, &str); 12] = [
    (
        GitErrorKind::NotFound,
        "check the address and the branch: `git ls-remote ADDRESS` lists the branches of a repository",
    ),
    (
        GitErrorKind::Authentication,
        "give git a key in the ssh agent, or a credential helper: raas asks for no password, so \
         `git ls-remote ADDRESS` must work without questions",
    ),
    (GitErrorKind::Rejected, "run the command again: others push there at this moment"),
    (
        GitErrorKind::Declined,
        "ask the owner of the remote: its rules or hooks do not allow the push, and its message says which",
    ),
    (
        GitErrorKind::ProtectedBranch,
        "allow this user to push to the branch in the settings of the remote, or name another branch with --configenv",
    ),
    (
        GitErrorKind::CheckedOut,
        "push to a bare repository, or check out another branch there: git does not change a branch below a working tree",
    ),
    (
        GitErrorKind::DubiousOwnership,
        "run `git config --global --add safe.directory FOLDER` on the machine of the repository, as the user that \
         git runs as there, or give the folder to that user",
    ),
    (
        GitErrorKind::Signature,
        "check the key with which git signs commits (`git config --get-regexp 'gpg|signingkey'`) and its agent, which \
         cannot ask for a passphrase here; or set `commit.gpgSign` to false",
    ),
    (
        GitErrorKind::Unreachable,
        "check the address and the network, and run the command again when the remote answers",
    ),
    (GitErrorKind::TimedOut, "check the network, or allow more time with --git-timeout SECONDS"),
    (GitErrorKind::NoGit, "install git"),
    (GitErrorKind::TooOld, "install git 2.36 or later"),
];

impl GitErrorKind {
    /// The kind of the error that git printed. The first row with a match decides.
    fn of(printed: &str) -> Self {
        const WORDS: [(GitErrorKind, &[&str]); 11] = [
            (GitErrorKind::TooOld, &["unknown option `batch-command"]),
            (GitErrorKind::Signature, &["failed to sign the data", "signing failed"]),
            // Comes early: git then also prints that it could not read from the remote.
            (GitErrorKind::DubiousOwnership, &["dubious ownership"]),
            // Rules come before credentials: the answer to a push against the rules may hold the words for refused
            // credentials too.
            (
                GitErrorKind::ProtectedBranch,
                &[
                    "protected branch",
                    "Protected branch",
                    "GH006",
                    "GH013",
                    "only be modified through pull requests",
                ],
            ),
            (GitErrorKind::CheckedOut, &["branch is currently checked out", "denyCurrentBranch"]),
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
            (GitErrorKind::Declined, &["hook declined", "prohibited", "deny updating"]),
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
            // All other rejections of a remote are no race with another push.
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
        let found = WORDS.iter().find(|(_, words)| words.iter().any(|word| printed.contains(word)));
        found.map_or(Self::Other, |(kind, _)| *kind)
    }
}

/// Whether people need the line. git's own hints are about commands that nobody has typed.
fn is_worth_showing(line: &str) -> bool {
    !line.is_empty() && !line.starts_with("hint:") && !line.starts_with("Cloning into")
}

impl From<GitError> for Failure {
    fn from(error: GitError) -> Self {
        let hint = error.hint();
        let failure = Failure::new(Kind::Environment, error.message).hint_if(hint);
        if error.output.is_empty() { failure } else { failure.caused_by(error.output) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_an_error_is_found_in_gits_words() {
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
                GitErrorKind::CheckedOut,
            ),
            (
                "remote: error: GH006: Protected branch update failed for refs/heads/main.\n \
                 ! [remote rejected] x -> main (protected branch hook declined)",
                GitErrorKind::ProtectedBranch,
            ),
            (
                "fatal: detected dubious ownership in repository at '/x'\nfatal: Could not read from remote repository.",
                GitErrorKind::DubiousOwnership,
            ),
            ("error: gpg failed to sign the data:\n(no gpg output)", GitErrorKind::Signature),
            (" ! [remote rejected] x -> main (pre-receive hook declined)", GitErrorKind::Declined),
            ("fatal: unable to access 'http://x/': Could not resolve host: x", GitErrorKind::Unreachable),
            (
                "ssh: connect to host x port 22: Connection refused\nfatal: Could not read from remote repository.",
                GitErrorKind::Unreachable,
            ),
            ("error: unknown option `batch-command'\nusage: git cat-file", GitErrorKind::TooOld),
            ("fatal: bad object", GitErrorKind::Other),
        ];
        for (printed, kind) in table {
            assert_eq!(GitErrorKind::of(printed), kind, "{printed}");
        }
    }

    #[test]
    fn passwords_in_addresses_are_not_shown() {
        assert_eq!(
            redact::text("for 'https://u:p@x.org/a' and https://t@y"),
            "for 'https://x.org/a' and https://y"
        );
        assert_eq!(redact::text("https://u:p@x@z.org"), "https://z.org");
        assert_eq!(redact::text("git@x.org:a/b"), "git@x.org:a/b");
        let failure = Failure::from(GitError::command_failed(
            "clone",
            "https://u:secret@x/r",
            "fatal: no 'https://u:secret@x/r'",
        ));
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
}
