//! The registry server: Docker's v1 read API and the pull and discovery parts of OCI distribution-spec 1.1.
//!
//! A *site* is one vendor's registry: a metadata tree (see [`raas_types::crane::tree`]) and a bucket. Every answer
//! but the bytes of layers comes from memory; clients are sent for those, or get them from a file or a bucket. What is served is an immutable snapshot of all sites; a watcher builds
//! the next one beside it and swaps them, so that no request ever waits for a reload.
//!
//! A request passes these files in this order, and `docs/request-handling.md` has every decision that they take:
//! `listen` → `connection` → `route` → `host` → `answer` → (`catalog` | `origin` | `file` | `proxy`) → `body`.

mod access;
mod acme;
mod answer;
mod auth;
mod below;
mod body;
mod catalog;
mod client;
mod connection;
mod crane;
mod drain;
mod error;
mod file;
mod followed;
mod forwarded;
mod headers;
mod health;
mod host;
mod listen;
mod metrics;
mod negotiate;
mod notify;
mod origin;
mod part;
mod passing;
mod proxy;
mod query;
mod range;
mod response;
mod route;
mod shared;
mod site;
mod stall;
mod stamp;
mod tls;
mod watch;

pub use acme::Acme;
pub use auth::{Limit, TokenIssuer, check_client_ca};
pub use crane::{ContentFolders, CraneRules};
pub use ipnet::IpNet;
pub use listen::{Options, serve};
pub use notify::{Notify, NotifyError};
pub use origin::{
    AddressError, AkamaiToken, BaseUrl, Cdn, CdnError, CdnToken, CloudFront, CredentialError,
    CredentialSource, Credentials, Origin, S3Location, Signer, TokenAlgorithm,
};
pub use passing::Passing;
pub use raas_types::{HostName, HostNameError, RepositoryPattern};
pub use site::{Bucket, Metadata, SiteConfig, SiteSource};
pub use tls::CertificateFiles;
