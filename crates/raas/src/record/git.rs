//! The one place that runs `git`: always with the same environment, so that no user's settings change what it says.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use crate::failure::{Context as _, Failure, Kind};

/// A bare repository.
#[derive(Debug)]
pub(super) struct Git {
    folder: PathBuf,
}

impl Git {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the repository with this branch, if it is not there.
    pub(super) fn create(&self, branch: &str) -> Result<(), Failure> {
        let branch = format!("--initial-branch={branch}");
        let mut command = plain_command();
        command.args(["init", "--bare", "--quiet", "--template=", &branch, "--"]).arg(&self.folder);
        self.succeed(command, "init").map(drop)
    }

    /// A command in the repository.
    pub(super) fn command(&self) -> Command {
        let mut command = plain_command();
        command.arg("--git-dir").arg(&self.folder);
        command
    }

    /// Runs to the end and gives what it says.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = self.command();
        command.args(arguments);
        let said = self.succeed(command, arguments[0])?;
        String::from_utf8(said.stdout).map_err(|_| self.odd("it said something that is not UTF-8"))
    }

    /// As [`run`](Self::run), for the commands that say no with exit code 1.
    pub(super) fn ask(&self, arguments: &[&str]) -> Result<Option<String>, Failure> {
        let output = self.command().args(arguments).output().context(no_git)?;
        match output.status.code() {
            Some(0) => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
            Some(1) => Ok(None),
            _ => Err(self.failed(arguments[0], &output)),
        }
    }

    /// Begins to read objects.
    pub(super) fn objects(&self) -> Result<Objects<'_>, Failure> {
        let mut child = self
            .command()
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context(no_git)?;
        let (Some(asking), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(self.odd("git took no pipes"));
        };
        Ok(Objects { git: self, child, asking: Some(asking), answers: BufReader::new(answers) })
    }

    /// A failure for an answer that git never gives to a question of ours.
    pub(super) fn odd(&self, what: &str) -> Failure {
        Failure::new(Kind::Environment, format!("git in {}: {what}", self.folder.display()))
            .hint("`git fsck` in that folder tells whether the record is damaged")
    }

    pub(super) fn failed(&self, verb: &str, output: &Output) -> Failure {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        let reason = if said.is_empty() { output.status.to_string() } else { said.replace('\n', "; ") };
        Failure::new(Kind::Environment, format!("`git {verb}` failed in {}", self.folder.display()))
            .caused_by(reason)
    }

    fn succeed(&self, mut command: Command, verb: &str) -> Result<Output, Failure> {
        let output = command.output().context(no_git)?;
        if output.status.success() { Ok(output) } else { Err(self.failed(verb, &output)) }
    }
}

pub(super) fn no_git() -> String {
    "cannot run `git`, which keeps the record of what is published; is it installed?".into()
}

fn plain_command() -> Command {
    let mut command = Command::new("git");
    // A hook or an alias that calls raas must not lead it into the repository that it was called from.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"] {
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
        .stdin(Stdio::null());
    command
}

/// A `git cat-file --batch` to ask.
pub(super) struct Objects<'a> {
    git: &'a Git,
    child: Child,
    asking: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Objects<'_> {
    /// The content of an object.
    pub(super) fn read(&mut self, object: &str) -> Result<Vec<u8>, Failure> {
        let read = self.exchange(object);
        read.context(|| format!("cannot read object {object} of {}", self.git.folder.display()))
    }

    fn exchange(&mut self, object: &str) -> io::Result<Vec<u8>> {
        let asking = self.asking.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(asking, "{object}")?;
        asking.flush()?;
        // <object> SP <type> SP <size> LF <content> LF
        let mut head = String::new();
        self.answers.read_line(&mut head)?;
        let size = head.trim_end().rsplit(' ').next().and_then(|size| size.parse::<u64>().ok());
        let size = size.ok_or_else(|| io::Error::other(format!("git says `{}`", head.trim_end())))?;
        let mut content = Vec::new();
        (&mut self.answers).take(size + 1).read_to_end(&mut content)?;
        match content.pop() {
            Some(b'\n') if content.len() as u64 == size => Ok(content),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Ends the program.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        drop(self.asking.take());
        self.child.wait().map(drop).context(|| "cannot wait for git".into())
    }
}

impl Drop for Objects<'_> {
    fn drop(&mut self) {
        // With its input closed it ends by itself; waiting keeps no zombie.
        drop(self.asking.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
