//! `raas undeprecate`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{ImageArgument, VendorName};

use super::deprecate::with_tag;
use crate::config::Config;
use crate::republished::Republish;
use raas_base::failure::Failure;
use raas_publish::home::Home;
use raas_publish::republish;

/// End the deprecation of a tag
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas undeprecate bigdatainc bigdata-app:2.3")]
pub(crate) struct Arguments {
    /// Change an image of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Change this tag
    #[arg(value_name = "IMAGE:TAG")]
    image: ImageArgument,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, image, nocommit, json } = arguments;
    let (name, tag) = with_tag(&vendor, image, "undeprecate")?;
    let republish =
        Republish { home, config, vendor: &vendor, name: &name, no_backup: nocommit, quiet: json };
    republish.run(|registry, name| republish::undeprecate(registry, name, &tag))?.print(json);
    Ok(ExitCode::SUCCESS)
}
