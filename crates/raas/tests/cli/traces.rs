//! Traces of publications and of servers, for OpenTelemetry.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use raas_testkit::http::Reply;
use raas_testkit::oci::Layout;
use raas_testkit::otlp::{Collector, Span};
use raas_testkit::pulp2::Export;
use raas_testkit::registry::Registry;
use rustix::process::Signal;

use crate::client::Client;
use crate::sandbox::{Sandbox, Server, send, succeeded};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A command whose traces go to this collector.
fn traced(sandbox: &Sandbox, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2")
        .env("NO_PROXY", "127.0.0.1");
    command
}

/// What a command has said. It never has the secret of the collector.
fn said(output: &Output) -> String {
    let said =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert!(!said.contains("hunter2"), "{said}");
    said
}

fn layout(sandbox: &Sandbox, text: &str) -> String {
    let mut layout = Layout::new();
    let image = layout.simple_image(text);
    layout.tag(&image, "1.0");
    sandbox.write("app.tar", layout.tar())
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}: {spans:#?}"))
}

/// A server of an image, whose traces go to this collector.
fn serve_traced(sandbox: &Sandbox, endpoint: &str, slower_than: &str) -> Server {
    sandbox.ok(&["push", "acme", "app", "--from", &layout(sandbox, "one")]);
    let vendor = sandbox.home().join("acme");
    let [metadata, bucket] =
        ["checkout", "bucket"].map(|name| format!("acme={}", vendor.join(name).display()));
    let mut arguments =
        vec!["serve", "--listen", "127.0.0.1:0", "--metadata", &metadata, "--bucket", &bucket];
    arguments.extend(["--trace-slower-than", slower_than]);
    Server::started(traced(sandbox, endpoint, &arguments))
}

/// A collector that takes connections and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn a_push_is_a_trace_with_a_span_for_each_stage_and_each_upload() {
    let sandbox = Sandbox::new();
    let collector = Collector::start();
    let path = layout(&sandbox, "one");
    let mut command =
        traced(&sandbox, &collector.endpoint(), &["push", "acme", "app", "--json", "--from", &path]);
    let output = command.env("TRACEPARENT", PARENT).env("OTEL_SERVICE_NAME", "publisher").output().unwrap();
    let report: serde_json::Value = serde_json::from_str(&succeeded(&output)).unwrap();
    said(&output);
    let spans = collector.spans();
    let root = named(&spans, "raas push");
    assert_eq!(root.parent.as_deref(), Some("b7ad6b7169203331"));
    assert_eq!(root.error, None);
    for (name, value) in [
        ("raas.vendor", "acme".into()),
        ("raas.repository", "app".into()),
        ("raas.tags", serde_json::json!(["1.0"])),
        ("raas.digests", serde_json::json!([report["tags"][0]["digest"]])),
        ("raas.commit", report["commit"].clone()),
        ("raas.changed", true.into()),
        ("raas.stored_bytes", report["stored"]["size"].clone()),
    ] {
        assert_eq!(root.attributes[name], value, "{name}");
    }
    assert_eq!(root.resource["service.name"], "publisher");
    assert_eq!(root.resource["service.version"], env!("CARGO_PKG_VERSION"));
    for stage in ["read source", "check signatures", "plan", "transfer", "publish", "wait until served"] {
        let span = named(&spans, stage);
        assert_eq!(span.parent.as_ref(), Some(&root.id), "{stage}");
        assert!(span.started >= root.started && span.duration <= root.duration, "{stage}");
    }
    assert!(spans.iter().all(|span| span.trace == "0af7651916cd43dd8448eb211c80319c"), "{spans:#?}");
    let uploads: Vec<&Span> = spans.iter().filter(|span| span.name == "store blob").collect();
    assert_eq!(uploads.len(), 2, "a layer and a config: {spans:#?}");
    for upload in uploads {
        assert_eq!(upload.parent.as_ref(), Some(&named(&spans, "transfer").id));
        assert!(upload.attributes["raas.digest"].as_str().unwrap().starts_with("sha256:"));
        assert!(upload.attributes["raas.bytes"].as_u64().unwrap() > 0);
    }
    assert_eq!(collector.requests()[0].headers["api-key"], "hunter2");
}

#[test]
fn a_failure_is_the_status_of_its_stage_and_of_the_command() {
    let sandbox = Sandbox::new();
    let collector = Collector::start();
    let path = sandbox.write("app.tar", "no archive");
    let output =
        traced(&sandbox, &collector.endpoint(), &["push", "acme", "app", "--from", &path]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let spans = collector.spans();
    for name in ["raas push", "read source"] {
        let span = named(&spans, name);
        assert!(span.error.as_ref().unwrap().contains("app.tar"), "{span:?}");
        assert_eq!(span.attributes["error.type"], "refused");
    }
    assert!(!spans.iter().any(|span| span.name == "publish"));
}

#[test]
fn every_command_that_publishes_is_a_trace_and_others_are_not() {
    let sandbox = Sandbox::new();
    let collector = Collector::start();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    let run = |arguments: &[&str]| {
        let output = traced(&sandbox, &collector.endpoint(), arguments).output().unwrap();
        said(&output);
        succeeded(&output);
    };
    run(&["push", "acme", "app", "--from", &path]);
    let spans = collector.spans();
    assert_eq!(spans.iter().filter(|span| span.name == "pack layer").count(), 2);
    run(&["tag", "acme", "app:stable", "app:latest"]);
    run(&["unpublish", "acme", "app:stable"]);
    run(&["protect", "acme", "app"]);
    let before = collector.spans();
    for name in ["raas tag", "raas unpublish", "raas protect"] {
        let root = named(&before, name);
        assert_eq!((root.parent.as_ref(), &root.attributes["raas.vendor"]), (None, &"acme".into()));
        assert!(root.attributes["raas.commit"].is_string(), "{root:?}");
        let is_child = |span: &&Span| span.name == "publish" && span.parent.as_ref() == Some(&root.id);
        assert_eq!(before.iter().filter(is_child).count(), 1, "{name}");
    }
    assert_eq!(named(&before, "raas tag").attributes["raas.repository"], "app");
    for reading in [&["list", "acme"][..], &["log", "acme"], &["access", "list", "acme"], &["version"]] {
        run(reading);
    }
    assert_eq!(collector.spans().len(), before.len());
}

#[test]
fn a_sync_has_a_span_for_each_image() {
    let sandbox = Sandbox::new();
    let collector = Collector::start();
    let registry = Registry::new("team/app");
    let mut layout = Layout::new();
    let image = layout.simple_image("one");
    registry.fill(&layout);
    registry.tag("1.0", &image.digest);
    let address = registry.address();
    sandbox.write("raas.cfg", format!("[acme]\nsync.app = {address}\nsync.other = {address}-not-there\n"));
    let output = traced(&sandbox, &collector.endpoint(), &["sync"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let spans = collector.spans();
    let root = named(&spans, "raas sync");
    let of = |repository: &str| {
        let is_it =
            |span: &&Span| span.name == "sync image" && span.attributes["raas.repository"] == repository;
        spans.iter().find(is_it).unwrap()
    };
    let (good, bad) = (of("app"), of("other"));
    assert_eq!((good.parent.as_ref(), bad.parent.as_ref()), (Some(&root.id), Some(&root.id)));
    assert!(good.error.is_none() && good.attributes["raas.commit"].is_string(), "{good:?}");
    assert!(bad.error.is_some());
    assert_eq!(root.attributes["raas.failed_images"], 1);
    assert_eq!(named(&spans, "transfer").parent.as_ref(), Some(&good.id));
}

#[test]
fn nothing_is_sent_unless_the_environment_asks_for_it() {
    let sandbox = Sandbox::new();
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    let path = layout(&sandbox, "one");
    let push = ["push", "acme", "app", "--from", &path];
    sandbox.ok(&push);
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        // The job that has started the command is not recorded.
        ("TRACEPARENT", &PARENT.replace("-01", "-00")),
    ] {
        let output = traced(&sandbox, &endpoint, &push).env(name, value).output().unwrap();
        succeeded(&output);
        assert!(!said(&output).contains("trace"), "{name}");
    }
    assert!(collector.requests().is_empty());
    // A wrong setting is one line, without its value, and stops nothing.
    let output = traced(&sandbox, "https://jane:hunter2@127.0.0.1/", &push).output().unwrap();
    succeeded(&output);
    let lines = said(&output);
    let lines: Vec<&str> = lines.lines().filter(|line| line.contains("traces")).collect();
    assert!(lines.len() == 1 && lines[0].contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{lines:?}");
}

#[test]
fn a_collector_that_hangs_or_refuses_delays_a_push_a_little_and_says_so_once() {
    let sandbox = Sandbox::new();
    let path = layout(&sandbox, "one");
    let push = ["push", "acme", "app", "--from", &path];
    sandbox.ok(&push);
    let begun = Instant::now();
    sandbox.ok(&push);
    let usual = begun.elapsed();
    let refusing = Collector::scripted(|_| Reply::new(401, "hunter2"));
    let (_listener, silent) = silent();
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    for (endpoint, why) in [
        (refusing.endpoint(), "the collector answers with the status 401"),
        (silent, "the collector did not answer within 3 s"),
        (nobody, "no connection"),
    ] {
        let begun = Instant::now();
        let output = traced(&sandbox, &endpoint, &push).output().unwrap();
        let delay = begun.elapsed().saturating_sub(usual);
        succeeded(&output);
        assert!(delay < Duration::from_secs(5), "{delay:?}");
        let lines = said(&output);
        let lines: Vec<&str> = lines.lines().filter(|line| line.contains("trace")).collect();
        assert!(lines.len() == 1 && lines[0].contains(&endpoint) && lines[0].contains(why), "{lines:?}");
        let quiet = traced(&sandbox, &endpoint, &[&["--quiet"][..], &push[..]].concat()).output().unwrap();
        assert!(!said(&quiet).contains("trace"));
    }
}

#[test]
fn an_interrupted_push_sends_the_spans_that_are_open() {
    let sandbox = Sandbox::new();
    let collector = Collector::start();
    // The source does not answer.
    let (_listener, silent) = silent();
    let from = format!("docker://{}/team/app:1.0", silent.trim_start_matches("http://"));
    let mut command = traced(
        &sandbox,
        &collector.endpoint(),
        &["push", "acme", "app", "--src-plain-http", "--from", &from],
    );
    let mut push = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    collector.wait_for("of a stage before", |span| span.name == "catch up");
    send(push.id(), Signal::TERM);
    assert_eq!(push.wait().unwrap().code(), Some(143));
    let spans = collector.spans();
    for name in ["raas push", "read source"] {
        assert_eq!(named(&spans, name).error.as_deref(), Some("a signal has interrupted the run"));
    }
}

#[test]
fn a_server_sends_spans_of_slow_requests_with_the_clients_trace_as_their_parent() {
    let sandbox = Sandbox::new();
    let collector = Collector::start();
    let server = serve_traced(&sandbox, &collector.endpoint(), "0ms");
    let client = Client::new(server.address);
    client.get_traced("/v2/app/manifests/1.0", PARENT);
    let span = collector.wait_for("of the request", |span| span.attributes.contains_key("raas.tag"));
    assert_eq!((span.name.as_str(), span.kind), ("GET /v2/{name}/manifests/{tag}", 2));
    assert_eq!(span.trace, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span.parent.as_deref(), Some("b7ad6b7169203331"));
    assert_eq!(span.attributes["http.response.status_code"], 200);
    assert_eq!(span.attributes["server.address"], "127.0.0.1");
    assert_eq!(span.attributes["server.port"], server.address.port());
    let log = server.stop_and_log();
    assert!(log.contains(&collector.endpoint()) && !log.contains("hunter2"), "{log}");
}

#[test]
fn a_quick_request_sends_no_span() {
    let sandbox = Sandbox::new();
    let collector = Collector::start();
    let server = serve_traced(&sandbox, &collector.endpoint(), "60s");
    Client::new(server.address).pull("app", "1.0");
    server.stop_and_log();
    assert!(collector.requests().is_empty());
}

#[test]
fn a_collector_that_hangs_delays_no_request_and_the_end_of_a_server_a_little() {
    let sandbox = Sandbox::new();
    let (_listener, silent) = silent();
    let server = serve_traced(&sandbox, &silent, "0ms");
    let client = Client::new(server.address);
    let begun = Instant::now();
    for _ in 0..200 {
        assert_eq!(client.get("/v2/app/manifests/1.0").status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let begun = Instant::now();
    let log = server.stop_and_log();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert!(log.contains("200 spans were not sent before the end") && !log.contains("hunter2"), "{log}");
}
