//! The command line of raas: the commands and the push pipeline.
//!
//! ```text
//! cli ──▶ commands ──▶ push, republished ──▶ follow_up ──▶ backup ──┐
//!                 ├──▶ sync ──▶ push                                ├──▶ config (the crate raas-config)
//!                 ├──▶ export, publish_static ──▶ published_blob    │
//!                 ├──▶ status, doctor, pulls, mirror_config         │
//!                 └──▶ fleet, follow ──▶ sites, storage ────────────┘
//! ```
//!
//! Every step of a publication is a span of `traces`.

#![cfg_attr(
    not(feature = "operator"),
    expect(dead_code, reason = "the linker leaves out the commands that the command line does not have")
)]

mod access;
mod address;
mod backup;
mod certify;
mod changes;
mod check;
#[cfg_attr(not(feature = "operator"), path = "cli/server_only.rs")]
mod cli;
mod command_line;
mod commands;
#[cfg_attr(not(feature = "credentials"), path = "credentials/without_s3.rs")]
mod credentials;
mod customer_policy;
mod doctor;
mod export;
mod exposure;
mod fleet;
mod follow;
mod follow_up;
mod immutable;
#[cfg_attr(not(feature = "keyless"), path = "keyless/without.rs")]
mod keyless;
mod log;
mod mirror_config;
mod old_form;
mod output;
mod platform;
mod progress;
mod protect;
mod publish_static;
mod published_blob;
mod pulls;
mod pulp_upload;
mod push;
mod registry;
mod report;
mod republished;
mod resolver;
mod signature_policy;
mod sites;
mod status;
mod storage;
mod sync;
#[cfg_attr(not(feature = "traces"), path = "traces/without.rs")]
mod traces;
mod trust;
mod trusted_file;
mod trusted_keys;
mod vendors;

use std::ffi::OsString;
use std::process::ExitCode;

use raas_base::failure::{Failure, Kind};
use raas_base::interrupt;
// The configuration is a crate of its own, which the modules name `crate::config`.
use raas_config as config;
use report::FailureReport;

/// Runs the command that the command line names.
pub fn run() -> ExitCode {
    let json = options().any(|word| word == "--json");
    if asks_for_json_log() {
        output::as_json_log();
        // A panic is a line of the log too.
        std::panic::set_hook(Box::new(|panic| output::error(&panic.to_string())));
    }
    let cli = match command_line::parse::<cli::Cli>(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => match old_form::push(&error, std::env::args_os()) {
            Ok(push) => push,
            Err(hint) => {
                return wrong_command_line(&error, hint);
            }
        },
    };
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

/// The words of the command line that may be options.
fn options() -> impl Iterator<Item = OsString> {
    std::env::args_os().skip(1).take_while(|word| word != "--")
}

/// Whether the command is a server whose log is JSON. This is known before the command line is parsed, since the parser's
/// errors belong to the log too.
fn asks_for_json_log() -> bool {
    let words: Vec<OsString> = options().collect();
    let follows = words.windows(2).any(|words| words[0] == "--log" && words[1] == "json");
    words.iter().any(|word| word == "serve") && (follows || words.iter().any(|word| word == "--log=json"))
}

/// Says what is wrong with the command line, or prints the help that it asks for.
fn wrong_command_line(error: &clap::Error, hint: Option<String>) -> ExitCode {
    let exit_code = u8::try_from(error.exit_code()).unwrap_or(2);
    let text = error.render().to_string();
    if error.use_stderr() && output::is_json_log() {
        output::error(text.trim_end());
    } else {
        // clap prints help to standard output.
        drop(error.print());
    }
    if let Some(hint) = &hint {
        output::error(&format!("hint: {hint}"));
    }
    if error.use_stderr() && options().any(|word| word == "--json") {
        output::json_failure(FailureReport::usage(&text, hint, exit_code));
    }
    ExitCode::from(exit_code)
}
