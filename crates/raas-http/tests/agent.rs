//! What the blocking client sends and takes, against scripted servers.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use raas_http::{Agent, AgentOptions, ClientOptions, ForwardProxies};
use raas_testkit::http::{Asked, Reply, Server};

fn agent_with(variables: &[(&str, &str)]) -> Agent {
    let read =
        |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
    let proxies = Arc::new(ForwardProxies::from_variables(&read).unwrap());
    Agent::new(AgentOptions {
        client: ClientOptions { proxies, ..ClientOptions::default() },
        ..AgentOptions::default()
    })
}

fn agent() -> Agent {
    agent_with(&[])
}

fn text(agent: &Agent, url: &str) -> String {
    let body = agent.get(url).call().unwrap().into_body().read_all(1000).unwrap();
    String::from_utf8(body).unwrap()
}

/// The head of a request, in small letters.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

#[test]
fn an_answer_has_status_headers_and_body() {
    let server = Server::scripted(|asked: &Asked| Reply::new(404, format!("no {}", asked.target)));
    let answer = agent().get(&server.url("/x?y")).call().unwrap();
    assert_eq!((answer.status().as_u16(), answer.content_length()), (404, Some(7)));
    assert_eq!(answer.into_body().read_all(7).unwrap(), b"no /x?y");
    let answer = agent().get(&server.url("/x?y")).call().unwrap();
    assert!(answer.into_body().read_all(6).unwrap_err().to_string().contains("more than 6 bytes"));
}

#[test]
fn redirects_are_followed_up_to_a_number() {
    let server = Server::scripted(|asked: &Asked| match asked.target.as_str() {
        "/a" => Reply::new(302, "").with("location", "/b"),
        "/round" => Reply::new(307, "").with("location", "/round"),
        _ => Reply::new(200, "there"),
    });
    let answer = agent().get(&server.url("/a")).call().unwrap();
    assert_eq!(answer.url().path(), "/b");
    let error = agent().get(&server.url("/round")).call().unwrap_err().to_string();
    assert!(error.contains("more than 10 redirects"), "{error}");
    let still = Agent::new(AgentOptions { redirects: 0, ..AgentOptions::default() });
    assert_eq!(still.get(&server.url("/a")).call().unwrap().status(), 302);
}

#[test]
fn plain_http_goes_to_the_proxy_with_its_whole_url() {
    let proxy = Server::scripted(|asked: &Asked| {
        let login = asked.headers.get("proxy-authorization").cloned().unwrap_or("nobody".into());
        Reply::new(200, format!("{} {login}", asked.target))
    });
    let address = proxy.address().to_string();
    let agent =
        agent_with(&[("http_proxy", &format!("http://jane:secret@{address}")), ("no_proxy", "127.0.0.1")]);
    assert_eq!(
        text(&agent, "http://registry.invalid/v2/?x"),
        "http://registry.invalid/v2/?x Basic amFuZTpzZWNyZXQ="
    );
    // What is asked directly carries no login of the proxy.
    assert_eq!(text(&agent, &proxy.url("/direct")), "/direct nobody");
}

#[test]
fn https_goes_through_a_tunnel() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let proxy = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let head = read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").unwrap();
        head
    });
    let agent = agent_with(&[("https_proxy", &format!("http://jane:secret@{address}"))]);
    let error = agent.get("https://registry.invalid/v2/").call().unwrap_err().to_string();
    let head = proxy.join().unwrap();
    assert!(head.starts_with("connect registry.invalid:443 http/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: basic "), "{head}");
    assert!(error.contains(&format!("through the proxy http://{address}/")), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn a_body_that_falls_silent_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
        // Until the client has gone.
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
    });
    let options = AgentOptions { silence: Duration::from_millis(50), ..AgentOptions::default() };
    let mut body = Agent::new(options).get(&format!("http://{address}/")).call().unwrap().into_body();
    let mut half = [0; 4];
    body.read_exact(&mut half).unwrap();
    assert_eq!(body.read(&mut half).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
}

#[test]
fn a_connection_that_breaks_in_a_body_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").unwrap();
    });
    let body = agent().get(&format!("http://{address}/")).call().unwrap().into_body();
    body.read_all(100).unwrap_err();
}

#[test]
fn nobody_is_asked_at_an_address_without_a_server() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = agent().get(&format!("http://{address}/?token=hunter2")).call().unwrap_err().to_string();
    assert!(error.contains("refused") && !error.contains("hunter2"), "{error}");
}
