//! Notifications of pulls and of publications.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_server::{Notify, Options};
use raas_types::access::{Customer, CustomerKey, SecretHash};
use raas_types::crane::Deprecation;
use raas_types::media_type::DOCKER_MANIFEST;
use raas_types::{Digest, Utc};
use serde_json::Value;

use crate::support::{Folders, Published, Server, soon};

/// An endpoint that answers these statuses first, and then 200.
struct Collector {
    url: String,
    /// The head and the body of each request, with the status of its answer.
    got: Arc<Mutex<Vec<(u16, String, Value)>>>,
}

impl Collector {
    fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook?key=secret", listener.local_addr().unwrap());
        let got = Arc::new(Mutex::new(Vec::new()));
        let (all, mut statuses) = (Arc::clone(&got), statuses.iter().copied());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {}
                let length = head.to_lowercase();
                let Some(length) = length.lines().find_map(|line| line.strip_prefix("content-length: "))
                else {
                    continue;
                };
                let mut body = vec![0; length.parse().unwrap()];
                stream.read_exact(&mut body).unwrap();
                let status = statuses.next().unwrap_or(200);
                all.lock().unwrap().push((status, head, serde_json::from_slice(&body).unwrap()));
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        Self { url, got }
    }

    /// The events of successful requests.
    fn events(&self) -> Vec<Value> {
        let got = self.got.lock().unwrap();
        let taken = got.iter().filter(|(status, ..)| *status == 200);
        taken.flat_map(|(_, _, body)| body["events"].as_array().unwrap().clone()).collect()
    }
}

fn site() -> (Folders, Digest) {
    let folders = Folders::new("acme");
    let mut app = Published::new("tools/app");
    let one = app.image(DOCKER_MANIFEST, "one", "");
    app.tag("1.0", one);
    folders.publish(&app);
    folders.revision("one");
    (folders, one)
}

/// "Customers", 8
#[test]
fn a_notification_names_the_customer() {
    let (folders, _) = site();
    let mut customer = Customer::new(Vec::new());
    let key = CustomerKey::new(SecretHash::of("raas_x"), Utc::from_unix(0), None);
    customer.keys.insert("ci".parse().unwrap(), key);
    folders.write("crane/data/_access/customers/bigbank", &customer.to_bytes());
    let collector = Collector::start(&[]);
    let server = serve(&folders, &collector.url);
    let login = format!("Basic {}", STANDARD.encode("bigbank:raas_x"));
    server.ask("GET", "/v2/tools/app/manifests/1.0", &[("authorization", &login)]);
    assert!(soon(|| !collector.events().is_empty()));
    assert_eq!(collector.events()[0]["actor"], serde_json::json!({"name": "bigbank"}));
}

fn serve(folders: &Folders, url: &str) -> Server {
    let notify = Notify::new(url, Some("Bearer hunter2")).unwrap().pause(Duration::from_millis(1));
    Server::start_with(vec![folders.site()], Options { notify: Some(notify), ..Options::default() })
}

#[test]
fn notifications_have_distributions_format_and_are_retried() {
    let (folders, one) = site();
    let collector = Collector::start(&[503, 401]);
    let server = serve(&folders, &collector.url);
    let path = "/v2/tools/app/manifests/1.0";
    server.ask("HEAD", path, &[]);
    server.ask("GET", path, &[("user-agent", "docker/27.0")]);
    server.ask("GET", path, &[("user-agent", "docker/27.0")]);
    assert!(soon(|| !collector.events().is_empty()));
    let events = collector.events();
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(event["action"], "pull");
    let size = event["target"]["size"].as_u64().unwrap();
    assert_eq!(
        event["target"],
        serde_json::json!({
            "mediaType": DOCKER_MANIFEST, "size": size, "length": size, "digest": one, "repository": "tools/app",
            "url": format!("http://registry.example.com/v2/tools/app/manifests/{one}"), "tag": "1.0",
        })
    );
    let request = &event["request"];
    assert_eq!((&request["addr"], &request["method"]), (&"127.0.0.1".into(), &"GET".into()));
    assert_eq!(
        (&request["useragent"], &request["host"]),
        (&"docker/27.0".into(), &"registry.example.com".into())
    );
    assert_eq!(
        (&event["actor"], &event["source"]["addr"]),
        (&serde_json::json!({}), &server.address.to_string().into())
    );
    for id in [&event["id"], &request["id"], &event["source"]["instanceID"]] {
        assert_eq!(id.as_str().unwrap().len(), 36);
    }
    assert!(event["timestamp"].as_str().unwrap().ends_with('Z'));
    let got = collector.got.lock().unwrap();
    assert_eq!(got.iter().map(|(status, ..)| *status).collect::<Vec<_>>(), [503, 401, 200]);
    let head = got[2].1.to_lowercase();
    assert!(head.starts_with("post /hook?key=secret http/1.1"), "{head}");
    assert!(head.contains("content-type: application/vnd.docker.distribution.events.v1+json"), "{head}");
    assert!(head.contains("authorization: bearer hunter2"), "{head}");
}

#[test]
fn queued_notifications_are_sent_at_the_end_within_a_time_limit() {
    let (folders, _) = site();
    let collector = Collector::start(&[]);
    let mut server = serve(&folders, &collector.url);
    server.get("/v2/tools/app/manifests/1.0");
    server.stop();
    server.wait().unwrap();
    assert_eq!(collector.events().len(), 1);

    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = serve(&folders, &format!("http://{closed}/"));
    assert_eq!(server.get("/v2/tools/app/manifests/1.0").status, 200);
    server.stop();
    server.wait().unwrap();
}

/// A server that notifies of publications, with metadata that another publication follows.
#[test]
fn publications_are_notified_of_and_have_the_same_ids_everywhere() {
    let (folders, one) = site();
    let collectors = [Collector::start(&[500]), Collector::start(&[])];
    let servers = collectors.each_ref().map(|collector| {
        let notify =
            Notify::new(&collector.url, Some("Bearer hunter2")).unwrap().pause(Duration::from_millis(1));
        let options = Options {
            poll: Duration::from_millis(50),
            notify_publications: Some(notify),
            ..Options::default()
        };
        let host: raas_server::HostName = "registry.acme.example".parse().unwrap();
        Server::start_with(vec![raas_server::SiteConfig { hosts: vec![host], ..folders.site() }], options)
    });
    let mut app = Published::new("tools/app");
    let two = app.image(DOCKER_MANIFEST, "two", "");
    app.tag("1.0", two);
    app.tag("2.0", two);
    let deprecation = Deprecation { since: Utc::from_unix(5), r#use: "2.0".parse().unwrap(), until: None };
    app.extension().deprecated.insert("1.0".parse().unwrap(), deprecation);
    app.extension().published.insert("2.0".parse().unwrap(), Utc::from_unix(9));
    folders.publish(&app);
    folders.revision("two");
    assert!(soon(|| collectors.iter().all(|collector| collector.events().len() == 3)));
    let [events, others] = collectors.each_ref().map(|collector| collector.events());
    let told: Vec<_> = events.iter().map(|event| (&event["action"], &event["target"]["tag"])).collect();
    let text = |text: &str| Value::from(text);
    assert_eq!(
        told,
        [(&text("push"), &text("1.0")), (&text("deprecate"), &text("1.0")), (&text("push"), &text("2.0"))]
    );
    let push = &events[2];
    let size = push["target"]["size"].as_u64().unwrap();
    assert_eq!(
        push["target"],
        serde_json::json!({
            "mediaType": DOCKER_MANIFEST, "size": size, "length": size, "digest": two, "repository": "tools/app",
            "url": format!("http://registry.acme.example/v2/tools/app/manifests/{two}"), "tag": "2.0",
        })
    );
    assert_eq!((&push["vendor"], &push["commit"]), (&text("acme"), &text("two")));
    assert_eq!(push["timestamp"], "1970-01-01T00:00:09Z");
    assert_eq!(events[1]["target"]["warning"], "tools/app:1.0 is deprecated: use tools/app:2.0");
    let ids = |events: &[Value]| events.iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&events), ids(&others), "a receiver recognises what it has already");
    let head = collectors[0].got.lock().unwrap()[0].1.to_lowercase();
    assert!(head.contains("authorization: bearer hunter2"), "{head}");
    // The end of a deprecation, and a removed tag.
    let mut app = Published::new("tools/app");
    let two = app.image(DOCKER_MANIFEST, "two", "");
    app.tag("1.0", two);
    folders.publish(&app);
    folders.revision("three");
    assert!(soon(|| collectors[1].events().len() == 5));
    let told: Vec<_> = collectors[1].events()[3..].iter().map(|event| event["action"].clone()).collect();
    assert_eq!(told, [text("undeprecate"), text("delete")]);
    assert_ne!(one, two);
    drop(servers);
}
