//! `raas unpublish`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{ImageArgument, Tag, VendorName};

use crate::config::Config;
use crate::immutable::ImmutableTags;
use raas_base::failure::Failure;
use raas_publish::home::Home;
use raas_publish::republish;

use crate::republished::Republish;

/// Remove an image, or one of its tags, from the registry
///
/// The content stays in the bucket, so that `raas rollback` can publish the image again.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas unpublish bigdatainc bigdata-app:1.0")]
pub(crate) struct Arguments {
    /// Remove from this vendor's registry
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Remove this image, or only this tag
    ///
    /// The image goes with its last tag.
    #[arg(value_name = "IMAGE[:TAG]")]
    image: ImageArgument,

    /// Remove a tag that `immutable_tags` of raas.cfg protects; the log shows who did it
    #[arg(long)]
    force_tag: bool,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, image, force_tag, nocommit, json } = arguments;
    let ImageArgument { name, tag } = image;
    let republish =
        Republish { home, config, vendor: &vendor, name: &name, no_backup: nocommit, quiet: json };
    let immutable = ImmutableTags::new(config, &vendor, force_tag);
    let may_remove = |tags: &[Tag]| immutable.check_removal(tags);
    let report =
        republish.run(|registry, name| republish::unpublish(registry, name, tag.as_ref(), &may_remove))?;
    report.print(json);
    Ok(ExitCode::SUCCESS)
}
