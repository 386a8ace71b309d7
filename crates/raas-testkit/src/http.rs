//! A small HTTP server in place of a CDN or a registry: fixed files, GET and HEAD, paths that need a credential, and a
//! count of the requests.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// A server on a free port of this machine. It ends when it is dropped.
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    folder: Option<PathBuf>,
    counts: Mutex<BTreeMap<(String, String), usize>>,
    protected: Mutex<Vec<Protected>>,
    no_head: AtomicBool,
    ended: AtomicBool,
    script: Option<Box<Script>>,
}

/// The script of a scripted server.
type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A request to a scripted server.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `GET`, `HEAD`
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The values, by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// An answer of a scripted server.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Names and values. The server adds the length of the body if it is missing.
    pub headers: Vec<(String, String)>,
    /// The body for GET.
    pub body: Vec<u8>,
    /// What happens at the end of the body.
    pub end: End,
}

/// What a scripted server does after the body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    /// It waits for the next request.
    #[default]
    Next,
    /// It closes the connection, whatever length the head of the answer says.
    Close,
    /// It sends nothing more, and keeps the connection open, until the client closes it.
    Hang,
    /// It sends the body again and again, until the client closes the connection.
    Repeat,
}

impl Reply {
    /// An answer without headers.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), end: End::Next }
    }

    /// Sets a header, in place of one with the same name.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Sets what happens after the body.
    #[must_use]
    pub fn then(self, end: End) -> Self {
        Self { end, ..self }
    }

    /// Cuts the body short after this many bytes, with a head for the whole of it.
    #[must_use]
    pub fn cut(self, bytes: usize) -> Self {
        let whole = self.body.len();
        let mut reply = self.with("Content-Length", whole).then(End::Close);
        reply.body.truncate(bytes);
        reply
    }

    fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        // A body without an end has no length: it ends with the connection.
        if self.end != End::Repeat
            && !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        head
    }
}

/// Paths that need an `Authorization`.
struct Protected {
    prefix: String,
    challenge: String,
    authorization: String,
}

/// The parts of a request that the server uses.
#[derive(Default)]
struct Head {
    method: String,
    path: String,
    authorization: Option<String>,
    range: Option<String>,
    asked: Asked,
}

impl Server {
    /// Serves these paths, each beginning with a slash.
    pub fn of<P: Into<String>, B: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, B)>) -> Self {
        let files = files.into_iter().map(|(path, bytes)| (path.into(), bytes.into())).collect();
        Self::start(State { files: Mutex::new(files), ..State::default() })
    }

    /// Serves the files of a folder. It reads a file at each request.
    pub fn folder(folder: &Path) -> Self {
        Self::start(State { folder: Some(folder.to_owned()), ..State::default() })
    }

    /// Answers each request by a function.
    pub fn scripted(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(State { script: Some(Box::new(script)), ..State::default() })
    }

    /// Adds a path, or changes its content.
    pub fn set(&self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        locked(&self.state.files).insert(path.into(), bytes.into());
    }

    /// Removes a path.
    pub fn remove(&self, path: &str) {
        locked(&self.state.files).remove(path).expect("the path was there");
    }

    /// Answers requests for paths with this prefix with 401 and this `WWW-Authenticate`, unless they have this
    /// `Authorization`.
    pub fn protect(&self, prefix: &str, challenge: &str, authorization: &str) {
        let mut protected = locked(&self.state.protected);
        protected.retain(|known| known.prefix != prefix);
        protected.push(Protected {
            prefix: prefix.to_owned(),
            challenge: challenge.to_owned(),
            authorization: authorization.to_owned(),
        });
    }

    /// Answers every HEAD with 403 from now on, like a URL that is signed for GET.
    pub fn refuse_head(&self) {
        self.state.no_head.store(true, Ordering::SeqCst);
    }

    /// The address and the port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path that begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The number of requests for a path by a method, with any query.
    pub fn count(&self, method: &str, path: &str) -> usize {
        locked(&self.state.counts).get(&(method.to_owned(), path.to_owned())).copied().unwrap_or(0)
    }

    /// All requests: method, path and their number.
    pub fn requests(&self) -> Vec<(String, String, usize)> {
        let counts = locked(&self.state.counts);
        counts.iter().map(|((method, path), count)| (method.clone(), path.clone(), *count)).collect()
    }

    fn start(state: State) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of this machine is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(state);
        let shared = state.clone();
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = shared.clone();
                // An error here means that the client closed the connection.
                std::thread::spawn(move || drop(shared.converse(stream)));
            }
        });
        Self { address, state, accepting: Some(accepting) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
    }
}

impl State {
    /// Answers requests until the client or the server ends.
    fn converse(&self, stream: TcpStream) -> io::Result<()> {
        // With a timeout, a connection that a client keeps open ends soon after the server.
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        while let Some(head) = read_request(&mut reader)? {
            if self.ended.load(Ordering::SeqCst) {
                break;
            }
            let Head { method, path, .. } = &head;
            *locked(&self.counts).entry((method.clone(), path.clone())).or_default() += 1;
            if let Some(script) = &self.script {
                let reply = script(&head.asked);
                let mut bytes = reply.head().into_bytes();
                if method != "HEAD" {
                    bytes.extend(&reply.body);
                }
                // One write: a second would wait until the client acknowledges the first.
                writer.write_all(&bytes)?;
                match reply.end {
                    End::Next => continue,
                    End::Close => return Ok(()),
                    End::Hang => {
                        // The client sends nothing more before it has the answer.
                        drop(reader.read_line(&mut String::new()));
                        return Ok(());
                    }
                    End::Repeat => loop {
                        writer.write_all(&reply.body)?;
                    },
                }
            }
            let (status, more, body) = self.answer(&head);
            let method = method.clone();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/octet-stream\r\n{more}\r\n",
                body.len()
            );
            writer.write_all(head.as_bytes())?;
            if method != "HEAD" {
                writer.write_all(&body)?;
            }
            writer.flush()?;
        }
        Ok(())
    }

    /// The status line, further headers and the body.
    fn answer(&self, head: &Head) -> (&'static str, String, Vec<u8>) {
        let Head { method, path, .. } = head;
        let protected = locked(&self.protected);
        let refused = protected.iter().find(|known| {
            path.starts_with(&known.prefix)
                && head.authorization.as_deref() != Some(known.authorization.as_str())
        });
        if let Some(refused) = refused {
            let header = format!("WWW-Authenticate: {}\r\n", refused.challenge);
            return ("401 Unauthorized", header, b"who are you?\n".to_vec());
        }
        if method == "HEAD" && self.no_head.load(Ordering::SeqCst) {
            return ("403 Forbidden", String::new(), Vec::new());
        }
        match self.find(path) {
            _ if method != "GET" && method != "HEAD" => ("405 Method Not Allowed", String::new(), Vec::new()),
            Some(bytes) if head.range.as_deref() == Some("bytes=0-0") && !bytes.is_empty() => {
                let header = format!("Content-Range: bytes 0-0/{}\r\n", bytes.len());
                ("206 Partial Content", header, bytes[..1].to_vec())
            }
            Some(bytes) => ("200 OK", String::new(), bytes),
            None => ("404 Not Found", String::new(), b"not found\n".to_vec()),
        }
    }

    fn find(&self, path: &str) -> Option<Vec<u8>> {
        if let Some(bytes) = locked(&self.files).get(path) {
            return Some(bytes.clone());
        }
        let name = path.strip_prefix('/')?;
        if name.split('/').any(|part| part.is_empty() || part == "..") {
            return None;
        }
        fs::read(self.folder.as_ref()?.join(name)).ok()
    }
}

/// The next request. Its head and body have been read.
fn read_request(reader: &mut BufReader<TcpStream>) -> io::Result<Option<Head>> {
    /// The first byte of a TLS connection.
    const HANDSHAKE: u8 = 22;
    if reader.fill_buf()?.first() == Some(&HANDSHAKE) {
        return Ok(None);
    }
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let path = target.split('?').next().unwrap_or_default();
    let asked = Asked { method: method.to_owned(), target: target.to_owned(), ..Asked::default() };
    let mut head = Head { method: method.to_owned(), path: path.to_owned(), asked, ..Head::default() };
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((key, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        head.asked.headers.insert(key.to_ascii_lowercase(), value.to_owned());
        match key.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "authorization" => head.authorization = Some(value.to_owned()),
            "range" => head.range = Some(value.to_owned()),
            _ => {}
        }
    }
    io::Read::read_to_end(&mut io::Read::take(&mut *reader, length), &mut head.asked.body)?;
    Ok(Some(head))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this")
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn ask(server: &Server, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    #[test]
    fn the_server_answers_counts_and_ends() {
        let server = Server::of([("/a/layer", "bytes")]);
        assert!(ask(&server, "GET", "/a/layer?x=1").ends_with("\r\n\r\nbytes"));
        let head = ask(&server, "HEAD", "/a/layer");
        assert!(head.contains("Content-Length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(ask(&server, "GET", "/b").starts_with("HTTP/1.1 404"));
        assert!(ask(&server, "PUT", "/a/layer").starts_with("HTTP/1.1 405"));
        assert_eq!((server.count("GET", "/a/layer"), server.count("HEAD", "/a/layer")), (1, 1));
        assert_eq!(server.requests().len(), 4);
        let address = server.address();
        drop(server);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_folder_is_served_and_nothing_beside_it() {
        let server = Server::folder(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(ask(&server, "GET", "/Cargo.toml").contains("raas-testkit"));
        assert!(ask(&server, "GET", "/../../Cargo.toml").starts_with("HTTP/1.1 404"));
    }
}
