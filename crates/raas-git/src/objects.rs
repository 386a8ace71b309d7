//! Reads objects with `git cat-file --batch`: one process for any number of objects.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::error::GitError;
use crate::git::Git;

/// A running `git cat-file --batch`.
pub(crate) struct ObjectReader<'a> {
    git: &'a Git,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl<'a> ObjectReader<'a> {
    pub(crate) fn begin(git: &'a Git) -> Result<Self, GitError> {
        let mut child = git
            .command()
            .args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(GitError::no_git)?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(git.unexpected("the pipes to `git cat-file` are missing"));
        };
        Ok(ObjectReader { git, child, requests: Some(requests), answers: BufReader::new(answers) })
    }

    /// The content of an object.
    pub(crate) fn read(&mut self, object: &str) -> Result<Vec<u8>, GitError> {
        self.exchange(object)
            .map_err(|error| self.git.unexpected(&format!("object {object} cannot be read: {error}")))
    }

    fn exchange(&mut self, object: &str) -> io::Result<Vec<u8>> {
        let requests = self.requests.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(requests, "{object}")?;
        requests.flush()?;
        // <object> SP <type> SP <size> LF <content> LF
        let mut head = String::new();
        self.answers.read_line(&mut head)?;
        let size = head.trim_end().rsplit(' ').next().and_then(|size| size.parse::<u64>().ok());
        let size = size.ok_or_else(|| io::Error::other(format!("git answers `{}`", head.trim_end())))?;
        let mut content = Vec::new();
        (&mut self.answers).take(size + 1).read_to_end(&mut content)?;
        match content.pop() {
            Some(b'\n') if content.len() as u64 == size => Ok(content),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Ends the program.
    pub(crate) fn finish(mut self) -> Result<(), GitError> {
        drop(self.requests.take());
        self.child.wait().map(drop).map_err(GitError::no_git)
    }
}

impl Drop for ObjectReader<'_> {
    fn drop(&mut self) {
        // The program ends when its input is closed. The wait keeps no zombie.
        drop(self.requests.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
