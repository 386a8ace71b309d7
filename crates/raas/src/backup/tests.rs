use std::time::Duration;

use raas_types::ObjectKey;

use super::*;
use crate::config::{ConfigRequest, NeededSections};
use raas_base::Say;
use raas_git::Repository;
use raas_publish::home::{Home, Vendor};
use raas_publish::snapshot::{SnapshotCheck, SnapshotPublisher};
use raas_publish::storage::Directory;

/// A vendor whose bucket several homes publish to, and their configuration repository.
struct Setup {
    folder: tempfile::TempDir,
    storage: Directory,
    repository: Repository,
    name: RepositoryName,
}

/// A person with a home of their own.
struct Operator {
    vendor: Vendor,
    config: Config,
}

impl Operator {
    fn registry<'a>(&'a self, storage: &'a Directory, say: &'a Say) -> Registry<'a> {
        Registry { vendor: &self.vendor, storage, shared: true, say }
    }
}

impl Setup {
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

    /// Begins a command of the operator with this home, which clones the configuration.
    fn operator(&self, home: &str) -> Operator {
        let home = Home::new(Some(self.folder.path().join(home))).unwrap();
        home.ensure().unwrap();
        let address = format!("file://{}", self.folder.path().join("conf.git").display());
        let asked = ConfigRequest {
            repository: Some(address),
            git_timeout: Duration::from_secs(60),
            ..ConfigRequest::default()
        };
        let config = Config::load(&asked, &|| Ok(home.clone()), NeededSections::All).unwrap();
        let vendor = home.vendor(&"acme".parse().unwrap());
        vendor.create(&raas_base::Say::nothing()).unwrap();
        Operator { vendor, config }
    }

    /// Publishes on top of what others have published.
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

    fn back_up(&self, operator: &Operator, commit: &CommitId) -> Result<bool, Failure> {
        let say = Say::nothing();
        back_up(&operator.config, &operator.registry(&self.storage, &say), commit, Some(&self.name), &|_| {})
    }

    fn file(&self, path: &str) -> String {
        let head = self.repository.head().unwrap().unwrap();
        String::from_utf8(self.repository.read(&head, path).unwrap().unwrap_or_default()).unwrap()
    }

    /// The subjects of the lines in the logs.
    fn logged(&self) -> Vec<String> {
        let head = self.repository.head().unwrap().unwrap();
        let logs = self.repository.files(&head, "acme/logs").unwrap();
        let text: String = logs.iter().map(|log| self.file(&log.path)).collect();
        let subject = |line: &str| line.split(": ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
        text.lines().map(subject).collect()
    }
}

#[test]
fn a_late_backup_does_not_replace_a_newer_one() {
    let setup = Setup::new();
    let (slow, quick) = (setup.operator("slow"), setup.operator("quick"));
    let one = setup.publish(&slow, "one");
    let two = setup.publish(&quick, "two");
    setup.back_up(&quick, &two).unwrap();
    setup.back_up(&slow, &one).unwrap();
    assert_eq!(setup.file("acme/metadata/app.json"), "two");
    let mut logged = setup.logged();
    logged.sort();
    assert_eq!(logged, ["one", "two"]);
    // If the bucket does not answer, nothing is backed up, since it may be outdated.
    let unreadable = setup.folder.path().join("unreadable");
    std::fs::create_dir_all(unreadable.join(ObjectKey::Pointer.to_string())).unwrap();
    let storage = Directory::new(unreadable);
    let say = Say::nothing();
    let failure =
        back_up(&slow.config, &slow.registry(&storage, &say), &one, Some(&setup.name), &|_| {}).unwrap_err();
    assert!(failure.to_string().contains("the image is published, but not backed up"), "{failure}");
}

#[test]
fn a_failed_backup_gets_its_line_with_the_next_one() {
    let setup = Setup::new();
    let kept = setup.operator("home");
    setup.back_up(&kept, &setup.publish(&kept, "kept")).unwrap();
    let hook = setup.folder.path().join("conf.git/hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for content in ["one", "two"] {
        let refused = setup.operator("home");
        let commit = setup.publish(&refused, content);
        setup.back_up(&refused, &commit).unwrap_err();
    }
    std::fs::remove_file(hook).unwrap();
    // The last publication is pushed again, unchanged.
    let again = setup.operator("home");
    let last = again.vendor.record().head().unwrap().unwrap();
    assert!(setup.back_up(&again, &last).unwrap());
    assert_eq!(setup.logged(), ["kept", "one", "two"]);
    assert_eq!(setup.file("acme/metadata/app.json"), "two");
    let before = setup.repository.head().unwrap();
    assert!(setup.back_up(&setup.operator("home"), &last).unwrap());
    assert_eq!(setup.repository.head().unwrap(), before, "the backup is complete");
}

#[test]
fn each_document_has_a_backup_path_of_its_own() {
    let vendor: VendorName = "acme".parse().unwrap();
    let names = ["a/b", "a-b", "a.v1", "a/b.v1", "a__v1", "a/v1", "a"];
    let mut kept = BTreeSet::new();
    for name in names {
        let name: RepositoryName = name.parse().unwrap();
        for path in [tree::document(&name), tree::v1_document(&name)] {
            let path = backup_path(&vendor, &path).unwrap();
            assert!(!path.trim_start_matches("acme/metadata/").contains('/'), "{path}");
            kept.insert(path);
        }
    }
    assert_eq!(kept.len(), 2 * names.len());
    assert_eq!(backup_path(&vendor, "README"), None);
}

#[test]
fn a_backup_has_documents_customers_and_protected_patterns() {
    let vendor: VendorName = "acme".parse().unwrap();
    for path in [tree::PROTECTED, "crane/data/_access/customers/big.bank", "crane/data/tools/app.json"] {
        let backup = backup_path(&vendor, path).unwrap();
        let name = backup.strip_prefix("acme/metadata/").unwrap();
        assert!(!name.contains('/'), "{name}");
        assert_eq!(published_path(name).as_deref(), Some(path));
    }
    for other in ["+operator+app.json", "tools+app+_manifests+sha256+ab", "README"] {
        assert_eq!(published_path(other), None, "{other}");
    }
}
