//! Notes of the large uploads that runs of this home have begun. A later run resumes the uploads of a killed run, and
//! leaves the uploads of a live run alone.
//!
//! ```text
//! <vendor>/uploads/<run>.jsonl    one note a line; locked while the run is alive
//! ```
//!
//! The system releases the lock however the run ends. A run copies the notes of a killed run into its own file before
//! it removes the other file, so each upload belongs to one run at any time. Resuming only saves time: if notes cannot
//! be kept, layers are sent anew, and the old uploads are removed after some days.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The longest file of notes that is read, in bytes.
const MAX_SIZE: u64 = 16 << 20;

const ENDING: &str = "jsonl";

/// A line of the notes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UploadEvent {
    Begun {
        key: String,
        upload: String,
        #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
        checksums: bool,
        /// When, in seconds since 1970. An older raas wrote no time.
        #[serde(default)]
        at: u64,
    },
    Ended {
        upload: String,
    },
}

/// An upload that can be resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenUpload {
    pub(super) id: String,
    /// Whether its parts have checksums.
    pub(super) checksums: bool,
}

/// An upload that has not ended.
#[derive(Debug)]
struct UnfinishedUpload {
    key: String,
    checksums: bool,
    /// When, in seconds since 1970.
    at: u64,
}

fn yes() -> bool {
    true
}

/// The uploads of this run, and the uploads of killed runs that it has taken over.
#[derive(Debug)]
pub(super) struct UploadNotes {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The file of this run's notes; the first note makes it.
    notes: Option<(PathBuf, File)>,
    /// The uploads that have not ended, by their ids.
    open: BTreeMap<String, UnfinishedUpload>,
    /// The uploads that can be resumed.
    free: BTreeSet<String>,
}

impl UploadNotes {
    /// The notes in this folder, which need not exist.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, state: Mutex::default() }
    }

    /// Notes that this run has begun an upload.
    pub(super) fn begun(&self, key: &str, upload: &str, checksums: bool) {
        self.add(upload, UnfinishedUpload { key: key.to_owned(), checksums, at: now() });
    }

    fn add(&self, upload: &str, begun: UnfinishedUpload) {
        let mut state = self.state();
        let UnfinishedUpload { key, checksums, at } = &begun;
        let note = UploadEvent::Begun {
            key: key.clone(),
            upload: upload.to_owned(),
            checksums: *checksums,
            at: *at,
        };
        state.open.insert(upload.to_owned(), begun);
        // A failure is ignored: resuming only saves time.
        drop(state.note(&self.folder, &note));
    }

    /// Notes that an upload is completed or removed.
    pub(super) fn ended(&self, upload: &str) {
        let mut state = self.state();
        state.free.remove(upload);
        if state.open.remove(upload).is_some() {
            drop(state.note(&self.folder, &UploadEvent::Ended { upload: upload.to_owned() }));
        }
    }

    /// Lets the next upload of the same key resume this upload.
    pub(super) fn free(&self, upload: &str) {
        self.state().free.insert(upload.to_owned());
    }

    /// Takes the uploads of a key that can be resumed.
    pub(super) fn take(&self, key: &str) -> Vec<OpenUpload> {
        let mut state = self.state();
        let State { open, free, .. } = &mut *state;
        let mut taken = Vec::new();
        free.retain(|upload| match open.get(upload).filter(|begun| begun.key == key) {
            Some(begun) => {
                taken.push(OpenUpload { id: upload.clone(), checksums: begun.checksums });
                false
            }
            None => true,
        });
        taken
    }

    /// Forgets the uploads of killed runs that have ended: uploads that are not among `known`, or are so old that the
    /// service has removed them. `known` are all unfinished uploads of the service, if the service lists them.
    pub(super) fn forget_ended(&self, known: Option<&BTreeSet<String>>, longest: Duration) {
        let oldest = now().saturating_sub(longest.as_secs());
        let ended: Vec<String> = {
            let state = self.state();
            let is_over = |upload: &&String| match known {
                Some(known) => !known.contains(*upload),
                None => state.open.get(*upload).is_none_or(|open| open.at < oldest),
            };
            state.free.iter().filter(is_over).cloned().collect()
        };
        ended.iter().for_each(|upload| self.ended(upload));
    }

    /// Takes over the uploads of killed runs.
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
        // The run is alive, it is this run, or another run was faster.
        if notes.try_lock().is_err() || notes.metadata()?.nlink() == 0 {
            return Ok(());
        }
        let mut text = Vec::new();
        (&notes).take(MAX_SIZE).read_to_end(&mut text)?;
        let mut left = BTreeMap::new();
        // The last line may be incomplete.
        for note in text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()) {
            match note {
                UploadEvent::Begun { key, upload, checksums, at } => {
                    drop(left.insert(upload, UnfinishedUpload { key, checksums, at }));
                }
                UploadEvent::Ended { upload } => drop(left.remove(&upload)),
            }
        }
        for (upload, begun) in left {
            // An older raas wrote no time: the upload counts as begun now.
            let at = if begun.at == 0 { now() } else { begun.at };
            self.add(&upload, UnfinishedUpload { at, ..begun });
            self.free(&upload);
        }
        fs::remove_file(path)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, folder: &Path, note: &UploadEvent) -> io::Result<()> {
        let (_, file) = match &mut self.notes {
            Some(notes) => notes,
            none => none.insert(begin(folder)?),
        };
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        file.write_all(&line)
    }
}

/// The time in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Makes the file for a run's notes.
fn begin(folder: &Path) -> io::Result<(PathBuf, File)> {
    fs::create_dir_all(folder)?;
    loop {
        let named = tempfile::Builder::new().prefix("").suffix(&format!(".{ENDING}")).tempfile_in(folder)?;
        let (file, path) = named.keep().map_err(|error| error.error)?;
        file.lock()?;
        // Before the lock, another run may have taken the file for one of a killed run and removed it.
        if file.metadata()?.nlink() > 0 {
            return Ok((path, file));
        }
    }
}

impl Drop for UploadNotes {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (Some((path, _)), true) = (&state.notes, state.open.is_empty()) {
            // If this fails, the next run finds only ended uploads in the file.
            drop(fs::remove_file(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(id: &str, checksums: bool) -> OpenUpload {
        OpenUpload { id: id.into(), checksums }
    }

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).map_or(0, Iterator::count)
    }

    #[test]
    fn uploads_of_killed_runs_are_taken_over_once_and_uploads_of_live_runs_never() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("uploads");
        let run = || UploadNotes::new(folder.clone());
        let living = run();
        living.begun("app/one", "1", true);
        let killed = run();
        killed.begun("app/one", "2", false);
        killed.begun("app/two", "3", true);
        killed.begun("app/two", "4", true);
        killed.ended("3");
        drop(killed);
        let (next, other) = (run(), run());
        next.take_over().unwrap();
        other.take_over().unwrap();
        assert_eq!(next.take("app/one"), [open("2", false)]);
        assert!(next.take("app/one").is_empty() && other.take("app/one").is_empty());
        // This run is killed too, while it resumes one upload and has not touched the other.
        drop(next);
        other.take_over().unwrap();
        assert_eq!(other.take("app/one"), [open("2", false)]);
        assert_eq!(other.take("app/two"), [open("4", true)]);
        other.ended("2");
        other.free("4");
        assert_eq!(other.take("app/two"), [open("4", true)]);
        other.ended("4");
        drop(other);
        living.ended("1");
        drop(living);
        assert_eq!(files(&folder), 0);
    }

    fn ids(run: &UploadNotes, key: &str) -> Vec<String> {
        run.take(key).into_iter().map(|upload| upload.id).collect()
    }

    #[test]
    fn notes_of_uploads_that_are_over_do_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(24 * 3600);
        let killed = |at: u64| {
            let run = UploadNotes::new(folder.path().to_owned());
            run.add("1", UnfinishedUpload { key: "a".into(), checksums: true, at });
            run.begun("a", "2", true);
        };
        // The service says which uploads it still has.
        killed(now());
        let run = UploadNotes::new(folder.path().to_owned());
        run.begun("b", "own", true);
        run.take_over().unwrap();
        run.forget_ended(Some(&BTreeSet::from(["2".to_owned()])), day);
        assert_eq!(ids(&run, "a"), ["2"]);
        assert!(run.state().open.contains_key("own"), "an upload of this run may be too new for the answer");
        run.ended("2");
        run.ended("own");
        drop(run);
        assert_eq!(files(folder.path()), 0);
        // It does not say that: then the age counts.
        killed(now() - 2 * day.as_secs());
        let run = UploadNotes::new(folder.path().to_owned());
        run.take_over().unwrap();
        run.forget_ended(None, day);
        assert_eq!(ids(&run, "a"), ["2"]);
    }

    #[test]
    fn an_incomplete_note_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let notes = "{\"begun\":{\"key\":\"a\",\"upload\":\"1\"}}\nnonsense\n{\"begun\":{\"key\":\"a\",\"upl";
        fs::write(folder.path().join("x.jsonl"), notes).unwrap();
        let run = UploadNotes::new(folder.path().to_owned());
        run.take_over().unwrap();
        assert_eq!(run.take("a"), [open("1", true)]);
        run.ended("1");
        drop(run);
        assert_eq!(files(folder.path()), 0);
    }
}
