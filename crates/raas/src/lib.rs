//! The command line of raas: what each command does, and what it needs of configuration, storage and git.
//!
//! ```text
//! commands ──▶ push, status ──▶ home ──▶ storage, record, checkout, servers
//!     └──────▶ config
//! ```

mod backup;
mod checkout;
mod cli;
mod commands;
mod config;
mod difference;
mod failure;
mod federation;
mod files;
mod git;
mod history;
mod home;
mod http;
mod interrupt;
mod listing;
mod output;
mod parallel;
mod publication;
mod published;
mod push;
mod record;
mod registry;
mod republish;
mod scratch;
mod servers;
mod status;
mod storage;
mod wait;

use std::process::ExitCode;

use clap::Parser as _;

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}
