//! The storage against services that differ from AWS.

use raas_testkit::s3::Quirk;
use raas_types::ChecksumPolicy;

use super::*;

/// Each difference that raas lives with.
const ROWS: [(&str, Quirk); 13] = [
    ("a service that refuses all checksums, as B2", Quirk::NoChecksums),
    ("a service that refuses checksums of uploads in parts, as R2", Quirk::NoChecksumsOfParts),
    ("a service that refuses checksums of the parts alone", Quirk::NoChecksumOfPart),
    ("a service that copies no parts", Quirk::NoCopyOfParts),
    ("a service that copies nothing", Quirk::NoCopies),
    ("a listing answered as version 1", Quirk::ListsAsVersion1),
    ("a listing without tokens and without version 1", Quirk::ListsWithoutToken),
    ("unfinished uploads that cannot be listed: 501", Quirk::NoListsOfUploads(501)),
    ("unfinished uploads that cannot be listed: 400", Quirk::NoListsOfUploads(400)),
    ("unfinished uploads that cannot be listed: 405", Quirk::NoListsOfUploads(405)),
    ("entity tags without quotation marks", Quirk::BareEtags),
    ("403 for HEAD of a missing object", Quirk::ForbidsMissingHead),
    ("403 for a missing object", Quirk::ForbidsMissing),
];

/// Waits until no run holds the notes in a folder. The threads of a storage end after the storage.
fn wait_for_the_end(notes: &Path) {
    let is_free = |path: &Path| {
        path.extension().is_none_or(|ending| ending != "jsonl")
            || std::fs::File::open(path).unwrap().try_lock().is_ok()
    };
    while !std::fs::read_dir(notes).unwrap().all(|entry| is_free(&entry.unwrap().path())) {
        std::thread::yield_now();
    }
}

fn service_with(quirk: Quirk) -> (S3, Server) {
    let (storage, server) = service();
    server.set_quirk(quirk);
    // A listing then has several pages.
    server.set_page(3);
    (storage, server)
}

/// The whole suite takes seconds, so it runs for the differences that touch the most operations.
fn keeps_every_promise(quirk: Quirk) {
    suite::run(|| {
        let (storage, server) = service_with(quirk);
        (Box::new(storage), server)
    });
}

#[test]
fn every_promise_of_a_storage_holds_without_checksums() {
    keeps_every_promise(Quirk::NoChecksums);
}

#[test]
fn every_promise_of_a_storage_holds_with_listings_of_version_1() {
    keeps_every_promise(Quirk::ListsAsVersion1);
}

#[test]
fn images_are_stored_whole_and_verified_at_services_that_differ_from_aws() {
    let contents = [noise(1, 1000), noise(2, 17 * UNIT), noise(3, 26 * UNIT)];
    for (name, quirk) in ROWS {
        let (storage, server) = service_with(quirk);
        storage.prepare(true).unwrap();
        probe(&storage).unwrap();
        for content in &contents {
            assert_eq!(storage.stat(&key_of(content)).unwrap(), None, "{name}");
            assert!(storage.read(&key_of(content)).unwrap().is_none(), "{name}");
            // First with a known key, then under a temporary name and copied.
            for options in [known(content), PutOptions::default()] {
                storage.delete(&key_of(content)).unwrap();
                store(&storage, content, options).unwrap();
                assert_eq!(server.object(BUCKET, &full(content)).as_ref(), Some(content), "{name}");
            }
            assert_eq!(storage.stat(&key_of(content)).unwrap().unwrap().size, content.len() as u64, "{name}");
            server.fail(Fault::once("GetObject", What::Truncate));
            let mut found = Vec::new();
            storage.read(&key_of(content)).unwrap().unwrap().read_to_end(&mut found).unwrap();
            assert!(found == *content, "{name}");
            let to = ObjectKey::Blob("other".parse().unwrap(), Digest::of(content));
            let sizes = copy::CopySizes { whole: PART as u64, part: PART as u64 };
            storage.engine.copy_by(&full(content), &to, content.len() as u64, sizes).unwrap();
            assert_eq!(server.object(BUCKET, &format!("reg/{to}")).as_ref(), Some(content), "{name}");
        }
        let mut listed = Vec::new();
        storage.list("", &mut |object| listed.push(format!("reg/{}", object.key))).unwrap();
        assert_eq!(listed, server.keys(BUCKET), "{name}");
        assert_eq!(listed.len(), 2 * contents.len(), "{name}");
        assert_eq!(storage.abort_stale_uploads().unwrap(), 0, "{name}");
        assert!(server.uploads(BUCKET).is_empty(), "{name}: {:?}", server.uploads(BUCKET));
        assert!(server.unverified().is_empty(), "{name}: {:?}", server.unverified());
    }
}

#[test]
fn an_upload_of_a_killed_run_is_no_obstacle_at_services_that_differ_from_aws() {
    let content = noise(1, 20 * UNIT);
    for (name, quirk) in ROWS {
        let (server, notes) = (Server::new(&[BUCKET]), tempfile::tempdir().unwrap());
        server.set_quirk(quirk);
        let run = || run_of(notes.path(), &server.url(), &settings());
        server.fail(Fault::always("CompleteMultipartUpload", What::Refuse(500, "InternalError")));
        let killed = run();
        assert!(store(&killed, &content, known(&content)).is_err(), "{name}");
        assert_eq!(server.uploads(BUCKET).len(), 1, "{name}");
        drop(killed);
        wait_for_the_end(notes.path());
        server.behave();
        let next = run();
        next.abort_stale_uploads().unwrap();
        server.forget();
        store(&next, &content, known(&content)).unwrap();
        let resumes = !matches!(quirk, Quirk::NoListsOfUploads(_) | Quirk::NoChecksumOfPart);
        assert_eq!(server.count("UploadPart") == 0, resumes, "{name}");
        assert_eq!(server.object(BUCKET, &full(&content)).as_ref(), Some(&content), "{name}");
        assert!(server.uploads(BUCKET).is_empty(), "{name}: {:?}", server.uploads(BUCKET));
        assert!(server.unverified().is_empty(), "{name}");
    }
}

#[test]
fn a_service_that_refuses_checksums_is_asked_once_and_remembered_for_the_next_run() {
    let (one, two) = (noise(1, 1000), noise(2, 17 * UNIT));
    for quirk in [Quirk::NoChecksums, Quirk::NoChecksumsOfParts] {
        let (server, home) = (Server::new(&[BUCKET]), tempfile::tempdir().unwrap());
        server.set_quirk(quirk);
        let run = || run_of(home.path(), &server.url(), &settings());
        let first = run();
        store(&first, &two, known(&two)).unwrap();
        assert_eq!(server.count("CreateMultipartUpload"), 2, "{quirk:?}");
        assert_eq!(server.count("UploadPart"), 3, "{quirk:?}");
        store(&first, &one, known(&one)).unwrap();
        assert_eq!(server.count("PutObject"), 1, "{quirk:?}");
        drop(first);
        server.forget();
        let next = run();
        store(&next, &one, known(&one)).unwrap();
        store(&next, &two, known(&two)).unwrap();
        assert_eq!((server.count("PutObject"), server.count("CreateMultipartUpload")), (1, 1), "{quirk:?}");
        assert!(server.unverified().is_empty());
        // `raas status` checks the bucket too, and must not ask again. `raas setup --create` does.
        next.prepare(false).unwrap();
        server.forget();
        store(&next, &two, known(&two)).unwrap();
        assert_eq!(server.count("CreateMultipartUpload"), 1, "{quirk:?}");
        server.forget();
        next.prepare(true).unwrap();
        store(&next, &two, known(&two)).unwrap();
        // B2's refusal of a setting shows it before.
        let asked_again = quirk == Quirk::NoChecksumsOfParts;
        assert_eq!(server.count("CreateMultipartUpload"), 1 + usize::from(asked_again), "{quirk:?}");
    }
}

#[test]
fn the_setting_for_checksums_decides() {
    let content = noise(1, 1000);
    let with = |checksums| {
        let server = Server::new(&[BUCKET]);
        server.set_quirk(Quirk::NoChecksums);
        let storage = connect(&server.url(), &S3Settings { checksums, ..settings() });
        (store(&storage, &content, known(&content)), server)
    };
    let (stored, server) = with(ChecksumPolicy::Off);
    stored.unwrap();
    assert_eq!((server.count("PutObject"), server.unverified().len()), (1, 0));
    let (stored, server) = with(ChecksumPolicy::Required);
    let told = told(stored.unwrap_err());
    assert!(
        told.contains("refuses the checksum") && told.contains("`s3_checksums = auto` in section [acme]"),
        "{told}"
    );
    assert!(server.keys(BUCKET).is_empty());
}

#[test]
fn damaged_bytes_are_noticed_without_checksums() {
    let (small, large) = (noise(1, 1000), noise(2, 17 * UNIT));
    let (storage, server) = service_with(Quirk::NoChecksums);
    for (operation, content) in [("PutObject", &small), ("UploadPart", &large)] {
        server.fail(Fault { after: 1, ..Fault::once(operation, What::Damage) });
        store(&storage, content, known(content)).unwrap();
        assert_eq!(server.object(BUCKET, &full(content)).as_ref(), Some(content));
    }
    server.fail(Fault::always("PutObject", What::Damage));
    let told = told(store(&storage, &small, known(&small)).unwrap_err());
    assert!(told.contains("other bytes than were sent"), "{told}");
}

#[test]
fn a_refusal_for_another_reason_is_not_blamed_on_checksums() {
    let content = noise(1, 1000);
    for code in ["InvalidArgument", "InvalidRequest", "ExpiredToken", "BadDigest"] {
        let (storage, server) = service();
        server.fail(Fault::always("PutObject", What::Refuse(400, code)));
        store(&storage, &content, known(&content)).unwrap_err();
        server.behave();
        server.set_quirk(Quirk::NoChecksums);
        server.forget();
        store(&storage, &content, known(&content)).unwrap();
        assert_eq!(server.count("PutObject"), 2, "{code}: the next request has a checksum again");
    }
}

#[test]
fn a_truncated_listing_without_a_next_page_is_an_error() {
    let (storage, server) = service_with(Quirk::ListsFirstPageOnly);
    for n in 0..4 {
        server.put(BUCKET, &format!("reg/app/{n}"), b"x");
    }
    let told = told(storage.list("", &mut |_| {}).unwrap_err());
    assert!(told.contains("the listing is truncated") && told.contains("hint: check that http://"), "{told}");
    assert!(!told.contains("gc"), "{told}");
    // A listing of one page is whole.
    server.set_page(4);
    let mut count = 0;
    storage.list("", &mut |_| count += 1).unwrap();
    assert_eq!(count, 4);
}

#[test]
fn a_forbidden_object_is_not_taken_for_a_missing_one() {
    let (storage, server) = service();
    let content = noise(1, 1000);
    store(&storage, &content, known(&content)).unwrap();
    for operation in ["HeadObject", "GetObject"] {
        server.fail(Fault::always(operation, What::Refuse(403, "AccessDenied")));
    }
    let key = key_of(&content);
    for told in [told(storage.stat(&key).unwrap_err()), told(storage.read(&key).map(drop).unwrap_err())] {
        assert!(told.contains("lack the permission s3:GetObject"), "{told}");
    }
    // Without the permission to list, nobody can tell.
    server.fail(Fault::always("ListObjectsV2", What::Refuse(403, "AccessDenied")));
    assert!(storage.stat(&key_of(b"missing")).is_err());
}
