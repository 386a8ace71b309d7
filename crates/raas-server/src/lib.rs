//! The registry server: Docker's v1 read API, and the pull and discovery parts of OCI distribution-spec 1.1.
//!
//! A *site* is one vendor's registry: a catalog of what the vendor publishes, an origin of the bytes, and an access
//! policy. The server answers from memory. Only the bytes of layers come from elsewhere: the server redirects the client
//! to them, reads them from a folder, or fetches them and passes them on.
//!
//! All sites together are an immutable *snapshot*. The watcher builds the next snapshot beside the current one and swaps
//! them, so no request waits for a reload.
//!
//! # The modules
//!
//! ```text
//! serve ─▶ connection ─▶ answer ─▶ content ─▶ body ─▶ in_flight ─▶ state ─▶ site ─▶ auth ─▶ catalog
//!   │                      │                    │                    │        │       └────▶ route
//!   ├─▶ options            └─▶ exposition       └─▶ access_log       │        ├─▶ origin
//!   ├─▶ watch ─▶ state                                │              │        └─▶ metrics
//!   ├─▶ acme  ─▶ tls                                  ▼              ├─▶ tls
//!   └─▶ shutdown                                   fetched           └─▶ pulls ─▶ notify
//! ```
//!
//! An arrow means "uses". There are no circles: a module uses only modules that are to its right or below it. All of
//! them may use `error`, `files`, `http`, `http_client` and `response`, which know nothing of sites.
//!
//! | module | holds |
//! |---|---|
//! | `serve`, `options` | the wiring of a server, its accept loop, its settings |
//! | `connection` | TLS, HTTP/1, HTTP/2 and the time limits of one connection |
//! | `answer` | the decision about a request, for every path |
//! | `content`, `body`, `response` | content that a request waits for, and the bytes and headers of an answer |
//! | `in_flight`, `shutdown` | the requests that are being answered, and the orderly end |
//! | `state` | what all requests share |
//! | `watch` | reads the sites' metadata again when it changes |
//! | `site`, `catalog`, `origin`, `auth` | a site: what it publishes, where the bytes are, who may read |
//! | `route`, `error` | paths, and the specification's error codes |
//! | `tls`, `acme` | the server's certificates |
//! | `fetched`, `pulls`, `notify` | what requests were for, the count of pulls, notifications |
//! | `metrics`, `exposition`, `access_log` | numbers, their Prometheus text, and the log of requests |
//! | `files`, `http`, `http_client` | tools without knowledge of registries |
//!
//! `docs/request-handling.md` has every decision that the server takes about a request, and its test.

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
mod watch;

pub use acme::Acme;
pub use auth::{GuessLimit, TokenIssuer, check_client_ca};
pub use http::host::{HostName, HostNameError};
pub use ipnet::IpNet;
pub use notify::{Notify, NotifyError};
pub use options::Options;
pub use origin::{
    AddressError, AkamaiToken, BaseUrl, Cdn, CdnError, CdnToken, CloudFront, CredentialError,
    CredentialSource, Credentials, Origin, S3Location, Signer, TokenAlgorithm,
};
pub use serve::serve;
pub use site::{
    Bucket, ContentFolders, CraneRules, Metadata, ProxyRules, RepositoryPattern, SiteConfig, SiteSource,
};
pub use tls::CertificateFiles;
