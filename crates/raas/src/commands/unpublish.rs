//! `raas unpublish`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{ImageArgument, VendorName};

use crate::config::Config;
use crate::failure::Failure;
use crate::home::Home;
use crate::output;
use crate::republish::{self, Outcome, Request};

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
    let request = Request { home, config, vendor: &vendor, name: &name, no_backup: nocommit, quiet: json };
    let outcome = republish::unpublish(&request, tag.as_ref())?;
    tell(&outcome, json);
    Ok(ExitCode::SUCCESS)
}

/// What is said of a change that brought no new content.
pub(super) fn tell(outcome: &Outcome, json: bool) {
    if json {
        output::json(outcome);
        return;
    }
    output::line(&outcome.what);
    for (tag, digest) in &outcome.tags {
        output::line(&format!("  {tag}  {digest}"));
    }
    let published = if outcome.changed { "Published" } else { "Nothing changed: it is published already," };
    output::line(&format!("{published} as commit {}", &outcome.commit[..12]));
}
