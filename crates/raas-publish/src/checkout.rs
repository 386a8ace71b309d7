//! The checkout: a folder with the files of the last publication, for the servers of this machine.
//!
//! The order of an update: new manifests, new documents, removal of old documents, `revision`, removal of old manifests. A
//! server reads the folder again when `revision` changes. So at any moment it finds every document with all manifests that
//! the document names, and after `revision` it finds no removed document.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use raas_types::crane::tree;
use rustix::fs::Access;

use crate::reading::Reading;
use crate::record::Record;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;
use raas_git::{CommitId, CommittedFile};

/// A folder with the files of a commit.
#[derive(Debug)]
pub struct Checkout {
    folder: PathBuf,
}

impl Checkout {
    /// The checkout in this folder, which need not exist yet.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder's path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file that says which commit's files are complete.
    pub fn revision_file(&self) -> PathBuf {
        self.folder.join(tree::REVISION)
    }

    /// The commit whose files are complete; absent before the first publication.
    pub fn revision(&self) -> Reading<CommitId> {
        let path = self.revision_file();
        match fs::read(&path) {
            Ok(bytes) => match CommitId::parse(String::from_utf8_lossy(&bytes).trim()) {
                Ok(commit) => Reading::There(commit),
                Err(failure) => Reading::Unreadable(failure.preceded_by(&path.display().to_string())),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::Absent,
            Err(error) => Reading::Unreadable(
                Failure::new(Kind::Environment, format!("cannot read {}", path.display())).caused_by(error),
            ),
        }
    }

    /// Whether no run was interrupted while it changed files. After an interruption, the next run compares all files.
    pub fn is_finished(&self) -> bool {
        self.folder.join(tree::UNFINISHED).try_exists().is_ok_and(|unfinished| !unfinished)
    }

    /// Whether there is a document of a repository.
    pub(crate) fn has_documents(&self) -> io::Result<bool> {
        let mut found = false;
        files::walk(&self.folder, tree::DATA, &mut |path, _| found |= path.ends_with(".json"))?;
        Ok(found)
    }

    /// A document that the commit does not have, or has with another content. `None` if there is none, or if an update was
    /// interrupted: an interrupted update is of an earlier commit.
    pub(crate) fn unknown_document(
        &self,
        record: &Record,
        commit: &CommitId,
    ) -> Result<Option<String>, Failure> {
        let cannot = || format!("cannot read {}", self.folder.display());
        if !self.is_finished() || !self.has_documents().context(cannot)? {
            return Ok(None);
        }
        let (differing, unknown) = self.damage(record, commit)?;
        let differing = differing.into_iter().map(|file| file.path);
        let is_there = |path: &String| self.folder.join(path).exists();
        Ok(unknown.into_iter().chain(differing.filter(is_there)).find(|path| path.ends_with(".json")))
    }

    /// Checks that the next publication can be written here, before it is made.
    ///
    /// # Errors
    /// A folder cannot be read or written.
    pub(crate) fn check_access(&self) -> Result<(), Failure> {
        let mut folder = self.folder.clone();
        for name in ["", "crane", "data"] {
            folder.push(name);
            let found = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                found => found.map(drop),
            };
            let access = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
            found.and_then(|()| Ok(rustix::fs::access(&folder, access)?)).map_err(|error| {
                Failure::new(Kind::Environment, format!("cannot change {}", folder.display()))
                    .caused_by(error)
                    .hint("give the user of raas access to that folder, and to all files in it; nothing was changed")
            })?;
        }
        Ok(())
    }

    /// Makes the folder hold the commit's files, by the difference to the commit before. The caller holds the vendor's lock.
    pub fn update(&self, record: &Record, to: &CommitId) -> Result<(), Failure> {
        // If the revision cannot be read, `repair` compares each file below.
        let at = self.revision().to_replace();
        let interrupted = !self.is_finished();
        if at.as_ref() == Some(to) && !interrupted {
            return Ok(());
        }
        match &at {
            // A record that was restored from a backup may not have the commit of the checkout.
            Some(at) if !interrupted && record.has(at)? => {
                let (come, go) = self.difference(record, at, to)?;
                self.apply(record, to, come, go)
            }
            _ => self.repair(record, to),
        }
    }

    /// As [`update`](Self::update), but compares each file with the commit.
    pub fn repair(&self, record: &Record, to: &CommitId) -> Result<(), Failure> {
        let (come, go) = self.damage(record, to)?;
        if come.is_empty() && go.is_empty() && self.revision().to_replace().as_ref() == Some(to) {
            return Ok(());
        }
        self.apply(record, to, come, go)
    }

    /// The files that differ from the commit, and the paths of files that the commit does not have.
    pub fn damage(
        &self,
        record: &Record,
        to: &CommitId,
    ) -> Result<(Vec<CommittedFile>, Vec<String>), Failure> {
        let (mut come, go) = self.everything(record, to)?;
        let mut sound = BTreeSet::new();
        record.read_each(&come, |file, content| {
            // A file that cannot be read is written anew.
            if fs::read(self.folder.join(&file.path)).is_ok_and(|found| found == content) {
                sound.insert(file.path.clone());
            }
            Ok(())
        })?;
        come.retain(|file| !sound.contains(&file.path));
        Ok((come, go))
    }

    fn apply(
        &self,
        record: &Record,
        to: &CommitId,
        mut come: Vec<CommittedFile>,
        go: Vec<String>,
    ) -> Result<(), Failure> {
        // Manifests before the documents that name them.
        come.sort_by_key(|file| file.path.ends_with(".json"));
        self.write(tree::UNFINISHED, b"")?;
        record.read_each(&come, |file, content| self.write(&file.path, &content))?;
        let (documents, rest): (Vec<String>, Vec<String>) =
            go.into_iter().partition(|path| path.ends_with(".json"));
        documents.iter().try_for_each(|path| self.remove(path))?;
        self.write(tree::REVISION, to.as_str().as_bytes())?;
        rest.iter().try_for_each(|path| self.remove(path))?;
        self.remove(tree::UNFINISHED)
    }

    fn difference(
        &self,
        record: &Record,
        from: &CommitId,
        to: &CommitId,
    ) -> Result<(Vec<CommittedFile>, Vec<String>), Failure> {
        let (mut come, mut go) = (Vec::new(), Vec::new());
        for (path, file) in record.changed(from, to)? {
            match file {
                Some(file) => come.push(file),
                None => go.push(path),
            }
        }
        Ok((come, go))
    }

    fn everything(
        &self,
        record: &Record,
        to: &CommitId,
    ) -> Result<(Vec<CommittedFile>, Vec<String>), Failure> {
        let come = record.files(to, "")?;
        let mut go = Vec::new();
        files::walk(&self.folder, "", &mut |path, _| {
            let known = come.binary_search_by(|file| file.path.as_str().cmp(path)).is_ok();
            if !known && path != tree::REVISION {
                go.push(path.to_owned());
            }
        })
        .context(|| format!("cannot read {}", self.folder.display()))?;
        Ok((come, go))
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<(), Failure> {
        let path = self.folder.join(path);
        files::replace(&path, content).context(|| format!("cannot write {}", path.display()))
    }

    fn remove(&self, path: &str) -> Result<(), Failure> {
        let path = self.folder.join(path);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        record: Record,
        checkout: Checkout,
        head: Option<CommitId>,
    }

    impl Bench {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let record = Record::new(folder.path().join("r.git"));
            record.create().unwrap();
            let checkout = Checkout::new(folder.path().join("out"));
            fs::create_dir(checkout.folder()).unwrap();
            Self { folder, record, checkout, head: None }
        }

        fn commit(&mut self, changes: &[(&str, Option<&str>)]) -> CommitId {
            let changes: Vec<_> =
                changes.iter().map(|(p, c)| ((*p).to_owned(), c.map(|c| c.as_bytes().to_vec()))).collect();
            let commit = self.record.commit(self.head.as_ref(), &changes, "change").unwrap();
            self.head = Some(commit.clone());
            commit
        }

        fn update(&self, to: &CommitId) -> Vec<String> {
            self.checkout.update(&self.record, to).unwrap();
            assert_eq!(self.checkout.revision().readable().unwrap().as_ref(), Some(to));
            let mut found = Vec::new();
            let root = self.folder.path().join("out");
            files::walk(&root, "", &mut |path, _| {
                if path != tree::REVISION {
                    found.push(format!("{path}={}", fs::read_to_string(root.join(path)).unwrap()));
                }
            })
            .unwrap();
            found.sort();
            found
        }
    }

    #[test]
    fn the_folder_follows_the_commits() {
        let mut bench = Bench::new();
        let one = bench.commit(&[("a.json", Some("1")), ("a/_manifests/x", Some("m"))]);
        assert_eq!(bench.update(&one), ["a.json=1", "a/_manifests/x=m"]);
        let two = bench.commit(&[("a.json", Some("2")), ("a/_manifests/x", None), ("b.json", Some("b"))]);
        assert_eq!(bench.update(&two), ["a.json=2", "b.json=b"]);
        assert_eq!(bench.update(&two), ["a.json=2", "b.json=b"]);
    }

    #[test]
    fn old_documents_are_removed_before_revision_and_old_manifests_after() {
        let mut bench = Bench::new();
        let one =
            bench.commit(&[("a.json", Some("1")), ("b.json", Some("b")), ("b/_manifests/x", Some("m"))]);
        bench.update(&one);
        let two = bench.commit(&[("b.json", None), ("b/_manifests/x", None)]);
        // The update fails where it writes `revision`.
        let out = bench.folder.path().join("out");
        fs::remove_file(out.join(tree::REVISION)).unwrap();
        fs::create_dir_all(out.join(tree::REVISION).join("in the way")).unwrap();
        bench.checkout.repair(&bench.record, &two).unwrap_err();
        assert_eq!((out.join("b.json").exists(), out.join("b/_manifests/x").exists()), (false, true));
        fs::remove_dir_all(out.join(tree::REVISION)).unwrap();
        assert_eq!(bench.update(&two), ["a.json=1"]);
    }

    #[test]
    fn damage_is_found_and_repaired() {
        let mut bench = Bench::new();
        let one = bench.commit(&[("a.json", Some("1")), ("b.json", Some("b"))]);
        bench.update(&one);
        let out = bench.folder.path().join("out");
        fs::write(out.join("a.json"), "x").unwrap();
        fs::remove_file(out.join("b.json")).unwrap();
        fs::write(out.join("stray"), "x").unwrap();
        let (come, go) = bench.checkout.damage(&bench.record, &one).unwrap();
        assert_eq!((come.len(), go.as_slice()), (2, ["stray".to_owned()].as_slice()));
        bench.checkout.repair(&bench.record, &one).unwrap();
        assert_eq!(bench.update(&one), ["a.json=1", "b.json=b"]);
    }

    #[test]
    fn a_checkout_of_an_unknown_commit_is_made_anew() {
        let mut bench = Bench::new();
        let one = bench.commit(&[("a.json", Some("1"))]);
        bench.update(&one);
        fs::write(bench.folder.path().join("out").join(tree::REVISION), "f".repeat(40)).unwrap();
        assert_eq!(bench.update(&one), ["a.json=1"]);
    }

    #[test]
    fn an_interrupted_update_is_repaired() {
        let mut bench = Bench::new();
        let one = bench.commit(&[("a.json", Some("1")), ("b.json", Some("b"))]);
        bench.update(&one);
        let out = bench.folder.path().join("out");
        // The state that a killed update to another commit leaves.
        for (name, content) in
            [(tree::UNFINISHED, ""), ("a.json", "of another commit"), ("c.json.new", "half")]
        {
            fs::write(out.join(name), content).unwrap();
        }
        let two = bench.commit(&[("b.json", Some("c"))]);
        assert_eq!(bench.update(&two), ["a.json=1", "b.json=c"]);
    }
}
