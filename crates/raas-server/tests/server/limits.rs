//! The limits of what one client can use.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use raas_server::Options;

use crate::support::{Folders, Published, Server};

fn connect(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    stream
}

#[test]
fn a_client_that_reads_nothing_is_disconnected() {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    // More than the system buffers for a client that does not read.
    let bytes = vec![7; 64 << 20];
    let blob = app.blob(&bytes);
    folders.publish(&app);
    let options = Options { write_timeout: Duration::from_millis(300), ..Options::default() };
    let server = Server::start_with(vec![folders.site()], options);
    let path = format!("/v2/app/blobs/{blob}");
    let mut stalled = connect(&server, &path);
    // A slow client that reads stays connected.
    let mut slow = connect(&server, &path);
    let (mut piece, mut taken) = (vec![0; 1 << 20], 0);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        taken += slow.read(&mut piece).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    while taken < bytes.len() {
        let read = slow.read(&mut piece).unwrap();
        assert_ne!(read, 0, "the connection ended after {taken} bytes");
        taken += read;
    }
    let mut all = Vec::new();
    // The connection may end with or without a reset.
    let _ = stalled.read_to_end(&mut all);
    assert!(all.len() < bytes.len(), "{} bytes came", all.len());
}

#[test]
fn connections_beyond_the_limit_wait() {
    let folders = Folders::new("acme");
    folders.revision("one");
    let options = Options { max_connections: 2, ..Options::default() };
    let server = Server::start_with(vec![folders.site()], options);
    let mut held: Vec<TcpStream> = (0..2).map(|_| connect(&server, "/v2/")).collect();
    let mut byte = [0];
    for stream in &mut held {
        stream.read_exact(&mut byte).unwrap();
    }
    let mut third = connect(&server, "/v2/");
    third.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(third.read_exact(&mut byte).is_err(), "the third connection waits");
    held.pop();
    third.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    third.read_exact(&mut byte).unwrap();
}

/// Connects, and sends a part of a head.
fn connect_half(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nX").unwrap();
    stream
}

/// Whether the server has closed a connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    // With or without a reset.
    !matches!(stream.read(&mut [0]), Ok(1..))
}

#[test]
fn the_oldest_unfinished_head_goes_first() {
    let folders = Folders::new("acme");
    folders.revision("one");
    let options = Options { max_connections: 4, ..Options::default() };
    let server = Server::start_with(vec![folders.site()], options);
    let mut byte = [0];
    // Two idle connections, and two with unfinished heads.
    let mut idle = connect(&server, "/v2/");
    idle.read_exact(&mut byte).unwrap();
    let mut second = connect(&server, "/v2/");
    second.read_exact(&mut byte).unwrap();
    let mut halves = [connect_half(&server), connect_half(&server)];
    for _ in 0..20 {
        let mut new = connect(&server, "/-/healthz");
        new.read_exact(&mut byte).expect("each new client is answered");
    }
    assert!(halves.iter_mut().all(is_closed));
    for stream in [&mut idle, &mut second] {
        write!(stream, "GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = [0; 2000];
        assert!(stream.read(&mut answer).unwrap() > 0, "connections that have sent requests stay");
    }
}

#[test]
fn an_address_has_a_limited_number_of_connections() {
    let folders = Folders::new("acme");
    folders.revision("one");
    let limited = Options { max_connections_per_address: Some(3), ..Options::default() };
    let proxied = Options { trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()], ..limited.clone() };
    let unlimited = Options { max_connections_per_address: None, ..limited.clone() };
    for (options, is_limited) in [(limited, true), (proxied, false), (unlimited, false)] {
        let server = Server::start_with(vec![folders.site()], options);
        let mut byte = [0];
        let mut held: Vec<TcpStream> = Vec::new();
        for _ in 0..3 {
            let mut stream = connect(&server, "/v2/");
            stream.read_exact(&mut byte).unwrap();
            held.push(stream);
        }
        assert_eq!(is_closed(&mut connect(&server, "/v2/")), is_limited);
        held.pop();
        let begun = Instant::now();
        while is_closed(&mut connect(&server, "/v2/")) {
            assert!(begun.elapsed() < Duration::from_secs(5), "a connection that ends makes room");
        }
    }
}
