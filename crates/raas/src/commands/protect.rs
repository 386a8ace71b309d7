//! `raas protect`.

use std::process::ExitCode;

use clap::Args;

use crate::config::Config;
use crate::protect::ProtectArguments;
use raas_base::failure::Failure;
use raas_publish::access::Protection;
use raas_publish::home::Home;

/// Let only users and customers see repositories
///
/// Published repositories that match become protected. New repositories that match are protected from their first
/// publication. `raas access` gives customers keys.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas protect bigdatainc 'appliance/*'")]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) change: ProtectArguments,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    arguments.change.run(home, config, Protection::Protected)
}
