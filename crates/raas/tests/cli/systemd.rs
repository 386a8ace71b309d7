//! `raas serve` under systemd: its socket, its state and its watchdog.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use raas_testkit::pulp2::Export;

use crate::sandbox::{Sandbox, Server};

/// A home with a published image.
fn published() -> Sandbox {
    let sandbox = Sandbox::new();
    let path = sandbox.write("app.tar", Export::chain("app", 2).tar());
    sandbox.ok(&["push", "acme", "app", "--from", &path]);
    sandbox
}

/// A command that gives a program this socket as systemd does: as descriptor 3, with `LISTEN_FDS` and `LISTEN_PID`.
fn with_socket(sandbox: &Sandbox, socket: &TcpListener, sockets: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    sandbox.contain(&mut command);
    let script = "exec 3<&0 4<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"";
    command
        .args(["-c", script, "sh", env!("CARGO_BIN_EXE_raas")])
        .args(arguments)
        .env("LISTEN_FDS", sockets)
        .stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command
}

#[test]
fn the_socket_of_systemd_takes_the_place_of_listen() {
    let sandbox = published();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // Port 1 is no port that a test could listen on, so a server that would try fails.
    let arguments = ["serve", "acme", "--listen", "127.0.0.1:1"];
    let ask = |mut client: TcpStream| {
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        client.write_all(b"GET /v2/ HTTP/1.1\r\nHost: acme\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    };
    let first = Server::started(with_socket(&sandbox, &socket, "1", &arguments));
    assert_eq!(first.address, address);
    ask(TcpStream::connect(address).unwrap());
    assert_eq!(first.stop(), Some(0));
    // Between two servers a client waits in the queue of the socket.
    let client = TcpStream::connect(address).unwrap();
    let _second = Server::started(with_socket(&sandbox, &socket, "1", &arguments));
    ask(client);
}

#[test]
fn two_sockets_are_refused() {
    let sandbox = published();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = with_socket(&sandbox, &socket, "2", &["serve", "acme"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{error}");
    assert!(error.contains("cannot use the socket of systemd"), "{error}");
    assert!(error.contains("systemd hands over 2 sockets, not one"), "{error}");
}

#[test]
fn systemd_is_told_when_the_server_answers_lives_and_stops() {
    let sandbox = published();
    let path = sandbox.path("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let next = || {
        let mut message = [0; 1024];
        let length = told.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let mut command = sandbox.command(&["serve", "acme", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "100000");
    let mut server = Server::started(command);
    let mut messages = Vec::new();
    // The watchdog runs while the server loads metadata too.
    while !messages.iter().any(|message: &String| message.starts_with("READY=1\n")) {
        messages.push(next());
    }
    let ready = format!("READY=1\nSTATUS=Serving acme on http://{}\n", server.address);
    assert_eq!(messages.pop().unwrap(), ready);
    assert_eq!(next(), "WATCHDOG=1\n");
    assert_eq!(next(), "WATCHDOG=1\n");
    server.signal();
    let stopping = loop {
        match next() {
            message if message == "WATCHDOG=1\n" => {}
            other => break other,
        }
    };
    assert_eq!(stopping, "STOPPING=1\nSTATUS=stopping after the requests in flight\n");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}
