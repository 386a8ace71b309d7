//! The `raas` command as users meet it: every test runs the program in a home of its own.

mod client;
mod sandbox;

mod artifacts;
mod bad_input;
mod configuration;
mod federation;
mod gc;
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
mod two_homes;
