//! The command line of a raas that only serves: a build without the feature `operator`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands::{healthcheck, serve, version};
use crate::config::{Config, ConfigRequest, NeededSections};
use crate::fleet::Reload;
use crate::output;
use crate::storage::say_on_stderr;
use raas_base::failure::{Failure, Kind};
use raas_base::interrupt;
use raas_types::RepositoryName;

/// Serve the registries of vendors
///
/// This raas only serves what others publish: it has no other command, and runs no other program.
#[derive(Debug, Parser)]
#[command(name = "raas", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
struct Globals {
    /// Read this configuration [default: the first raas.cfg that is found]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print no notes and no progress
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Arguments>),
    Healthcheck(healthcheck::Arguments),
    Version(version::Arguments),
}

impl Cli {
    /// A raas that only serves knows no vendors to push for.
    pub(crate) fn push_of_known_vendor(&self) -> Option<(bool, &RepositoryName)> {
        None
    }

    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        interrupt::watch(&say_on_stderr());
        if self.globals.quiet {
            output::be_quiet();
        }
        match self.command {
            Command::Serve(arguments) => {
                let request = ConfigRequest { file: self.globals.config, ..ConfigRequest::default() };
                let load = {
                    let request = request.clone();
                    move || Config::load(&request, &|| Err(without_home()), NeededSections::Servable)
                };
                let config = load()?;
                serve::run(None, &config, Reload { request, load: Box::new(load) }, *arguments)
            }
            Command::Healthcheck(arguments) => healthcheck::run(&arguments),
            Command::Version(arguments) => version::run(&arguments),
        }
    }
}

fn without_home() -> Failure {
    Failure::new(Kind::Usage, "this raas only serves, and has no home")
}
