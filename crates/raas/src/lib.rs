//! The command line of raas: the commands, the configuration and the push pipeline.
//!
//! ```text
//! cli ──▶ commands ──▶ push, republished ──▶ follow_up ──▶ backup ──┐
//!                 ├──▶ status, doctor, pulls                        ├──▶ config
//!                 └──▶ fleet, follow ──▶ sites, storage ────────────┘
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
mod platform;
mod progress;
mod pulls;
mod push;
mod republished;
mod sites;
mod status;
mod storage;
mod url;

use std::process::ExitCode;

use clap::Parser as _;
use raas_base::failure::{Failure, Kind};

/// Runs the command that the command line names.
pub fn run() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => match output::write_error() {
            Some(error) => {
                let failure = Failure::new(Kind::Environment, "cannot write to standard output")
                    .caused_by(error)
                    .hint("check where the output goes, and run the command again; its work is done");
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
