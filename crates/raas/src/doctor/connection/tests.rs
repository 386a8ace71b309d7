//! Tests of wrong certificates, names and ports.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::*;

/// A server with a certificate for `localhost` that expires in the given year. It takes this number of connections.
fn server(ends: i32, connections: usize) -> (SocketAddr, CertificateDer<'static>, thread::JoinHandle<()>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(ends, 1, 1);
    let made = params.self_signed(&key).unwrap();
    let root = made.der().clone();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = builder.with_single_cert(vec![root.clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    let server = thread::spawn(move || {
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
            drop(connection.complete_io(&mut stream));
        }
    });
    (address, root, server)
}

/// The check of a server with a certificate for `localhost` that expires in the given year.
fn check_server(name: &str, ends: i32, trusted: bool) -> Check {
    let (address, root, server) = server(ends, 1);
    let roots = if trusted { vec![root] } else { Vec::new() };
    let shown = handshake(name, TcpStream::connect(address).unwrap(), &roots);
    server.join().unwrap();
    check_certificate(name, shown, Utc::of(SystemTime::now()))
}

#[test]
fn each_certificate_error_has_a_fix() {
    let table = [
        (check_server("localhost", 4000, true), Outcome::Ok, "valid until 4000-01-01", ""),
        (check_server("localhost", 2020, true), Outcome::Failed, "has expired", "renew the certificate"),
        (
            check_server("localhost", 4000, false),
            Outcome::Failed,
            "does not trust the issuer",
            "fullchain.pem",
        ),
        (
            check_server("other.localhost", 4000, true),
            Outcome::Failed,
            "is not for other.localhost",
            "alternative names",
        ),
    ];
    for (check, outcome, found, fix) in table {
        assert_eq!(check.outcome, outcome, "{check:?}");
        assert!(check.found.contains(found), "{check:?}");
        assert!(check.fix.unwrap_or_default().contains(fix), "{fix}");
    }
}

#[test]
fn a_certificate_that_expires_soon_is_a_warning() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2030, 1, 11);
    let made = params.self_signed(&key).unwrap();
    let check = check_certificate("x", Ok(vec![made.der().clone()]), "2030-01-01".parse().unwrap());
    assert_eq!(check.outcome, Outcome::Warning);
    assert!(check.found.contains("expires in 10 days, at 2030-01-11"), "{check:?}");
}

/// docker tries TLS first with its own machine too, and accepts any certificate there.
#[test]
fn a_server_on_this_machine_may_speak_tls() {
    // The attempt with TLS, and the check of the connection.
    let (address, _, server) = server(4000, 2);
    let mut checks = Vec::new();
    assert_eq!(
        check(&address.to_string(), false, &mut checks),
        Some(Transport::AnyCertificate),
        "{checks:?}"
    );
    server.join().unwrap();
    let tls = checks.iter().find(|check| check.name == "tls").unwrap();
    assert_eq!(tls.outcome, Outcome::Warning, "{tls:?}");
    assert!(tls.found.contains("docker accepts any certificate"), "{tls:?}");
    // docker reads the folder of the host with its port.
    assert!(tls.fix.as_ref().unwrap().contains(&format!("certs.d/{address}/ca.crt")), "{tls:?}");
    let plain = raas_testkit::http::Server::scripted(|_| raas_testkit::http::Reply::new(200, "{}"));
    assert_eq!(check(&plain.address().to_string(), false, &mut checks), Some(Transport::Plain));
    assert!(!speaks_tls(&plain.address().to_string()));
}

#[test]
fn a_port_with_tls_is_recognised() {
    let (address, _, server) = server(4000, 1);
    assert!(speaks_tls(&address.to_string()));
    server.join().unwrap();
}

#[test]
fn a_server_without_tls_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let check =
        check_certificate("x", handshake("x", TcpStream::connect(address).unwrap(), &[]), Utc::from_unix(0));
    server.join().unwrap();
    assert!(check.found.contains("does not speak TLS"), "{check:?}");
    assert!(check.fix.unwrap().contains("--plain-http"));
}

#[test]
fn an_unknown_name_and_a_closed_port_are_reported() {
    let mut checks = Vec::new();
    assert_eq!(check("nowhere.invalid", false, &mut checks), None);
    assert!(checks[0].found.contains("nowhere.invalid cannot be resolved"), "{checks:?}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    checks.clear();
    assert_eq!(check(&closed.to_string(), false, &mut checks), None);
    assert!(checks[1].outcome == Outcome::Failed && checks[1].fix.is_some(), "{checks:?}");
}
