//! The command line of raas: the commands, the configuration and the push pipeline.
//!
//! ```text
//! cli ──▶ commands ──▶ push, republished ──▶ follow_up ──▶ backup ──┐
//!                 ├──▶ sync ──▶ push                                ├──▶ config ──▶ sync_rule
//!                 ├──▶ status, doctor, pulls                        │
//!                 └──▶ fleet, follow ──▶ sites, storage ────────────┘
//! ```

#![cfg_attr(
    not(feature = "operator"),
    expect(dead_code, reason = "the linker leaves out the commands that the command line does not have")
)]

mod access;
mod address;
mod backup;
mod changes;
#[cfg_attr(not(feature = "operator"), path = "cli/server_only.rs")]
mod cli;
mod commands;
mod config;
#[cfg_attr(not(feature = "credentials"), path = "credentials/without_s3.rs")]
mod credentials;
mod doctor;
mod exposure;
mod fleet;
mod follow;
mod follow_up;
mod forwarding;
#[cfg(test)]
mod generated;
mod immutable;
mod log;
mod old_form;
mod output;
mod platform;
mod progress;
mod protect;
mod pulls;
mod pulp_upload;
mod push;
mod registry;
mod republished;
mod resolver;
mod sites;
mod status;
mod storage;
mod sync;
mod sync_rule;
mod trust;
mod url;
mod vendors;

use std::process::ExitCode;

use clap::Parser as _;
use raas_base::failure::{Failure, Kind};
use raas_base::interrupt;

/// Runs the command that the command line names.
pub fn run() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => match old_form::push(&error, std::env::args_os()) {
            Ok(push) => push,
            Err(hint) => {
                // clap has a code for each kind of error, and prints help to standard output.
                drop(error.print());
                if let Some(hint) = hint {
                    output::error(&format!("hint: {hint}"));
                }
                return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
            }
        },
    };
    let json = std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json");
    let done = cli.run();
    // The clean-up after a signal may have made the command fail.
    interrupt::hold_if_interrupted();
    match done {
        Ok(code) => match output::write_error() {
            Some(error) => {
                let failure = Failure::new(Kind::Environment, "cannot write to standard output")
                    .caused_by(error)
                    .hint("check where the output goes, and run the command again; its work is done");
                output::failure(&failure, false);
                failure.exit_code()
            }
            None => code,
        },
        Err(failure) => {
            output::failure(&failure, json);
            failure.exit_code()
        }
    }
}
