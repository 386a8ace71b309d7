//! What every storage promises, run against each implementation.

use std::io::{Read, Write};
use std::time::Duration;

use raas_types::{Digest, ObjectKey, Reference, RepositoryName, media_type};

use super::{PutOptions, Storage};

/// Runs each test against a fresh storage; the second part of what `make` gives is kept alive beside it.
pub fn run<K>(make: impl Fn() -> (Box<dyn Storage>, K)) {
    let tests: [fn(&dyn Storage); 8] = [
        what_is_stored_reads_back,
        nothing_is_visible_before_the_commit,
        a_dropped_upload_leaves_nothing,
        a_commit_replaces_what_was_there,
        what_is_not_there_is_absent_and_no_error,
        a_copy_is_independent_of_what_it_was_made_of,
        listings_follow_prefixes,
        several_threads_store_at_once,
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

fn what_is_stored_reads_back(storage: &dyn Storage) {
    for content in [b"".as_slice(), b"x", &[7; 100_000]] {
        let key = blob("tools/app", content);
        put(storage, &key, content);
        assert_eq!(get(storage, &key).as_deref(), Some(content));
        let found = storage.stat(&key).unwrap().unwrap();
        assert_eq!(found.size, content.len() as u64);
        assert!(found.modified.elapsed().unwrap_or_default() < Duration::from_secs(60));
    }
}

fn nothing_is_visible_before_the_commit(storage: &dyn Storage) {
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

fn a_commit_replaces_what_was_there(storage: &dyn Storage) {
    let key = ObjectKey::TagsList(name("app"));
    put(storage, &key, b"one and more");
    put(storage, &key, b"two");
    assert_eq!(get(storage, &key).unwrap(), b"two");
}

fn what_is_not_there_is_absent_and_no_error(storage: &dyn Storage) {
    let key = blob("app", b"nowhere");
    assert_eq!(storage.stat(&key).unwrap(), None);
    assert!(get(storage, &key).is_none());
    storage.delete(&key).unwrap();
    assert!(keys(storage, "app/").is_empty());
    assert!(storage.copy(&key, &blob("app", b"x"), 1).is_err());
    // A key that goes on below another object's name.
    put(storage, &ObjectKey::Probe("p".into()), b"x");
    assert_eq!(storage.stat(&ObjectKey::Probe("p/q".into())).unwrap(), None);
}

fn a_copy_is_independent_of_what_it_was_made_of(storage: &dyn Storage) {
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

fn listings_follow_prefixes(storage: &dyn Storage) {
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

fn several_threads_store_at_once(storage: &dyn Storage) {
    std::thread::scope(|scope| {
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
