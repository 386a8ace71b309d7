//! The command line of raas: what each command does, and what it needs of configuration, storage and git.
//!
//! ```text
//! commands ──▶ push, status ──▶ home ──▶ storage, record, checkout, servers
//!     └──────▶ config
//! ```

mod backup;
mod cli;
mod commands;
mod config;
#[cfg_attr(not(feature = "s3"), path = "credentials/without_s3.rs")]
mod credentials;
mod doctor;
mod fleet;
mod follow;
mod follow_up;
mod forwarding;
#[cfg(test)]
mod generated;
mod log;
mod output;
mod pulls;
mod push;
mod republished;
mod sites;
mod status;
mod storage;

use std::process::ExitCode;

use clap::Parser as _;
use raas_base::failure::{Failure, Kind};

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => match output::lost() {
            Some(error) => {
                let failure = Failure::new(Kind::Environment, "cannot write to standard output")
                    .caused_by(error)
                    .hint("what was to be done is done; see to where the output goes, and ask again");
                output::error(&failure.to_string());
                failure.exit_code()
            }
            None => code,
        },
        Err(failure) => {
            output::error(&failure.to_string());
            failure.exit_code()
        }
    }
}
