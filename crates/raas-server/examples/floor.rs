//! The floor of serving: a loop of epoll that reads a request, writes the same bytes each time, and does nothing else.
//! `just bench-serve` compares the server with it.
//!
//! usage: floor PORT FILE, where the file is a whole answer, with its head

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);
const EMPTY_LINE: &[u8] = b"\r\n\r\n";

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().and_then(|port| port.parse::<u16>().ok()).unwrap_or(0);
    let answer = std::fs::read(arguments.next().unwrap_or_default())?;
    let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut events, mut connections) = (Events::with_capacity(1024), HashMap::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
            } else if let Some(stream) = connections.get_mut(&event.token().0)
                && respond(stream, &answer).is_err()
            {
                connections.remove(&event.token().0);
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut HashMap<usize, TcpStream>,
) -> io::Result<()> {
    loop {
        match listener.accept() {
            Ok((mut stream, _)) => {
                stream.set_nodelay(true)?;
                let token = connections.keys().max().map_or(0, |last| last + 1);
                poll.registry().register(&mut stream, Token(token), Interest::READABLE)?;
                connections.insert(token, stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Answers what has come. A read that does not fill the buffer has emptied the socket, so the next request is an event.
fn respond(stream: &mut TcpStream, answer: &[u8]) -> io::Result<()> {
    let mut request = [0; 16 * 1024];
    match stream.read(&mut request) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(length) if request[..length].ends_with(EMPTY_LINE) => stream.write_all(answer),
        Ok(_) => Err(ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}
