//! Certificates, names and ports that are not as they should be.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::*;
use crate::status::Outcome;

/// Shakes hands with a server that has a certificate for `localhost` that ends in this year.
fn shake(name: &str, ends: i32, trusted: bool) -> Check {
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
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        while connection.is_handshaking() && connection.complete_io(&mut stream).is_ok() {}
        drop(connection.complete_io(&mut stream));
    });
    let roots = if trusted { vec![root] } else { Vec::new() };
    let shown = handshake(name, TcpStream::connect(address).unwrap(), &roots);
    server.join().unwrap();
    judge(name, shown, Utc::of(SystemTime::now()))
}

#[test]
fn what_is_wrong_with_a_certificate_is_told_with_its_fix() {
    let table = [
        (shake("localhost", 4000, true), Outcome::Ok, "good until 4000-01-01", ""),
        (shake("localhost", 2020, true), Outcome::Failed, "has expired", "renew it"),
        (
            shake("localhost", 4000, false),
            Outcome::Failed,
            "nobody whom this machine trusts",
            "fullchain.pem",
        ),
        (
            shake("other.localhost", 4000, true),
            Outcome::Failed,
            "is not of other.localhost",
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
fn a_certificate_that_ends_soon_is_a_warning() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = date_time_ymd(2030, 1, 11);
    let made = params.self_signed(&key).unwrap();
    let check = judge("x", Ok(vec![made.der().clone()]), "2030-01-01".parse().unwrap());
    assert_eq!(check.outcome, Outcome::Warning);
    assert!(check.found.contains("ends in 10 days, at 2030-01-11"), "{check:?}");
}

#[test]
fn what_speaks_no_tls_is_told_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let check = judge("x", handshake("x", TcpStream::connect(address).unwrap(), &[]), Utc::from_unix(0));
    server.join().unwrap();
    assert!(check.found.contains("speaks no TLS"), "{check:?}");
    assert!(check.fix.unwrap().contains("--plain-http"));
}

#[test]
fn a_name_or_a_port_that_is_not_there_is_told() {
    let mut checks = Vec::new();
    assert_eq!(check("nowhere.invalid", false, &mut checks), None);
    assert!(checks[0].found.contains("nowhere.invalid cannot be resolved"), "{checks:?}");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    checks.clear();
    assert_eq!(check(&closed.to_string(), false, &mut checks), None);
    assert!(checks[1].outcome == Outcome::Failed && checks[1].fix.is_some(), "{checks:?}");
}
