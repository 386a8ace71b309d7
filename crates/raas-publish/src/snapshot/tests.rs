use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use raas_types::Digest;
use raas_types::crane::partition;

use super::*;
use crate::storage::{Directory, Upload, pass_on};

struct Bench {
    folder: tempfile::TempDir,
    record: Record,
    storage: Directory,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::new(folder.path().join("r.git"));
        record.create().unwrap();
        let bucket = folder.path().join("bucket");
        std::fs::create_dir(&bucket).unwrap();
        Self { record, storage: Directory::new(bucket), folder }
    }

    fn commit(&self, files: &[(&str, &str)]) -> CommitId {
        commit(&self.record, files)
    }

    fn publish(&self) {
        publish(&self.record, &self.storage, self.folder.path()).unwrap();
    }

    fn pointer(&self) -> Pointer {
        read_pointer(&self.storage).unwrap().readable().unwrap().unwrap()
    }

    fn archives(&self) -> usize {
        let mut archives = 0;
        self.storage
            .list("_metadata/", &mut |found| archives += usize::from(found.key.ends_with(".tar.gz")))
            .unwrap();
        archives
    }

    /// The files of all parts. Each file must be in the part that the partition says.
    fn unpacked(&self, pointer: &Pointer) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        for (at, part) in pointer.parts.iter().enumerate() {
            let mut packed = Vec::new();
            self.storage.read(&part.key()).unwrap().unwrap().read_to_end(&mut packed).unwrap();
            assert_eq!((Digest::of(&packed), packed.len() as u64), (part.digest, part.size));
            let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(packed.as_slice()));
            let mut last = String::new();
            for entry in tar.entries().unwrap() {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().to_str().unwrap().to_owned();
                assert!(last < path, "in the order of paths");
                assert_eq!(partition::part_of(&path, pointer.parts.len()), at);
                files.insert(path.clone(), io::read_to_string(&mut entry).unwrap());
                last = path;
            }
        }
        files
    }
}

fn publish(record: &Record, storage: &dyn Storage, spool: &Path) -> Result<(), Failure> {
    let vendor = &"acme".parse().unwrap();
    SnapshotPublisher { vendor, record, storage, spool }.publish(SnapshotCheck::Quick, None)
}

fn commit(record: &Record, files: &[(&str, &str)]) -> CommitId {
    let changes: Vec<_> =
        files.iter().map(|(path, text)| ((*path).to_owned(), Some(text.as_bytes().to_vec()))).collect();
    record.commit(record.head().unwrap().as_ref(), &changes, "change").unwrap()
}

#[test]
fn a_publication_is_an_archive_and_a_pointer_to_it() {
    let bench = Bench::new();
    bench.publish();
    assert!(matches!(read_pointer(&bench.storage).unwrap(), Reading::Absent), "nothing is published yet");
    let long = format!("crane/data/{}.json", "long/".repeat(60));
    bench.commit(&[("crane/data/app.json", "one"), (&long, "long"), ("logs/today.log", "not served")]);
    let two = bench.commit(&[("crane/data/app.json", "two")]);
    bench.publish();
    let pointer = bench.pointer();
    assert_eq!((pointer.revision.as_str(), pointer.sequence), (two.as_str(), 2));
    let expected = [("crane/data/app.json", "two"), (&long, "long")];
    let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
    assert_eq!(bench.unpacked(&pointer), expected.into());
}

#[test]
fn publishing_again_changes_nothing_and_stores_what_is_missing() {
    let bench = Bench::new();
    bench.commit(&[("crane/data/app.json", "one")]);
    bench.publish();
    let pointer = bench.pointer();
    bench.publish();
    assert_eq!((bench.pointer(), bench.archives()), (pointer.clone(), 1));
    bench.storage.delete(&pointer.parts[0].key()).unwrap();
    bench.publish();
    assert_eq!(
        (bench.pointer().parts, bench.archives()),
        (pointer.parts.clone(), 1),
        "the part has the same bytes"
    );
    for nonsense in ["", "{", "{\"digest\": 1}"] {
        let mut upload = bench.storage.create(PutOptions::default()).unwrap();
        upload.write_all(nonsense.as_bytes()).unwrap();
        upload.commit(&ObjectKey::Pointer).unwrap();
        assert!(matches!(read_pointer(&bench.storage).unwrap(), Reading::Unreadable(_)), "{nonsense}");
        bench.publish();
        assert_eq!(bench.pointer().parts, pointer.parts);
    }
}

/// A storage that answers the first reads of the pointer with something else.
struct Garbling<'a> {
    storage: &'a Directory,
    garbage: Mutex<usize>,
}

impl Storage for Garbling<'_> {
    pass_on!(storage: create, stat, others);

    fn read(&self, key: &ObjectKey) -> Result<Option<Box<dyn Read + Send>>, StorageError> {
        let mut garbage = self.garbage.lock().unwrap();
        if *garbage == 0 {
            return self.storage.read(key);
        }
        *garbage -= 1;
        Ok(Some(Box::new(b"<html>busy</html>".as_slice())))
    }
}

#[test]
fn absence_garbage_and_a_pointer_are_three_things() {
    let bench = Bench::new();
    let after = |garbage| {
        let garbling = Garbling { storage: &bench.storage, garbage: Mutex::new(garbage) };
        read_pointer(&garbling).unwrap()
    };
    assert!(matches!(after(0), Reading::Absent));
    assert!(matches!(after(1), Reading::Unreadable(_)), "it said something, and then nothing");
    bench.commit(&[("crane/data/app.json", "one")]);
    bench.publish();
    assert!(matches!(after(2), Reading::There(_)), "one bad answer is no damage");
    assert!(matches!(after(3), Reading::Unreadable(_)));
}

#[test]
fn unknown_keys_of_the_pointer_stay() {
    let bench = Bench::new();
    bench.commit(&[("crane/data/app.json", "one")]);
    bench.publish();
    let mut pointer = bench.pointer();
    pointer.unknown.insert("later".into(), serde_json::json!({"a": 1}));
    replace(&bench.storage, &pointer).unwrap();
    bench.commit(&[("crane/data/app.json", "two")]);
    bench.publish();
    assert_eq!(bench.pointer().unknown, pointer.unknown);
}

/// So many documents make two parts.
const MANY: usize = 1024 + 1;

fn document(n: usize) -> String {
    format!("crane/data/team{}/app{n}.json", n % 7)
}

/// Commits that many documents.
fn commit_many(bench: &Bench) {
    let paths: Vec<String> = (0..MANY).map(document).collect();
    bench.commit(&paths.iter().map(|path| (path.as_str(), "one")).collect::<Vec<_>>());
}

/// A bench with that many documents published, and its pointer.
fn published() -> (Bench, Pointer) {
    let bench = Bench::new();
    commit_many(&bench);
    bench.publish();
    let pointer = bench.pointer();
    (bench, pointer)
}

#[test]
fn a_publication_stores_the_parts_that_changed_and_no_others() {
    let (bench, before) = published();
    assert_eq!((before.parts.len(), bench.archives()), (2, 2));
    let changed = document(5);
    bench.commit(&[(&changed, "two"), ("logs/today.log", "not served")]);
    bench.publish();
    let after = bench.pointer();
    let at = partition::part_of(&changed, 2);
    let differ = |n: &usize| before.parts[*n] != after.parts[*n];
    assert_eq!((0..2).filter(differ).collect::<Vec<_>>(), [at]);
    assert_eq!(bench.archives(), 3);
    let mut expected: BTreeMap<_, _> = (0..MANY).map(|n| (document(n), "one".to_owned())).collect();
    expected.insert(changed, "two".into());
    assert_eq!(bench.unpacked(&after), expected);
    // Making all parts at once makes the same parts.
    bench.storage.delete(&ObjectKey::Pointer).unwrap();
    bench.publish();
    assert_eq!((bench.pointer().parts, bench.archives()), (after.parts, 3));
}

#[test]
fn if_a_part_is_missing_all_parts_are_stored() {
    let (bench, before) = published();
    let changed = document(5);
    let at = partition::part_of(&changed, 2);
    bench.storage.delete(&before.parts[1 - at].key()).unwrap();
    bench.commit(&[(&changed, "two")]);
    bench.publish();
    assert_eq!(bench.archives(), 3);
    assert_eq!(bench.unpacked(&bench.pointer()).len(), MANY);
    // The same without a new commit.
    bench.storage.delete(&bench.pointer().parts[at].key()).unwrap();
    bench.publish();
    assert_eq!(bench.unpacked(&bench.pointer()).len(), MANY);
}

#[test]
fn a_full_check_finds_a_damaged_part() {
    let (bench, pointer) = published();
    let key = pointer.parts[0].key();
    let mut bytes = Vec::new();
    bench.storage.read(&key).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
    bytes[100] ^= 1;
    let mut upload = bench.storage.create(PutOptions::of(&key, bytes.len() as u64)).unwrap();
    upload.write_all(&bytes).unwrap();
    upload.commit(&key).unwrap();
    assert!(has_parts(&bench.storage, &pointer).unwrap(), "its length is right");
    assert!(!are_sound(&bench.storage, &pointer).unwrap());
    let vendor = &"acme".parse().unwrap();
    let publisher = SnapshotPublisher {
        vendor,
        record: &bench.record,
        storage: &bench.storage,
        spool: bench.folder.path(),
    };
    publisher.publish(SnapshotCheck::Full, None).unwrap();
    assert_eq!(bench.pointer().parts, pointer.parts);
    assert_eq!(bench.unpacked(&pointer).len(), MANY);
}

#[test]
fn the_number_of_parts_follows_what_is_published() {
    let bench = Bench::new();
    bench.commit(&[(&document(0), "one")]);
    bench.publish();
    assert_eq!(bench.pointer().parts.len(), 1);
    commit_many(&bench);
    bench.publish();
    assert_eq!((bench.pointer().parts.len(), bench.unpacked(&bench.pointer()).len()), (2, MANY));
    let paths: Vec<String> = (1..MANY).map(document).collect();
    let gone: Vec<_> = paths.into_iter().map(|path| (path, None)).collect();
    bench.record.commit(bench.record.head().unwrap().as_ref(), &gone, "take out").unwrap();
    bench.publish();
    assert_eq!((bench.pointer().parts.len(), bench.unpacked(&bench.pointer()).len()), (1, 1));
}

#[test]
fn the_pointer_of_an_older_version_is_replaced_and_its_history_goes_on() {
    let bench = Bench::new();
    let one = bench.commit(&[("crane/data/app.json", "one")]);
    bench.publish();
    let pointer = bench.pointer();
    let older = Pointer { parts: Vec::new(), ..pointer.clone() };
    replace(&bench.storage, &older).unwrap();
    assert!(!is_whole(&bench.storage, &older).unwrap());
    bench.publish();
    assert_eq!((bench.pointer().parts, bench.pointer().history), (pointer.parts, pointer.history));
    replace(&bench.storage, &older).unwrap();
    bench.commit(&[("crane/data/app.json", "two")]);
    bench.publish();
    let pointer = bench.pointer();
    assert_eq!((pointer.parts.len(), pointer.history.len()), (1, 2));
    assert_eq!(pointer.history[0].tip, one.as_str());
}

#[test]
fn missing_history_is_stored_again_in_one_pack() {
    let bench = Bench::new();
    let publisher = |check| {
        let vendor = &"acme".parse().unwrap();
        let publisher = SnapshotPublisher {
            vendor,
            record: &bench.record,
            storage: &bench.storage,
            spool: bench.folder.path(),
        };
        publisher.publish(check, None).unwrap();
    };
    for n in 0..3 {
        bench.commit(&[("crane/data/app.json", &n.to_string())]);
        bench.publish();
    }
    let pieces = bench.pointer().history;
    assert_eq!(pieces.len(), 3);
    bench.storage.delete(&pieces[0].key()).unwrap();
    bench.publish();
    assert_eq!(bench.pointer().history, pieces, "a quick check does not look at the history");
    publisher(SnapshotCheck::Full);
    let pointer = bench.pointer();
    assert_eq!((pointer.history.len(), pointer.vendor), (1, Some("acme".parse().unwrap())));
    let other = Bench::new();
    fetch_history(&other.record, &bench.storage, &bench.pointer(), other.folder.path()).unwrap();
    assert!(other.record.has(&CommitId::parse(&pointer.revision).unwrap()).unwrap());
}

#[test]
fn a_later_pointer_stays() {
    let bench = Bench::new();
    bench.commit(&[("crane/data/app.json", "one")]);
    let two = bench.commit(&[("crane/data/app.json", "two")]);
    bench.publish();
    assert_eq!(bench.pointer().revision, two.as_str());
}

#[test]
fn a_publication_of_another_record_is_not_replaced() {
    let bench = Bench::new();
    let one = bench.commit(&[("crane/data/app.json", "one")]);
    bench.publish();
    let other = Bench::new();
    other.commit(&[("crane/data/other.json", "one")]);
    let failure = publish(&other.record, &bench.storage, other.folder.path()).unwrap_err().to_string();
    assert!(failure.contains("another registry") && failure.contains(one.as_str()), "{failure}");
    assert_eq!(bench.pointer().revision, one.as_str());
    // The hint tells the user to do this.
    bench.storage.delete(&ObjectKey::Pointer).unwrap();
    publish(&other.record, &bench.storage, other.folder.path()).unwrap();
}

type Meanwhile = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A storage that delays the next write of the pointer until something else has happened.
struct Late {
    inner: Directory,
    meanwhile: Meanwhile,
}

struct LateUpload {
    inner: Box<dyn Upload>,
    meanwhile: Meanwhile,
}

impl Storage for Late {
    pass_on!(inner: stat, read, others);

    fn create(&self, draft: PutOptions) -> Result<Box<dyn Upload>, StorageError> {
        Ok(Box::new(LateUpload { inner: self.inner.create(draft)?, meanwhile: self.meanwhile.clone() }))
    }
}

impl Write for LateUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Upload for LateUpload {
    fn commit(self: Box<Self>, key: &ObjectKey) -> Result<(), StorageError> {
        if *key == ObjectKey::Pointer
            && let Some(meanwhile) = self.meanwhile.lock().unwrap().take()
        {
            meanwhile();
        }
        self.inner.commit(key)
    }
}

#[test]
fn an_older_pointer_that_lands_late_does_not_stay() {
    let bench = Bench::new();
    bench.commit(&[("crane/data/app.json", "one")]);
    let folder = bench.folder.path().to_owned();
    let other = move || {
        let record = Record::new(folder.join("r.git"));
        commit(&record, &[("crane/data/app.json", "two")]);
        publish(&record, &Directory::new(folder.join("bucket")), &folder).unwrap();
    };
    let late = Late {
        inner: Directory::new(bench.folder.path().join("bucket")),
        meanwhile: Arc::new(Mutex::new(Some(Box::new(other)))),
    };
    publish(&bench.record, &late, bench.folder.path()).unwrap();
    assert!(late.meanwhile.lock().unwrap().is_none(), "the other run was in between");
    let head = bench.record.head().unwrap().unwrap();
    assert_eq!((bench.pointer().revision.as_str(), bench.pointer().sequence), (head.as_str(), 2));
}

#[test]
fn publishers_at_once_leave_the_last_commit() {
    let bench = Bench::new();
    bench.commit(&[("crane/data/app.json", "0")]);
    let order = Mutex::new(());
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let (bench, order) = (&bench, &order);
            scope.spawn(move || {
                let storage = Directory::new(bench.folder.path().join("bucket"));
                for n in 0..5 {
                    {
                        // One commit on top of the last, as the vendor's lock has it.
                        let _order = order.lock().unwrap();
                        bench.commit(&[("crane/data/app.json", &format!("{publisher} {n}"))]);
                    }
                    publish(&bench.record, &storage, bench.folder.path()).unwrap();
                }
            });
        }
    });
    let head = bench.record.head().unwrap().unwrap();
    assert_eq!((bench.pointer().revision.as_str(), bench.pointer().sequence), (head.as_str(), 21));
}
