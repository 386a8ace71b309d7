//! `raas pulp-upload`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, Tag, VendorName};

use crate::config::Config;
use crate::output;
use crate::progress::{Progress, bytes};
use crate::pulp_upload::{self, Options};
use raas_base::failure::Failure;
use raas_publish::home::Home;

/// Upload an archive to the Pulp server of [pulpserver]
///
/// Pulp 3 gets the image through its registry. Pulp 2 gets a docker save archive in parts, and leaves out the images of
/// `mask_layers` and their ancestors. A repository that is not there is made. Nothing is published in the vendor's registry:
/// `raas push` does that.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas pulp-upload bigdatainc bigdata-app.tar")]
pub(crate) struct Arguments {
    /// Upload for this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Upload this archive, as `docker save` writes it; for Pulp 3 any format that `raas push` reads
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Give the image this name [default: the name in the archive]
    #[arg(long, value_name = "NAME")]
    image: Option<RepositoryName>,

    /// Upload only this tag to Pulp 3, or give it to an image without one
    #[arg(long, value_name = "TAG")]
    tag: Option<Tag>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, file, image, tag, json } = arguments;
    let options =
        Options { vendor: vendor.clone(), file: file.clone(), image: image.clone(), tag: tag.clone() };
    let progress = if *json { Progress::quiet() } else { Progress::shown() };
    let report = pulp_upload::upload(home, config, &options, &progress)?;
    if *json {
        output::json(&report);
    } else {
        let tags: Vec<&str> = report.tags.keys().map(raas_types::Tag::as_str).collect();
        let tags = match tags.as_slice() {
            [] => String::new(),
            [one] => format!(" with the tag {one}"),
            several => format!(" with the tags {}", several.join(", ")),
        };
        output::line(&format!("Uploaded {} to {}{tags}", bytes(report.size), report.pulp_repository));
    }
    Ok(ExitCode::SUCCESS)
}
