//! The HTTP client for all requests that raas sends: one TLS stack, proxies as curl knows them, time-outs, bounded
//! redirects.
//!
//! ```text
//! agent (blocking, for commands) ──▶ client (asynchronous, for the server) ──▶ connector ──▶ proxies
//! ```

mod addresses;
mod agent;
mod any_certificate;
mod body;
mod client;
mod connector;
mod fault;
mod proxies;
mod redirect;
mod tls;

pub use addresses::AddressFilter;
pub use agent::{Agent, AgentOptions, RequestBuilder, Response};
pub use body::Body;
pub use client::{Client, ClientError, ClientOptions, WatchedConnection, causes, watch_connection};
pub use fault::TlsFault;
pub use hyper::http;
pub use proxies::{ForwardProxies, ForwardProxy, ProxyError};
pub use tls::{ClientIdentity, IdentityError, Trust, authorities_from_pem};
