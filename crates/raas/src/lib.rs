//! The command line of raas: what each command does, and what it needs of configuration, storage and git.
//!
//! ```text
//! commands ──▶ push, status ──▶ home ──▶ storage, record, checkout, servers
//!     └──────▶ config
//! ```

mod aws;
mod checkout;
mod cli;
mod commands;
mod config;
mod credentials;
mod failure;
mod files;
mod gc;
mod home;
mod http;
mod inventory;
mod output;
mod push;
mod record;
mod servers;
mod sites;
mod snapshot;
mod status;
mod storage;

use std::process::ExitCode;

use clap::Parser as _;

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{}", output::harmless(&failure.to_string()));
            failure.exit_code()
        }
    }
}
