//! The server, asked over loopback.

mod answers;
mod buckets;
mod deploy;
mod limits;
mod metrics;
mod notify;
mod reload;
mod shutdown;
mod sites;
mod snapshots;
mod support;
mod tls;
mod upstream;
mod users;
