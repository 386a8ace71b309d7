//! The storage against a service that works, and against one that fails.

mod patience;
mod proxies;
mod quirks;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use raas_testkit::s3::{Fault, Server, What};
use raas_types::{Digest, ObjectKey};

use super::patience::{LONGEST_BACKOFF, Patience};
use super::*;
use raas_base::Secret;
use raas_types::BucketAccess;

use crate::settings::{AwsSettings, S3Settings};
use raas_base::failure::Failure;
use raas_publish::storage::{probe, probe_conditional_writes, put_if, suite};

const BUCKET: &str = "bytes";

/// The size of a part, in bytes: small, so that the tests are quick.
const PART: usize = 8 * UNIT;
const UNIT: usize = 128 << 10;

/// Bytes of which no two parts are the same.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let period = raas_testkit::layers::noise(seed, 10_007);
    let mut bytes = period.repeat(length / period.len() + 1);
    bytes.truncate(length);
    bytes
}

fn settings() -> S3Settings {
    S3Settings {
        bucket: BUCKET.into(),
        prefix: Some("reg".into()),
        path_style: true,
        ..S3Settings::default()
    }
}

fn connect(endpoint: &str, settings: &S3Settings) -> S3 {
    // No notes can be kept in this folder, so no other run resumes its uploads.
    run_of(Path::new("/dev/null/notes"), endpoint, settings)
}

/// A run of a home that keeps its notes in this folder.
fn run_of(notes: &Path, endpoint: &str, settings: &S3Settings) -> S3 {
    run_through(ForwardProxies::none(), notes, endpoint, settings)
}

/// The same behind these proxies.
fn run_through(proxies: ForwardProxies, notes: &Path, endpoint: &str, settings: &S3Settings) -> S3 {
    let policy = RetryPolicy {
        attempts: 4,
        first_backoff: Duration::from_millis(4),
        longest_backoff: LONGEST_BACKOFF,
        patience: Patience::of(Duration::from_secs(2)),
        budget: None,
    };
    with_policy(&policy, &Say::nothing(), proxies, (notes, endpoint, settings))
}

fn with_policy(
    policy: &RetryPolicy,
    say: &Say,
    proxies: ForwardProxies,
    (notes, endpoint, settings): (&Path, &str, &S3Settings),
) -> S3 {
    let aws = AwsSettings {
        access_key_id: Some("AKIAEXAMPLE".into()),
        secret_access_key: Some(Secret::new("hunter2")),
        ..AwsSettings::default()
    };
    let settings = S3Settings { endpoint: Some(endpoint.to_owned()), ..settings.clone() };
    let options = S3Options {
        vendor: &"acme".parse().unwrap(),
        settings: &settings,
        aws: &aws,
        uploads: notes.to_owned(),
        service_note: notes.join("service.json"),
        proxies: Arc::new(proxies),
        retries: Retries::Few,
        say,
    };
    S3::with_policy(&options, policy, PART).unwrap()
}

fn service() -> (S3, Server) {
    let server = Server::new(&[BUCKET]);
    (connect(&server.url(), &settings()), server)
}

fn key_of(content: &[u8]) -> ObjectKey {
    ObjectKey::Blob("app".parse().unwrap(), Digest::of(content))
}

/// Stores a blob in pieces, as a push does. The key may be known or not.
fn store(storage: &S3, content: &[u8], options: PutOptions) -> Result<(), StorageError> {
    let mut upload = storage.create(options)?;
    let key = key_of(content);
    for piece in content.chunks(300_000) {
        upload.write_all(piece).map_err(|error| StorageError::writing(&key, error))?;
    }
    upload.commit(&key)
}

fn known(content: &[u8]) -> PutOptions {
    PutOptions::of(&key_of(content), content.len() as u64)
}

fn full(content: &[u8]) -> String {
    format!("reg/{}", key_of(content))
}

fn told(error: StorageError) -> String {
    Failure::from(error).to_string()
}

#[test]
fn keeps_every_promise_of_a_storage() {
    suite::run(|| {
        let (storage, server) = service();
        // A listing then has several pages.
        server.set_page(7);
        (Box::new(storage), server)
    });
}

#[test]
fn a_good_service_passes_the_probe_and_nothing_is_left() {
    let (storage, server) = service();
    probe(&storage).unwrap();
    assert!(server.keys(BUCKET).is_empty());
    assert_eq!(storage.requests(), server.asked().len() as u64);
}

#[test]
fn conditional_writes_are_found_out_by_a_probe() {
    let (storage, server) = service();
    assert!(probe_conditional_writes(&storage).unwrap());
    // An attempt whose answer is lost has written.
    server.fail(Fault::once("PutObject", What::LoseAnswer));
    let key = ObjectKey::Probe("x".into());
    let first = put_if(&storage, &key, b"one", None).unwrap().unwrap();
    server.fail(Fault::once("PutObject", What::LoseAnswer));
    assert!(put_if(&storage, &key, b"two", Some(&first)).unwrap().is_some());
    assert!(put_if(&storage, &key, b"three", Some(&first)).unwrap().is_none());
    storage.delete(&key).unwrap();
    server.set_heeds_conditions(false);
    assert!(!probe_conditional_writes(&storage).unwrap(), "it ignores the conditions");
    server.fail(Fault::always("PutObject", What::Refuse(501, "NotImplemented")));
    assert!(!probe_conditional_writes(&storage).unwrap());
    server.behave();
    server.fail(Fault::always("PutObject", What::Reset));
    assert!(probe_conditional_writes(&storage).unwrap_err().is_unanswered(), "nobody knows");
    assert!(server.keys(BUCKET).is_empty());
}

#[test]
fn objects_have_content_type_and_cache_control_however_they_are_uploaded() {
    let (storage, server) = service();
    let small = noise(1, 1000);
    let large = noise(2, 17 * UNIT);
    let expected = ("application/octet-stream".to_owned(), "public, max-age=31536000, immutable".to_owned());
    for (content, options) in [
        (&small, known(&small)),
        (&small, PutOptions::default()),
        (&large, known(&large)),
        (&large, PutOptions::default()),
    ] {
        store(&storage, content, options).unwrap();
        assert_eq!(server.object(BUCKET, &full(content)).as_ref(), Some(content));
        assert_eq!(server.headers(BUCKET, &full(content)), Some(expected.clone()));
        storage.delete(&key_of(content)).unwrap();
    }
    assert!(server.keys(BUCKET).is_empty() && server.uploads(BUCKET).is_empty());
}

#[test]
fn small_objects_are_one_request_and_large_ones_go_in_parts() {
    let (storage, server) = service();
    let content = noise(1, 16 * UNIT);
    store(&storage, &content, known(&content)).unwrap();
    assert_eq!((server.count("PutObject"), server.asked().len()), (1, 1));
    server.forget();
    let content = noise(2, 16 * UNIT + 1);
    let stored = Arc::new(AtomicU64::new(0));
    let counter = stored.clone();
    let on_stored: raas_publish::storage::OnStored = Arc::new(move |bytes| {
        counter.fetch_add(bytes, Ordering::SeqCst);
    });
    store(&storage, &content, PutOptions { on_stored: Some(on_stored), ..known(&content) }).unwrap();
    assert_eq!((server.count("UploadPart"), server.count("PutObject")), (3, 0));
    assert_eq!(stored.load(Ordering::SeqCst), content.len() as u64);
}

#[test]
fn pairs_of_uploads_never_wait_for_each_other_for_ever() {
    let (storage, _server) = service();
    let storage = &storage;
    std::thread::scope(|scope| {
        for thread in 0..storage.capabilities().upload_limits.pairs as u64 {
            scope.spawn(move || {
                for n in 0..3 {
                    let content = noise(thread * 10 + n, 15 * UNIT);
                    let mut one = storage.create(known(&content)).unwrap();
                    let mut two = storage.create(PutOptions::default()).unwrap();
                    for piece in content.chunks(UNIT) {
                        one.write_all(piece).unwrap();
                        two.write_all(piece).unwrap();
                    }
                    one.commit(&key_of(&content)).unwrap();
                    two.commit(&key_of(&content)).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_failed_upload_of_a_known_layer_is_resumed() {
    for tells_checksums in [true, false] {
        let (storage, server) = service();
        server.set_tells_checksums(tells_checksums);
        let content = noise(1, 30 * UNIT + 5);
        // The service fails in the middle, for longer than the retries last.
        server.fail(Fault::times("UploadPart", 9, What::Refuse(500, "InternalError")));
        server.fail(Fault::always("CompleteMultipartUpload", What::Refuse(500, "InternalError")));
        assert!(store(&storage, &content, known(&content)).is_err());
        server.behave();
        server.fail(Fault::always("CompleteMultipartUpload", What::Refuse(500, "InternalError")));
        assert!(store(&storage, &content, known(&content)).is_err());
        server.behave();
        assert_eq!(server.uploads(BUCKET), [(full(&content), 4)]);
        server.forget();
        store(&storage, &content, known(&content)).unwrap();
        assert_eq!((server.count("UploadPart"), server.count("CreateMultipartUpload")), (0, 0));
        assert_eq!(server.object(BUCKET, &full(&content)), Some(content));
        assert!(server.uploads(BUCKET).is_empty());
    }
}

#[test]
fn an_upload_of_a_live_run_is_not_resumed_by_another() {
    let server = Server::new(&[BUCKET]);
    let notes = tempfile::tempdir().unwrap();
    let content = noise(1, 20 * UNIT + 5);
    let begin = || {
        let run = run_of(notes.path(), &server.url(), &settings());
        run.abort_stale_uploads().unwrap();
        let mut upload = run.create(known(&content)).unwrap();
        upload.write_all(&content).unwrap();
        (run, upload)
    };
    let ((_one, first), (_two, second)) = (begin(), begin());
    assert_eq!(server.uploads(BUCKET).len(), 2);
    for upload in [first, second] {
        upload.commit(&key_of(&content)).unwrap();
    }
    assert_eq!(server.object(BUCKET, &full(&content)), Some(content));
    assert!(server.uploads(BUCKET).is_empty());
}

#[test]
fn parts_of_other_bytes_are_sent_again() {
    let (storage, server) = service();
    let (one, two) = (noise(1, 20 * UNIT), noise(2, 20 * UNIT));
    server.fail(Fault::always("CompleteMultipartUpload", What::Refuse(500, "InternalError")));
    // The same key with other bytes: possible for Docker v1, whose keys are no digests.
    let key = key_of(&one);
    assert!(store(&storage, &one, known(&one)).is_err());
    server.behave();
    server.forget();
    let mut upload = storage.create(PutOptions::of(&key, two.len() as u64)).unwrap();
    upload.write_all(&two).unwrap();
    upload.commit(&key).unwrap();
    assert_eq!(server.count("UploadPart"), 3);
    assert_eq!(server.object(BUCKET, &full(&one)), Some(two));
}

#[test]
fn an_upload_whose_source_fails_leaves_nothing() {
    let (storage, server) = service();
    for options in [known(&[0; 20 * UNIT]), PutOptions::default()] {
        let mut upload = storage.create(options).unwrap();
        upload.write_all(&vec![1; 19 * UNIT]).unwrap();
        assert_eq!(server.uploads(BUCKET).len(), 1);
        drop(upload);
        assert!(server.uploads(BUCKET).is_empty() && server.keys(BUCKET).is_empty());
    }
}

#[test]
fn old_unfinished_uploads_are_removed_and_young_ones_stay() {
    let (storage, server) = service();
    let content = noise(1, 20 * UNIT);
    server.fail(Fault::always("CompleteMultipartUpload", What::Refuse(500, "InternalError")));
    assert!(store(&storage, &content, known(&content)).is_err());
    server.put(BUCKET, "reg/_uploads/old", b"x");
    server.put(BUCKET, "elsewhere/_uploads/old", b"x");
    assert_eq!(storage.abort_stale_uploads().unwrap(), 0);
    server.age(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(storage.abort_stale_uploads().unwrap(), 2);
    assert_eq!(server.keys(BUCKET), ["elsewhere/_uploads/old"]);
    assert!(server.uploads(BUCKET).is_empty());
    assert!(storage.warnings().is_empty());
    server.fail(Fault::always("ListMultipartUploads", What::Skew(Duration::from_secs(600))));
    drop(storage.abort_stale_uploads());
    assert!(storage.warnings()[0].contains("s behind the service's"), "{:?}", storage.warnings());
    server.behave();
    // Without the permission to list uploads, nothing is removed and nothing fails.
    server.fail(Fault::always("ListMultipartUploads", What::Refuse(403, "AccessDenied")));
    assert_eq!(storage.abort_stale_uploads().unwrap(), 0);
}

#[test]
fn an_object_too_large_for_one_request_is_copied_in_parts() {
    let (storage, server) = service();
    let content = noise(1, 2500);
    store(&storage, &content, known(&content)).unwrap();
    let to = ObjectKey::Blob("other".parse().unwrap(), Digest::of(&content));
    let sizes = copy::CopySizes { whole: 2000, part: 1000 };
    storage.engine.copy_by(&full(&content), &to, 2500, sizes).unwrap();
    assert_eq!(server.count("UploadPartCopy"), 3);
    assert_eq!(server.object(BUCKET, &format!("reg/{to}")), Some(content.clone()));
    server.fail(Fault::always("UploadPartCopy", What::Refuse(403, "AccessDenied")));
    assert!(storage.engine.copy_by(&full(&content), &to, 2500, sizes).is_err());
    assert!(server.uploads(BUCKET).is_empty());
}

/// Faults that end: everything is stored in the end.
#[test]
fn passing_faults_are_retried() {
    let faults = [
        What::Refuse(500, "InternalError"),
        What::Refuse(503, "SlowDown"),
        What::Reset,
        What::Damage,
        What::LoseAnswer,
        What::Truncate,
        What::Slow(Duration::from_millis(50)),
    ];
    let content = noise(1, 17 * UNIT);
    let small = noise(2, 5000);
    for what in faults {
        let (storage, server) = service();
        for operation in
            ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject", "CopyObject"]
        {
            let damages = matches!(what, What::Damage);
            if damages && !["UploadPart", "PutObject"].contains(&operation) {
                continue;
            }
            server.fail(Fault::once(operation, what.clone()));
        }
        store(&storage, &small, known(&small)).unwrap();
        store(&storage, &content, known(&content)).unwrap();
        assert_eq!(server.object(BUCKET, &full(&content)).as_ref(), Some(&content), "{what:?}");
        assert_eq!(server.object(BUCKET, &full(&small)).as_ref(), Some(&small), "{what:?}");
        storage.delete(&key_of(&content)).unwrap();
        store(&storage, &content, PutOptions::default()).unwrap();
        assert_eq!(server.object(BUCKET, &full(&content)).as_ref(), Some(&content), "{what:?}");
        assert_eq!(server.keys(BUCKET).len(), 2, "{what:?}: {:?}", server.keys(BUCKET));
    }
}

/// moto 5.2.1 completes an upload and answers with an element of another name.
#[test]
fn an_upload_is_complete_if_the_object_is_there_whatever_the_answer() {
    let (storage, server) = service();
    let content = noise(1, 17 * UNIT);
    server.fail(Fault::always("CompleteMultipartUpload", What::Unreadable));
    store(&storage, &content, known(&content)).unwrap();
    assert_eq!(server.object(BUCKET, &full(&content)).as_ref(), Some(&content));
    // Without the object the answer is an error.
    server.fail(Fault::always("HeadObject", What::Refuse(404, "NotFound")));
    let other = noise(2, 17 * UNIT);
    let said = told(store(&storage, &other, known(&other)).unwrap_err());
    assert!(said.contains("the service's answer cannot be read"), "{said}");
}

#[test]
fn a_broken_body_is_read_on_from_where_it_broke() {
    let (storage, server) = service();
    let content = noise(1, 100_000);
    store(&storage, &content, known(&content)).unwrap();
    server.fail(Fault::times("GetObject", 2, What::Truncate));
    let mut found = Vec::new();
    storage.read(&key_of(&content)).unwrap().unwrap().read_to_end(&mut found).unwrap();
    assert!(found == content);
    assert_eq!(server.count("GetObject"), 3);
    server.fail(Fault::always("GetObject", What::Truncate));
    let read = storage.read(&key_of(&content)).unwrap().unwrap().read_to_end(&mut found);
    assert!(told(StorageError::reading(&"it", read.unwrap_err())).contains("ended its answer too early"));
}

#[test]
fn a_broken_answer_with_a_version_is_asked_for_again() {
    let (storage, server) = service();
    let content = noise(1, 1000);
    store(&storage, &content, known(&content)).unwrap();
    server.fail(Fault::times("GetObject", 2, What::Truncate));
    let writes = storage.capabilities().conditional_writes.unwrap();
    let (found, _) = writes.read_version(&key_of(&content), 2000).unwrap().unwrap();
    assert!(found == content);
    server.fail(Fault::always("GetObject", What::Truncate));
    let told = told(writes.read_version(&key_of(&content), 2000).unwrap_err());
    assert!(told.contains("cannot read") && told.contains("hint: run the command again"), "{told}");
}

/// Faults that stay: each has one clear error, and no object is visible.
#[test]
fn lasting_faults_have_a_clear_error_and_leave_no_object() {
    let hour = Duration::from_secs(3600);
    let table = [
        ("PutObject", What::Refuse(403, "AccessDenied"), "grant s3:PutObject on arn:aws:s3:::bytes/reg/*"),
        ("PutObject", What::Refuse(404, "NoSuchBucket"), "raas setup acme --create"),
        ("PutObject", What::Refuse(400, "ExpiredToken"), "credentials have expired"),
        ("PutObject", What::Refuse(403, "InvalidAccessKeyId"), "does not know the access key"),
        ("PutObject", What::Refuse(403, "SignatureDoesNotMatch"), "secret key is not the one"),
        ("PutObject", What::Refuse(503, "SlowDown"), "slower pace"),
        ("PutObject", What::Refuse(500, "InternalError"), "failed with status 500"),
        ("PutObject", What::Moved("eu-west-1"), "set `s3_region = eu-west-1` in section [acme]"),
        ("PutObject", What::Skew(hour), "clock is 59 minutes behind"),
        ("PutObject", What::Damage, "other bytes than were sent"),
        ("PutObject", What::Reset, "does not answer"),
        ("PutObject", What::Refuse(400, "InvalidArgument"), "refuses with status 400"),
    ];
    let content = noise(1, 5000);
    for (operation, what, part) in table {
        let (storage, server) = service();
        server.fail(Fault::always(operation, what.clone()));
        let told = told(store(&storage, &content, known(&content)).unwrap_err());
        assert!(told.contains(part), "{what:?}: {told}");
        assert!(told.contains("bucket bytes") && told.contains("hint: "), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
        server.behave();
        assert!(server.keys(BUCKET).is_empty(), "{what:?}");
    }
    let large = noise(1, 17 * UNIT);
    for operation in ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "CopyObject"] {
        for options in [known(&large), PutOptions::default()] {
            if operation == "CopyObject" && options.key.is_some() {
                continue;
            }
            let (storage, server) = service();
            server.fail(Fault::always(operation, What::Refuse(403, "AccessDenied")));
            let told = told(store(&storage, &large, options).unwrap_err());
            assert!(told.contains("grant s3:PutObject"), "{operation}: {told}");
            assert!(server.keys(BUCKET).is_empty(), "{operation}");
        }
    }
}

#[test]
fn other_operations_name_their_permission() {
    let (storage, server) = service();
    server.fail(Fault::always("*", What::Refuse(403, "AccessDenied")));
    let key = key_of(b"x");
    let errors = [
        (storage.stat(&key).map(drop), "s3:GetObject"),
        (storage.read(&key).map(drop), "s3:GetObject"),
        (storage.delete(&key), "s3:DeleteObject"),
        (storage.list("", &mut |_| {}), "grant s3:ListBucket on arn:aws:s3:::bytes "),
        (storage.copy(&key, &key, 1), "s3:PutObject"),
    ];
    for (result, permission) in errors {
        let told = told(result.unwrap_err());
        assert!(told.contains(permission), "{told}");
    }
}

#[test]
fn the_error_for_a_service_that_does_not_answer_names_its_address() {
    let storage = connect("http://127.0.0.1:9", &settings());
    let told = told(storage.stat(&key_of(b"x")).unwrap_err());
    assert!(told.contains("http://127.0.0.1:9 does not answer") && told.contains("s3_endpoint"), "{told}");
}

fn prepared(server: &Server, access: BucketAccess) -> String {
    let settings = S3Settings { region: Some("eu-central-1".into()), access, ..settings() };
    connect(&server.url(), &settings).prepare(true).unwrap().join("\n")
}

#[test]
fn a_second_setup_changes_nothing() {
    let server = Server::new(&[]);
    let missing = told(connect(&server.url(), &settings()).prepare(false).unwrap_err());
    assert!(missing.contains("raas setup acme --create"), "{missing}");
    let first = prepared(&server, BucketAccess::Presigned);
    assert_eq!(server.buckets(), [(BUCKET.to_owned(), "eu-central-1".to_owned())]);
    assert!(first.contains("Made bucket bytes in region eu-central-1"), "{first}");
    assert!(server.setting(BUCKET, "encryption").unwrap().contains("AES256"));
    let lifecycle = server.setting(BUCKET, "lifecycle").unwrap();
    assert!(
        lifecycle.contains("<DaysAfterInitiation>2<") && lifecycle.contains("reg/_uploads/"),
        "{lifecycle}"
    );
    let block = server.setting(BUCKET, "publicAccessBlock").unwrap();
    assert!(!block.contains("false"), "{block}");
    assert_eq!(server.setting(BUCKET, "policy"), None);
    server.forget();
    assert_eq!(prepared(&server, BucketAccess::Presigned), "");
    assert!(server.asked().iter().all(|(name, _)| !name.starts_with("Put")), "{:?}", server.asked());
}

#[test]
fn everybody_may_read_a_public_bucket_and_no_other() {
    let (_, server) = service();
    // AWS refuses public policies for a while after a block was removed.
    server.fail(Fault::times("PutBucket:policy", 2, What::Refuse(403, "AccessDenied")));
    let said = prepared(&server, BucketAccess::Public);
    assert!(said.contains("Everybody may read s3://bytes/reg"), "{said}");
    let policy = server.setting(BUCKET, "policy").unwrap();
    assert!(policy.contains("s3:GetObject") && policy.contains("arn:aws:s3:::bytes/reg/*"), "{policy}");
    prepared(&server, BucketAccess::Proxy);
    assert_eq!(server.setting(BUCKET, "policy"), None);
}

#[test]
fn setups_of_vendors_that_share_a_bucket_do_not_disturb_each_other() {
    let (_, server) = service();
    let prepare = |prefix: &str, access: BucketAccess| {
        let settings = S3Settings { prefix: Some(prefix.into()), access, ..settings() };
        connect(&server.url(), &settings).prepare(true).unwrap().join("\n")
    };
    let set = |name: &str| server.setting(BUCKET, name).unwrap_or_default();
    prepare("one", BucketAccess::Public);
    prepare("two", BucketAccess::Public);
    for part in ["bytes/one/*/layer", "bytes/two/*/layer"] {
        assert!(set("policy").contains(part), "{}", set("policy"));
    }
    let said = prepare("two", BucketAccess::Presigned);
    assert!(said.contains("not blocked in bucket bytes: everybody may read what is below `one/`"), "{said}");
    let policy = set("policy");
    assert!(policy.contains("bytes/one/*/layer") && !policy.contains("bytes/two/"), "{policy}");
    let block = set("publicAccessBlock");
    assert!(
        block.contains("<BlockPublicPolicy>false<") && block.contains("<IgnorePublicAcls>true<"),
        "{block}"
    );
    prepare("three", BucketAccess::Proxy);
    let lifecycle = set("lifecycle");
    for prefix in ["one/", "two/", "three/"] {
        let rules = [format!("<Prefix>{prefix}<"), format!("<Prefix>{prefix}_uploads/<")];
        assert!(rules.iter().all(|rule| lifecycle.matches(rule).count() == 1), "{lifecycle}");
    }
    // A block that somebody else has set stays.
    server.set(BUCKET, "publicAccessBlock", &block.replace("false", "true"));
    prepare("two", BucketAccess::Presigned);
    assert!(!set("publicAccessBlock").contains("false"));
    prepare("one", BucketAccess::Presigned);
    assert_eq!((set("policy"), set("publicAccessBlock").contains("false")), (String::new(), false));
}

#[test]
fn an_operation_that_the_service_lacks_is_reported_and_is_no_error() {
    let server = Server::new(&[]);
    for operation in
        ["PutBucket:encryption", "PutBucket:lifecycle", "PutBucket:publicAccessBlock", "PutBucket:policy"]
    {
        server.fail(Fault::always(operation, What::Refuse(501, "NotImplemented")));
    }
    let said = prepared(&server, BucketAccess::Public);
    for part in
        ["Encryption by default: the service", "Removal of unfinished", "Blocking of", "`access = presigned`"]
    {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_bucket_that_everybody_may_write_to_is_refused() {
    let (storage, server) = service();
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*"}}"#;
    server.set(BUCKET, "policy", policy);
    let refused = told(storage.prepare(false).unwrap_err());
    assert!(refused.contains("everybody may write to bucket bytes: s3:*"), "{refused}");
    let (storage, server) = service();
    let acl = r#"<AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>WRITE</Permission></Grant></AccessControlList></AccessControlPolicy>"#;
    server.set(BUCKET, "acl", acl);
    let refused = told(storage.prepare(true).unwrap_err());
    assert!(refused.contains("ACL WRITE"), "{refused}");
}

#[test]
fn credentials_that_end_soon_are_a_warning() {
    let now = SystemTime::now();
    assert_eq!(super::ending(now + Duration::from_secs(3600), now), None);
    assert!(super::ending(now + Duration::from_secs(60), now).unwrap().contains("end in 60 s"));
    assert!(super::ending(now - Duration::from_secs(60), now).unwrap().contains("end in 0 s"));
}
