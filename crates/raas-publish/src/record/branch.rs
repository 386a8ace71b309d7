//! The branch of the record: the last publication, and the evidence that there is one.
//!
//! git says "no such branch" for a new record, for a reference that is lost or empty, and for a folder that it may not
//! read. Only the first of these means that nothing is published. So a missing branch counts as absent only if raas can
//! see that the reference has no file, the branch has no log, and the checkout has no revision.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use raas_types::crane::tree;

use super::{REFERENCE, Record};
use crate::reading::Reading;
use raas_base::failure::{Failure, Kind};
use raas_base::files;
use raas_git::{CommitId, GitErrorKind};

/// How long to wait for another run that writes the branch.
const WRITING: Duration = Duration::from_secs(2);

/// The longest line of the branch's log, in bytes. A line has two ids, a person, a time and a few words.
const LINE: u64 = 4096;

impl Record {
    /// The last publication; `None` before the first.
    ///
    /// # Errors
    /// The branch cannot be read, or is gone although something was published.
    pub fn head(&self) -> Result<Option<CommitId>, Failure> {
        self.branch().readable()
    }

    /// The last publication, as the branch says it.
    pub fn branch(&self) -> Reading<CommitId> {
        let refuse = |why: String| Reading::Unreadable(self.unreadable(why));
        match self.find_head() {
            Ok(Some(found)) => Reading::There(found),
            Err(error) if error.kind == GitErrorKind::NoGit => Reading::Unreadable(error.into()),
            Err(error) => {
                let failure = Failure::from(error);
                refuse(format!("{}: {}", failure.message(), failure.causes().join(": ")))
            }
            Ok(None) => match self.missing_branch() {
                Ok(None) => Reading::Absent,
                Ok(Some(why)) | Err(why) => match self.head_of_now() {
                    Some(found) => Reading::There(found),
                    None => refuse(why),
                },
            },
        }
    }

    /// The last publication if another run makes the first one at this moment. git writes the branch's log before the branch,
    /// and holds a lock meanwhile. A killed git may leave that lock.
    fn head_of_now(&self) -> Option<CommitId> {
        let lock = self.git().folder().join(format!("{REFERENCE}.lock"));
        let begun = Instant::now();
        loop {
            // The lock first: once it is gone, the branch is there.
            let is_written = lock.exists();
            if let Ok(Some(found)) = self.find_head() {
                return Some(found);
            }
            if !is_written || begun.elapsed() > WRITING {
                return None;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Why the branch, which git does not find, is not simply absent; `None` if nothing was ever published.
    fn missing_branch(&self) -> Result<Option<String>, String> {
        let folder = self.git().folder();
        // A folder that may not be read shows no files. Each of these exists in every record.
        for name in ["objects", "refs", "refs/heads"] {
            let path = folder.join(name);
            fs::read_dir(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        }
        if let Some(text) = read(&folder.join(REFERENCE))? {
            return Ok(Some(match CommitId::parse(text.trim()) {
                Ok(id) => format!("it names commit {id}, which the record does not have"),
                Err(_) => "its file is empty or damaged".to_owned(),
            }));
        }
        let packed = read(&folder.join("packed-refs"))?.unwrap_or_default();
        if let Some(line) = packed.lines().find(|line| line.ends_with(REFERENCE)) {
            return Ok(Some(format!("`packed-refs` says `{line}`, which the record does not have")));
        }
        if let Some(last) = self.last_logged()? {
            return Ok(Some(format!("it is gone, and its log says that it was at commit {last}")));
        }
        match self.served.as_deref().map(read).transpose()?.flatten() {
            Some(revision) => {
                Ok(Some(format!("it is gone, and servers of this home are given commit {}", revision.trim())))
            }
            None => self.served_documents(),
        }
    }

    /// Why a checkout without a revision says that something was published; `None` if it does not.
    fn served_documents(&self) -> Result<Option<String>, String> {
        let Some(checkout) = self.served.as_deref().and_then(Path::parent) else { return Ok(None) };
        let mut has_documents = false;
        files::walk(checkout, tree::DATA, &mut |path, _| has_documents |= path.ends_with(".json"))
            .map_err(|error| format!("cannot read {}: {error}", checkout.display()))?;
        Ok(has_documents.then(|| "it is gone, and servers of this home are given documents".to_owned()))
    }

    /// Whether files of the record say that it had a branch. Does not run git.
    pub(crate) fn has_trace(&self) -> io::Result<bool> {
        let folder = self.git().folder();
        if folder.join(REFERENCE).try_exists()? {
            return Ok(true);
        }
        let packed = match fs::read(folder.join("packed-refs")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            packed => packed?,
        };
        if String::from_utf8_lossy(&packed).lines().any(|line| line.ends_with(REFERENCE)) {
            return Ok(true);
        }
        match fs::metadata(folder.join("logs").join(REFERENCE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            found => Ok(found?.len() > 0),
        }
    }

    /// The commit that the branch was last moved to, by its log. `None` if it has no log: an older raas kept none.
    pub(crate) fn last_logged(&self) -> Result<Option<CommitId>, String> {
        let path = self.git().folder().join("logs").join(REFERENCE);
        let cannot = |error: io::Error| format!("cannot read {}: {error}", path.display());
        let mut file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(cannot)?,
        };
        let length = file.metadata().map_err(cannot)?.len();
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(length.saturating_sub(LINE))).map_err(cannot)?;
        file.take(LINE).read_to_end(&mut tail).map_err(cannot)?;
        let tail = String::from_utf8_lossy(&tail);
        // <old id> SP <new id> SP <person> SP <time> TAB <words> LF
        let Some(line) = tail.lines().last() else {
            // git makes the file right before the first line. A first publication that was killed there has no branch.
            let is_new = !self.git().folder().join(REFERENCE).exists();
            return if is_new { Ok(None) } else { Err(format!("{} is empty", path.display())) };
        };
        let id = line.split(' ').nth(1).unwrap_or_default();
        match CommitId::parse(id) {
            Ok(_) if id.bytes().all(|digit| digit == b'0') => Ok(None),
            Ok(commit) => Ok(Some(commit)),
            Err(_) => Err(format!("{} is damaged", path.display())),
        }
    }

    /// Whether a commit is in the history of the branch at `head`, or was set aside when the branch left it.
    pub(crate) fn covers(&self, head: &CommitId, commit: &CommitId) -> Result<bool, Failure> {
        if !self.has(commit)? {
            return Ok(false);
        }
        Ok(self.is_ancestor(commit, head)? || self.is_set_aside(commit)?)
    }

    /// The failure for a record whose branch does not say what is published.
    pub(crate) fn unreadable(&self, why: String) -> Failure {
        let message = format!(
            "cannot know what is published: branch `main` of {} cannot be relied on",
            self.git().folder().display()
        );
        Failure::new(Kind::Environment, message).caused_by(why).hint(format!(
            "run `raas setup {} --repair`, which restores the branch from the newest evidence; give the user of raas access \
             to the folder if it belongs to another user; nothing was changed",
            self.vendor_name()
        ))
    }

    /// The vendor's name for a hint: its folder has that name.
    pub(crate) fn vendor_name(&self) -> String {
        let name = self.git().folder().parent().and_then(Path::file_name);
        name.map_or_else(|| "ISV".to_owned(), |name| name.to_string_lossy().into_owned())
    }
}

/// A file's text; `None` if there is no such file.
fn read(path: &Path) -> Result<Option<String>, String> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        record: Record,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let record = Record::new(folder.path().join("r.git")).served_by(folder.path().join("revision"));
            record.create().unwrap();
            Self { folder, record }
        }

        fn publish(&self) -> CommitId {
            let change = ("crane/data/a.json".to_owned(), Some(b"1".to_vec()));
            self.record.commit(self.record.head().unwrap().as_ref(), &[change], "One").unwrap()
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.folder.path().join("r.git").join(name)
        }

        /// What the next command says.
        fn refused(&self) -> String {
            let record =
                Record::new(self.folder.path().join("r.git")).served_by(self.folder.path().join("revision"));
            match record.branch() {
                Reading::Unreadable(failure) => failure.to_string(),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_first_publication_is_absent_or_there_for_others() {
        for _ in 0..40 {
            let bench = Bench::new();
            let other = Record::new(bench.path("")).served_by(bench.folder.path().join("revision"));
            std::thread::scope(|scope| {
                let found = scope.spawn(move || {
                    loop {
                        if let Some(found) = other.head().unwrap() {
                            return found;
                        }
                    }
                });
                let published = bench.publish();
                assert_eq!(found.join().unwrap(), published);
            });
        }
    }

    #[test]
    fn a_fresh_record_has_no_branch() {
        let bench = Bench::new();
        assert!(matches!(bench.record.branch(), Reading::Absent));
        let commit = bench.publish();
        assert_eq!(bench.record.head().unwrap(), Some(commit));
    }

    #[test]
    fn a_lost_branch_is_not_an_empty_registry() {
        type Damage = fn(&Bench);
        let table: [(&str, Damage); 6] = [
            ("empty or damaged", |bench| fs::write(bench.path(REFERENCE), "").unwrap()),
            ("empty or damaged", |bench| fs::write(bench.path(REFERENCE), "garbage").unwrap()),
            ("does not have", |bench| fs::write(bench.path(REFERENCE), "f".repeat(40)).unwrap()),
            ("its log says", |bench| fs::remove_file(bench.path(REFERENCE)).unwrap()),
            ("its log says", |bench| {
                bench.record.git().run(&["pack-refs", "--all"]).unwrap();
                fs::remove_file(bench.path("packed-refs")).unwrap();
            }),
            // An older raas kept no log. The revision of the checkout remains.
            ("are given commit", |bench| {
                fs::remove_dir_all(bench.path("logs")).unwrap();
                fs::remove_file(bench.path(REFERENCE)).unwrap();
                fs::write(bench.folder.path().join("revision"), "a".repeat(40)).unwrap();
            }),
        ];
        for (why, damage) in table {
            let bench = Bench::new();
            bench.publish();
            damage(&bench);
            let refused = bench.refused();
            assert!(refused.contains(why) && refused.contains("--repair"), "{why}: {refused}");
        }
    }

    #[test]
    fn a_record_that_lost_its_objects_or_folders_is_unreadable() {
        for gone in ["objects", "refs", "refs/heads", "HEAD"] {
            let bench = Bench::new();
            bench.publish();
            let path = bench.path(gone);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
            bench.refused();
        }
    }
}
