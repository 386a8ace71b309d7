//! `raas push --from https://…`: where a download may be redirected to.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use raas_testkit::http;
use raas_testkit::oci::Layout;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::sandbox::{Sandbox, succeeded};

/// A web server with TLS at the name `localhost`, until the test ends. It answers each path with a redirect or an archive.
struct SecureServer {
    address: SocketAddr,
    /// The certificate, for clients to trust.
    certificate: PathBuf,
}

impl SecureServer {
    fn start(sandbox: &Sandbox, answer: impl Fn(&str) -> Result<Vec<u8>, String> + Send + 'static) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
        let certificate = sandbox.write("server.pem", made.cert.pem()).into();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // The thread ends with the program of the tests.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = BufReader::new(StreamOwned::new(session, stream));
                let mut request = String::new();
                while !request.ends_with("\r\n\r\n") && stream.read_line(&mut request).is_ok_and(|n| n > 0) {}
                let reply = match answer(request.split(' ').nth(1).unwrap_or_default()) {
                    Ok(body) => {
                        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", body.len());
                        [format!("{head}Connection: close\r\n\r\n").into_bytes(), body].concat()
                    }
                    Err(location) => {
                        let head = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n");
                        format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
                    }
                };
                let stream = stream.get_mut();
                // A client that refuses the answer closes the connection.
                drop(stream.write_all(&reply));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        });
        Self { address, certificate }
    }

    fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }
}

#[test]
fn a_download_over_tls_never_goes_on_without() {
    let sandbox = Sandbox::new();
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    layout.tag(&image, "1.0");
    let plain = http::Server::of([("/app.tar", layout.tar())]);
    let (to, archive) = (plain.url("/app.tar"), layout.tar());
    let server = SecureServer::start(&sandbox, move |path| match path {
        "/app.tar" => Ok(archive.clone()),
        "/moved.tar" => Err("/app.tar".into()),
        _ => Err(to.clone()),
    });
    let push = |path: &str| {
        let mut command = sandbox.command(&["push", "acme", "app", "--from", &server.url(path)]);
        command.env("SSL_CERT_FILE", &server.certificate).output().unwrap()
    };
    let refused = push("/insecure.tar");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("it redirects from https to http"), "{said}");
    assert_eq!(plain.count("GET", "/app.tar"), 0);
    assert!(!sandbox.home().join("acme").exists(), "nothing was published");
    // The same archive is taken over TLS.
    succeeded(&push("/moved.tar"));
}
