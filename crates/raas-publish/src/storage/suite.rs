//! The promises of every storage, as tests. Each implementation runs all of them.
//!
//! There are no tests of ranges: the trait reads objects from the start only.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use raas_types::{Digest, ObjectKey, Reference, RepositoryName, media_type};

use super::{PutOptions, Storage};

/// Runs each test against a fresh storage. `make` returns the storage, and a value that stays alive as long.
pub fn run<K>(make: impl Fn() -> (Box<dyn Storage>, K)) {
    let tests: [fn(&dyn Storage); 15] = [
        a_stored_object_reads_back,
        an_upload_is_invisible_before_its_commit,
        a_dropped_upload_leaves_nothing,
        an_aborted_upload_leaves_the_old_object,
        a_commit_replaces_an_object_whatever_its_length,
        an_empty_object_is_an_object,
        a_missing_object_is_no_error,
        a_copy_is_independent_of_its_source,
        a_copy_onto_itself_keeps_the_object,
        a_listing_follows_its_prefix,
        a_listing_names_thousands_of_keys_once,
        keys_may_have_odd_characters,
        several_threads_store_at_once,
        concurrent_writers_of_one_key_leave_one_whole_object,
        every_stored_byte_is_reported,
    ];
    for test in tests {
        let (storage, _keep) = make();
        test(storage.as_ref());
    }
}

fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

fn blob(repository: &str, content: &[u8]) -> ObjectKey {
    ObjectKey::Blob(name(repository), Digest::of(content))
}

fn put(storage: &dyn Storage, key: &ObjectKey, content: &[u8]) {
    let mut upload = storage.create(PutOptions::default()).unwrap();
    upload.write_all(content).unwrap();
    upload.commit(key).unwrap();
}

fn get(storage: &dyn Storage, key: &ObjectKey) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    storage.read(key).unwrap()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

fn keys(storage: &dyn Storage, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    storage.list(prefix, &mut |listed| keys.push(listed.key)).unwrap();
    keys.sort();
    keys
}

fn a_stored_object_reads_back(storage: &dyn Storage) {
    for content in [b"".as_slice(), b"x", &[7; 100_000]] {
        let key = blob("tools/app", content);
        put(storage, &key, content);
        assert_eq!(get(storage, &key).as_deref(), Some(content));
        let found = storage.stat(&key).unwrap().unwrap();
        assert_eq!(found.size, content.len() as u64);
        assert!(found.modified.elapsed().unwrap_or_default() < Duration::from_secs(60));
    }
}

fn an_upload_is_invisible_before_its_commit(storage: &dyn Storage) {
    let key = blob("app", b"content");
    let mut upload = storage.create(PutOptions::default()).unwrap();
    upload.write_all(b"content").unwrap();
    upload.flush().unwrap();
    assert_eq!(storage.stat(&key).unwrap(), None);
    assert!(keys(storage, "").is_empty());
    upload.commit(&key).unwrap();
    assert_eq!(keys(storage, ""), [key.to_string()]);
}

fn a_dropped_upload_leaves_nothing(storage: &dyn Storage) {
    let mut upload = storage.create(PutOptions::default()).unwrap();
    upload.write_all(b"content").unwrap();
    drop(upload);
    assert!(keys(storage, "").is_empty());
    assert_eq!(storage.abort_stale_uploads().unwrap(), 0);
}

fn an_aborted_upload_leaves_the_old_object(storage: &dyn Storage) {
    let key = ObjectKey::TagsList(name("app"));
    put(storage, &key, b"old");
    // Longer than a part, so that a service has begun to store it.
    let half = vec![7; 3 << 20];
    for options in [PutOptions::default(), PutOptions::of(&key, 4 << 20)] {
        let mut upload = storage.create(options).unwrap();
        upload.write_all(&half).unwrap();
        drop(upload);
        assert_eq!(get(storage, &key).unwrap(), b"old");
    }
    assert_eq!(keys(storage, ""), [key.to_string()]);
}

fn a_commit_replaces_an_object_whatever_its_length(storage: &dyn Storage) {
    let key = ObjectKey::TagsList(name("app"));
    for content in [b"one".as_slice(), b"longer than before", b"", b"two", b"two"] {
        put(storage, &key, content);
        assert_eq!(get(storage, &key).unwrap(), content);
        assert_eq!(storage.stat(&key).unwrap().unwrap().size, content.len() as u64);
    }
    assert_eq!(keys(storage, ""), [key.to_string()]);
}

fn an_empty_object_is_an_object(storage: &dyn Storage) {
    let (key, copy) = (ObjectKey::TagsList(name("app")), ObjectKey::TagsList(name("copy")));
    storage.create(PutOptions::of(&key, 0)).unwrap().commit(&key).unwrap();
    storage.copy(&key, &copy, 0).unwrap();
    for key in [&key, &copy] {
        assert_eq!(get(storage, key).unwrap(), b"");
        assert_eq!(storage.stat(key).unwrap().unwrap().size, 0);
    }
    let mut sizes = Vec::new();
    storage.list("", &mut |listed| sizes.push(listed.size)).unwrap();
    assert_eq!(sizes, [0, 0]);
}

fn a_missing_object_is_no_error(storage: &dyn Storage) {
    let key = blob("app", b"nowhere");
    assert_eq!(storage.stat(&key).unwrap(), None);
    assert!(get(storage, &key).is_none());
    storage.delete(&key).unwrap();
    assert!(keys(storage, "app/").is_empty());
    assert!(storage.copy(&key, &blob("app", b"x"), 1).is_err());
    // A key below the key of another object.
    put(storage, &ObjectKey::Probe("p".into()), b"x");
    assert_eq!(storage.stat(&ObjectKey::Probe("p/q".into())).unwrap(), None);
}

fn a_copy_is_independent_of_its_source(storage: &dyn Storage) {
    let (from, to) = (ObjectKey::TagsList(name("one")), ObjectKey::TagsList(name("two/three")));
    put(storage, &from, b"content");
    storage.copy(&from, &to, 7).unwrap();
    storage.copy(&from, &to, 7).unwrap();
    put(storage, &from, b"changed");
    assert_eq!(get(storage, &to).unwrap(), b"content");
    storage.delete(&from).unwrap();
    assert_eq!(get(storage, &to).unwrap(), b"content");
    assert_eq!(keys(storage, ""), [to.to_string()]);
}

fn a_copy_onto_itself_keeps_the_object(storage: &dyn Storage) {
    let key = ObjectKey::TagsList(name("app"));
    put(storage, &key, b"content");
    storage.copy(&key, &key, 7).unwrap();
    assert_eq!(get(storage, &key).unwrap(), b"content");
    assert_eq!(keys(storage, ""), [key.to_string()]);
}

fn a_listing_follows_its_prefix(storage: &dyn Storage) {
    let tag = Reference::Tag("1.0".parse().unwrap());
    let manifest = ObjectKey::manifest(&name("app"), tag, media_type::OCI_MANIFEST);
    let (in_app, in_app_two) = (blob("app", b"1"), blob("app2", b"2"));
    for (key, content) in [(&manifest, b"x"), (&in_app, b"1"), (&in_app_two, b"2")] {
        put(storage, key, content);
    }
    assert_eq!(keys(storage, "app/"), [in_app.to_string(), manifest.to_string()]);
    assert_eq!(keys(storage, "app/_v2/manifests/"), [manifest.to_string()]);
    assert_eq!(keys(storage, "app").len(), 3);
    assert_eq!(keys(storage, "ap/"), Vec::<String>::new());
}

fn a_listing_names_thousands_of_keys_once(storage: &dyn Storage) {
    /// More than two full pages of S3.
    const MANY: usize = 2_100;
    const THREADS: usize = 6;
    let key = |n: usize| ObjectKey::Probe(format!("{n:05}"));
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || (thread..MANY).step_by(THREADS).for_each(|n| put(storage, &key(n), b"x")));
        }
    });
    let expected: Vec<String> = (0..MANY).map(|n| key(n).to_string()).collect();
    assert_eq!(keys(storage, "_probe/"), expected);
    assert_eq!(keys(storage, "_probe/020").len(), 100);
}

fn keys_may_have_odd_characters(storage: &dyn Storage) {
    let odd =
        ["a b", "a+b", "a%2Fb", "a&b", "a<b>", "a'b\"", "a#b", "a?b=c", "a~b", "(a)", "a=b;c", "ü", "a\\b"];
    for text in odd {
        put(storage, &ObjectKey::Probe(text.to_owned()), text.as_bytes());
    }
    let expected: BTreeSet<String> = odd.iter().map(|text| format!("_probe/{text}")).collect();
    let found = keys(storage, "");
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected);
    for text in odd {
        let key = ObjectKey::Probe(text.to_owned());
        assert_eq!(get(storage, &key).unwrap(), text.as_bytes());
        let copy = ObjectKey::Probe(format!("{text} copy"));
        storage.copy(&key, &copy, text.len() as u64).unwrap();
        assert_eq!(get(storage, &copy).unwrap(), text.as_bytes());
        storage.delete(&copy).unwrap();
    }
    found.iter().for_each(|key| storage.delete_key(key).unwrap());
    assert!(keys(storage, "").is_empty());
}

fn several_threads_store_at_once(storage: &dyn Storage) {
    thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                for n in 0..20u8 {
                    let content = [thread % 2, n];
                    put(storage, &blob("app", &content), &content);
                }
            });
        }
    });
    assert_eq!(keys(storage, "app/").len(), 40);
}

fn concurrent_writers_of_one_key_leave_one_whole_object(storage: &dyn Storage) {
    let key = &ObjectKey::TagsList(name("app"));
    let content = |writer: u8| vec![writer; 50_000 + usize::from(writer)];
    let is_whole = move |bytes: &[u8]| bytes.first().is_some_and(|writer| *bytes == content(*writer));
    put(storage, key, &content(0));
    thread::scope(|scope| {
        for writer in 1..=4 {
            scope.spawn(move || (0..5).for_each(|_| put(storage, key, &content(writer))));
        }
        for _ in 0..20 {
            assert!(is_whole(&get(storage, key).unwrap()), "a reader sees one whole object");
        }
    });
    assert!(is_whole(&get(storage, key).unwrap()));
    assert_eq!(keys(storage, ""), [key.to_string()]);
}

fn every_stored_byte_is_reported(storage: &dyn Storage) {
    let content = vec![7; (2 << 20) + 1];
    let key = blob("app", &content);
    for options in [PutOptions::default(), PutOptions::of(&key, content.len() as u64)] {
        let stored = Arc::new(AtomicU64::new(0));
        let count = stored.clone();
        let on_stored: super::OnStored = Arc::new(move |bytes| {
            count.fetch_add(bytes, Ordering::SeqCst);
        });
        let mut upload = storage.create(PutOptions { on_stored: Some(on_stored), ..options }).unwrap();
        upload.write_all(&content).unwrap();
        upload.commit(&key).unwrap();
        assert_eq!(stored.load(Ordering::SeqCst), content.len() as u64);
    }
}
