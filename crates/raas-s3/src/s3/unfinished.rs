//! Which uploads of large objects runs of this home have begun and not ended, so that a later run goes on with those of
//! a run that was killed, and with no other: an upload of a run that lives must be left alone.
//!
//! ```text
//! <vendor>/uploads/<run>.jsonl    a note a line; locked for as long as the run lives
//! ```
//!
//! The system lets go of a lock however its holder ends. A run takes the notes of the dead into its own before it
//! removes theirs, so that they are one run's at any time. Going on is a saving and no duty: where notes cannot be kept,
//! layers are sent anew, and what was sent of them goes with the sweep for the old.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

/// The longest notes of a run that are read, in bytes.
const MAX_SIZE: u64 = 16 << 20;

const ENDING: &str = "jsonl";

/// A note.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Note {
    Begun { key: String, upload: String },
    Ended { upload: String },
}

/// The uploads of this run, and those of dead ones that it has taken over.
#[derive(Debug)]
pub(super) struct Unfinished {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// This run's notes, from the first on.
    notes: Option<(PathBuf, File)>,
    /// By upload, the key of each that is not ended.
    open: BTreeMap<String, String>,
    /// Those that nobody works on.
    free: BTreeSet<String>,
}

impl Unfinished {
    /// Those of the runs that keep their notes in this folder, which need not exist.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, state: Mutex::default() }
    }

    /// An upload is this run's from now on.
    pub(super) fn begun(&self, key: &str, upload: &str) {
        let mut state = self.state();
        state.open.insert(upload.to_owned(), key.to_owned());
        let note = Note::Begun { key: key.to_owned(), upload: upload.to_owned() };
        // See the head of this file.
        drop(state.note(&self.folder, &note));
    }

    /// It is completed, or removed.
    pub(super) fn ended(&self, upload: &str) {
        let mut state = self.state();
        state.free.remove(upload);
        if state.open.remove(upload).is_some() {
            drop(state.note(&self.folder, &Note::Ended { upload: upload.to_owned() }));
        }
    }

    /// This run works on it no more, and whoever stores the object next may go on with it.
    pub(super) fn free(&self, upload: &str) {
        self.state().free.insert(upload.to_owned());
    }

    /// Takes the uploads of a key that can be gone on with.
    pub(super) fn take(&self, key: &str) -> Vec<String> {
        let mut state = self.state();
        let State { open, free, .. } = &mut *state;
        let mut taken = Vec::new();
        free.retain(|upload| {
            let other = open.get(upload).is_none_or(|of| of != key);
            if !other {
                taken.push(upload.clone());
            }
            other
        });
        taken
    }

    /// Takes over what runs that are dead have left.
    pub(super) fn take_over(&self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == ENDING) {
                self.take_over_one(&path)?;
            }
        }
        Ok(())
    }

    fn take_over_one(&self, path: &Path) -> io::Result<()> {
        let notes = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            notes => notes?,
        };
        // It lives, it is this very run, or another one was faster.
        if notes.try_lock().is_err() || notes.metadata()?.nlink() == 0 {
            return Ok(());
        }
        let mut text = Vec::new();
        (&notes).take(MAX_SIZE).read_to_end(&mut text)?;
        let mut left = BTreeMap::new();
        // The last line may be half of one.
        for note in text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
            match note {
                Note::Begun { key, upload } => drop(left.insert(upload, key)),
                Note::Ended { upload } => drop(left.remove(&upload)),
            }
        }
        for (upload, key) in left {
            self.begun(&key, &upload);
            self.free(&upload);
        }
        fs::remove_file(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, folder: &Path, note: &Note) -> io::Result<()> {
        let (_, file) = match &mut self.notes {
            Some(notes) => notes,
            none => none.insert(begin(folder)?),
        };
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        file.write_all(&line)
    }
}

/// Makes the notes of a run.
fn begin(folder: &Path) -> io::Result<(PathBuf, File)> {
    fs::create_dir_all(folder)?;
    loop {
        let named = tempfile::Builder::new().prefix("").suffix(&format!(".{ENDING}")).tempfile_in(folder)?;
        let (file, path) = named.keep().map_err(|error| error.error)?;
        file.lock()?;
        // Between its making and its locking another run may have taken it over.
        if file.metadata()?.nlink() > 0 {
            return Ok((path, file));
        }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (Some((path, _)), true) = (&state.notes, state.open.is_empty()) {
            // What stays is taken over, and found to be nothing.
            drop(fs::remove_file(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn the_uploads_of_the_dead_are_one_runs_and_those_of_the_living_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("uploads");
        let run = || Unfinished::new(folder.clone());
        let living = run();
        living.begun("app/one", "1");
        let killed = run();
        killed.begun("app/one", "2");
        killed.begun("app/two", "3");
        killed.begun("app/two", "4");
        killed.ended("3");
        drop(killed);
        let (next, other) = (run(), run());
        next.take_over().unwrap();
        other.take_over().unwrap();
        assert_eq!(next.take("app/one"), ["2"]);
        assert!(next.take("app/one").is_empty() && other.take("app/one").is_empty());
        // It is killed too, with one at work and one untouched.
        drop(next);
        other.take_over().unwrap();
        assert_eq!((other.take("app/one"), other.take("app/two")), (vec!["2".into()], vec!["4".into()]));
        other.ended("2");
        other.free("4");
        assert_eq!(other.take("app/two"), ["4"]);
        other.ended("4");
        drop(other);
        living.ended("1");
        drop(living);
        assert_eq!(files(&folder), 0);
    }

    #[test]
    fn half_a_note_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let notes = "{\"begun\":{\"key\":\"a\",\"upload\":\"1\"}}\nnonsense\n{\"begun\":{\"key\":\"a\",\"upl";
        fs::write(folder.path().join("x.jsonl"), notes).unwrap();
        let run = Unfinished::new(folder.path().to_owned());
        run.take_over().unwrap();
        assert_eq!(run.take("a"), ["1"]);
        run.ended("1");
        drop(run);
        assert_eq!(files(folder.path()), 0);
    }
}
