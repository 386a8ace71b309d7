//! Which requests to the service go through a proxy.

use std::sync::atomic::AtomicUsize;

use raas_testkit::http::{Asked, Reply, Server as HttpServer};

use super::*;

/// A server that counts its requests, and answers each like a service that has the object.
fn counting() -> (HttpServer, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let server = HttpServer::scripted(move |_: &Asked| {
        counter.fetch_add(1, Ordering::SeqCst);
        Reply::new(200, "").with("content-length", 5)
    });
    (server, count)
}

/// Asks for an object behind proxies. Returns how many requests came to the proxy and to the service.
fn ask(variables: &[(&str, String)], host: &str) -> (usize, usize) {
    let ((proxy, at_proxy), (service, at_service)) = (counting(), counting());
    let port = service.address().port();
    let fill = |text: &str| {
        text.replace("{proxy}", &proxy.address().to_string()).replace("{port}", &port.to_string())
    };
    let read = |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| fill(value));
    let proxies = ForwardProxies::from_variables(&read).unwrap();
    let endpoint = format!("http://{host}:{port}");
    let storage = run_through(proxies, Path::new("/dev/null/notes"), &endpoint, &settings());
    let found = storage.stat(&key_of(b"x")).unwrap().unwrap();
    assert_eq!(found.size, 5);
    (at_proxy.load(Ordering::SeqCst), at_service.load(Ordering::SeqCst))
}

#[test]
fn no_proxy_is_read_for_s3_as_curl_reads_it() {
    let (v4, name) = ("127.0.0.1", "localhost");
    let table = [
        ("", v4, false),
        ("127.0.0.1", v4, true),
        ("127.0.0.2", v4, false),
        ("127.0.0.0/8", v4, true),
        ("10.0.0.0/8", v4, false),
        ("127.0.0.1:{port}", v4, true),
        ("127.0.0.1:1", v4, false),
        ("127.0.0.0/8:{port}", v4, true),
        ("127.0.0.0/8:1", v4, false),
        ("example.org, 127.0.0.1", v4, true),
        ("example.org 127.0.0.1", v4, true),
        ("*", v4, true),
        ("localhost", name, true),
        (".localhost", name, true),
        ("*.localhost", name, true),
        ("localhost:{port}", name, true),
        ("localhost:1", name, false),
        ("host", name, false),
        ("LOCALHOST", name, true),
    ];
    for (no_proxy, host, direct) in table {
        for variable in ["no_proxy", "NO_PROXY"] {
            let variables = [("http_proxy", "http://{proxy}".to_owned()), (variable, no_proxy.to_owned())];
            let expected = if direct { (0, 1) } else { (1, 0) };
            assert_eq!(ask(&variables, host), expected, "{variable}={no_proxy} {host}");
        }
    }
}

#[test]
fn the_proxy_is_the_one_of_the_scheme() {
    let through = |name| ask(&[(name, "http://{proxy}".to_owned())], "127.0.0.1");
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        assert_eq!(through(name), (1, 0), "{name}");
    }
    assert_eq!(through("https_proxy"), (0, 1));
    // A client of a CGI script can set HTTP_PROXY by a header `Proxy`.
    let cgi = [("HTTP_PROXY", "http://{proxy}".to_owned()), ("REQUEST_METHOD", "GET".to_owned())];
    assert_eq!(ask(&cgi, "127.0.0.1"), (0, 1));
}

#[test]
fn the_error_for_a_proxy_that_does_not_answer_names_it_without_its_password() {
    let read = |name: &str| (name == "http_proxy").then(|| "http://jane:hunter2@127.0.0.1:9".to_owned());
    let proxies = ForwardProxies::from_variables(&read).unwrap();
    let storage = run_through(proxies, Path::new("/dev/null/notes"), "http://s3.invalid", &settings());
    let told = told(storage.stat(&key_of(b"x")).unwrap_err());
    assert!(told.contains("through the proxy http://127.0.0.1:9/"), "{told}");
    assert!(told.contains("does not answer") && !told.contains("hunter2"), "{told}");
}
