//! `raas deprecate`.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use raas_types::{ImageArgument, RepositoryName, Tag, Utc, VendorName};

use crate::config::Config;
use crate::republished::Republish;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;
use raas_publish::republish::{self, Replacement};

/// Tell clients of a tag to use another one
///
/// The tag stays published. Clients that pull it show a warning, the registry's page and its feed say it, and `raas list`
/// marks it. `raas undeprecate` ends the deprecation, and running the command again changes it.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas deprecate bigdatainc bigdata-app:2.3 --use 2.4 --until 2026-12-31"
)]
pub(crate) struct Arguments {
    /// Change an image of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Deprecate this tag
    #[arg(value_name = "IMAGE:TAG")]
    image: ImageArgument,

    /// Tell clients to use this tag of the image
    #[arg(long = "use", value_name = "TAG")]
    replacement: Tag,

    /// Tell clients that the tag is supported until this day: 2026-12-31
    #[arg(long, value_name = "DATE")]
    until: Option<Utc>,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, image, replacement, until, nocommit, json } = arguments;
    let (name, tag) = with_tag(&vendor, image, "deprecate")?;
    if let Some(until) = until.filter(|until| until.day() < Utc::of(SystemTime::now()).day()) {
        return Err(Failure::new(Kind::Usage, format!("--until: {} has passed", until.day_text()))
            .hint("name a day to come, or remove the tag: raas unpublish"));
    }
    let replacement = Replacement { tag: replacement, until };
    let republish =
        Republish { home, config, vendor: &vendor, name: &name, no_backup: nocommit, quiet: json };
    republish.run(|registry, name| republish::deprecate(registry, name, &tag, &replacement))?.print(json);
    Ok(ExitCode::SUCCESS)
}

/// The image and its tag. Without a tag it is an error: `latest` is not what people deprecate.
pub(super) fn with_tag(
    vendor: &VendorName,
    image: ImageArgument,
    verb: &str,
) -> Result<(RepositoryName, Tag), Failure> {
    let ImageArgument { name, tag } = image;
    match tag {
        Some(tag) => Ok((name, tag)),
        None => Err(Failure::new(Kind::Usage, format!("{name} names no tag"))
            .hint(format!("name the tag: raas {verb} {vendor} {name}:TAG"))),
    }
}
