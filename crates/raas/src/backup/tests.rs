use std::time::Duration;

use raas_types::ObjectKey;

use super::*;
use crate::config::Asked;
use raas_base::Say;
use raas_git::Repository;
use raas_publish::home::{Home, Vendor};
use raas_publish::snapshot::{SnapshotCheck, SnapshotPublisher};
use raas_publish::storage::Directory;

/// A vendor whose bucket several homes publish to, and the configuration repository that they share.
struct Bench {
    folder: tempfile::TempDir,
    storage: Directory,
    repository: Repository,
    name: RepositoryName,
}

/// Somebody who publishes.
struct Operator {
    vendor: Vendor,
    config: Config,
}

impl Operator {
    fn registry<'a>(&'a self, storage: &'a Directory, say: &'a Say) -> Registry<'a> {
        Registry { vendor: &self.vendor, storage, shared: true, say }
    }
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bucket = folder.path().join("bucket");
        std::fs::create_dir(&bucket).unwrap();
        let repository = Repository::of_branch(folder.path().join("conf.git"), "main");
        repository.create().unwrap();
        let text = b"[acme]\ns3_bucket = shared\n".to_vec();
        repository.commit(None, &[("raas.cfg".into(), Some(text))], "Configure").unwrap();
        Self { storage: Directory::new(bucket), repository, folder, name: "app".parse().unwrap() }
    }

    /// A command of the operator with this home begins, and clones the configuration.
    fn operator(&self, home: &str) -> Operator {
        let home = Home::new(Some(self.folder.path().join(home))).unwrap();
        home.ensure().unwrap();
        let address = format!("file://{}", self.folder.path().join("conf.git").display());
        let asked =
            Asked { repository: Some(address), patience: Duration::from_secs(60), ..Asked::default() };
        let config = Config::load(&asked, &|| Ok(home.clone())).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        vendor.create().unwrap();
        Operator { vendor, config }
    }

    /// On top of what others have published.
    fn publish(&self, operator: &Operator, content: &str) -> CommitId {
        let Operator { vendor, .. } = operator;
        catch_up::try_catch_up(&operator.registry(&self.storage, &Say::nothing())).unwrap();
        let record = vendor.record();
        let change = (tree::document(&self.name), Some(content.as_bytes().to_vec()));
        let commit = record.commit(record.head().unwrap().as_ref(), &[change], content).unwrap();
        let spool = vendor.folder();
        let publisher =
            SnapshotPublisher { vendor: vendor.name(), record: &record, storage: &self.storage, spool };
        publisher.publish(SnapshotCheck::Quick, None).unwrap();
        commit
    }

    fn keep(&self, operator: &Operator, commit: &CommitId) -> Result<bool, Failure> {
        let say = Say::nothing();
        keep(&operator.config, &operator.registry(&self.storage, &say), commit, &self.name, &|_| {})
    }

    fn kept(&self, path: &str) -> String {
        let head = self.repository.head().unwrap().unwrap();
        String::from_utf8(self.repository.read(&head, path).unwrap().unwrap_or_default()).unwrap()
    }

    /// What was published, as the log has it.
    fn logged(&self) -> Vec<String> {
        let head = self.repository.head().unwrap().unwrap();
        let logs = self.repository.files(&head, "acme/logs").unwrap();
        let text: String = logs.iter().map(|log| self.kept(&log.path)).collect();
        let subject = |line: &str| line.split(": ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        text.lines().map(subject).collect()
    }
}

#[test]
fn a_home_that_is_slow_to_keep_takes_nothing_back() {
    let bench = Bench::new();
    let (slow, quick) = (bench.operator("slow"), bench.operator("quick"));
    let one = bench.publish(&slow, "one");
    let two = bench.publish(&quick, "two");
    bench.keep(&quick, &two).unwrap();
    bench.keep(&slow, &one).unwrap();
    assert_eq!(bench.kept("acme/metadata/app.json"), "two");
    let mut logged = bench.logged();
    logged.sort();
    assert_eq!(logged, ["one", "two"]);
    // Where the bucket cannot be asked, nothing is kept that may be old.
    let unreadable = bench.folder.path().join("unreadable");
    std::fs::create_dir_all(unreadable.join(ObjectKey::Pointer.to_string())).unwrap();
    let storage = Directory::new(unreadable);
    let say = Say::nothing();
    let failure = keep(&slow.config, &slow.registry(&storage, &say), &one, &bench.name, &|_| {}).unwrap_err();
    assert!(failure.to_string().contains("it is published, and not kept"), "{failure}");
}

#[test]
fn what_could_not_be_kept_is_logged_with_the_next() {
    let bench = Bench::new();
    let kept = bench.operator("home");
    bench.keep(&kept, &bench.publish(&kept, "kept")).unwrap();
    let hook = bench.folder.path().join("conf.git/hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for content in ["one", "two"] {
        let refused = bench.operator("home");
        let commit = bench.publish(&refused, content);
        bench.keep(&refused, &commit).unwrap_err();
    }
    std::fs::remove_file(hook).unwrap();
    // The last one is pushed again, unchanged.
    let again = bench.operator("home");
    let last = again.vendor.record().head().unwrap().unwrap();
    assert!(bench.keep(&again, &last).unwrap());
    assert_eq!(bench.logged(), ["kept", "one", "two"]);
    assert_eq!(bench.kept("acme/metadata/app.json"), "two");
    let before = bench.repository.head().unwrap();
    assert!(bench.keep(&bench.operator("home"), &last).unwrap());
    assert_eq!(bench.repository.head().unwrap(), before, "all of it is there");
}

#[test]
fn no_two_documents_are_kept_in_one_place() {
    let vendor: VendorName = "acme".parse().unwrap();
    let names = ["a/b", "a-b", "a.v1", "a/b.v1", "a__v1", "a/v1", "a"];
    let mut kept = BTreeSet::new();
    for name in names {
        let name: RepositoryName = name.parse().unwrap();
        for path in [tree::document(&name), tree::v1_document(&name)] {
            let path = flat(&vendor, &path).unwrap();
            assert!(!path.trim_start_matches("acme/metadata/").contains('/'), "{path}");
            kept.insert(path);
        }
    }
    assert_eq!(kept.len(), 2 * names.len());
    assert_eq!(flat(&vendor, "README"), None);
}
