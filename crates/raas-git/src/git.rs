//! The one place that runs `git`: always with the same environment, so that no user's settings change what it says,
//! and with a bound on whatever waits for a network.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::error::GitError;

/// A repository, by its git folder.
#[derive(Debug)]
pub struct Git {
    folder: PathBuf,
}

impl Git {
    /// The repository whose git folder this is. It need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The git folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a bare repository with this branch, if it is not there.
    pub fn create(&self, branch: &str) -> Result<(), GitError> {
        let branch = format!("--initial-branch={branch}");
        let mut command = plain_command();
        // Not as the user's own repositories are made: raas looks at the files of this one.
        command.env("GIT_DEFAULT_REF_FORMAT", "files").env("GIT_DEFAULT_HASH", "sha1");
        command.args(["init", "--bare", "--quiet", "--template=", &branch, "--"]).arg(&self.folder);
        self.succeed(command, "init").map(drop)
    }

    /// A command in the repository.
    pub(crate) fn command(&self) -> Command {
        let mut command = plain_command();
        command.arg("--git-dir").arg(&self.folder);
        command
    }

    /// Runs to the end and gives what it says.
    pub fn run(&self, arguments: &[&str]) -> Result<String, GitError> {
        let mut command = self.command();
        command.args(arguments);
        let said = self.succeed(command, arguments[0])?;
        String::from_utf8(said.stdout).map_err(|_| self.odd("it said something that is not UTF-8"))
    }

    /// As [`run`](Self::run), whatever it says.
    pub fn run_raw(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        let mut command = self.command();
        command.args(arguments);
        Ok(self.succeed(command, arguments[0])?.stdout)
    }

    /// As [`run`](Self::run), with times told in UTC.
    pub fn run_in_utc(&self, arguments: &[&str]) -> Result<String, GitError> {
        let mut command = self.command();
        command.env("TZ", "UTC0").args(["-c", "log.showSignature=false"]).args(arguments);
        let said = self.succeed(command, arguments[0])?;
        // A message is for people's eyes, whatever its bytes.
        Ok(String::from_utf8_lossy(&said.stdout).into_owned())
    }

    /// As [`run`](Self::run), with an input, and with what it says in a file.
    pub fn pass(&self, arguments: &[&str], from: Stdio, to: Stdio) -> Result<(), GitError> {
        let mut command = self.command();
        command.args(arguments).stdin(from).stdout(to).stderr(Stdio::piped());
        let said = command.spawn().and_then(Child::wait_with_output).map_err(GitError::no_git)?;
        if said.status.success() { Ok(()) } else { Err(self.failed(arguments[0], &said)) }
    }

    /// As [`run`](Self::run), for the commands that say no with exit code 1.
    pub fn ask(&self, arguments: &[&str]) -> Result<Option<String>, GitError> {
        let output = self.command().args(arguments).output().map_err(GitError::no_git)?;
        match output.status.code() {
            Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
            Some(1) => Ok(None),
            _ => Err(self.failed(arguments[0], &output)),
        }
    }

    /// A failure for an answer that git never gives to a question of ours.
    pub fn odd(&self, what: &str) -> GitError {
        GitError::odd(&self.folder, what)
    }

    pub(crate) fn failed(&self, verb: &str, output: &Output) -> GitError {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = if said.trim().is_empty() { output.status.to_string() } else { said.into_owned() };
        GitError::said(verb, &self.folder.display().to_string(), &said)
    }

    pub(crate) fn succeed(&self, mut command: Command, verb: &str) -> Result<Output, GitError> {
        let output = command.output().map_err(GitError::no_git)?;
        if output.status.success() { Ok(output) } else { Err(self.failed(verb, &output)) }
    }
}

pub(crate) fn plain_command() -> Command {
    let mut command = Command::new("git");
    // A hook or an alias that calls raas must not lead it into the repository that it was called from.
    // Source: `git rev-parse --local-env-vars`, but for settings, which the user may mean for raas too.
    for name in [
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    ] {
        command.env_remove(name);
    }
    command
        // What git says is parsed, so it must speak one language.
        .env("LC_ALL", "C")
        // Nothing waits for a keyboard.
        .env("GIT_TERMINAL_PROMPT", "0")
        // The folder is ours whoever runs raas, in a container as root for example.
        .args(["-c", "safe.directory=*"])
        // Paths come as they are, not as quoted octal.
        .args(["-c", "core.quotePath=false"])
        // Packing runs before raas ends, or never: it must not outlive the lock that it runs under.
        .args(["-c", "gc.autoDetach=false"])
        .args(["-c", "maintenance.autoDetach=false"])
        // Every commit is part of the audit log, and on the disk when it is made.
        .args(["-c", "core.fsync=committed"])
        // A server that says nothing more is not waited for by a git whose raas was killed.
        .args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"])
        // Hooks are for people who work in a repository; none of ours is one to work in.
        .args(["-c", "core.hooksPath=/dev/null"])
        .stdin(Stdio::null());
    command
}
