//! The bytes of blobs: cut, redirected, wrong, without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use raas_testkit::http::{End, Reply, Server};
use raas_testkit::registry::{error, ranged};

use crate::support::{OneImage, bytes, one_image, open, options, read, read_with, tag};
use raas_sources::registry::{LoginSource, PasswordLogin};

fn is_layer(one: &OneImage) -> impl Fn(&str) -> bool + Send + Sync + 'static {
    let path = format!("/blobs/{}", one.layer.digest);
    move |target| target.contains(&path)
}

#[test]
fn a_blob_is_read_on_after_a_cut() {
    let one = one_image();
    let expected = one.layout.bytes(&one.layer.digest).to_vec();
    let is_layer = is_layer(&one);
    one.registry.change(move |asked, number, reply| match is_layer(&asked.target) {
        // Each answer but the last is cut, behind further bytes.
        true if number < 6 => reply.cut(100_000),
        _ => reply,
    });
    let set = read(&one.registry, &tag("1.0")).unwrap();
    assert_eq!(bytes(&set, &one.layer.digest).unwrap(), expected);
    assert_eq!(one.registry.count(&one.layer.digest.to_string()), 6);
}

#[test]
fn a_registry_without_ranges_sends_the_beginning_again() {
    let one = one_image();
    let expected = one.layout.bytes(&one.layer.digest).to_vec();
    let whole = expected.clone();
    let is_layer = is_layer(&one);
    one.registry.change(move |asked, number, reply| match is_layer(&asked.target) {
        true if number == 1 => reply.cut(300_000),
        true => Reply::new(200, whole.clone()),
        false => reply,
    });
    let set = read(&one.registry, &tag("1.0")).unwrap();
    assert_eq!(bytes(&set, &one.layer.digest).unwrap(), expected);
}

#[test]
fn a_blob_that_is_always_cut_fails() {
    let one = one_image();
    let is_layer = is_layer(&one);
    one.registry.change(move |asked, _, reply| if is_layer(&asked.target) { reply.cut(0) } else { reply });
    let set = read(&one.registry, &tag("1.0")).unwrap();
    let error = bytes(&set, &one.layer.digest).unwrap_err().to_string();
    assert!(error.contains("breaks off: "), "{error}");
    assert_eq!(one.registry.count(&one.layer.digest.to_string()), 4);
}

#[test]
fn a_registry_that_lies_about_length_or_range_is_refused() {
    let one = one_image();
    let set = read(&one.registry, &tag("1.0")).unwrap();
    let layer = one.layer.digest;
    one.registry.change(|_, _, reply| Reply { body: reply.body[1..].to_vec(), ..reply });
    let error = bytes(&set, &layer).unwrap_err().to_string();
    assert!(error.contains("bytes long, not the"), "{error}");
    // The rest begins at another place than asked for.
    one.registry.change(|_, number, reply| match number {
        1 => reply.cut(10),
        _ => reply.with("Content-Range", "bytes 0-9/10"),
    });
    let one = one_image();
    let set = read(&one.registry, &tag("1.0")).unwrap();
    one.registry.change(|_, number, reply| match number {
        1 => reply.cut(10),
        _ => reply.with("Content-Range", "bytes 0-9/10"),
    });
    let error = bytes(&set, &layer).unwrap_err().to_string();
    assert!(error.contains("another part than the bytes from 10 on"), "{error}");
}

#[test]
fn a_blob_without_end_ends_at_the_length_of_its_manifest() {
    let one = one_image();
    let set = read(&one.registry, &tag("1.0")).unwrap();
    one.registry.change(|_, _, reply| reply.then(End::Repeat));
    assert_eq!(bytes(&set, &one.layer.digest).unwrap(), one.layout.bytes(&one.layer.digest));
}

#[test]
fn a_blob_that_hangs_is_asked_for_again() {
    let one = one_image();
    let set = read(&one.registry, &tag("1.0")).unwrap();
    one.registry.change(|_, number, reply| {
        let whole = reply.body.len();
        match number {
            1 => Reply { body: reply.body[..1000].to_vec(), ..reply }
                .with("Content-Length", whole)
                .then(End::Hang),
            _ => reply,
        }
    });
    assert_eq!(bytes(&set, &one.layer.digest).unwrap(), one.layout.bytes(&one.layer.digest));
}

#[test]
fn a_missing_blob_is_named() {
    let one = one_image();
    let set = read(&one.registry, &tag("1.0")).unwrap();
    one.registry.remove_blob(&one.layer.digest);
    let error = bytes(&set, &one.layer.digest).unwrap_err().to_string();
    assert!(error.contains(&one.layer.digest.to_string()) && error.contains("is not there"), "{error}");
}

#[test]
fn a_redirect_is_followed_without_the_login_and_asked_for_anew_after_a_cut() {
    let one = one_image();
    let blob = one.layout.bytes(&one.layer.digest).to_vec();
    let expected = blob.clone();
    let asked_with = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = asked_with.clone();
    let number = AtomicUsize::new(0);
    let elsewhere = Server::scripted(move |asked| {
        seen.lock().unwrap().push((asked.target.clone(), asked.headers.contains_key("authorization")));
        match number.fetch_add(1, Ordering::SeqCst) {
            // Signed too long ago.
            0 => Reply::new(403, "<Error><Code>AccessDenied</Code></Error>"),
            1 => ranged(asked, &blob).cut(50_000),
            _ => ranged(asked, &blob),
        }
    });
    let base = elsewhere.url("/bucket");
    let is_layer = is_layer(&one);
    one.registry.change(move |asked, number, reply| match asked.headers.contains_key("authorization") {
        false => error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"x\""),
        true if is_layer(&asked.target) => {
            Reply::new(307, "").with("Location", format!("{base}?signature={number}"))
        }
        true => reply,
    });
    let login = PasswordLogin { user: "user".into(), password: raas_base::Secret::new("hunter2") };
    let options = raas_sources::registry::RemoteOptions {
        login: LoginSource::Given(login.into(), "give another one".into()),
        ..options()
    };
    let set = read_with(&one.registry, &tag("1.0"), options).unwrap();
    assert_eq!(bytes(&set, &one.layer.digest).unwrap(), expected);
    let asked_with = asked_with.lock().unwrap();
    assert!(asked_with.iter().all(|(_, login)| !login), "{asked_with:?}");
    let targets: Vec<&str> = asked_with.iter().map(|(target, _)| target.as_str()).collect();
    assert_eq!(targets, ["/bucket?signature=1", "/bucket?signature=2", "/bucket?signature=3"]);
}

#[test]
fn redirects_in_a_circle_end() {
    let one = one_image();
    one.registry.change(|asked, _, _| Reply::new(302, "").with("Location", &asked.target));
    let error = open(&one.registry, options()).tags().unwrap_err().to_string();
    assert!(error.contains("more than 10 redirects"), "{error}");
}
