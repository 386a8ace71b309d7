//! The settings of a server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpListener;

use crate::acme::Acme;
use crate::auth::GuessLimit;
use crate::notify::Notify;
use crate::tls::CertificateFiles;

/// How the server behaves. The default is right for all but tests.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often the sites are looked at for changes.
    pub poll: Duration,
    /// How often a bucket is asked for new metadata.
    pub remote_poll: Duration,
    /// How long the server waits at its start for metadata in buckets, before it serves what it has.
    pub patience: Duration,
    /// How long it waits so for a next one when some have come: one that is silent must not hold up the others.
    pub quiet: Duration,
    /// Where what is counted is told, at `/metrics`; nowhere by default, since it names every repository.
    pub metrics: Option<Arc<TcpListener>>,
    /// Who is told of pulls.
    pub notify: Option<Notify>,
    /// How long requests in flight may take when the server stops.
    pub grace: Duration,
    /// How long a client may take to send a request's head, and how long a connection may wait for a request.
    pub header_timeout: Duration,
    /// How long a client may take no byte of what is sent to it.
    pub write_timeout: Duration,
    /// How many connections there are at most; others wait.
    pub max_connections: usize,
    /// The server's own certificates; it speaks plain HTTP without any, behind something that has some. A client is
    /// shown the one of the name that it asks for, or else the first.
    pub certificates: Vec<CertificateFiles>,
    /// A folder of more, each `NAME.crt` with its `NAME.key`, followed as they come and go.
    pub certificate_folder: Option<PathBuf>,
    /// Certificates that the server gets for itself.
    pub acme: Option<Acme>,
    /// The proxies before the server, which are believed where a request comes from.
    pub trusted_proxies: Vec<IpNet>,
    /// How many wrong passwords and tokens an address may bring how fast.
    pub guess_limit: GuessLimit,
}

impl Options {
    /// Whether clients speak TLS to the server.
    pub fn is_secure(&self) -> bool {
        !self.certificates.is_empty() || self.certificate_folder.is_some() || self.acme.is_some()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(200),
            remote_poll: Duration::from_secs(1),
            patience: Duration::from_secs(15),
            quiet: Duration::from_secs(2),
            metrics: None,
            notify: None,
            grace: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            certificates: Vec::new(),
            certificate_folder: None,
            acme: None,
            trusted_proxies: Vec::new(),
            guess_limit: GuessLimit::default(),
        }
    }
}
