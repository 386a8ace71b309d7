//! Logins: what is sent, to whom, and how often.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use raas_base::Secret;
use raas_sources::registry::{Login, LoginSource, PasswordLogin, RemoteOptions, WantedImages};
use raas_testkit::http::{Asked, Reply, Server};
use raas_testkit::registry::error;

use crate::support::{Lines, OneImage, bytes, failure, one_image, open, options, read_with, tag};

/// `user:hunter2`
const BASIC: &str = "Basic dXNlcjpodW50ZXIy";

fn with_login(login: Login) -> RemoteOptions {
    RemoteOptions { login: LoginSource::Given(login, "give another one".into()), ..options() }
}

fn user() -> RemoteOptions {
    with_login(PasswordLogin { user: "user".into(), password: Secret::new("hunter2") }.into())
}

/// What a token server was asked.
type Seen = Arc<Mutex<Vec<(String, Option<String>, String)>>>;

/// Lets the registry want a token of this server. The token server gives `token-1`, `token-2` and so on, and the registry
/// takes those for which `good` is true.
fn token_server(one: &OneImage, good: impl Fn(usize) -> bool + Send + Sync + 'static) -> (Server, Seen) {
    let seen = Seen::default();
    let (number, log) = (AtomicUsize::new(0), seen.clone());
    let server = Server::scripted(move |asked: &Asked| {
        let body = String::from_utf8(asked.body.clone()).unwrap();
        log.lock().unwrap().push((asked.target.clone(), asked.headers.get("authorization").cloned(), body));
        let number = number.fetch_add(1, Ordering::SeqCst) + 1;
        Reply::new(200, format!(r#"{{"token":"token-{number}","expires_in":300}}"#))
    });
    let challenge = format!(
        "Bearer realm=\"{}\",service=\"registry\",scope=\"repository:team/app:pull\"",
        server.url("/token")
    );
    one.registry.change(move |asked, _, reply| {
        let number =
            asked.headers.get("authorization").and_then(|header| header.strip_prefix("Bearer token-"));
        match number.and_then(|number| number.parse().ok()).is_some_and(&good) {
            true => reply,
            false => error(401, "UNAUTHORIZED").with("WWW-Authenticate", &challenge),
        }
    });
    (server, seen)
}

#[test]
fn a_token_is_asked_for_once_for_all_requests() {
    let one = one_image();
    let (_server, seen) = token_server(&one, |_| true);
    let set = read_with(&one.registry, &WantedImages::All, options()).unwrap();
    assert_eq!(bytes(&set, &one.layer.digest).unwrap().len() as u64, one.layer.size);
    let seen = seen.lock().unwrap();
    let target = "/token?service=registry&scope=repository:team/app:pull".to_owned();
    assert_eq!(*seen, [(target, None, String::new())]);
}

#[test]
fn the_login_goes_to_the_token_server_and_the_user_learns_where_that_is() {
    let one = one_image();
    let (server, seen) = token_server(&one, |_| true);
    let lines = Lines::default();
    let options = RemoteOptions { say: lines.say(), ..user() };
    read_with(&one.registry, &WantedImages::All, options).unwrap();
    assert_eq!(seen.lock().unwrap()[0].1.as_deref(), Some(BASIC));
    let expected = format!(
        "Note: {} has its token server at {}: the login goes there",
        one.registry.host(),
        server.address()
    );
    assert_eq!(lines.all(), [expected]);
}

#[test]
fn an_identity_token_is_exchanged() {
    let one = one_image();
    let (_server, seen) = token_server(&one, |_| true);
    let options = with_login(Login::IdentityToken(Secret::new("se/cret")));
    read_with(&one.registry, &tag("1.0"), options).unwrap();
    let (target, header, body) = seen.lock().unwrap()[0].clone();
    assert_eq!((target.as_str(), header), ("/token", None));
    let expected = "grant_type=refresh_token&client_id=raas&service=registry&scope=repository:team/app:pull&\
                    refresh_token=se/cret";
    assert_eq!(body, expected);
}

#[test]
fn a_token_that_is_over_is_replaced_in_the_middle() {
    let one = one_image();
    let used = Arc::new(AtomicUsize::new(0));
    // The first token is good for three requests.
    let (_server, seen) =
        token_server(&one, move |number| number > 1 || used.fetch_add(1, Ordering::SeqCst) < 3);
    let set = read_with(&one.registry, &WantedImages::All, options()).unwrap();
    assert_eq!(bytes(&set, &one.layer.digest).unwrap().len() as u64, one.layer.size);
    assert_eq!(seen.lock().unwrap().len(), 2);
}

#[test]
fn a_token_at_its_end_is_replaced_before_it_is_used() {
    for (lifetime, tokens) in [(1, 3), (300, 1)] {
        let one = one_image();
        let number = Arc::new(AtomicUsize::new(0));
        let count = number.clone();
        let server = Server::scripted(move |_| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            Reply::new(200, format!(r#"{{"token":"token-{number}","expires_in":{lifetime}}}"#))
        });
        let challenge = format!("Bearer realm=\"{}\"", server.url("/token"));
        one.registry.change(move |asked, _, reply| match asked.headers.contains_key("authorization") {
            true => reply,
            false => error(401, "UNAUTHORIZED").with("WWW-Authenticate", &challenge),
        });
        let remote = open(&one.registry, options());
        (0..3).for_each(|_| drop(remote.tags().unwrap()));
        assert_eq!(number.load(Ordering::SeqCst), tokens, "{lifetime}");
        // The first request, which has no token, is the only one that is turned away.
        assert_eq!(one.registry.take_log().len(), 4);
    }
}

#[test]
fn a_token_without_the_right_is_no_endless_loop() {
    let one = one_image();
    let (_server, seen) = token_server(&one, |_| false);
    let failure = read_with(&one.registry, &tag("1.0"), user()).unwrap_err().to_string();
    assert!(failure.contains("does not accept the login for"), "{failure}");
    assert!(
        failure.contains("hint: ask for the right to pull, or give another login: give another one"),
        "{failure}"
    );
    assert!(!failure.contains("hunter2"));
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn basic_is_sent_only_when_it_is_asked_for() {
    let one = one_image();
    let guard = |asked: &Asked, _, reply| match asked.headers.get("authorization").map(String::as_str) {
        Some(BASIC) => reply,
        _ => error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"api\""),
    };
    one.registry.change(guard);
    read_with(&one.registry, &tag("1.0"), user()).unwrap();
    let failure = failure(&one.registry, &tag("1.0"));
    assert!(failure.contains("requires a login for") && failure.contains("hint: find a login"), "{failure}");

    let one = one_image();
    let logins = Arc::new(AtomicUsize::new(0));
    let count = logins.clone();
    one.registry.change(move |asked, _, reply| {
        count.fetch_add(usize::from(asked.headers.contains_key("authorization")), Ordering::SeqCst);
        reply
    });
    read_with(&one.registry, &tag("1.0"), user()).unwrap();
    assert_eq!(logins.load(Ordering::SeqCst), 0);
}

#[test]
fn a_wrong_password_is_told_by_the_token_server() {
    let one = one_image();
    let server = Server::scripted(|_| error(401, "UNAUTHORIZED"));
    let challenge = format!("Bearer realm=\"{}\"", server.url("/token"));
    one.registry.change(move |_, _, _| error(401, "UNAUTHORIZED").with("WWW-Authenticate", &challenge));
    let failure = read_with(&one.registry, &tag("1.0"), user()).unwrap_err().to_string();
    assert!(failure.contains(&format!("{} does not accept the login", server.address())), "{failure}");
}

#[test]
fn strange_tokens_and_challenges_are_refused() {
    let one = one_image();
    for body in ["<html>", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#] {
        let server = Server::scripted(move |_| Reply::new(200, body));
        let challenge = format!("Bearer realm=\"{}\"", server.url("/token"));
        one.registry.change(move |_, _, _| error(401, "UNAUTHORIZED").with("WWW-Authenticate", &challenge));
        let failure = failure(&one.registry, &tag("1.0"));
        assert!(failure.contains("it is no token"), "{body}: {failure}");
    }
    one.registry.change(|_, _, _| error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Negotiate"));
    assert!(failure(&one.registry, &tag("1.0")).contains("an authentication that raas does not know"));
}

#[test]
fn forbidden_is_told_with_the_registrys_words() {
    let one = one_image();
    one.registry.change(|_, _, _| error(403, "DENIED"));
    let failure = failure(&one.registry, &tag("1.0"));
    assert!(failure.contains("it says DENIED, scripted"), "{failure}");
}
