use std::sync::Arc;
use std::sync::atomic::Ordering;

use raas_testkit::snapshot::{TreeFiles, archive};
use raas_types::crane::{
    BlobEntry, Content, Document, ManifestEntry, V1Content, V2Content, V2Extension, partition, tree,
};
use raas_types::{RepositoryName, media_type};

use super::super::super::archive::Limits;
use super::super::super::document_store::Missing;
use super::*;
use crate::catalog::{LoadedDocument, Repository};
use crate::site::LoadStats;

/// A document at a path, and manifests with these bytes.
fn repository(path: &str, name: &str, manifests: &[&str]) -> TreeFiles {
    let name: RepositoryName = name.parse().unwrap();
    let mut extension = V2Extension::default();
    let mut files = TreeFiles::new();
    for (n, bytes) in manifests.iter().enumerate() {
        let (digest, size) = (Digest::of(bytes.as_bytes()), bytes.len() as u64);
        let media_type = media_type::OCI_MANIFEST.into();
        extension.manifests.insert(digest, ManifestEntry { media_type, size, platform: None, image: None });
        extension.tags.insert(format!("v{n}").parse().unwrap(), digest);
        files.push((tree::manifest(&name, &digest), bytes.as_bytes().to_vec()));
    }
    extension.blobs.insert(Digest::of(b"layer"), BlobEntry { size: 5, diff_id: None, location: None });
    files.push((path.to_owned(), document(&name, Content::V2(V2Content::new(extension, |_| None)))));
    files
}

fn document(name: &RepositoryName, content: Content) -> Vec<u8> {
    let (repository, url) = (name.to_string(), "https://bucket.example.com/x/".into());
    Document { repository, name: name.clone(), url, protected: false, content }.to_bytes()
}

fn store() -> DocumentStore<Digest> {
    store_of(1 << 30)
}

/// A store of a site that may take so many bytes of memory.
fn store_of(memory: u64) -> DocumentStore<Digest> {
    DocumentStore::new("a bucket".into(), LoadStats::new(memory))
}

/// Reads all files as a snapshot with this number of parts.
fn read(store: &DocumentStore<Digest>, files: &[TreeFiles], parts: usize) -> DocumentChanges<Digest> {
    let allowance = Allowance::beside(std::iter::empty(), Limits::default());
    let mut found = DocumentChanges::default();
    for part_index in (0..parts).map(|at| PartIndex { at, parts }) {
        let own: TreeFiles =
            files.iter().flatten().filter(|(path, _)| part_index.has(path)).cloned().collect();
        found.extend(load(archive(&own), part_index, &allowance, store).unwrap().found);
    }
    found
}

/// Reads all files, and stores them.
fn take(store: &mut DocumentStore<Digest>, files: &[TreeFiles], parts: usize) -> DocumentChanges<Digest> {
    let found = read(store, files, parts);
    let again = read(store, files, parts);
    store.reconcile(again, |_| Missing::Deleted);
    store.assemble("0123abc".into(), None);
    found
}

/// The errors of documents, by path.
fn faults(found: &DocumentChanges<Digest>) -> Vec<(&str, String)> {
    let faults = found.loaded.iter().filter_map(|loaded| {
        let fault = loaded.result.as_ref().err()?;
        Some((loaded.path.as_str(), fault.to_string()))
    });
    let mut faults: Vec<_> = faults.collect();
    faults.sort();
    faults
}

#[test]
fn documents_are_found_at_every_allowed_path() {
    let name: RepositoryName = "app".parse().unwrap();
    let mut broken = repository("crane/data/broken.json", "broken", &["gone"]);
    broken.remove(0);
    let legacy = document(&"legacy".parse().unwrap(), Content::V2(V2Content::default()));
    let files = [
        repository("crane/data/app.json", "app", &["one", "two", "three"]),
        repository("crane/data/app.z.json", "app.z", &["four"]),
        repository("crane/data/app/0.json", "app/0", &["five"]),
        repository("crane/data/app/sub.json", "app/sub", &["six"]),
        vec![(tree::v1_document(&name), document(&name, Content::V1(V1Content::default())))],
        repository("crane/data/+operator/base.json", "base", &["seven"]),
        vec![("crane/data/legacy.json".into(), legacy)],
        broken,
        vec![("crane/data/nonsense.json".into(), b"{".to_vec())],
    ];
    for parts in [1, 2, 64] {
        let found = take(&mut store(), &files, parts);
        assert_eq!(found.loaded.len(), files.len());
        let faults = faults(&found);
        assert!(
            matches!(&faults[..], [("crane/data/broken.json", broken), ("crane/data/nonsense.json", _)]
                if broken.contains("entity not found")),
            "{faults:?}"
        );
    }
}

#[test]
fn a_document_in_another_part_than_its_manifests_does_not_load() {
    let path = "crane/data/elsewhere.json";
    let name = |apart: bool| {
        let names = (0..).map(|n| format!("app{n}"));
        let part = |path: &str| partition::part_of(path, 2);
        let mut fit = names.filter(|name| (part(&format!("crane/data/{name}.json")) != part(path)) == apart);
        fit.next().unwrap()
    };
    for apart in [false, true] {
        let files = [repository(path, &name(apart), &["one"])];
        assert_eq!(faults(&read(&store(), &files, 1)), []);
        assert_eq!(faults(&read(&store(), &files, 2)).len(), usize::from(apart));
    }
}

#[test]
fn unchanged_documents_and_manifests_are_shared() {
    let mut store = store();
    let repository_of = |store: &DocumentStore<Digest>, name: &str| -> Arc<Repository> {
        Arc::clone(store.catalog().repository(name).unwrap())
    };
    let one = repository("crane/data/one.json", "one", &["a", "b"]);
    take(&mut store, &[one.clone(), repository("crane/data/two.json", "two", &["c", "d"])], 1);
    let before = [repository_of(&store, "one"), repository_of(&store, "two")];
    let changed = repository("crane/data/two.json", "two", &["d", "e"]);
    // With another number of parts.
    let found = take(&mut store, &[one, changed], 4);
    assert_eq!(found.same, ["crane/data/one.json"]);
    let after = [repository_of(&store, "one"), repository_of(&store, "two")];
    assert!(Arc::ptr_eq(&before[0], &after[0]));
    assert!(!Arc::ptr_eq(&before[1], &after[1]));
    let manifest = |repository: &Repository, bytes: &[u8]| repository.manifest(&Digest::of(bytes)).cloned();
    let kept = |repository: &Repository| manifest(repository, b"d").unwrap();
    assert!(Arc::ptr_eq(&kept(&before[1]), &kept(&after[1])));
    assert_eq!(manifest(&after[1], b"e").unwrap().bytes().as_ref(), b"e");
    assert!(manifest(&after[1], b"c").is_none());
}

#[test]
fn documents_of_unchanged_parts_stay() {
    let stats = LoadStats::new(1 << 30);
    let faulty = &stats.faulty;
    let mut store = DocumentStore::new("a bucket".into(), Arc::clone(&stats));
    let broken = vec![("crane/data/broken.json".to_owned(), b"{".to_vec())];
    take(&mut store, &[repository("crane/data/one.json", "one", &["a"]), broken], 1);
    assert_eq!(faulty.load(Ordering::Relaxed), 1);
    store.reconcile(DocumentChanges::default(), |_| Missing::Unchanged);
    assert_eq!(faulty.load(Ordering::Relaxed), 1);
    store.assemble("0123abc".into(), None);
    assert!(store.catalog().repository("one").is_some());
    store.reconcile(DocumentChanges::default(), |_| Missing::Deleted);
    assert_eq!(faulty.load(Ordering::Relaxed), 0);
}

#[test]
fn a_manifest_is_in_memory_once_however_many_documents_name_it() {
    let long = format!("{{\"x\":\"{}\"}}", "a".repeat(100_000));
    let first = repository("crane/data/app.json", "app", &[&long]);
    let document = first.last().unwrap().1.clone();
    let others = (0..100).map(|n| vec![(format!("crane/data/d{n}.json"), document.clone())]);
    let files: Vec<TreeFiles> = [first.clone()].into_iter().chain(others).collect();
    let mut store = store();
    let found = read(&store, &files, 1);
    let digest = Digest::of(long.as_bytes());
    let mut seen = Vec::new();
    for loaded in &found.loaded {
        let Ok(LoadedDocument::V2(repository)) = &loaded.result else { panic!("it loads") };
        seen.push(Arc::clone(repository.manifest(&digest).unwrap()));
    }
    assert_eq!(seen.len(), 101);
    assert!(seen.iter().all(|manifest| Arc::ptr_eq(manifest, &seen[0])));
    drop(seen);
    store.reconcile(found, |_| Missing::Deleted);
    let used = store.pool().budget.used();
    assert!((100_000..250_000).contains(&used), "{used}");
    // The same bytes in another repository, with another type.
    let mut other = repository("crane/data/other.json", "other", &[&long]);
    let text = String::from_utf8(other.pop().unwrap().1).unwrap();
    let text = text.replace(media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST);
    other.push(("crane/data/other.json".into(), text.into_bytes()));
    take(&mut store, &[first, other], 1);
    let bytes =
        |name: &str| store.catalog().repository(name).unwrap().manifest(&digest).unwrap().bytes().as_ptr();
    assert_eq!(bytes("app"), bytes("other"));
    let used = store.pool().budget.used();
    assert!((100_000..150_000).contains(&used), "{used}");
}

#[test]
fn what_is_loaded_takes_memory_of_the_site() {
    let long = |n: u32| format!("{{\"x\":\"{n}{}\"}}", "a".repeat(100_000));
    let one = repository("crane/data/one.json", "one", &[&long(1)]);
    let two = repository("crane/data/two.json", "two", &[&long(2)]);
    let mut store = store_of(400_000);
    take(&mut store, std::slice::from_ref(&one), 1);
    assert_eq!(store.pool().budget.take_exceeded(), None);
    let many: Vec<TreeFiles> = (0..4)
        .map(|n| repository(&format!("crane/data/a{n}.json"), &format!("a{n}"), &[&long(9 + n)]))
        .collect();
    let allowance = Allowance::beside(std::iter::empty(), Limits::default());
    let only = PartIndex { at: 0, parts: 1 };
    let files: TreeFiles = many.concat();
    let refused = load(archive(&files), only, &allowance, &store);
    assert!(matches!(refused.err(), Some(ArchiveError::Memory(_))));
    assert!(store.pool().budget.take_exceeded().is_some());
    // What is gone makes room for what is new.
    take(&mut store, &[two], 1);
    assert_eq!(store.pool().budget.take_exceeded(), None);
    assert!(store.catalog().repository("two").is_some());
    // Documents that do not load take memory too.
    let faulty: TreeFiles = (0..2000).map(|n| (format!("crane/data/x{n}.json"), b"{}".to_vec())).collect();
    let mut small = store_of(1_500_000);
    let found = load(archive(&faulty), only, &allowance, &small);
    let over = found.is_err() || small.pool().budget.take_exceeded().is_some();
    assert!(over, "2,000 reasons take a megabyte");
    small.reconcile(DocumentChanges::default(), |_| Missing::Deleted);
    // A document has the same limit as in a folder.
    let long = vec![("crane/data/long.json".to_owned(), vec![b' '; Document::MAX_SIZE as usize + 1])];
    let found = read(&self::store(), &[long], 1);
    assert!(faults(&found)[0].1.contains("longer than"), "{:?}", faults(&found));
}
