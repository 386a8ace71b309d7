//! The settings of a server.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ipnet::IpNet;
use raas_http::ForwardProxies;
use tokio::net::TcpListener;

use crate::acme::Acme;
use crate::auth::{GuessLimit, TokenKey};
use crate::notify::Notify;
use crate::origin::BaseUrl;
use crate::tls::CertificateFiles;
use crate::traces::Traces;

/// The settings of a server. The defaults suit production; tests shorten the times.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often the list of sites, metadata folders and files of users and keys are checked for changes.
    pub poll: Duration,
    /// How often a bucket is asked for new metadata, and how often certificate files are checked.
    pub remote_poll: Duration,
    /// How often a bucket of a vendor with customers is asked, if that is more often. A revoked key must be refused
    /// everywhere within a second, and reading the change takes some of it.
    pub customers_poll: Duration,
    /// How long the start waits for metadata in buckets. Then the server serves the sites that it has.
    pub start_timeout: Duration,
    /// How long the start waits for the next site when some sites have been tried. One silent bucket must not hold up a
    /// server of many sites.
    pub start_pause: Duration,
    /// The listener for operators: `/metrics`, `/-/sites`, `/-/healthz` and `/-/readyz`. None by default, because the metrics name
    /// every vendor and repository.
    pub metrics: Option<Arc<TcpListener>>,
    /// The receiver of pull notifications.
    pub notify: Option<Notify>,
    /// The receiver of notifications of publications.
    pub notify_publications: Option<Notify>,
    /// Who receives what takes long. None by default: then no work is measured for it.
    pub traces: Option<Traces>,
    /// How long the server still accepts connections after it was told to stop. Meanwhile it is not ready, so that a
    /// load balancer sends new clients elsewhere.
    pub drain_delay: Duration,
    /// How long requests in flight may take when the server stops, after the drain delay.
    pub grace: Duration,
    /// How long a client that has sent no request yet may take for its first one when the server stops.
    pub first_request: Duration,
    /// How long a client may take to send the head of a request, and how long a connection may wait for its next
    /// request.
    pub header_timeout: Duration,
    /// How long a client may take no byte while bytes are ready for it.
    pub write_timeout: Duration,
    /// The maximal number of open connections. Beyond it, the oldest connection without a complete request is closed
    /// for a new one. If there is none, further clients wait.
    pub max_connections: usize,
    /// The maximal number of open connections of one address, or of a /64 of IPv6. Further ones are closed at once. The
    /// addresses of [`trusted_proxies`](Self::trusted_proxies) have no such limit. None is no limit at all.
    pub max_connections_per_address: Option<usize>,
    /// The most memory that the metadata of one site may take, in bytes: what is served, and what is being loaded
    /// beside it. A site beyond that keeps its last good metadata. A site of 100,000 manifests takes 150 MiB.
    pub site_memory: u64,
    /// Whether a bucket's pointer to an earlier publication is followed. raas itself never writes such a pointer: a
    /// rollback is a new publication too. A bucket that was restored from a backup has such a pointer.
    pub allow_rollback: bool,
    /// A folder in which the server notes the number of each vendor's last publication, so that it follows no earlier one
    /// after a restart either. Without it, a server that has just started follows whatever a bucket has.
    pub state: Option<PathBuf>,
    /// The server's own certificates. A client is shown the certificate for the name that it asks for, or the first
    /// one. Without certificates the server speaks plain HTTP.
    pub certificates: Vec<CertificateFiles>,
    /// A folder of further certificates, `NAME.crt` with `NAME.key`. Files may come and go while the server runs.
    pub certificate_folder: Option<PathBuf>,
    /// The certificates that the server obtains for itself.
    pub acme: Option<Acme>,
    /// The networks of proxies that are trusted to name the client's address in `X-Forwarded-For` or `Forwarded`.
    pub trusted_proxies: Vec<IpNet>,
    /// The lines of the log that were lost because nobody read it, for the metrics.
    pub lost_log_lines: Arc<AtomicU64>,
    /// The proxies that the server's own requests go through.
    pub forward_proxies: Arc<ForwardProxies>,
    /// The secret that the server's own tokens are signed with. Servers behind one name need the same.
    pub token_key: TokenKey,
    /// The URL under which clients reach the server, for the realm of challenges. With several sites only its scheme
    /// counts, because each site has its own host.
    pub public_url: Option<BaseUrl>,
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
            customers_poll: Duration::from_millis(600),
            start_timeout: Duration::from_secs(15),
            start_pause: Duration::from_secs(2),
            metrics: None,
            notify: None,
            notify_publications: None,
            traces: None,
            drain_delay: Duration::ZERO,
            grace: Duration::from_secs(30),
            // As long as Go's own server waits.
            first_request: Duration::from_secs(5),
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            max_connections: 10_000,
            max_connections_per_address: Some(2_000),
            site_memory: 1024 * 1024 * 1024,
            allow_rollback: false,
            state: None,
            certificates: Vec::new(),
            certificate_folder: None,
            acme: None,
            trusted_proxies: Vec::new(),
            lost_log_lines: Arc::default(),
            token_key: TokenKey::of_this_process(),
            public_url: None,
            forward_proxies: Arc::new(ForwardProxies::none()),
            guess_limit: GuessLimit::default(),
        }
    }
}
