//! The server, asked over loopback.

mod answers;
mod buckets;
mod metrics;
mod reload;
mod shutdown;
mod sites;
mod snapshots;
mod support;
mod upstream;
mod users;
