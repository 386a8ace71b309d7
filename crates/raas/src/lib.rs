//! The command line of raas: what each command does, and what it needs of configuration, storage and git.
//!
//! ```text
//! commands ──▶ push, status ──▶ home ──▶ storage, record, checkout, servers
//!     └──────▶ config
//! ```

mod aws;
mod backup;
mod catch_up;
mod checkout;
mod cli;
mod commands;
mod config;
mod credentials;
mod difference;
mod doctor;
mod failure;
mod federation;
mod files;
mod fleet;
mod follow;
mod forwarding;
mod gc;
mod git;
mod held;
mod history;
mod home;
mod http;
mod interrupt;
mod inventory;
mod listing;
mod log;
mod output;
mod parallel;
mod publication;
mod published;
mod pulls;
mod push;
mod record;
mod redact;
mod registry;
mod republish;
mod run_folder;
mod scratch;
mod servers;
mod sites;
mod snapshot;
mod status;
mod storage;
mod wait;

use std::process::ExitCode;

use clap::Parser as _;

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => match output::lost() {
            Some(error) => {
                let failure =
                    failure::Failure::new(failure::Kind::Environment, "cannot write to standard output")
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
