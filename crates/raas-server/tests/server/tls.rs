//! The server's certificates, and HTTP/2.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use raas_server::{Acme, CertificateFiles, Options};
use raas_types::media_type::DOCKER_MANIFEST;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{self, Folders, Published, Server, soon};

/// Writes a certificate for a name into the folder that the server follows.
pub(crate) fn issue(folder: &Path, name: &str) -> CertificateFiles {
    let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
    let file = |end: &str| folder.join(format!("{name}.{end}"));
    let files = CertificateFiles { certificate: file("crt"), key: file("key") };
    fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    fs::write(&files.certificate, made.cert.pem()).unwrap();
    files
}

fn options(files: &CertificateFiles) -> Options {
    let quick = Duration::from_millis(50);
    Options { poll: quick, remote_poll: quick, certificates: vec![files.clone()], ..Options::default() }
}

/// A status and a body.
pub(crate) type StatusAndBody = (u16, String);

type Identity = Option<(Vec<CertificateDer<'static>>, Arc<PrivateKeyDer<'static>>)>;

/// Trusts exactly this certificate for any name, to test which certificate is shown.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *shown == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("another certificate is shown".to_owned()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &ALGORITHMS)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ALGORITHMS.supported_schemes()
    }
}

static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> =
    LazyLock::new(|| ring::default_provider().signature_verification_algorithms);

type Stream = TokioIo<TlsStream<TcpStream>>;

/// Connects with HTTP/2 or HTTP/1. Trusts only this certificate.
async fn connect(
    server: &Server,
    trusted: &Path,
    h2: bool,
    sni: &str,
    identity: Identity,
) -> Result<Stream, String> {
    let trusted = CertificateDer::from_pem_file(trusted).map_err(|error| error.to_string())?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned(trusted)));
    let mut config = match identity {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key.clone_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![if h2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let stream = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    Ok(TokioIo::new(stream.map_err(|error| error.to_string())?))
}

fn run<T>(client: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(client)
}

/// Sends a request with HTTP/2 or HTTP/1. Trusts only this certificate.
fn ask(server: &Server, trusted: &Path, h2: bool, path: &str) -> Result<(StatusCode, Bytes), String> {
    ask_of(server, trusted, h2, "acme.localhost", "acme.localhost", None, (path, None))
}

/// Like `ask`, with separate names for the connection and the request, and a client certificate.
pub(crate) fn ask_with(
    server: &Server,
    trusted: &Path,
    h2: bool,
    sni: &str,
    host: &str,
    identity: Identity,
    path: &str,
) -> Result<StatusAndBody, String> {
    let (status, body) = ask_of(server, trusted, h2, sni, host, identity, (path, None))?;
    Ok((status.as_u16(), String::from_utf8(body.to_vec()).unwrap()))
}

/// As [`ask_with`] by HTTP/2 for one host, with an `Authorization` header.
pub(crate) fn ask_with_login(
    server: &Server,
    trusted: &Path,
    host: &str,
    identity: Identity,
    path: &str,
    authorization: &str,
) -> StatusAndBody {
    let (status, body) =
        ask_of(server, trusted, true, host, host, identity, (path, Some(authorization))).unwrap();
    (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

fn ask_of(
    server: &Server,
    trusted: &Path,
    h2: bool,
    sni: &str,
    host: &str,
    identity: Identity,
    (path, authorization): (&str, Option<&str>),
) -> Result<(StatusCode, Bytes), String> {
    run(async {
        let stream = connect(server, trusted, h2, sni, identity).await?;
        let uri = format!("https://{host}{path}");
        let request = Request::get(if h2 { uri.as_str() } else { path });
        let mut request = request.header("host", host).body(Empty::<Bytes>::new()).unwrap();
        if let Some(value) = authorization {
            request.headers_mut().insert("authorization", value.try_into().unwrap());
        }
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
    let files = issue(folders.bucket().parent().unwrap(), "acme.localhost");
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
fn a_client_without_a_handshake_delays_the_shutdown_only_briefly() {
    let (folders, _) = published();
    let files = issue(folders.bucket().parent().unwrap(), "acme.localhost");
    let mut server = Server::start_unready(vec![folders.site()], options(&files));
    let silent = std::net::TcpStream::connect(server.address).unwrap();
    // The connection above is accepted before a later one is answered.
    assert!(ask(&server, &files.certificate, false, "/v2/").is_ok());
    let start = Instant::now();
    server.stop();
    server.wait().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "the server must not wait for the handshake");
    drop(silent);
}

/// A server whose certificate is about to be replaced.
struct Replaced {
    /// What it serves and its certificate.
    folders: Folders,
    files: CertificateFiles,
    server: Server,
    /// A copy of the first certificate.
    first: PathBuf,
}

impl Replaced {
    fn start() -> Self {
        let (folders, _) = published();
        let files = issue(folders.bucket().parent().unwrap(), "acme.localhost");
        let server = Server::start_unready(vec![folders.site()], options(&files));
        let first = files.certificate.with_file_name("first.crt");
        fs::copy(&files.certificate, &first).unwrap();
        Self { folders, files, server, first }
    }
}

#[test]
fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let Replaced { folders, files, server, first } = Replaced::start();
    let works = |certificate: &Path| ask(&server, certificate, true, "/v2/").is_ok();
    assert!(works(&first));
    // The key of another certificate, as between two writes, and no key at all.
    for broken in [rcgen::KeyPair::generate().unwrap().serialize_pem(), "nonsense".to_owned()] {
        fs::write(&files.key, broken).unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(works(&first));
    }
    issue(folders.bucket().parent().unwrap(), "acme.localhost");
    assert!(soon(|| works(&files.certificate)));
    assert!(!works(&first));
}

#[test]
fn an_expired_certificate_is_shown_only_without_a_valid_one() {
    let Replaced { folders, files, server, first } = Replaced::start();
    let works = |server: &Server, certificate: &Path| ask(server, certificate, true, "/v2/").is_ok();
    assert!(works(&server, &first));
    let mut params = rcgen::CertificateParams::new(vec!["acme.localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2019, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(works(&server, &first));
    let another = Server::start_unready(vec![folders.site()], options(&files));
    assert!(works(&another, &files.certificate));
    issue(folders.bucket().parent().unwrap(), "acme.localhost");
    for server in [&server, &another] {
        assert!(soon(|| works(server, &files.certificate)));
    }
}

#[test]
fn an_invalid_certificate_is_an_error_at_the_start() {
    let folders = Folders::new("acme");
    let files = CertificateFiles { certificate: "/nonexistent/crt".into(), key: "/nonexistent/key".into() };
    let mut server = Server::start_unready(vec![folders.site()], options(&files));
    let error = server.wait().unwrap_err().to_string();
    assert!(error.contains("/nonexistent/crt"), "{error}");
}

#[test]
fn each_name_has_its_certificate_and_a_folder_is_followed() {
    let (folders, _) = published();
    let root = folders.bucket().parent().unwrap().to_owned();
    let (first, second) = (issue(&root, "acme.localhost"), issue(&root, "two.example.com"));
    let folder = root.join("certificates");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("broken.crt"), "nonsense").unwrap();
    fs::write(folder.join("broken.key"), "nonsense").unwrap();
    let quick = Duration::from_millis(50);
    let options = Options {
        poll: quick,
        remote_poll: quick,
        certificates: vec![first.clone(), second.clone()],
        certificate_folder: Some(folder.clone()),
        ..Options::default()
    };
    let server = Server::start_unready(vec![folders.site()], options);
    let shown = |sni: &str, files: &CertificateFiles| {
        let host = "acme.localhost";
        ask_with(&server, &files.certificate, true, sni, host, None, "/v2/").is_ok_and(|asked| asked.0 == 200)
    };
    assert!(shown("acme.localhost", &first) && shown("two.example.com", &second));
    assert!(shown("three.example.com", &first), "an unknown name gets the first certificate");
    let third = issue(&folder, "three.example.com");
    assert!(soon(|| shown("three.example.com", &third)));
    fs::remove_file(&third.key).unwrap();
    assert!(soon(|| shown("three.example.com", &first)));
}

#[test]
fn the_server_runs_without_the_authority_and_counts_failures() {
    let (folders, _) = published();
    let root = folders.bucket().parent().unwrap().to_owned();
    let own = issue(&root, "acme.localhost");
    // Nothing listens there any longer.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let acme = |domain: &str| Acme {
        domains: vec![domain.to_owned()],
        email: None,
        folder: root.join("acme"),
        directory: format!("https://{gone}/dir"),
        ca: Some(own.certificate.clone()),
        pause: Duration::from_millis(10),
    };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let operators = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener).unwrap()
    };
    let mut with = options(&own);
    with.metrics = Some(Arc::new(listener));
    with.acme = Some(acme("registry.example.com"));
    let server = Server::start_unready(vec![folders.site()], with);
    assert!(ask(&server, &own.certificate, true, "/v2/").is_ok());
    let told = || support::ask(operators, "GET", "/metrics", &[]).text().to_owned();
    let failures = "raas_certificate_failures_total{name=\"registry.example.com\"}";
    let failed = |line: &str| line.strip_prefix(failures).is_some_and(|number| number != " 0");
    assert!(soon(|| told().lines().any(failed)));
    let text = told();
    let ends = "raas_certificate_expiry_timestamp_seconds{name=\"";
    assert!(text.contains(&format!("{ends}acme.localhost\"}} 67090118400\n")), "{text}");
    let begins = "raas_certificate_not_before_timestamp_seconds{name=\"acme.localhost\"} 157766400\n";
    assert!(text.contains(begins), "{text}");
    assert!(!text.contains(&format!("{ends}registry")), "the placeholder is not counted: {text}");
    drop(server);
    // An invalid name and an unwritable folder are errors at the start.
    for (acme, reason) in [
        (acme("../x.y"), "../x.y"),
        (Acme { folder: own.key.clone(), ..acme("a.example.com") }, "acme.localhost.key"),
        (Acme { directory: "nonsense".into(), ..acme("a.example.com") }, "directory"),
        (Acme { ca: Some(own.key.clone()), ..acme("a.example.com") }, "acme.localhost.key"),
    ] {
        let with = Options { acme: Some(acme), ..Options::default() };
        let error = Server::start_unready(vec![folders.site()], with).wait().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

/// Requests a path with HTTP/2, or nothing, and does not read. Whether the server closes the connection.
fn held(server: &Server, trusted: &Path, path: Option<&str>) -> bool {
    run(async {
        let stream = connect(server, trusted, true, "acme.localhost", None).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut answer = None;
        if let Some(path) = path {
            let request = Request::get(format!("https://acme.localhost{path}")).body(Empty::<Bytes>::new());
            answer = Some(sender.send_request(request.unwrap()).await.unwrap());
        }
        // The client answers pings all the time.
        let over = tokio::time::timeout(Duration::from_secs(5), connection).await.is_ok();
        drop((answer, sender));
        over
    })
}

#[test]
fn an_http_2_client_without_requests_or_window_is_disconnected() {
    let (folders, mut app) = published();
    let blob = app.blob(&vec![7; 16 << 20]);
    folders.publish(&app);
    let files = issue(folders.bucket().parent().unwrap(), "acme.localhost");
    let quick = Duration::from_millis(100);
    let options = Options { header_timeout: quick, write_timeout: quick, ..options(&files) };
    let server = Server::start_unready(vec![folders.site()], options);
    assert!(held(&server, &files.certificate, None), "an idle connection must be closed");
    let path = format!("/v2/app/blobs/{blob}");
    assert!(
        held(&server, &files.certificate, Some(&path)),
        "a connection with an unread answer must be closed"
    );
}

#[test]
fn a_handshake_in_progress_is_finished_during_the_shutdown() {
    let (folders, _) = published();
    let files = issue(folders.bucket().parent().unwrap(), "acme.localhost");
    let mut server = Server::start_unready(vec![folders.site()], options(&files));
    assert!(ask(&server, &files.certificate, false, "/v2/").is_ok());
    let pinned = CertificateDer::from_pem_file(&files.certificate).unwrap();
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(pinned)))
        .with_no_client_auth();
    let name = ServerName::try_from("acme.localhost").unwrap();
    let mut tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(&hello[..50]).unwrap();
    // The connection above is accepted, and its handshake begun, before a later one is answered.
    assert!(ask(&server, &files.certificate, false, "/v2/").is_ok());
    server.stop();
    let start = Instant::now();
    while std::net::TcpStream::connect(server.address).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(5), "still listening");
        std::thread::sleep(Duration::from_millis(10));
    }
    stream.write_all(&hello[50..]).unwrap();
    let mut answer = String::new();
    let mut stream = rustls::Stream::new(&mut tls, &mut stream);
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nhost: acme.localhost\r\n\r\n").unwrap();
    // A server that closes without a farewell is an error to rustls, and the answer is there.
    drop(stream.read_to_string(&mut answer));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.wait().unwrap();
}
