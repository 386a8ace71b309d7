//! `raas unprotect`.

use std::process::ExitCode;

use clap::Args;

use crate::config::Config;
use crate::protect::ProtectArguments;
use raas_base::failure::Failure;
use raas_publish::access::Protection;
use raas_publish::home::Home;

/// Let everybody see repositories again
///
/// Patterns of `raas protect` that the given pattern covers are removed, so that new repositories are public too.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas unprotect bigdatainc 'appliance/ui'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) change: ProtectArguments,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    arguments.change.run(home, config, Protection::Public)
}
