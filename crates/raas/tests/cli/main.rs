//! Tests of the `raas` command. Each test runs the command in a home of its own.

mod client;
#[path = "../../src/generated.rs"]
mod generated;
mod sandbox;

mod access;
mod artifacts;
mod bad_input;
mod choosing;
mod cluster;
mod configuration;
mod daily;
mod damaged;
mod deprecate;
mod downloads;
mod federation;
mod gc;
mod git_platform;
mod history;
mod interrupted;
mod masks;
mod older_release;
mod printed;
mod protect;
mod pulls;
mod pulp;
mod push;
mod registry_address;
mod registry_source;
mod s3;
mod said;
mod serve;
mod serve_alone;
mod setup_and_status;
mod side_by_side;
mod signals;
mod snapshot_served;
mod storage_note;
mod sync;
mod transcripts;
mod two_homes;
