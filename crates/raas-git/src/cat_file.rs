//! A running `git cat-file --batch-command`, which answers any number of questions about objects.
//!
//! ```text
//! requests: contents SP <object> LF ... flush LF
//! answers:  <id> SP <type> SP <size> LF <content> LF, or <object> SP missing LF
//! ```
//!
//! git reads all requests up to `flush` before it answers the first, so that neither side waits for the other.
//!
//! The process writes nothing, so it may end at any moment. It ends when raas ends, however that happens, since its input
//! is closed then. It looks up a reference anew for each request. If it does not find an object, it looks for new packs of
//! other processes first.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use crate::error::GitError;
use crate::git::Git;
use crate::object::{Object, ObjectKind};

/// For how many objects to ask at once. All answers are in memory together.
pub(crate) const REQUESTS_AT_ONCE: usize = 200;

/// The longest first line of an answer, in bytes.
const LONGEST_LINE: u64 = 4096;

/// How much of what git says about an error is read, in bytes.
const LONGEST_ERROR: usize = 16 * 1024;

/// The running process.
pub(crate) struct CatFile {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// What git says about errors. `None` if there is no room for it.
    errors: Option<File>,
}

impl CatFile {
    pub(crate) fn start(git: &Git) -> Result<Self, GitError> {
        // A pipe that nobody reads might fill, and git would wait.
        let errors = tempfile::tempfile().ok();
        let to = errors.as_ref().and_then(|file| file.try_clone().ok()).map_or_else(Stdio::null, Stdio::from);
        let mut child = git
            .command()
            .args(["cat-file", "--batch-command", "--buffer"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(to)
            .spawn()
            .map_err(GitError::no_git)?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(git.unexpected("the pipes to `git cat-file` are missing"));
        };
        Ok(Self { child, requests: Some(requests), answers: BufReader::new(answers), errors })
    }

    /// Asks for objects, at most [`REQUESTS_AT_ONCE`]. The answers come in the same order, `None` for a missing object.
    pub(crate) fn ask(&mut self, objects: &[&str]) -> io::Result<Vec<Option<Object>>> {
        debug_assert!(objects.len() <= REQUESTS_AT_ONCE, "more need not fit into memory");
        if objects.iter().any(|object| object.contains('\n')) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "its name has a line break"));
        }
        let mut text: String = objects.iter().flat_map(|object| ["contents ", object, "\n"]).collect();
        text.push_str("flush\n");
        let requests = self.requests.as_mut().ok_or(ErrorKind::BrokenPipe)?;
        requests.write_all(text.as_bytes())?;
        requests.flush()?;
        objects.iter().map(|object| self.answer(object)).collect()
    }

    fn answer(&mut self, object: &str) -> io::Result<Option<Object>> {
        let mut head = Vec::new();
        (&mut self.answers).take(LONGEST_LINE).read_until(b'\n', &mut head)?;
        if head.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let head = String::from_utf8_lossy(&head);
        let head = head.trim_end_matches('\n');
        if head.strip_suffix(" missing") == Some(object) {
            return Ok(None);
        }
        let strange = || io::Error::other(format!("git answers `{head}`"));
        let [id, kind, size] = head.split(' ').collect::<Vec<_>>()[..] else { return Err(strange()) };
        let kind = ObjectKind::parse(kind).ok_or_else(strange)?;
        let size: u64 = size.parse().map_err(|_| strange())?;
        if let Some(most) = kind.largest()
            && size > most
        {
            return Err(io::Error::other(format!("it has {size} bytes, and raas reads {most} at most")));
        }
        let mut bytes = Vec::new();
        (&mut self.answers).take(size + 1).read_to_end(&mut bytes)?;
        match bytes.pop() {
            Some(b'\n') if bytes.len() as u64 == size => Ok(Some(Object { id: id.to_owned(), kind, bytes })),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Ends the process, and returns what it has said about errors. If it said nothing, that is how it ended.
    pub(crate) fn last_words(mut self) -> String {
        drop(self.requests.take());
        match (self.errors(), self.child.wait()) {
            (errors, Ok(status)) if errors.is_empty() => status.to_string(),
            (errors, _) => errors,
        }
    }

    /// What the process has said about errors so far.
    pub(crate) fn errors(&self) -> String {
        let mut words = vec![0; LONGEST_ERROR];
        // git goes on writing at its place in the file, so that place must not move.
        let length = self.errors.as_ref().map_or(0, |file| file.read_at(&mut words, 0).unwrap_or(0));
        words.truncate(length);
        String::from_utf8_lossy(&words).trim().to_owned()
    }
}

#[cfg(test)]
impl CatFile {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn close_requests(&mut self) {
        self.requests = None;
    }

    pub(crate) fn wait(&mut self) -> io::Result<std::process::ExitStatus> {
        self.child.wait()
    }
}

impl Drop for CatFile {
    fn drop(&mut self) {
        // The process ends when its input is closed. The wait keeps no zombie.
        drop(self.requests.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
