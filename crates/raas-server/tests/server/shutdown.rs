//! Shutdown, and aborted transfers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use raas_server::Options;

use crate::support::{Folders, Published, Server};

/// More than the buffers of a connection hold, so that the server is still sending when it must stop.
const SIZE: usize = 32 * 1024 * 1024;

fn big_site() -> (Folders, String, Vec<u8>) {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let period: Vec<u8> = (0..251).collect();
    let mut bytes = period.repeat(SIZE.div_ceil(period.len()));
    bytes.truncate(SIZE);
    let digest = app.blob(&bytes);
    folders.publish(&app);
    (folders, format!("/v2/app/blobs/{digest}"), bytes)
}

fn begin(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stream
}

#[test]
fn a_blob_in_flight_is_sent_to_its_end() {
    let (folders, path, bytes) = big_site();
    let mut server = Server::start(vec![folders.site()]);
    let idle = TcpStream::connect(server.address).unwrap();
    let mut stream = begin(&server, &path);
    server.stop();
    // The listener is closed now.
    let start = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(5), "still listening");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&bytes), "the blob arrives whole");
    server.wait().unwrap();
    drop(idle);
}

#[test]
fn an_incomplete_head_delays_the_shutdown_only_briefly() {
    let folders = Folders::new("acme");
    let mut server = Server::start(vec![folders.site()]);
    let mut held: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    for stream in &mut held[..2] {
        stream.write_all(b"GET /v2/ HT").unwrap();
    }
    // The connections above are accepted before a later one is answered.
    assert_eq!(server.get("/v2/").status, 200);
    let start = Instant::now();
    server.stop();
    // One head becomes complete after all.
    held[0].write_all(b"TP/1.1\r\nhost: x\r\n\r\n").unwrap();
    server.wait().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "the server must not wait for the head");
    let mut answer = String::new();
    held[0].read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn a_client_that_sends_an_unread_body_gets_its_answer() {
    let folders = Folders::new("acme");
    let server = Server::start(vec![folders.site()]);
    // More than the system buffers, so that a server that does not read would reset the connection.
    let body = vec![0; 8 * 1024 * 1024];
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "POST /v2/app/blobs/uploads/ HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("UNSUPPORTED"), "{answer}");
}

#[test]
fn a_client_that_reads_nothing_delays_the_shutdown_by_the_grace_period() {
    let (folders, path, _) = big_site();
    let options = Options { grace: Duration::from_millis(300), ..Options::default() };
    let mut server = Server::start_with(vec![folders.site()], options);
    let stream = begin(&server, &path);
    let start = Instant::now();
    server.stop();
    server.wait().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10));
    drop(stream);
}

#[test]
fn a_client_that_sends_no_request_is_disconnected() {
    let folders = Folders::new("acme");
    let options = Options { header_timeout: Duration::from_millis(200), ..Options::default() };
    let server = Server::start_with(vec![folders.site()], options);
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    slow.write_all(b"GET /v2/ HTTP/1.1\r\nhost:").unwrap();
    let mut rest = Vec::new();
    // The connection may end with or without a reset.
    let _ = slow.read_to_end(&mut rest);
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_truncated_file_breaks_the_connection() {
    let (folders, path, bytes) = big_site();
    let server = Server::start(vec![folders.site()]);
    let mut stream = begin(&server, &path);
    let key = path.replace("/v2/app/", "app/_v2/");
    let file = std::fs::File::options().write(true).open(folders.bucket().join(key)).unwrap();
    file.set_len(1024).unwrap();
    let mut rest = Vec::new();
    // The connection ends, with or without a reset, before all bytes have arrived.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < bytes.len());
    assert_eq!(server.get("/-/healthz").status, 200);
}
