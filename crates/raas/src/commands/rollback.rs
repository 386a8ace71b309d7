//! `raas rollback`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, VendorName};

use crate::config::Config;
use raas_base::failure::Failure;
use raas_publish::home::Home;
use raas_publish::republish;

use crate::republished::Republish;

/// Publish an earlier publication of an image again, as a new commit.
///
/// Before anything changes, everything that the earlier publication needs of the bucket is looked for there.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// The image
    #[arg(value_name = "IMAGE")]
    image: RepositoryName,

    /// The publication, a commit of `raas log` [default: the one before the last of this image]
    #[arg(long, value_name = "COMMIT")]
    to: Option<String>,

    /// Leave the configuration repository as it is
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, image, to, nocommit, json } = arguments;
    let republish =
        Republish { home, config, vendor: &vendor, name: &image, no_backup: nocommit, quiet: json };
    republish.run(|registry, name| republish::roll_back(registry, name, to.as_deref()))?.print(json);
    Ok(ExitCode::SUCCESS)
}
