//! The server's own certificate, and HTTP/2.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use raas_server::{CertificateFiles, Options};
use raas_types::media_type::DOCKER_MANIFEST;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{Folders, Published, Server, soon};

/// Makes a certificate for `acme.localhost`, and puts it where the server looks.
fn issue(folder: &Path) -> CertificateFiles {
    let made = rcgen::generate_simple_self_signed(vec!["acme.localhost".to_owned()]).unwrap();
    let files = CertificateFiles { certificate: folder.join("tls.crt"), key: folder.join("tls.key") };
    fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    fs::write(&files.certificate, made.cert.pem()).unwrap();
    files
}

fn options(files: &CertificateFiles) -> Options {
    let quick = Duration::from_millis(50);
    Options { poll: quick, remote_poll: quick, certificate: Some(files.clone()), ..Options::default() }
}

type Stream = TokioIo<TlsStream<TcpStream>>;

/// Connects for HTTP/2 or HTTP/1, trusting just this certificate.
async fn connect(server: &Server, trusted: &Path, h2: bool) -> Result<Stream, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("acme.localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(TokioIo::new(stream.map_err(|error| error.to_string())?))
}

fn run<T>(client: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(client)
}

/// Asks by HTTP/2 or HTTP/1, trusting just this certificate.
fn ask(server: &Server, trusted: &Path, h2: bool, path: &str) -> Result<(StatusCode, Bytes), String> {
    run(async {
        let stream = connect(server, trusted, h2).await?;
        let uri = format!("https://acme.localhost{path}");
        let request = Request::get(if h2 { uri.as_str() } else { path });
        let request = request.header("host", "acme.localhost").body(Empty::<Bytes>::new()).unwrap();
        let response = if h2 {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        let status = response.status();
        Ok((status, response.into_body().collect().await.unwrap().to_bytes()))
    })
}

fn published() -> (Folders, Published) {
    let folders = Folders::new("acme");
    let mut app = Published::new("app");
    let digest = app.image(DOCKER_MANIFEST, "app", "");
    app.blob(&vec![7; 1_000_000]);
    app.tag("latest", digest);
    folders.publish(&app);
    folders.revision("one");
    (folders, app)
}

#[test]
fn images_are_pulled_over_tls_by_http_1_and_2() {
    let (folders, app) = published();
    let files = issue(folders.bucket().parent().unwrap());
    let server = Server::start_unready(vec![folders.site()], options(&files));
    for h2 in [true, false] {
        let asked = |path: &str| ask(&server, &files.certificate, h2, path).unwrap();
        let (status, manifest) = asked("/v2/app/manifests/latest");
        let digest = raas_types::Digest::of(&manifest);
        assert_eq!((status, app.bytes(&digest)), (StatusCode::OK, manifest.as_ref()));
        let blob = raas_types::Digest::of(&vec![7; 1_000_000]);
        assert_eq!(asked(&format!("/v2/app/blobs/{blob}")).1.len(), 1_000_000);
        assert_eq!(asked("/v2/none/tags/list").0, StatusCode::NOT_FOUND);
    }
}

#[test]
fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let (folders, _) = published();
    let folder = folders.bucket().parent().unwrap().to_owned();
    let files = issue(&folder);
    let server = Server::start_unready(vec![folders.site()], options(&files));
    let first = folder.join("first.crt");
    fs::copy(&files.certificate, &first).unwrap();
    let works = |certificate: &Path| ask(&server, certificate, true, "/v2/").is_ok();
    assert!(works(&first));
    // A key that is not the certificate's, as between two writes; and no key at all.
    for broken in [rcgen::KeyPair::generate().unwrap().serialize_pem(), "nonsense".to_owned()] {
        fs::write(&files.key, broken).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(works(&first));
    }
    issue(&folder);
    assert!(soon(|| works(&files.certificate)));
    assert!(!works(&first));
}

#[test]
fn a_certificate_that_is_none_is_told_at_the_start() {
    let folders = Folders::new("acme");
    let files = CertificateFiles { certificate: "/nonexistent/crt".into(), key: "/nonexistent/key".into() };
    let mut server = Server::start_unready(vec![folders.site()], options(&files));
    let error = server.wait().unwrap_err().to_string();
    assert!(error.contains("/nonexistent/crt"), "{error}");
}

/// What is asked for in HTTP/2, if anything, and held without being read until the connection is over.
fn held(server: &Server, trusted: &Path, path: Option<&str>) -> bool {
    run(async {
        let stream = connect(server, trusted, true).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut answer = None;
        if let Some(path) = path {
            let request = Request::get(format!("https://acme.localhost{path}")).body(Empty::<Bytes>::new());
            answer = Some(sender.send_request(request.unwrap()).await.unwrap());
        }
        // It answers pings all the while.
        let over = tokio::time::timeout(Duration::from_secs(5), connection).await.is_ok();
        drop((answer, sender));
        over
    })
}

#[test]
fn a_client_of_http_2_that_asks_nothing_or_opens_no_window_is_given_up() {
    let (folders, mut app) = published();
    let blob = app.blob(&vec![7; 16 << 20]);
    folders.publish(&app);
    let files = issue(folders.bucket().parent().unwrap());
    let quick = Duration::from_millis(100);
    let options = Options { header_timeout: quick, write_timeout: quick, ..options(&files) };
    let server = Server::start_unready(vec![folders.site()], options);
    assert!(held(&server, &files.certificate, None), "an idle connection stays");
    let path = format!("/v2/app/blobs/{blob}");
    assert!(held(&server, &files.certificate, Some(&path)), "an answer that is not taken stays");
}
