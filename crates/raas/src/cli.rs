//! The command line: its commands and its global options.

#[cfg(test)]
mod reference;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    config, diff, doctor, gc, lint, list, log, pulls, push, rollback, serve, setup, status, teardown,
    unpublish,
};
use crate::config::{Config, ConfigRequest};
use crate::fleet::Reload;
use raas_base::failure::Failure;
use raas_publish::home::Home;

/// Give vendors a container registry of their own, and publish images to it
#[derive(Debug, Parser)]
#[command(name = "raas", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  a check does not hold
  2  the command line or the configuration is wrong
  3  the input cannot be published
  4  a disk, a network, a service or a program failed

Example:
  raas push bigdatainc bigdata-app --from fixtures/bigdata-app.tar
  raas serve bigdatainc";

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
struct Globals {
    /// Keep vendors, their objects and records in this folder [default: RAAS_HOME, or raas in the XDG data folder]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,

    /// Read this configuration [default: that of --config-repo, or else raas.cfg in the current folder]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Use raas.cfg of this private git repository, and back publications up there
    #[arg(long, global = true, value_name = "ADDRESS", env = "RAAS_CONF_REPO", hide_env_values = true)]
    config_repo: Option<String>,

    /// Use this branch of the repository [default: its default branch]
    #[arg(long, global = true, value_name = "BRANCH")]
    configenv: Option<String>,

    /// Let one git command wait this long for the network
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 120, hide_short_help = true)]
    git_timeout: u64,
}

impl Globals {
    fn config_request(&self) -> ConfigRequest {
        ConfigRequest {
            file: self.config.clone(),
            // An empty variable means none.
            repository: self.config_repo.clone().filter(|address| !address.is_empty()),
            branch: self.configenv.clone().filter(|branch| !branch.is_empty()),
            git_timeout: Duration::from_secs(self.git_timeout),
        }
    }

    fn config(&self) -> Result<Config, Failure> {
        Config::load(&self.config_request(), &|| Home::new(self.home.clone()))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Setup(setup::Arguments),
    Push(push::Arguments),
    Serve(Box<serve::Arguments>),
    Status(status::Arguments),
    List(list::Arguments),
    Log(log::Arguments),
    Diff(diff::Arguments),
    Rollback(rollback::Arguments),
    Unpublish(unpublish::Arguments),
    Gc(gc::Arguments),
    Teardown(teardown::Arguments),
    Doctor(doctor::Arguments),
    Pulls(pulls::Arguments),
    Config(config::Arguments),
    Lint(lint::Arguments),
}

impl Cli {
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        let globals = self.globals;
        let home = || Home::new(globals.home.clone());
        let config = || globals.config();
        match self.command {
            Command::Setup(arguments) => setup::run(&home()?, config()?, &arguments),
            Command::Push(arguments) => push::run(&home()?, &config()?, arguments),
            // A server may run for months, and without a home: nothing of the source is kept.
            Command::Serve(arguments) => {
                let config = config()?.without_source();
                let (home, request) = (globals.home.clone(), globals.config_request());
                let reload = Reload { request, load: Box::new(move || globals.config()) };
                serve::run(home, &config, reload, *arguments)
            }
            Command::Status(arguments) => status::run(&home()?, &config()?, &arguments),
            Command::List(arguments) => list::run(&home()?, &config()?, &arguments),
            Command::Log(arguments) => log::run(&home()?, &config()?, &arguments),
            Command::Diff(arguments) => diff::run(&home()?, &config()?, &arguments),
            Command::Rollback(arguments) => rollback::run(&home()?, &config()?, arguments),
            Command::Unpublish(arguments) => unpublish::run(&home()?, &config()?, arguments),
            Command::Gc(arguments) => gc::run(&home()?, &config()?, &arguments),
            Command::Teardown(arguments) => teardown::run(&home()?, &config()?, &arguments),
            Command::Doctor(arguments) => doctor::run(&home, &config, &arguments),
            Command::Pulls(arguments) => pulls::run(&arguments),
            Command::Config(arguments) => config::run(&home()?, &config()?, &arguments),
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
