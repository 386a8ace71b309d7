//! The objects of a repository: one `git` process reads any number of them, from the first that is asked for.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::cat_file::CatFile;
use crate::error::GitError;
use crate::git::Git;
use crate::object::{CommitFacts, Object, ObjectKind};
use crate::object_cache::ObjectCache;

/// Reads the objects of a repository. Several threads may share it.
///
/// The process inherits open files that git inherits on purpose, such as the vendor's lock. So whoever holds such a lock
/// releases it explicitly.
pub(crate) struct Objects {
    git: Git,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    process: Option<CatFile>,
    cache: ObjectCache,
}

impl Objects {
    pub(crate) fn new(git: Git) -> Self {
        Self { git, state: Mutex::default() }
    }

    /// The commit that a reference or an id leads to; `None` if there is no such reference, or if it leads to no commit
    /// that the repository has. The answer is always of this moment.
    pub(crate) fn commit_of(&self, reference: &str) -> Result<Option<String>, GitError> {
        let mut state = self.state();
        let request = format!("{reference}^{{commit}}");
        let Some(found) = self.ask(&mut state, &[&request], Missing::IsAnAnswer)?.pop().flatten() else {
            return Ok(None);
        };
        let id = found.id.clone();
        state.cache.insert(found);
        Ok(Some(id))
    }

    /// The content of a file.
    pub(crate) fn blob(&self, id: &str) -> Result<Arc<Vec<u8>>, GitError> {
        self.of_kind(id, ObjectKind::Blob)
    }

    /// The bytes of a tree.
    pub(crate) fn tree(&self, id: &str) -> Result<Arc<Vec<u8>>, GitError> {
        self.of_kind(id, ObjectKind::Tree)
    }

    /// The bytes of trees, in the same order, at most [`REQUESTS_AT_ONCE`](crate::cat_file::REQUESTS_AT_ONCE). One wait is enough for all
    /// of them.
    pub(crate) fn trees(&self, ids: &[&str]) -> Result<Vec<Arc<Vec<u8>>>, GitError> {
        let mut state = self.state();
        let kept: Vec<Option<Arc<Vec<u8>>>> =
            ids.iter().map(|id| state.cache.get(id, ObjectKind::Tree)).collect();
        let unknown: Vec<&str> =
            ids.iter().zip(&kept).filter(|(_, kept)| kept.is_none()).map(|(id, _)| *id).collect();
        let mut fetched = self.fetch(&mut state, &unknown, ObjectKind::Tree)?.into_iter();
        Ok(kept.into_iter().filter_map(|kept| kept.or_else(|| fetched.next())).collect())
    }

    /// What a commit says.
    pub(crate) fn commit(&self, id: &str) -> Result<CommitFacts, GitError> {
        let bytes = self.of_kind(id, ObjectKind::Commit)?;
        CommitFacts::parse(&bytes, id.len()).ok_or_else(|| self.damaged(id, "it is no proper commit"))
    }

    /// The content of a file, for a caller that reads many files. What is kept for the next callers stays.
    pub(crate) fn blob_of_many(&self, id: &str) -> Result<Vec<u8>, GitError> {
        let mut state = self.state();
        if let Some(bytes) = state.cache.get(id, ObjectKind::Blob) {
            return Ok(Arc::unwrap_or_clone(bytes));
        }
        let object = self.ask_for(&mut state, &[id], ObjectKind::Blob)?.pop();
        object.map(|object| object.bytes).ok_or_else(|| self.damaged(id, "git gave no answer"))
    }

    /// Forgets everything, and ends the process: somebody has removed objects on purpose.
    pub(crate) fn forget(&self) {
        *self.state() = State::default();
    }

    /// The error of an object that git gave and that raas cannot use.
    pub(crate) fn damaged(&self, id: &str, why: &str) -> GitError {
        self.git.unexpected(&format!("object {id} cannot be read: {why}"))
    }

    /// The error of an object that git does not give. git has said why, if the object is damaged.
    fn missing(&self, id: &str, process: Option<&CatFile>) -> GitError {
        let errors = process.map(CatFile::errors).unwrap_or_default();
        let lines: Vec<&str> = errors.lines().collect();
        let why = if lines.is_empty() { String::new() } else { format!(": {}", lines.join("; ")) };
        self.damaged(id, &format!("git answers `{id} missing`{why}"))
    }

    fn of_kind(&self, id: &str, kind: ObjectKind) -> Result<Arc<Vec<u8>>, GitError> {
        let mut state = self.state();
        if let Some(bytes) = state.cache.get(id, kind) {
            return Ok(bytes);
        }
        let fetched = self.fetch(&mut state, &[id], kind)?.pop();
        fetched.ok_or_else(|| self.damaged(id, "git gave no answer"))
    }

    /// Asks for objects, and keeps them.
    fn fetch(
        &self,
        state: &mut State,
        ids: &[&str],
        kind: ObjectKind,
    ) -> Result<Vec<Arc<Vec<u8>>>, GitError> {
        let objects = self.ask_for(state, ids, kind)?;
        Ok(objects.into_iter().map(|object| state.cache.insert(object)).collect())
    }

    /// Asks for objects that must be there, and be of this kind.
    fn ask_for(&self, state: &mut State, ids: &[&str], kind: ObjectKind) -> Result<Vec<Object>, GitError> {
        let found = self.ask(state, ids, Missing::IsAFailure)?;
        let objects = ids.iter().zip(found).map(|(id, object)| match object {
            None => Err(self.missing(id, state.process.as_ref())),
            Some(object) if object.id != *id => {
                Err(self.damaged(id, &format!("git gave object {}", object.id)))
            }
            Some(object) if object.kind != kind => Err(self.damaged(id, kind.missing())),
            Some(object) => Ok(object),
        });
        objects.collect()
    }

    /// Asks the process, which is started if it does not run. If a process that ran before gives no good answer, a new one
    /// is asked, since the old one may know the repository as it was. The answer of the new process counts.
    fn ask(
        &self,
        state: &mut State,
        objects: &[&str],
        missing: Missing,
    ) -> Result<Vec<Option<Object>>, GitError> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(mut process) = state.process.take()
            && let Ok(answers) = process.ask(objects)
            && (missing == Missing::IsAnAnswer || answers.iter().all(Option::is_some))
        {
            state.process = Some(process);
            return Ok(answers);
        }
        let mut process = CatFile::start(&self.git)?;
        match process.ask(objects) {
            Ok(answers) => {
                state.process = Some(process);
                Ok(answers)
            }
            Err(error) if is_end(&error) => Err(GitError::command_failed(
                "cat-file",
                &self.git.folder().display().to_string(),
                &process.last_words(),
            )),
            Err(error) => Err(self.damaged(objects[0], &error.to_string())),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // After a panic the process may be in the middle of an answer.
        self.state.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut state = poisoned.into_inner();
            state.process = None;
            state
        })
    }
}

/// What it means that an object is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The caller asks whether it is there.
    IsAnAnswer,
    /// Another object names it, so it must be there.
    IsAFailure,
}

/// Whether the process has ended.
fn is_end(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::BrokenPipe)
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("git", &self.git).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
