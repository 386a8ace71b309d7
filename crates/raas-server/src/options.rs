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

/// The settings of a server. The defaults suit production; tests shorten the times.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often the list of sites, metadata folders and files of users and keys are checked for changes.
    pub poll: Duration,
    /// How often a bucket is asked for new metadata, and how often certificate files are checked.
    pub remote_poll: Duration,
    /// How long the start waits for metadata in buckets. Then the server serves the sites that it has.
    pub start_timeout: Duration,
    /// How long the start waits for the next site when some sites have been tried. One silent bucket must not hold up a
    /// server of many sites.
    pub start_pause: Duration,
    /// The listener for operators: `/metrics`, `/-/healthz` and `/-/readyz`. None by default, because the metrics name
    /// every vendor and repository.
    pub metrics: Option<Arc<TcpListener>>,
    /// The receiver of pull notifications.
    pub notify: Option<Notify>,
    /// How long requests in flight may take when the server stops.
    pub grace: Duration,
    /// How long a client may take to send the head of a request, and how long a connection may wait for its next
    /// request.
    pub header_timeout: Duration,
    /// How long a client may take no byte while bytes are ready for it.
    pub write_timeout: Duration,
    /// The maximal number of open connections. Beyond it, the oldest connection without a complete request is closed for
    /// a new one. If there is none, further clients wait.
    pub max_connections: usize,
    /// The maximal number of open connections of one address, or of a /64 of IPv6. Further ones are closed at once. The
    /// addresses of [`trusted_proxies`](Self::trusted_proxies) have no such limit. None is no limit at all.
    pub max_connections_per_address: Option<usize>,
    /// The most memory that the metadata of one site may take, in bytes: what is served, and what is being loaded beside
    /// it. A site beyond that keeps its last good metadata. A site of 100,000 manifests takes 150 MiB.
    pub site_memory: u64,
    /// The server's own certificates. A client is shown the certificate for the name that it asks for, or the first
    /// one. Without certificates the server speaks plain HTTP.
    pub certificates: Vec<CertificateFiles>,
    /// A folder of further certificates, `NAME.crt` with `NAME.key`. Files may come and go while the server runs.
    pub certificate_folder: Option<PathBuf>,
    /// The certificates that the server obtains for itself.
    pub acme: Option<Acme>,
    /// The networks of proxies that are trusted to name the client's address in `X-Forwarded-For` or `Forwarded`.
    pub trusted_proxies: Vec<IpNet>,
    /// The limit on wrong passwords and tokens of an address.
    pub guess_limit: GuessLimit,
}

impl Options {
    /// Whether the server speaks TLS.
    pub fn is_secure(&self) -> bool {
        !self.certificates.is_empty() || self.certificate_folder.is_some() || self.acme.is_some()
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(200),
            remote_poll: Duration::from_secs(1),
            start_timeout: Duration::from_secs(15),
            start_pause: Duration::from_secs(2),
            metrics: None,
            notify: None,
            grace: Duration::from_secs(30),
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            max_connections_per_address: Some(2_000),
            site_memory: 1024 * 1024 * 1024,
            certificates: Vec::new(),
            certificate_folder: None,
            acme: None,
            trusted_proxies: Vec::new(),
            guess_limit: GuessLimit::default(),
        }
    }
}
