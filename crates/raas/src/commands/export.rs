//! `raas export`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use raas_types::VendorName;

use crate::config::Config;
use crate::export::{self, Destination, ImageToExport, Options};
use crate::output;
use crate::progress::Progress;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;

/// Write published images into one file, for a registry without a network
///
/// The file is an OCI image layout in a tar. It has everything that a pull needs: all platforms, the base layers that are
/// otherwise served from the operator's CDN, signatures, and what else is attached to the images. `raas push --from FILE`
/// publishes the same digests at the far side. skopeo, podman and containerd read the file too.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas export bigdatainc bigdata-app:1.0 -o bundle.tar\n  raas export bigdatainc bigdata-app -o new.tar --since 5f3a9c21"
)]
pub(crate) struct Arguments {
    /// Export images of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Export this tag or digest, or all of the repository
    #[arg(value_name = "IMAGE[:TAG|@DIGEST]", required = true)]
    images: Vec<ImageToExport>,

    /// Write this file; `-` is standard output
    #[arg(long, short, value_name = "FILE|-")]
    output: PathBuf,

    /// Leave out the layers that this publication of `raas log` had already
    ///
    /// The file is then an incremental bundle. It can be pushed only to a registry that has those layers.
    #[arg(long, value_name = "COMMIT")]
    since: Option<String>,

    /// Say what the file would hold, and write nothing
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, images, output, since, dry_run, json } = arguments;
    let destination = Destination::from(Path::new(&output));
    if json && !dry_run && destination == Destination::Stdout {
        return Err(Failure::new(Kind::Usage, "--json and -o - both write to standard output")
            .hint("write the bundle to a file, or leave --json out"));
    }
    let progress = if json { Progress::quiet() } else { Progress::shown() };
    let is_stdout = destination == Destination::Stdout && !dry_run;
    let options = Options { vendor, images, destination, since, dry_run };
    let report = export::export(home, config, &options, &progress)?;
    if json {
        output::json(&report);
    } else if is_stdout {
        output::note(&report.line());
    } else {
        output::line(&report.line());
    }
    Ok(ExitCode::SUCCESS)
}
