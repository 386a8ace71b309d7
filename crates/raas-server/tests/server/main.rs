//! The server, asked over loopback.

mod answers;
mod buckets;
mod reload;
mod shutdown;
mod sites;
mod snapshots;
mod support;
mod upstream;
