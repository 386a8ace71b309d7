//! The server, asked over loopback.

mod answers;
mod buckets;
mod client_certificates;
mod crane;
mod deploy;
mod fleet;
mod limits;
mod metrics;
mod notify;
mod passing;
mod quiet;
mod reload;
mod shutdown;
mod sites;
mod snapshots;
mod support;
mod tls;
mod tokens;
mod upstream;
mod users;
