use std::sync::Arc;

use raas_types::crane::{
    BlobEntry, Content, Document, ManifestEntry, V1Content, V2Content, V2Extension, tree,
};
use raas_types::{RepositoryName, media_type};

use super::super::archive::tests::{REVISION, archive};
use super::*;
use crate::catalog::Repository;

type Files = Vec<(String, Vec<u8>)>;

/// A document at a path, and its manifests, which have these bytes.
fn repository(path: &str, name: &str, manifests: &[&str]) -> Files {
    let name: RepositoryName = name.parse().unwrap();
    let mut extension = V2Extension::default();
    let mut files = Files::new();
    for (n, bytes) in manifests.iter().enumerate() {
        let (digest, size) = (Digest::of(bytes.as_bytes()), bytes.len() as u64);
        let media_type = media_type::OCI_MANIFEST.into();
        extension.manifests.insert(digest, ManifestEntry { media_type, size, platform: None });
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

/// Documents wherever one may lie, those that lie where their name says first.
fn samples() -> Vec<Files> {
    let name: RepositoryName = "app".parse().unwrap();
    let mut broken = repository("crane/data/broken.json", "broken", &["gone"]);
    broken.remove(0);
    let legacy = document(&"legacy".parse().unwrap(), Content::V2(V2Content::default()));
    vec![
        repository("crane/data/app.json", "app", &["one", "two", "three"]),
        // Both come between a document and its files.
        repository("crane/data/app.z.json", "app.z", &["four"]),
        repository("crane/data/app/0.json", "app/0", &["five"]),
        repository("crane/data/app/sub.json", "app/sub", &["six"]),
        vec![(tree::v1_document(&name), document(&name, Content::V1(V1Content::default())))],
        repository("crane/data/+operator/base.json", "base", &["seven"]),
        vec![("crane/data/legacy.json".into(), legacy)],
        broken,
        vec![("crane/data/nonsense.json".into(), b"{".to_vec())],
        // Another document of a name, and two that lie elsewhere than their files: behind them, and before.
        repository("crane/data/+operator/app.json", "app", &["two"]),
        repository("crane/data/zzz.json", "early", &["eight"]),
        repository("crane/data/aaa.json", "late", &["nine"]),
    ]
}

/// How many of the samples lie where their name says.
const AT_HOME: usize = 10;

fn sorted(files: impl IntoIterator<Item = Files>) -> Files {
    let mut files: Files = files.into_iter().flatten().collect();
    files.sort();
    files.dedup();
    files
}

fn shelf() -> Shelf<Digest> {
    Shelf::new("a bucket".into(), Arc::default())
}

fn take(shelf: &mut Shelf<Digest>, files: &[(String, Vec<u8>)]) -> Found<Digest> {
    let found = read(&archive(files), REVISION, Limits::default(), shelf).unwrap();
    let again = read(&archive(files), REVISION, Limits::default(), shelf).unwrap();
    shelf.settle(again, |_| true);
    shelf.assemble("0123abc".into(), None);
    found
}

/// All that is told of the documents.
fn shown(found: Found<Digest>) -> Vec<String> {
    let mut all: Vec<String> = found.same;
    all.extend(found.loaded.into_iter().map(|loaded| {
        let result = loaded.result.map_err(|fault| fault.to_string());
        format!("{} {} {result:?}", loaded.path, loaded.stamp)
    }));
    all.sort();
    all
}

#[test]
fn an_archive_in_any_order_has_the_same_documents() {
    let ordered = sorted(samples());
    let mut first_manifests = ordered.clone();
    first_manifests.sort_by_key(|(path, _)| path.ends_with(".json"));
    let mut nearly = ordered.clone();
    nearly.rotate_left(1);
    let reversed: Files = ordered.iter().rev().cloned().collect();
    let expected = shown(take(&mut shelf(), &ordered));
    assert_eq!(expected.len(), samples().len());
    let faults: Vec<&String> = expected.iter().filter(|shown| shown.contains("Err(")).collect();
    assert!(
        matches!(faults[..], [broken, nonsense] if broken.contains("broken.json")
        && broken.contains("entity not found") && nonsense.contains("nonsense.json")),
        "{faults:?}"
    );

    // Then some are other, some new, some gone, and the rest is as before.
    let mut changed = samples();
    changed[0] = repository("crane/data/app.json", "app", &["two", "three", "ten"]);
    changed[10] = repository("crane/data/zzz.json", "early", &["eleven", "eight"]);
    changed[6] = repository("crane/data/new.json", "new", &["twelve"]);
    let changed = sorted(changed);
    let mut before = shelf();
    take(&mut before, &ordered);
    let expected_then = shown(take(&mut before, &changed));
    assert_eq!(expected_then.iter().filter(|shown| !shown.contains(' ')).count(), samples().len() - 5);

    for (order, files) in [("manifests first", first_manifests), ("nearly", nearly), ("reversed", reversed)] {
        let mut shelf = shelf();
        assert_eq!(shown(take(&mut shelf, &files)), expected, "{order}");
        let place = |file: &(String, Vec<u8>)| files.iter().position(|(path, _)| *path == file.0);
        let mut files_then = changed.clone();
        files_then.sort_by_key(place);
        assert_eq!(shown(take(&mut shelf, &files_then)), expected_then, "{order}");
    }
}

#[test]
fn one_pass_is_enough_for_what_lies_where_its_name_says() {
    let found = |files: &[(String, Vec<u8>)]| pass(&archive(files), REVISION, Limits::default(), &shelf());
    let Ok((_, again)) = found(&sorted(samples().into_iter().take(AT_HOME))) else { panic!("in order") };
    assert!(again.is_empty());
    let Ok((_, again)) = found(&sorted(samples())) else { panic!("in order") };
    let mut again: Vec<_> = again.into_iter().map(|again| (again.path, again.folder)).collect();
    again.sort();
    let folder = |name: &str| tree::manifests(&name.parse().unwrap());
    let expected = [("crane/data/aaa.json", folder("late")), ("crane/data/zzz.json", folder("early"))];
    assert_eq!(again, expected.map(|(path, folder)| (path.to_owned(), folder)));
    let mut files = sorted(samples());
    files.swap(3, 4);
    assert!(matches!(found(&files), Err(Stop::Order)));
}

#[test]
fn what_is_as_before_is_the_same_in_memory() {
    let mut shelf = shelf();
    let repository_of = |shelf: &Shelf<Digest>, name: &str| -> Arc<Repository> {
        Arc::clone(shelf.catalog().repository(name).unwrap())
    };
    let one = repository("crane/data/one.json", "one", &["a", "b"]);
    take(&mut shelf, &sorted([one.clone(), repository("crane/data/two.json", "two", &["c", "d"])]));
    let before = [repository_of(&shelf, "one"), repository_of(&shelf, "two")];
    let changed = repository("crane/data/two.json", "two", &["d", "e"]);
    let found = take(&mut shelf, &sorted([one, changed]));
    assert_eq!(found.same, ["crane/data/one.json"]);
    let after = [repository_of(&shelf, "one"), repository_of(&shelf, "two")];
    assert!(Arc::ptr_eq(&before[0], &after[0]));
    assert!(!Arc::ptr_eq(&before[1], &after[1]));
    let manifest = |repository: &Repository, bytes: &[u8]| repository.manifest(&Digest::of(bytes)).cloned();
    let kept = |repository: &Repository| manifest(repository, b"d").unwrap();
    assert!(Arc::ptr_eq(&kept(&before[1]), &kept(&after[1])));
    assert_eq!(manifest(&after[1], b"e").unwrap().bytes().as_ref(), b"e");
    assert!(manifest(&after[1], b"c").is_none());
}

#[test]
fn many_documents_are_loaded_by_several_threads_in_one_pass() {
    let one = |n: usize| {
        let (name, bytes) = (format!("team{}/app{n}", n % 7), format!("manifest {n}"));
        repository(&format!("crane/data/{name}.json"), &name, &[&bytes])
    };
    let files = sorted((0..500).map(one));
    let Ok((found, again)) = pass(&archive(&files), REVISION, Limits::default(), &shelf()) else {
        panic!("in order")
    };
    assert!(again.is_empty());
    assert_eq!(found.loaded.iter().filter(|loaded| loaded.result.is_ok()).count(), 500);
}
