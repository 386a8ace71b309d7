//! Tests of the `raas` command. Each test runs the command in a home of its own.

mod client;
#[path = "../../src/generated.rs"]
mod generated;
mod sandbox;

mod artifacts;
mod bad_input;
mod choosing;
mod cluster;
mod configuration;
mod federation;
mod gc;
mod git_platform;
mod history;
mod interrupted;
mod masks;
mod older_release;
mod pulls;
mod push;
mod s3;
mod serve;
mod serve_alone;
mod setup_and_status;
mod side_by_side;
mod snapshot_served;
mod transcripts;
mod two_homes;
