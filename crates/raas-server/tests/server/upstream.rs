//! A bucket that tests control: objects by path, as S3 serves them, and faults on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use raas_types::Digest;

/// A fault of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers with this status.
    Status(u16),
    /// Answers with this status and S3's error code.
    Says(u16, &'static str),
    /// Redirects to another path.
    SendsOn(&'static str),
    /// Accepts the request and never answers.
    Silent,
    /// Ignores ranges.
    NoRanges,
    /// Closes the connection in the middle of the body.
    BreaksOff,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    /// Faults by path, each for a number of requests.
    faults: BTreeMap<String, (Fault, usize)>,
    /// The method, path and query of every request.
    requests: Vec<(String, String, String)>,
    /// The statuses of all answers.
    statuses: Vec<u16>,
    /// Whether only signed URLs are accepted.
    private: bool,
}

/// A bucket on a port of its own. It lives as long as the tests.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Upstream {
    pub(crate) fn start(private: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { private, ..State::default() }));
        let upstream = Self { address, state };
        let shared = upstream.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                std::thread::spawn(move || drop(shared.converse(stream.unwrap())));
            }
        });
        upstream
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, path: &str, bytes: &[u8]) {
        self.state.lock().unwrap().objects.insert(path.to_owned(), bytes.to_owned());
    }

    pub(crate) fn remove(&self, path: &str) {
        self.state.lock().unwrap().objects.remove(path);
    }

    pub(crate) fn fail(&self, path: &str, fault: Fault, times: usize) {
        self.state.lock().unwrap().faults.insert(path.to_owned(), (fault, times));
    }

    pub(crate) fn requests(&self) -> Vec<(String, String, String)> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.state.lock().unwrap().statuses.clone()
    }

    fn converse(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split(' ');
            let (method, target) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim_end().split_once(':') else { break };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let (head, body) = self.answer(&method, &target, &headers);
            if head.contains("x-silent") {
                std::thread::park();
            }
            let breaks = head.contains("x-breaks");
            writer.write_all(head.as_bytes())?;
            if method != "HEAD" {
                writer.write_all(if breaks { &body[..body.len() / 2] } else { &body })?;
            }
            if breaks {
                return Ok(());
            }
        }
    }

    fn answer(&self, method: &str, target: &str, headers: &BTreeMap<String, String>) -> (String, Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let path = path.replace("%3A", ":");
        state.requests.push((method.to_owned(), path.clone(), query.to_owned()));
        let fault = state.faults.get_mut(&path).filter(|(_, times)| *times > 0).map(|(fault, times)| {
            *times -= 1;
            *fault
        });
        let object = state.objects.get(&path).cloned();
        let (status, more, body) = match (fault, object) {
            (Some(Fault::Status(status)), _) => (status, String::new(), b"fault".to_vec()),
            (Some(Fault::Says(status, code)), _) => {
                let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
                (status, String::new(), body.into_bytes())
            }
            (Some(Fault::SendsOn(path)), _) => (307, format!("location: {path}\r\n"), Vec::new()),
            (Some(Fault::Silent), _) => (200, "x-silent: yes\r\n".into(), Vec::new()),
            _ if state.private && !query.contains("&X-Amz-Signature=") => (403, String::new(), Vec::new()),
            (_, None) => (404, String::new(), b"none".to_vec()),
            (fault, Some(bytes)) => serve(bytes, headers, fault),
        };
        state.statuses.push(status);
        (format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{more}\r\n", body.len()), body)
    }
}

fn serve(bytes: Vec<u8>, headers: &BTreeMap<String, String>, fault: Option<Fault>) -> (u16, String, Vec<u8>) {
    let etag = format!("\"{}\"", Digest::of(&bytes).short());
    let breaks = if fault == Some(Fault::BreaksOff) { "x-breaks: yes\r\n" } else { "" };
    let more = format!("etag: {etag}\r\n{breaks}");
    if headers.get("if-none-match") == Some(&etag) {
        return (304, more, Vec::new());
    }
    let range = headers.get("range").filter(|_| fault != Some(Fault::NoRanges));
    let Some(range) = range else { return (200, more, bytes) };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let more = format!("{more}content-range: bytes {first}-{last}/{}\r\n", bytes.len());
    (206, more, bytes[first..=last].to_owned())
}
