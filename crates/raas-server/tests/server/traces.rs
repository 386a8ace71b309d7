//! What the server tells of slow work.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raas_server::{
    AttributeValue, Bucket, Metadata, Options, SiteConfig, SlowWork, SpanCounts, TraceReceiver, Traces,
};
use raas_types::{Digest, ObjectKey};

use crate::buckets::open;
use crate::metrics::Counted;
use crate::snapshots::{app, files};
use crate::support::{Folders, Server, later};
use crate::upstream::{Fault, Upstream};

/// Keeps what it is told.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<SlowWork>>>);

impl TraceReceiver for Told {
    fn take(&self, work: SlowWork) {
        self.0.lock().unwrap().push(work);
    }

    fn counts(&self) -> SpanCounts {
        SpanCounts { sent: 1, dropped: 2, failed: 3 }
    }
}

impl Told {
    fn options(&self, slower_than: Duration) -> Options {
        let traces = Some(Traces::new(slower_than, self.clone()));
        let poll = Duration::from_millis(20);
        Options { traces, poll, remote_poll: poll, ..Options::default() }
    }

    fn of(&self, is_request: bool) -> Vec<SlowWork> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|work| work.is_request == is_request).cloned().collect()
    }

    fn last_request(&self) -> SlowWork {
        self.of(true).pop().expect("there was a request")
    }
}

/// An attribute as text.
fn attribute(work: &SlowWork, name: &str) -> Option<String> {
    let found = work.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value)?;
    Some(match found {
        AttributeValue::Text(text) => text.clone(),
        AttributeValue::Number(number) => number.to_string(),
        AttributeValue::Truth(truth) => truth.to_string(),
    })
}

/// The path of a blob in a bucket.
fn object(blob: Digest) -> String {
    format!("/acme/images/{}", ObjectKey::Blob(app("1").name, blob))
}

/// A folder with an image, for a server that tells of everything.
fn published() -> (Folders, Told) {
    let folders = Folders::new("acme");
    folders.publish(&app("1"));
    folders.revision("one");
    (folders, Told::default())
}

#[test]
fn a_slow_request_is_told_with_the_attributes_of_http() {
    let (folders, told) = published();
    let server = Server::start_with(vec![folders.site()], told.options(Duration::ZERO));
    let digest = *app("1").manifest_digests().next().unwrap();
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers =
        [("traceparent", traceparent), ("user-agent", "docker/1"), ("host", "Reg.example.com:5000")];
    assert_eq!(server.ask("GET", "/v2/app/manifests/latest?token=hunter2", &headers).status, 200);
    let work = told.last_request();
    assert_eq!(work.name, "GET /v2/{name}/manifests/{tag}");
    assert_eq!((work.traceparent.as_deref(), work.error.as_ref()), (Some(traceparent), None));
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.route", "/v2/{name}/manifests/{tag}"),
        ("url.path", "/v2/app/manifests/latest"),
        ("url.scheme", "http"),
        ("http.response.status_code", "200"),
        ("server.address", "Reg.example.com"),
        ("server.port", "5000"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "docker/1"),
        ("raas.vendor", "acme"),
        ("raas.repository", "app"),
        ("raas.tag", "latest"),
        ("raas.digest", &digest.to_string()),
    ] {
        assert_eq!(attribute(&work, name).as_deref(), Some(value), "{name}");
    }
    assert!(!format!("{work:?}").contains("hunter2"), "{work:?}");

    // Whatever a client sends, the name is one of few.
    assert_eq!(server.ask("BREW", "/pot/5", &[]).status, 404);
    let work = told.last_request();
    assert_eq!((work.name.as_str(), work.traceparent.as_ref()), ("HTTP", None));
    assert_eq!(attribute(&work, "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(attribute(&work, "http.request.method_original").as_deref(), Some("BREW"));
    let twice = [("traceparent", traceparent), ("traceparent", traceparent)];
    assert_eq!(server.ask("GET", "/v2/", &twice).status, 200);
    assert_eq!(told.last_request().traceparent, None);
}

#[test]
fn a_quick_request_is_not_told() {
    let (folders, told) = published();
    let server = Server::start_with(vec![folders.site()], told.options(Duration::from_secs(60)));
    assert_eq!(server.get("/v2/app/manifests/latest").status, 200);
    assert_eq!(server.get("/v2/app/blobs/sha256:0").status, 400);
    assert!(told.of(true).is_empty());
}

#[test]
fn what_a_slow_request_has_waited_for_is_told() {
    let (folders, told) = published();
    let blob = Digest::of(b"layer of 1");
    let of_folder = Server::start_with(vec![folders.site()], told.options(Duration::ZERO));
    assert_eq!(of_folder.get(&format!("/v2/app/blobs/{blob}")).status, 200);
    let work = told.last_request();
    assert_eq!(attribute(&work, "raas.waited_for").as_deref(), Some("file"));
    assert_eq!(attribute(&work, "raas.kind").as_deref(), Some("blob"));

    // A bucket that does not answer, until the server stops.
    let upstream = Upstream::start(false);
    upstream.fail(&object(blob), Fault::Silent, 9);
    let site = SiteConfig { bucket: Bucket::Proxy(open(&upstream)), ..folders.site() };
    let options = Options { grace: Duration::from_millis(100), ..told.options(Duration::ZERO) };
    let mut server = Server::start_with(vec![site], options);
    let mut stream = TcpStream::connect(server.address).unwrap();
    write!(stream, "GET /v2/app/blobs/{blob} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(later(|| !upstream.requests().is_empty()));
    server.stop();
    server.wait().unwrap();
    assert!(later(|| told.last_request().error.is_some()));
    let work = told.last_request();
    assert_eq!(attribute(&work, "raas.waited_for").as_deref(), Some("origin"));
    assert_eq!(attribute(&work, "error.type").as_deref(), Some("abandoned"));
    assert_eq!(attribute(&work, "http.response.status_code"), None);
}

#[test]
fn a_server_error_is_an_error_of_the_span() {
    let (folders, told) = published();
    let blob = Digest::of(b"layer of 1");
    let upstream = Upstream::start(false);
    upstream.fail(&object(blob), Fault::Status(403), 9);
    let site = SiteConfig { bucket: Bucket::Proxy(open(&upstream)), ..folders.site() };
    let server = Server::start_with(vec![site], told.options(Duration::ZERO));
    let status = server.get(&format!("/v2/app/blobs/{blob}")).status;
    assert!((500..600).contains(&status), "{status}");
    let work = told.last_request();
    assert_eq!(attribute(&work, "error.type"), Some(status.to_string()));
    assert_eq!(work.error.as_deref(), Some(""));
}

#[test]
fn a_slow_reading_of_metadata_is_told() {
    let told = Told::default();
    let upstream = Upstream::start(false);
    for (key, bytes) in raas_testkit::Snapshot::of("aa11", &files(&app("1")), 1).objects() {
        upstream.set(&format!("/acme/images/{key}"), &bytes);
    }
    let origin = open(&upstream);
    let (metadata, bucket) = (Metadata::Snapshots(origin.clone()), Bucket::Redirect(origin));
    let site = SiteConfig::new("acme".parse().unwrap(), metadata, bucket);
    let _server = Server::start_with(vec![site], told.options(Duration::ZERO));
    let first = told.of(false).remove(0);
    assert_eq!((first.name.as_str(), first.error), ("read metadata", None));
    for (name, value) in [("raas.vendor", "acme"), ("raas.changed", "true"), ("raas.commit", "aa11")] {
        let found = first.attributes.iter().find(|(known, _)| *known == name);
        let found = found.map(|(_, value)| format!("{value:?}")).unwrap_or_default();
        assert!(found.contains(value), "{name}: {found}");
    }
    upstream.fail("/acme/images/_metadata/current", Fault::Status(403), 1);
    assert!(later(|| told.of(false).iter().any(|work| work.error.is_some())));
    let failed = told.of(false).into_iter().find(|work| work.error.is_some()).unwrap();
    assert!(failed.error.unwrap().contains("403"));
}

#[test]
fn spans_are_counted() {
    let (folders, told) = published();
    let counted = Counted::start_with(vec![folders.site()], told.options(Duration::ZERO));
    let number = |name: &str| counted.number(name);
    assert_eq!(number("raas_trace_spans_sent_total"), Some(1.0));
    assert_eq!(number("raas_trace_spans_dropped_total"), Some(2.0));
    assert_eq!(number("raas_trace_requests_failed_total"), Some(3.0));
    let without = Counted::start_with(vec![folders.site()], Options::default());
    assert_eq!(without.number("raas_trace_spans_sent_total"), None);
}
