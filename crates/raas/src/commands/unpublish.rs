//! `raas unpublish`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{ImageArgument, VendorName};

use crate::config::Config;
use raas_base::failure::Failure;
use raas_publish::home::Home;
use raas_publish::republish;

use crate::republished::Republish;

/// Take an image, or one tag of it, out of the registry.
///
/// Its content stays in the bucket, so that `raas rollback` can publish it again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// The image, or the one tag; an image goes with its last tag
    #[arg(value_name = "IMAGE[:TAG]")]
    image: ImageArgument,

    /// Leave the configuration repository as it is
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, image, nocommit, json } = arguments;
    let ImageArgument { name, tag } = image;
    let republish =
        Republish { home, config, vendor: &vendor, name: &name, no_backup: nocommit, quiet: json };
    republish.run(|registry, name| republish::unpublish(registry, name, tag.as_ref()))?.print(json);
    Ok(ExitCode::SUCCESS)
}
