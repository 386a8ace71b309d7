//! The registry server: Docker's v1 read API, and the pull and discovery parts of OCI distribution-spec 1.1.
//!
//! A *site* is one vendor's registry: a catalog of what the vendor publishes, an origin of the bytes, and an access
//! policy. The server answers from memory. Only the bytes of layers come from elsewhere: the server redirects the
//! client to them, reads them from a folder, or fetches them and passes them on.
//!
//! All sites together are an immutable *snapshot*. The watcher builds the next snapshot beside the current one and
//! swaps them, so no request waits for a reload.
//!
//! # The modules
//!
//! A module uses only modules in the lines below its own, so there are no circles.
//!
//! ```text
//! serve                              starts and stops a server; the accept loop
//!   │
//! connection   options               TLS, HTTP/1, HTTP/2 and time limits of a connection │ the settings
//!   │
//! answer                             the decision about a request, for every path
//!   │
//! content                            content that a request waits for: a file, or an object to fetch
//!   │
//! response                           the status, headers and body of an answer
//!   │
//! body                               the bytes of an answer: from memory, a file or another server
//!   │
//! in_flight    watch    exposition   requests in flight │ follows the metadata of all sites │ the text of the metrics
//!   │            │          │
//! state        acme                  what all requests share │ obtains certificates
//!   │            │
//! tls          pulls                 the server's certificates │ counts pulls
//!   │            │
//! site         notify   access_log   a vendor's registry │ notifications of pulls │ the log of requests
//!   │            │          │
//! auth   origin   metrics   fetched  who may read │ URLs of objects │ counters │ what a request was for
//!   │       │        │         │
//! catalog   route   error   files   http   http_client   shutdown   traces
//! ```
//!
//! The last line knows nothing of the server: `catalog` is what a site publishes, `route` parses paths, `error` has the
//! specification's error codes, `files` opens and follows files, `http` has hosts, headers and ranges, `http_client`
//! sends requests, `shutdown` tells connections that the server stops, and `traces` says what took long.
//!
//! A request goes down the first column. `docs/request-handling.md` has every decision that the server takes about it,
//! with its test.

mod access_log;
mod acme;
mod answer;
mod auth;
mod body;
mod catalog;
mod connection;
mod content;
mod error;
mod exposition;
mod fetched;
mod files;
mod http;
mod http_client;
mod in_flight;
mod metrics;
mod notify;
mod options;
mod origin;
mod pulls;
mod response;
mod route;
mod serve;
mod shutdown;
mod site;
mod state;
mod tls;
mod traces;
mod uuid;
mod watch;

pub use acme::Acme;
pub use auth::{GuessLimit, TokenIssuer, TokenKey, check_client_ca};
pub use http_client::{AllowedHost, AllowedHostError, AllowedHosts};
pub use ipnet::IpNet;
pub use notify::{Notify, NotifyError};
pub use options::Options;
pub use origin::{
    AddressError, AkamaiToken, BaseUrl, Cdn, CdnError, CdnToken, CloudFront, CredentialError,
    CredentialSource, Credentials, Origin, S3Location, Signer, TokenAlgorithm,
};
pub use raas_http::ForwardProxies;
pub use raas_types::{HostName, HostNameError, RepositoryPattern};
pub use serve::{serve, serve_and_tell};
pub use site::{Bucket, ContentFolders, CraneRules, Metadata, ProxyRules, SiteConfig, SiteSource};
pub use tls::CertificateFiles;
pub use traces::{AttributeValue, SlowWork, SpanCounts, TraceReceiver, Traces};
