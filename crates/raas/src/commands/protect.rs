//! `raas protect`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryPattern, VendorName};

use crate::config::Config;
use crate::protect::Protect;
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
    /// Change repositories of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Change these repositories: a name, `NAME/*` for everything below a name, or `*` for all
    #[arg(value_name = "PATTERN")]
    pattern: RepositoryPattern,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, pattern, nocommit, json } = arguments;
    let (to, no_backup, json) = (Protection::Protected, *nocommit, *json);
    Protect { home, config, vendor, pattern, to, no_backup, json }.run()?;
    Ok(ExitCode::SUCCESS)
}
