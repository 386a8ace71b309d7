//! Tests of the server over loopback.

mod answers;
mod attachments;
mod buckets;
mod client_certificates;
mod crane;
mod customers;
mod deploy;
mod documentation;
mod every_path;
mod fleet;
mod hidden;
mod idle;
mod limits;
mod metrics;
mod notify;
mod pages;
mod proxy_rules;
mod reload;
mod shutdown;
mod sites;
mod snapshots;
mod support;
mod tls;
mod tokens;
mod upstream;
mod users;
