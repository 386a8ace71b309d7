//! The command line: its commands and its global options.

#[cfg(test)]
mod documented;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod schemas;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::commands::{
    access, certify, completions, config, deprecate, diff, doctor, export, gc, healthcheck, lint, list, log,
    man, mirror_config, protect, publish_static, pulls, pulp_upload, push, remove, retire, rollback, serve,
    setup, status, sync, tag, teardown, trust, undeprecate, unprotect, unpublish, version,
};
use crate::config::{Config, ConfigRequest, NeededSections};
use crate::fleet::Reload;
use crate::output;
use crate::storage::say_on_stderr;
use crate::traces;
use raas_base::failure::Failure;
use raas_base::interrupt;
use raas_publish::home::Home;
use raas_types::{RepositoryName, VendorName};

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
  1  a check does not hold, or a part of the work is not done
  2  the command line or the configuration is wrong
  3  the input cannot be published
  4  a disk, a network, a service or a program failed
  129, 130, 143  the signal SIGHUP, SIGINT or SIGTERM ended the command

Example:
  raas push bigdatainc bigdata-app --from fixtures/bigdata-app.tar
  raas serve bigdatainc";

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
struct Globals {
    /// Keep vendors, their objects and records in this folder [default: RAAS_HOME, or raas in the XDG data folder]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,

    /// Read this configuration [default: that of --config-repo, or the first raas.cfg that is found]
    ///
    /// raas looks for `raas.cfg` in the current folder, in `$XDG_CONFIG_HOME/raas` (`~/.config/raas`), and in `/etc/raas`.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Use raas.cfg of this private git repository, and back publications up there
    #[arg(long, global = true, value_name = "ADDRESS", env = "RAAS_CONF_REPO", hide_env_values = true)]
    config_repo: Option<String>,

    /// Use this branch of the repository [default: its default branch]
    #[arg(long, global = true, value_name = "BRANCH")]
    configenv: Option<String>,

    /// Let one git command wait this long for the network
    ///
    /// A git command that takes longer is ended, and raas says which one.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 120, hide_short_help = true)]
    git_timeout: u64,

    /// Print no notes and no progress
    #[arg(long, short, global = true)]
    quiet: bool,

    /// Print which home and which configuration are used
    #[arg(long, short, global = true, conflicts_with = "quiet")]
    verbose: bool,
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

    fn config(&self, needed: NeededSections<'_>) -> Result<Config, Failure> {
        Config::load(&self.config_request(), &|| Home::new(self.home.clone()), needed)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Setup(setup::Arguments),
    Push(push::Arguments),
    Sync(sync::Arguments),
    Serve(Box<serve::Arguments>),
    Status(status::Arguments),
    List(list::Arguments),
    Log(log::Arguments),
    Diff(diff::Arguments),
    Rollback(rollback::Arguments),
    Tag(tag::Arguments),
    Deprecate(deprecate::Arguments),
    Undeprecate(undeprecate::Arguments),
    Unpublish(unpublish::Arguments),
    Retire(retire::Arguments),
    Remove(remove::Arguments),
    Protect(protect::Arguments),
    Unprotect(unprotect::Arguments),
    Access(access::Arguments),
    Export(export::Arguments),
    MirrorConfig(mirror_config::Arguments),
    PublishStatic(publish_static::Arguments),
    Certify(certify::Arguments),
    Trust(trust::Arguments),
    Gc(gc::Arguments),
    Teardown(teardown::Arguments),
    Doctor(doctor::Arguments),
    Healthcheck(healthcheck::Arguments),
    Pulls(pulls::Arguments),
    PulpUpload(pulp_upload::Arguments),
    Config(config::Arguments),
    Lint(lint::Arguments),
    Version(version::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

impl Command {
    /// Whether the command may publish something. `setup` and `serve` complete what a killed run has published.
    fn may_publish(&self) -> bool {
        match self {
            Command::Push(_)
            | Command::Sync(_)
            | Command::Rollback(_)
            | Command::Tag(_)
            | Command::Deprecate(_)
            | Command::Undeprecate(_)
            | Command::Unpublish(_)
            | Command::Retire(_)
            | Command::Remove(_)
            | Command::Protect(_)
            | Command::Unprotect(_)
            | Command::Access(_)
            | Command::Certify(_)
            | Command::Setup(_)
            | Command::Gc(_) => true,
            Command::Status(_)
            | Command::List(_)
            | Command::Log(_)
            | Command::Diff(_)
            | Command::Serve(_)
            | Command::Export(_)
            | Command::MirrorConfig(_)
            | Command::PublishStatic(_)
            | Command::Teardown(_)
            | Command::Doctor(_)
            | Command::Healthcheck(_)
            | Command::Pulls(_)
            | Command::PulpUpload(_)
            | Command::Trust(_)
            | Command::Config(_)
            | Command::Lint(_)
            | Command::Version(_)
            | Command::Completions(_)
            | Command::Man(_) => false,
        }
    }

    /// The name of the command's trace, if the command publishes.
    fn trace_name(&self) -> Option<&'static str> {
        Some(match self {
            Command::Push(_) => "raas push",
            Command::Sync(_) => "raas sync",
            Command::Rollback(_) => "raas rollback",
            Command::Tag(_) => "raas tag",
            Command::Deprecate(_) => "raas deprecate",
            Command::Undeprecate(_) => "raas undeprecate",
            Command::Unpublish(_) => "raas unpublish",
            Command::Retire(_) => "raas retire",
            Command::Remove(_) => "raas remove",
            Command::Protect(_) => "raas protect",
            Command::Unprotect(_) => "raas unprotect",
            Command::Access(arguments) if arguments.publishes() => "raas access",
            _ => return None,
        })
    }

    /// The vendor that the command is for, if it is for one.
    fn vendor(&self) -> Option<&VendorName> {
        match self {
            Command::Setup(arguments) => arguments.vendor.as_ref(),
            Command::Push(arguments) => Some(&arguments.vendor),
            Command::Status(arguments) => arguments.vendor.as_ref(),
            Command::Sync(arguments) => arguments.vendor.as_ref(),
            Command::PulpUpload(arguments) => Some(&arguments.vendor),
            Command::List(arguments) => arguments.vendor.as_ref(),
            Command::Log(arguments) => Some(&arguments.vendor),
            Command::Diff(arguments) => Some(&arguments.vendor),
            Command::Rollback(arguments) => Some(&arguments.vendor),
            Command::Tag(arguments) => Some(&arguments.vendor),
            Command::Deprecate(arguments) => Some(&arguments.vendor),
            Command::Undeprecate(arguments) => Some(&arguments.vendor),
            Command::Unpublish(arguments) => Some(&arguments.vendor),
            Command::Retire(arguments) => Some(&arguments.vendor),
            Command::Remove(arguments) => Some(&arguments.vendor),
            Command::Protect(arguments) => Some(&arguments.change.vendor),
            Command::Unprotect(arguments) => Some(&arguments.change.vendor),
            Command::Export(arguments) => Some(&arguments.vendor),
            Command::MirrorConfig(arguments) => Some(&arguments.vendor),
            Command::PublishStatic(arguments) => Some(&arguments.vendor),
            Command::Certify(arguments) => Some(&arguments.vendor),
            Command::Trust(arguments) => Some(&arguments.vendor),
            Command::Gc(arguments) => Some(&arguments.vendor),
            Command::Teardown(arguments) => arguments.vendor.as_ref(),
            Command::Serve(arguments) => match arguments.vendors.as_slice() {
                [one] => Some(one),
                _ => None,
            },
            Command::Access(arguments) => Some(arguments.vendor()),
            Command::Doctor(_)
            | Command::Healthcheck(_)
            | Command::Pulls(_)
            | Command::Config(_)
            | Command::Lint(_)
            | Command::Version(_)
            | Command::Completions(_)
            | Command::Man(_) => None,
        }
    }
}

impl Cli {
    /// Whether the command is a push of a vendor that the home or the configuration knows, and its image. `None` for other
    /// commands, and if that cannot be known.
    pub(crate) fn push_of_known_vendor(&self) -> Option<(bool, &RepositoryName)> {
        let Command::Push(arguments) = &self.command else { return None };
        let home = Home::new(self.globals.home.clone()).ok()?;
        let needed = NeededSections::Of(&arguments.vendor);
        let is_known = || Some(self.globals.config(needed).ok()?.names(&arguments.vendor));
        let is_known = if !home.vendor(&arguments.vendor).is_absent() { Some(true) } else { is_known() }?;
        Some((is_known, &arguments.image.name))
    }

    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        if self.globals.quiet {
            output::be_quiet();
        }
        let vendor = self.command.vendor().map(ToString::to_string);
        let done = match self.command.trace_name() {
            Some(name) => traces::command(name, vendor.as_deref(), &output::warning, || self.run_command()),
            None => self.run_command(),
        };
        done.map_err(|failure| match vendor {
            Some(vendor) => failure.of_vendor(&vendor),
            None => failure,
        })
    }

    fn run_command(self) -> Result<ExitCode, Failure> {
        let globals = self.globals;
        // Before the signals are handled: the line at an interrupt says whether something was published.
        if self.command.may_publish() {
            interrupt::may_publish();
        }
        interrupt::watch(&say_on_stderr());
        let home = || {
            let home = Home::new(globals.home.clone())?;
            if globals.verbose {
                output::note(&format!("Home: {}", home.root().display()));
            }
            Ok::<_, Failure>(home)
        };
        let vendor = self.command.vendor().cloned();
        let needed = match (&self.command, &vendor) {
            (Command::Serve(_), _) => NeededSections::Servable,
            (_, Some(vendor)) => NeededSections::Of(vendor),
            (_, None) => NeededSections::All,
        };
        let config = || {
            let config = globals.config(needed)?;
            if globals.verbose {
                output::note(&format!("Configuration: {}", config.origin));
            }
            Ok(config)
        };
        match self.command {
            Command::Setup(arguments) => setup::run(&home()?, config()?, &arguments),
            Command::Push(arguments) => push::run(&home()?, &config()?, arguments),
            Command::Sync(arguments) => sync::run(&home()?, &config()?, &arguments),
            // A server may run for months, and without a home: nothing of the source is kept.
            Command::Serve(arguments) => {
                let config = config()?.without_source();
                let (home, request) = (globals.home.clone(), globals.config_request());
                let reload =
                    Reload { request, load: Box::new(move || globals.config(NeededSections::Servable)) };
                serve::run(home, &config, reload, *arguments)
            }
            Command::Status(arguments) => status::run(&home()?, &config()?, &arguments),
            Command::List(arguments) => list::run(&home()?, &config()?, &arguments),
            Command::Log(arguments) => log::run(&home()?, &config()?, &arguments),
            Command::Diff(arguments) => diff::run(&home()?, &config()?, &arguments),
            Command::Rollback(arguments) => rollback::run(&home()?, &config()?, arguments),
            Command::Tag(arguments) => tag::run(&home()?, &config()?, arguments),
            Command::Deprecate(arguments) => deprecate::run(&home()?, &config()?, arguments),
            Command::Undeprecate(arguments) => undeprecate::run(&home()?, &config()?, arguments),
            Command::Unpublish(arguments) => unpublish::run(&home()?, &config()?, arguments),
            Command::Retire(arguments) => retire::run(&home()?, &config()?, &arguments),
            Command::Remove(arguments) => remove::run(&home()?, &config()?, &arguments),
            Command::Protect(arguments) => protect::run(&home()?, &config()?, &arguments),
            Command::Unprotect(arguments) => unprotect::run(&home()?, &config()?, &arguments),
            Command::Access(arguments) => access::run(&home()?, &config()?, arguments),
            Command::Export(arguments) => export::run(&home()?, &config()?, arguments),
            Command::MirrorConfig(arguments) => mirror_config::run(&home()?, &config()?, arguments),
            Command::PublishStatic(arguments) => publish_static::run(&home()?, &config()?, arguments),
            Command::Certify(arguments) => certify::run(&home()?, &config()?, arguments),
            Command::Trust(arguments) => trust::run(&config()?, &arguments),
            Command::Gc(arguments) => gc::run(&home()?, &config()?, &arguments),
            Command::Teardown(arguments) => teardown::run(&home()?, &config()?, &arguments),
            Command::Doctor(arguments) => doctor::run(&home, &config, &arguments),
            Command::Healthcheck(arguments) => healthcheck::run(&arguments),
            Command::Pulls(arguments) => pulls::run(&arguments),
            Command::PulpUpload(arguments) => pulp_upload::run(&home()?, &config()?, &arguments),
            Command::Config(arguments) => config::run(&home()?, &config()?, &arguments),
            Command::Lint(arguments) => lint::run(&arguments),
            Command::Version(arguments) => version::run(&arguments),
            Command::Completions(arguments) => completions::run(&arguments, Cli::command()),
            Command::Man(arguments) => man::run(&arguments, Cli::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
