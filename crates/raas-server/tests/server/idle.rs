//! Connections that stay open without requests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use raas_server::Options;

use crate::support::{Folders, Server};

/// The end of the answer to one request, whose body is `{}`.
const LAST: &[u8] = b"\r\n\r\n{}";

fn answered(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    while !answer.ends_with(LAST) {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap() == 0 {
            return false;
        }
        answer.push(byte[0]);
    }
    answer.starts_with(b"HTTP/1.1 200")
}

/// A connection on which a request was answered.
fn connect(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    assert!(answered(&mut stream));
    stream
}

#[test]
fn an_idle_connection_continues_where_it_was() {
    let folders = Folders::new("acme");
    // A connection is idle after one or two tenths of a second.
    let options = Options { header_timeout: Duration::from_millis(400), ..Options::default() };
    let server = Server::start_with(vec![folders.site()], options);
    let (mut whole, mut half, mut two) = (connect(&server), connect(&server), connect(&server));
    half.write_all(b"GET /v2/ HTTP/1.1\r\nho").unwrap();
    sleep(Duration::from_millis(250));
    whole.write_all(b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    half.write_all(b"st: x\r\n\r\n").unwrap();
    two.write_all(&b"GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n".repeat(2)).unwrap();
    assert!(answered(&mut whole), "a request after the idle time");
    assert!(answered(&mut half), "a request that began before the idle time");
    assert!(answered(&mut two) && answered(&mut two), "two requests at once after the idle time");
    // Without another byte, and with an incomplete head.
    half.write_all(b"GET /v2/ HTTP").unwrap();
    assert!(!answered(&mut whole) && !answered(&mut half) && !answered(&mut two));
}

#[test]
fn a_connection_without_a_next_request_times_out() {
    let folders = Folders::new("acme");
    let options = Options { header_timeout: Duration::from_secs(2), ..Options::default() };
    let server = Server::start_with(vec![folders.site()], options);
    let mut stream = connect(&server);
    let asked = Instant::now();
    assert!(!answered(&mut stream));
    // Neither early nor twice as late.
    let lived = asked.elapsed();
    assert!(lived > Duration::from_millis(1900) && lived < Duration::from_millis(3900), "{lived:?}");
}
