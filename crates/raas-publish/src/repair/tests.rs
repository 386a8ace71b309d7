use std::fs;
use std::path::PathBuf;

use raas_base::Say;
use raas_base::files;
use raas_types::crane::tree;

use super::*;
use crate::home::Home;
use crate::reading::Reading;
use crate::storage::{Directory, Storage};

/// A vendor with a folder, and three publications.
struct Bench {
    folder: tempfile::TempDir,
    vendor: Vendor,
    storage: Directory,
    commits: Vec<CommitId>,
}

impl Bench {
    fn new() -> Self {
        Self::with(&[("a", "one"), ("b", "two"), ("a", "three")])
    }

    fn with(publications: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(Some(folder.path().join("home"))).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        vendor.create(&raas_base::Say::nothing()).unwrap();
        let storage = Directory::new(vendor.bucket());
        let mut bench = Self { folder, vendor, storage, commits: Vec::new() };
        for (name, text) in publications {
            bench.publish(name, text);
        }
        bench
    }

    fn publish(&mut self, name: &str, text: &str) {
        let record = self.vendor.record();
        let document = format!(
            r#"{{"type": "pulp-docker-redirect", "version": 4, "repository": "{text}", "repo-registry-id": "{name}",
                "url": "https://x/{name}/", "schema2_data": ["1"]}}"#
        );
        let change = (format!("{}/{name}.json", tree::DATA), Some(document.into_bytes()));
        let commit = record.commit(self.commits.last(), &[change], "Publish").unwrap();
        self.vendor.checkout().update(&record, &commit).unwrap();
        self.commits.push(commit);
    }

    fn repair(&self) -> Result<Report, Failure> {
        let say = Say::nothing();
        let registry = Registry { vendor: &self.vendor, storage: &self.storage, shared: false, say: &say };
        super::record(&registry, LostHistory::Refuse, &|| Ok(Files::new()))
    }

    fn last(&self) -> &CommitId {
        self.commits.last().unwrap()
    }

    fn git_file(&self, name: &str) -> PathBuf {
        self.vendor.record().git().folder().join(name)
    }

    /// All files of the record's folder that hold something, except those that git writes anew.
    fn files(&self) -> Vec<String> {
        let root = self.git_file("");
        let mut found = Vec::new();
        files::walk(&root, "", &mut |path, file| {
            // Names and times in a log mean nothing to raas.
            if file.len() > 0 && !path.starts_with("logs/") {
                found.push(path.to_owned());
            }
        })
        .unwrap();
        // A file system need not list the names in the same order again.
        found.sort();
        found
    }

    /// The published files, as servers are given them.
    fn served(&self) -> Files {
        let root = self.vendor.checkout().folder().to_owned();
        let mut found = Files::new();
        files::walk(&root, tree::DATA, &mut |path, _| {
            found.insert(path.to_owned(), fs::read(root.join(path)).unwrap());
        })
        .unwrap();
        found
    }
}

#[test]
fn a_sound_home_is_left_as_it_is() {
    let bench = Bench::new();
    let before = bench.files();
    let report = bench.repair().unwrap();
    assert!(report.mended.is_empty() && report.lost.is_empty(), "{report:?}");
    assert_eq!(bench.files(), before);
}

#[test]
fn a_lost_branch_is_restored_from_the_newest_evidence() {
    type Damage = fn(&Bench);
    let table: [(&str, Damage); 6] = [
        ("empty", |bench| fs::write(bench.git_file("refs/heads/main"), "").unwrap()),
        ("gone", |bench| fs::remove_file(bench.git_file("refs/heads/main")).unwrap()),
        ("gone, without a log", |bench| {
            fs::remove_file(bench.git_file("refs/heads/main")).unwrap();
            fs::remove_dir_all(bench.git_file("logs")).unwrap();
        }),
        ("packed, and the file is gone", |bench| {
            bench.vendor.record().git().run(&["pack-refs", "--all"]).unwrap();
            fs::remove_file(bench.git_file("packed-refs")).unwrap();
        }),
        ("back at an earlier publication", |bench| {
            fs::write(bench.git_file("refs/heads/main"), bench.commits[0].as_str()).unwrap();
        }),
        ("all references are gone", |bench| {
            fs::remove_dir_all(bench.git_file("refs")).unwrap();
            fs::remove_file(bench.git_file("HEAD")).unwrap();
        }),
    ];
    for (what, damage) in table {
        let bench = Bench::new();
        let served = bench.served();
        damage(&bench);
        let refused = bench.vendor.lock(&Say::nothing()).unwrap_err().to_string();
        assert!(refused.contains("--repair"), "{what}: {refused}");
        bench.repair().unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert!(
            matches!(bench.vendor.record().branch(), Reading::There(head) if head == *bench.last()),
            "{what}"
        );
        drop(bench.vendor.lock(&Say::nothing()).unwrap());
        assert_eq!(bench.served(), served, "{what}");
    }
}

#[test]
fn a_branch_that_came_back_old_with_its_log_is_restored_from_the_files_for_servers() {
    for revision in ["", "garbage"] {
        let bench = Bench::new();
        let served = bench.served();
        fs::write(bench.git_file("refs/heads/main"), format!("{}\n", bench.commits[0])).unwrap();
        let log = fs::read_to_string(bench.git_file("logs/refs/heads/main")).unwrap();
        fs::write(bench.git_file("logs/refs/heads/main"), format!("{}\n", log.lines().next().unwrap()))
            .unwrap();
        fs::write(bench.vendor.checkout().revision_file(), revision).unwrap();
        assert!(bench.vendor.lock(&Say::nothing()).unwrap_err().to_string().contains("--repair"));
        bench.repair().unwrap();
        assert_eq!(bench.vendor.record().head().unwrap().as_ref(), Some(bench.last()), "{revision}");
        assert_eq!(bench.served(), served, "{revision}");
        drop(bench.vendor.lock(&Say::nothing()).unwrap());
    }
}

#[test]
fn a_damaged_revision_of_a_good_checkout_is_written_anew() {
    let bench = Bench::new();
    fs::write(bench.vendor.checkout().revision_file(), "").unwrap();
    assert!(bench.vendor.lock(&Say::nothing()).unwrap_err().to_string().contains("--repair"));
    let report = bench.repair().unwrap();
    assert!(
        report.mended.len() == 1 && report.mended[0].contains("checkout/revision was damaged"),
        "{report:?}"
    );
    drop(bench.vendor.lock(&Say::nothing()).unwrap());
    assert!(bench.repair().unwrap().mended.is_empty());
}

#[test]
fn a_checkout_without_a_commit_whose_files_no_commit_has_is_left_as_it_is() {
    let bench = Bench::new();
    let document = bench.vendor.checkout().folder().join(tree::DATA).join("later.json");
    fs::write(&document, "{}").unwrap();
    fs::write(bench.vendor.checkout().revision_file(), "").unwrap();
    let failure = bench.repair().unwrap_err().to_string();
    assert!(failure.contains("no commit of the record has its files") && document.exists(), "{failure}");
}

#[test]
fn a_lost_checkout_is_made_again_from_the_record() {
    let bench = Bench::new();
    let served = bench.served();
    fs::remove_dir_all(bench.vendor.checkout().folder()).unwrap();
    assert!(bench.vendor.lock(&Say::nothing()).unwrap_err().to_string().contains("--repair"));
    let report = bench.repair().unwrap();
    assert!(report.mended[0].contains("checkout for servers was missing"), "{report:?}");
    assert_eq!(bench.served(), served);
    drop(bench.vendor.lock(&Say::nothing()).unwrap());
}

/// Every file of the record, with a flipped bit, is found, and what servers are given is as before after the repair.
#[test]
fn a_flipped_bit_anywhere_in_the_record_is_found_and_mended() {
    let pack = |bench: &Bench| {
        bench.vendor.record().git().run(&["repack", "-adbnq"]).unwrap();
        bench.vendor.record().git().run(&["pack-refs", "--all"]).unwrap();
    };
    for packed in [false, true] {
        let bench = || {
            let bench = Bench::with(&[("a", "one"), ("a", "two")]);
            if packed {
                pack(&bench);
            }
            bench
        };
        let count = bench().files().len();
        assert!(count > 5, "{count}");
        // The names of objects depend on the time, so each file is the one at its place.
        for at in 0..count {
            let bench = bench();
            let name = bench.files()[at].clone();
            // The rest of `config` is the operator's to change.
            if name == "config" {
                continue;
            }
            let served = bench.served();
            let mut bytes = fs::read(bench.git_file(&name)).unwrap();
            let at = bytes.len() * 2 / 3;
            bytes[at] ^= 0x10;
            fs::remove_file(bench.git_file(&name)).unwrap();
            fs::write(bench.git_file(&name), bytes).unwrap();
            let found = integrity::record(&bench.vendor).unwrap();
            assert!(!found.is_empty(), "{name}: not found");
            bench.repair().unwrap_or_else(|failure| panic!("{name}: {failure}"));
            assert_eq!(integrity::record(&bench.vendor).unwrap(), Vec::<String>::new(), "{name}");
            drop(bench.vendor.lock(&Say::nothing()).unwrap());
            assert_eq!(bench.served(), served, "{name}");
            assert!(bench.vendor.record().head().unwrap().is_some(), "{name}");
        }
    }
}

#[test]
fn a_publication_whose_commit_is_lost_is_made_again_from_the_files_for_servers() {
    let bench = Bench::new();
    let served = bench.served();
    fs::remove_dir_all(bench.git_file("objects")).unwrap();
    let report = bench.repair().unwrap();
    assert!(report.mended.iter().any(|what| what.contains("made again")), "{report:?}");
    assert_eq!(bench.served(), served);
    drop(bench.vendor.lock(&Say::nothing()).unwrap());
    // Run again, it has nothing to do.
    let again = bench.repair().unwrap();
    assert!(again.mended.is_empty(), "{again:?}");
}

#[test]
fn without_any_good_copy_nothing_is_changed() {
    let bench = Bench::new();
    fs::remove_dir_all(bench.git_file("objects")).unwrap();
    fs::remove_dir_all(bench.vendor.checkout().folder().join(tree::DATA)).unwrap();
    fs::remove_file(bench.vendor.checkout().folder().join("unfinished")).unwrap_or_default();
    let document = bench.vendor.checkout().folder().join(tree::DATA);
    fs::create_dir_all(&document).unwrap();
    fs::write(document.join("a.json"), "damaged").unwrap();
    let failure = bench.repair().unwrap_err().to_string();
    assert!(failure.contains("no good copy") && failure.contains("nothing was changed"), "{failure}");
    assert!(bench.folder.path().join("home/acme/checkout/revision").exists());
    let mut left = Vec::new();
    bench.storage.list("", &mut |listed| left.push(listed.key)).unwrap();
    assert!(left.is_empty());
}
