//! What a reader that runs for long has to stand: other processes that write, pack and remove, and damage.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use raas_base::failure::Failure;

use super::*;
use crate::repository::{Change, CommitId, Repository};

struct Bench {
    repository: Repository,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repository = Repository::of_branch(folder.path().join("r.git"), "main");
        repository.create().unwrap();
        Self { repository, folder }
    }

    /// Another process, as it sees the same repository.
    fn other(&self) -> Repository {
        Repository::of_branch(self.folder.path().join("r.git"), "main")
    }

    /// Another process commits a file.
    fn commit(&self, content: &str) -> CommitId {
        let other = self.other();
        let head = other.head().unwrap();
        other.commit(head.as_ref(), &[change("a/b/c.json", content)], "Change").unwrap()
    }

    fn read(&self, commit: &CommitId) -> String {
        String::from_utf8(self.repository.read(commit, "a/b/c.json").unwrap().unwrap()).unwrap()
    }

    fn git(&self, arguments: &[&str]) {
        self.repository.git().run(arguments).unwrap();
    }

    fn object(&self, id: &str) -> PathBuf {
        self.folder.path().join("r.git/objects").join(&id[..2]).join(&id[2..])
    }

    fn process(&self) -> Option<u32> {
        self.repository.objects().state().process.as_ref().map(CatFile::id)
    }
}

fn change(path: &str, content: &str) -> Change {
    (path.to_owned(), Some(content.as_bytes().to_vec()))
}

#[test]
fn one_process_reads_everything() {
    let bench = Bench::new();
    let one = bench.commit("1");
    assert_eq!(bench.process(), None, "nothing was read so far");
    assert_eq!(bench.repository.head().unwrap(), Some(one.clone()));
    let process = bench.process();
    assert!(process.is_some());
    assert_eq!(bench.read(&one), "1");
    let clone = bench.repository.clone();
    assert_eq!(clone.files(&one, "").unwrap().len(), 1);
    drop(clone);
    assert_eq!(bench.read(&one), "1");
    assert!(bench.repository.reader(&one).unwrap().has("a/b/c.json").unwrap());
    assert_eq!(bench.process(), process);
}

#[test]
fn the_reader_sees_what_other_processes_write_after_it_began() {
    let bench = Bench::new();
    assert_eq!(bench.repository.head().unwrap(), None);
    let process = bench.process();
    let mut commits = Vec::new();
    for content in ["1", "2"] {
        let commit = bench.commit(content);
        assert_eq!(bench.repository.head().unwrap(), Some(commit.clone()));
        assert_eq!(bench.read(&commit), content);
        commits.push(commit);
    }
    // A pack, and a branch in `packed-refs`.
    let packed = bench.commit("3");
    bench.git(&["repack", "-adq"]);
    bench.git(&["pack-refs", "--all"]);
    assert_eq!(bench.repository.head().unwrap(), Some(packed.clone()));
    assert_eq!(bench.read(&packed), "3");
    bench.git(&["update-ref", "refs/heads/main", commits[0].as_str()]);
    assert_eq!(bench.repository.head().unwrap(), Some(commits[0].clone()));
    bench.git(&["update-ref", "-d", "refs/heads/main"]);
    assert_eq!(bench.repository.head().unwrap(), None);
    assert_eq!(bench.process(), process);
}

#[test]
fn the_reader_survives_that_the_repository_is_packed_anew() {
    let bench = Bench::new();
    let one = bench.commit("1");
    assert_eq!(bench.read(&one), "1");
    for round in 0..3 {
        let next = bench.commit(&format!("content {round}"));
        // Each of these removes the files in which the objects were.
        match round {
            0 => bench.git(&["gc", "--quiet", "--prune=now"]),
            1 => bench.git(&["repack", "-adfq", "--depth=50"]),
            _ => bench.git(&["repack", "-adq", "--write-bitmap-index", "--write-midx"]),
        }
        bench.repository.objects().state().cache = ObjectCache::default();
        assert_eq!(bench.read(&next), format!("content {round}"));
        assert_eq!(bench.read(&one), "1");
        assert_eq!(bench.repository.files(&next, "").unwrap().len(), 1);
    }
}

#[test]
fn a_reader_that_was_killed_is_started_again() {
    let bench = Bench::new();
    let one = bench.commit("1");
    assert_eq!(bench.repository.head().unwrap(), Some(one.clone()));
    let killed = bench.process().unwrap();
    let status = Command::new("kill").args(["-KILL", &killed.to_string()]).status().unwrap();
    assert!(status.success());
    assert_eq!(bench.read(&one), "1");
    assert_ne!(bench.process(), Some(killed));
}

#[test]
fn the_process_ends_when_nobody_can_ask_it_any_more() {
    let bench = Bench::new();
    bench.repository.head().unwrap();
    let mut process = bench.repository.objects().state().process.take().unwrap();
    // This is all that git notices when raas is killed.
    process.close_requests();
    assert!(process.wait().unwrap().success());
}

#[test]
fn removed_objects_are_found_until_the_reader_forgets() {
    let bench = Bench::new();
    let one = bench.commit("1");
    bench.git(&["repack", "-adq"]);
    assert_eq!(bench.read(&one), "1");
    fs::remove_dir_all(bench.folder.path().join("r.git/objects/pack")).unwrap();
    bench.repository.forget();
    assert!(!bench.repository.has(&one).unwrap());
    let failure = bench.repository.files(&one, "").unwrap_err().to_string();
    assert!(failure.contains(one.as_str()) && failure.contains("missing"), "{failure}");
}

#[test]
fn an_absent_reference_a_missing_object_and_a_damaged_object_are_three_things() {
    type Damage = fn(&std::path::Path);
    let missing: Damage = |path| fs::remove_file(path).unwrap();
    let damages: [(&str, Damage); 4] = [
        ("missing", missing),
        ("", |path| fs::write(path, "").unwrap()),
        ("corrupt", |path| fs::write(path, "garbage that is no object").unwrap()),
        ("corrupt", |path| {
            let bytes = fs::read(path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
    ];
    for (words, damage) in damages {
        for kind in ["commit", "tree", "blob"] {
            let bench = Bench::new();
            let commit = bench.commit("some content, long enough to be cut");
            let spec = match kind {
                "commit" => commit.to_string(),
                "tree" => format!("{commit}:a/b"),
                _ => format!("{commit}:a/b/c.json"),
            };
            let id = bench.repository.git().run(&["rev-parse", &spec]).unwrap().trim().to_owned();
            let path = bench.object(&id);
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            damage(&path);
            // Whether the process runs already makes no difference.
            for running in [false, true] {
                let repository = bench.other();
                if running {
                    assert!(!repository.has(&CommitId::parse(&"a".repeat(40)).unwrap()).unwrap());
                }
                let failure = repository.read(&commit, "a/b/c.json").unwrap_err();
                let said = failure.to_string();
                // git's words for this depend on how far it came.
                let said_words = said.replace("unable to", "corrupt");
                assert!(said_words.contains(words) && said.contains(&id), "{kind}, {words}: {said}");
                assert!(said.contains("r.git") && is_fsck_hint(&failure), "{kind}, {words}: {said}");
                match (kind, words) {
                    ("commit", "corrupt") => {
                        assert!(repository.head().unwrap_err().to_string().contains(words));
                    }
                    ("commit", _) => assert_eq!(repository.head().unwrap(), None),
                    _ => assert_eq!(repository.head().unwrap(), Some(commit.clone())),
                }
            }
        }
    }
}

#[test]
fn an_object_of_another_kind_is_refused() {
    let bench = Bench::new();
    let commit = bench.commit("1");
    let objects = bench.repository.objects();
    for failure in [objects.blob(commit.as_str()).map(drop), objects.tree(commit.as_str()).map(drop)] {
        let failure = failure.unwrap_err().to_string();
        assert!(failure.contains("it is no"), "{failure}");
    }
    assert!(objects.blob("a\nb").unwrap_err().to_string().contains("line break"));
}

fn is_fsck_hint(failure: &Failure) -> bool {
    failure.hints().iter().any(|hint| hint.contains("git fsck"))
}
