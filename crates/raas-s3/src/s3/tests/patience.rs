//! A service that hangs, asks for a slower pace, or fails after it has begun to answer.

use std::sync::Mutex;
use std::time::Instant;

use super::super::client::STALL;
use super::*;

/// A storage whose requests stand still for this time at most, and the lines that it says.
fn impatient(server: &Server, stall: Duration, budget: Option<Duration>) -> (S3, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let taken = lines.clone();
    let say = Say::new(move |line| taken.lock().unwrap().push(line.to_owned()));
    let policy = RetryPolicy {
        attempts: 7,
        first_backoff: Duration::from_millis(1),
        longest_backoff: LONGEST_BACKOFF,
        patience: Patience { quiet: stall / 3, ..Patience::of(stall) },
        budget,
    };
    let place = (Path::new("/dev/null/notes"), &*server.url(), &settings());
    (with_policy(&policy, &say, ForwardProxies::none(), place), lines)
}

#[test]
fn every_request_that_hangs_ends_with_the_time_that_it_waited() {
    const STALL: Duration = Duration::from_millis(200);
    let key = key_of(b"x");
    let (small, large) = (noise(1, 1000), noise(2, 17 * UNIT));
    type Ask<'a> = Box<dyn Fn(&S3) -> Result<(), StorageError> + Send + 'a>;
    let table: [(&str, usize, Ask<'_>); 9] = [
        ("HeadObject", 5, Box::new(|storage| storage.stat(&key).map(drop))),
        ("GetObject", 5, Box::new(|storage| storage.read(&key).map(drop))),
        ("PutObject", 5, Box::new(|storage| store(storage, &small, known(&small)))),
        ("CreateMultipartUpload", 5, Box::new(|storage| store(storage, &large, known(&large)))),
        ("UploadPart", 5, Box::new(|storage| store(storage, &large, known(&large)))),
        ("CompleteMultipartUpload", 2, Box::new(|storage| store(storage, &large, known(&large)))),
        ("CopyObject", 2, Box::new(|storage| storage.copy(&key, &key, 1))),
        ("DeleteObject", 5, Box::new(|storage| storage.delete(&key))),
        ("ListObjectsV2", 5, Box::new(|storage| storage.list("", &mut |_| {}))),
    ];
    std::thread::scope(|scope| {
        for (operation, attempts, ask) in table {
            scope.spawn(move || {
                let server = Server::new(&[BUCKET]);
                let (storage, lines) = impatient(&server, STALL, None);
                server.fail(Fault::always(operation, What::Slow(Duration::from_secs(60))));
                let told = told(ask(&storage).unwrap_err());
                assert!(told.contains("does not answer (waited for ") && told.contains("hint: "), "{told}");
                // Fewer if the SDK's quota of retries, which all tests of the process share, is used up. The parts of
                // one object are several operations.
                let asked = server.count(operation);
                assert!((1..=attempts).contains(&asked) || operation == "UploadPart", "{operation}: {asked}");
                let lines = lines.lock().unwrap();
                let line = format!("Waiting for {}: no byte for", server.url());
                assert!(lines.iter().any(|said| said.starts_with(&line)), "{operation}: {lines:?}");
                assert!(server.keys(BUCKET).is_empty(), "{operation}");
            });
        }
    });
}

#[test]
fn an_answer_that_stands_still_in_the_middle_is_asked_for_again() {
    let server = Server::new(&[BUCKET]);
    let (storage, _) = impatient(&server, Duration::from_millis(200), None);
    let content = noise(1, 1000);
    store(&storage, &content, known(&content)).unwrap();
    let hang = || What::Head(Duration::from_secs(60));
    server.fail(Fault::times("ListObjectsV2", 2, hang()));
    let mut listed = 0;
    storage.list("", &mut |_| listed += 1).unwrap();
    server.fail(Fault::once("GetObject", hang()));
    let mut found = Vec::new();
    storage.read(&key_of(&content)).unwrap().unwrap().read_to_end(&mut found).unwrap();
    assert!(listed == 1 && found == content);
    server.fail(Fault::always("ListObjectsV2", hang()));
    server.forget();
    let told = told(storage.list("", &mut |_| {}).unwrap_err());
    assert!(told.contains("then stood still (waited for "), "{told}");
    assert!(told.contains(" in 5 attempts)"), "{told}");
    assert_eq!(server.count("ListObjectsV2"), 5);
}

#[test]
fn a_command_in_a_hurry_waits_a_bounded_time_for_all_its_requests() {
    let server = Server::new(&[BUCKET]);
    let (storage, _) = impatient(&server, Duration::from_millis(200), Some(Duration::from_millis(500)));
    server.fail(Fault::always("*", What::Slow(Duration::from_secs(60))));
    let asked = Instant::now();
    for _ in 0..3 {
        storage.stat(&key_of(b"x")).unwrap_err();
    }
    // Alone, the three would have waited for 2.9 s.
    assert!(asked.elapsed() < Duration::from_millis(1900), "{:?}", asked.elapsed());
    assert_eq!(server.count("HeadObject"), 5, "three, then one each");
}

#[test]
fn a_busy_service_is_asked_again_after_the_pause_that_it_asks_for() {
    let server = Server::new(&[BUCKET]);
    let (storage, lines) = impatient(&server, Duration::from_secs(2), None);
    let content = noise(1, 1000);
    for status in [429, 408] {
        for operation in ["PutObject", "HeadObject", "DeleteObject", "ListObjectsV2"] {
            server.fail(Fault::times(operation, 2, What::Later(status, 0)));
        }
        store(&storage, &content, known(&content)).unwrap();
        assert!(storage.stat(&key_of(&content)).unwrap().is_some());
        storage.list("", &mut |_| {}).unwrap();
        storage.delete(&key_of(&content)).unwrap();
    }
    server.fail(Fault::once("PutObject", What::Later(503, 1)));
    let asked = Instant::now();
    store(&storage, &content, known(&content)).unwrap();
    assert!(asked.elapsed() >= Duration::from_secs(1));
    let lines = lines.lock().unwrap();
    let line = format!("Waiting 1 s: {} asks for a pause with status 503 (PUT /bytes/reg/app/", server.url());
    assert!(lines.iter().any(|said| said.starts_with(&line)), "{lines:?}");
    server.fail(Fault::always("PutObject", What::Later(429, 0)));
    let told = told(store(&storage, &content, known(&content)).unwrap_err());
    assert!(told.contains("slower pace"), "{told}");
}

#[test]
fn the_operator_bounds_every_pause() {
    let server = Server::new(&[BUCKET]);
    let pause = Some(Duration::ZERO);
    let policy = RetryPolicy::many(&S3Settings { longest_pause: pause, ..S3Settings::default() });
    let place = (Path::new("/dev/null/notes"), &*server.url(), &settings());
    let storage = with_policy(&policy, &Say::nothing(), ForwardProxies::none(), place);
    let content = noise(1, 1000);
    for what in [What::Refuse(500, "InternalError"), What::Later(503, 60)] {
        server.fail(Fault::always("PutObject", what));
        server.forget();
        let asked = Instant::now();
        store(&storage, &content, known(&content)).unwrap_err();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert_eq!(server.count("PutObject"), 7, "it is tried as often as ever");
        server.behave();
    }
    let set = RetryPolicy::many(&S3Settings { longest_pause: Some(STALL * 2), ..S3Settings::default() });
    let unset = RetryPolicy::many(&S3Settings::default());
    assert_eq!(
        (set.longest_backoff, set.patience.pause),
        (unset.longest_backoff, unset.patience.pause),
        "a longer bound makes no pause longer"
    );
}

#[test]
fn an_error_inside_a_good_answer_has_its_own_hint() {
    let (storage, server) = service();
    let large = noise(1, 17 * UNIT);
    for operation in ["CompleteMultipartUpload", "CopyObject"] {
        server.fail(Fault::always(operation, What::Fail200("InternalError")));
        let result = match operation {
            "CopyObject" => storage.copy(&key_of(&large), &key_of(b"x"), 1),
            _ => store(&storage, &large, known(&large)),
        };
        let told = told(result.unwrap_err());
        assert!(
            told.contains("as if all were well, and then failed with InternalError"),
            "{operation}: {told}"
        );
        assert!(server.count(operation) > 1, "it is tried again");
    }
    // It passes.
    server.behave();
    server.fail(Fault::once("CompleteMultipartUpload", What::Fail200("SlowDown")));
    store(&storage, &large, known(&large)).unwrap();
}
