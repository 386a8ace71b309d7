//! The command line's shape.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::commands::{lint, push, serve, setup, status};
use crate::config::Config;
use crate::failure::Failure;
use crate::home::Home;

/// A registry as a service: give vendors a container registry of their own, and publish images to it.
#[derive(Debug, Parser)]
#[command(name = "raas", version, about, propagate_version = true, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 a check does not hold; 2 the command line or the configuration is wrong; 3 the input is not \
fit to be published; 4 a disk, a network, a service or a program failed.";

#[derive(Debug, Args)]
struct Globals {
    /// The folder that keeps vendors, their objects and the record of what is published [default: raas in the XDG
    /// data folder]
    #[arg(long, global = true, value_name = "DIR", env = "RAAS_HOME")]
    home: Option<PathBuf>,

    /// The configuration [default: raas.cfg in the current folder, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Setup(setup::Arguments),
    Push(push::Arguments),
    Serve(Box<serve::Arguments>),
    Status(status::Arguments),
    Lint(lint::Arguments),
}

impl Cli {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let Globals { home, config } = self.globals;
        match self.command {
            Command::Setup(arguments) => setup::run(&Home::new(home)?, &arguments),
            Command::Push(arguments) => {
                push::run(&Home::new(home)?, &Config::load(config.as_deref())?, arguments)
            }
            Command::Serve(arguments) => serve::run(home, &Config::load(config.as_deref())?, *arguments),
            Command::Status(arguments) => status::run(&Home::new(home)?, &arguments),
            Command::Lint(arguments) => lint::run(&arguments),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
