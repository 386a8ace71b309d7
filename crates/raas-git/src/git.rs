//! Runs the `git` program, always with the same environment, so that no user's settings change its answers.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::error::GitError;
use raas_base::files;

/// A repository on this machine, by its git folder.
#[derive(Debug, Clone)]
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
        // The user's settings for new repositories do not count: raas reads the files of this repository.
        command.env("GIT_DEFAULT_REF_FORMAT", "files").env("GIT_DEFAULT_HASH", "sha1");
        command.args(["init", "--bare", "--quiet", "--template=", &branch, "--"]).arg(&self.folder);
        let is_new = !self.folder.join("HEAD").exists();
        self.succeed(command, "init")?;
        if is_new {
            // git syncs what it commits, and not the files that make the folder a repository.
            files::sync_below(&self.folder)
                .map_err(|error| self.unexpected(&format!("the new repository cannot be synced: {error}")))?;
        }
        Ok(())
    }

    /// A git command in the repository.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.foreground_command();
        // Ctrl-C reaches the process group of the terminal. git must not die of it: raas decides what an interrupt
        // ends.
        command.process_group(0);
        command
    }

    /// As [`command`](Self::command), in the process group of the terminal: only this group may ask for a passphrase.
    pub(crate) fn foreground_command(&self) -> Command {
        let mut command = plain_command();
        command.arg("--git-dir").arg(&self.folder);
        command
    }

    /// Runs a command, and returns what it prints.
    ///
    /// # Errors
    /// The command fails, or prints something that is not UTF-8.
    pub fn run(&self, arguments: &[&str]) -> Result<String, GitError> {
        let mut command = self.command();
        command.args(arguments);
        let output = self.succeed(command, arguments[0])?;
        String::from_utf8(output.stdout).map_err(|_| self.unexpected("the output is not UTF-8"))
    }

    /// Like [`run`](Self::run), with an output of any bytes.
    pub fn run_raw(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        let mut command = self.command();
        command.args(arguments);
        Ok(self.succeed(command, arguments[0])?.stdout)
    }

    /// Like [`run`](Self::run), with times in UTC. Bytes that are not UTF-8 are replaced.
    pub fn run_in_utc(&self, arguments: &[&str]) -> Result<String, GitError> {
        let mut command = self.command();
        command.env("TZ", "UTC0").args(["-c", "log.showSignature=false"]).args(arguments);
        let output = self.succeed(command, arguments[0])?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Like [`run`](Self::run), with this standard input and standard output.
    pub fn pass(&self, arguments: &[&str], from: Stdio, to: Stdio) -> Result<(), GitError> {
        let mut command = self.command();
        command.args(arguments).stdin(from).stdout(to).stderr(Stdio::piped());
        let output = command.spawn().and_then(Child::wait_with_output).map_err(GitError::no_git)?;
        if output.status.success() { Ok(()) } else { Err(self.failed(arguments[0], &output)) }
    }

    /// Like [`run`](Self::run), for commands that answer "no" with exit code 1, which is `None` here.
    pub fn ask(&self, arguments: &[&str]) -> Result<Option<String>, GitError> {
        let output = self.command().args(arguments).output().map_err(GitError::no_git)?;
        match output.status.code() {
            Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
            Some(1) => Ok(None),
            _ => Err(self.failed(arguments[0], &output)),
        }
    }

    /// What `git fsck` finds wrong, a line each. It reads and checks every object.
    pub fn fsck(&self) -> Result<Vec<String>, GitError> {
        let mut command = self.command();
        command.args(["fsck", "--full", "--no-dangling", "--no-progress"]);
        let output = command.output().map_err(GitError::no_git)?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        // A notice says that there is no branch yet.
        let lines =
            said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("notice:"));
        let mut found: Vec<String> = lines.map(|line| format!("git fsck: {line}")).collect();
        if found.is_empty() && !output.status.success() {
            found.push(format!("git fsck: {}", output.status));
        }
        Ok(found)
    }

    /// The error of an answer that raas does not expect from git: `what` says what is wrong with it.
    pub fn unexpected(&self, what: &str) -> GitError {
        GitError::unexpected(&self.folder, what)
    }

    pub(crate) fn failed(&self, verb: &str, output: &Output) -> GitError {
        let printed = String::from_utf8_lossy(&output.stderr);
        let printed =
            if printed.trim().is_empty() { output.status.to_string() } else { printed.into_owned() };
        GitError::command_failed(verb, &self.folder.display().to_string(), &printed)
    }

    pub(crate) fn succeed(&self, mut command: Command, verb: &str) -> Result<Output, GitError> {
        let output = command.output().map_err(GitError::no_git)?;
        if output.status.success() { Ok(output) } else { Err(self.failed(verb, &output)) }
    }
}

/// A git command in no repository, in the environment that all commands have.
pub(crate) fn plain_command() -> Command {
    let mut command = Command::new("git");
    // A hook or an alias may call raas: git must not use the repository of that hook.
    // Source: `git rev-parse --local-env-vars`, without the variables for settings, which may be meant for raas.
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
        // raas parses the output, so it must be in one language.
        .env("LC_ALL", "C")
        // No command waits for a keyboard.
        .env("GIT_TERMINAL_PROMPT", "0")
        // git distrusts a folder of another user. raas may run as another user, as root in a container for example.
        .args(["-c", "safe.directory=*"])
        // Paths are printed as they are, not quoted.
        .args(["-c", "core.quotePath=false"])
        // The log of a branch says where the branch was, if its file is lost. Bare repositories have none by default,
        // and git would forget old entries.
        .args(["-c", "core.logAllRefUpdates=true", "-c", "gc.reflogExpire=never"])
        // Packing must not outlive the lock that raas holds, so it does not go to the background.
        .args(["-c", "gc.autoDetach=false"])
        .args(["-c", "maintenance.autoDetach=false"])
        // A commit is an entry of the audit log: it is on the disk when the command ends.
        .args(["-c", "core.fsync=committed"])
        // If raas is killed, its git must not wait forever for a silent server.
        .args(["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60"])
        // Hooks are for repositories that people work in.
        .args(["-c", "core.hooksPath=/dev/null"])
        .stdin(Stdio::null());
    command
}
