//! `raas publish-static`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, VendorName};

use crate::config::Config;
use crate::output;
use crate::progress::Progress;
use crate::publish_static::{self, BaseLayers, Options, ProtectedRepositories, Target};
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;

/// Store a vendor's registry as plain objects, which a bucket or any web server can serve
///
/// Each path of a pull is an object with its content type: manifests by tag and by digest, blobs, tag lists and referrers.
/// Content is stored before what names it. For a folder, files for nginx are written too. Run the command again after each
/// publication: it stores only what is new.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas publish-static bigdatainc --to /srv/registry\n  raas publish-static bigdatainc --to s3://registry.bigdata.com --with-base-layers"
)]
pub(crate) struct Arguments {
    /// Store the registry of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Store it in this folder or bucket
    ///
    /// A bucket is one of the S3 service that the vendor's section of raas.cfg names, or of AWS.
    #[arg(long, value_name = "DIR|s3://BUCKET[/PREFIX]")]
    to: Target,

    /// Fetch base layers from the operator's CDN, and store them too
    #[arg(long)]
    with_base_layers: bool,

    /// Leave base layers out, and list the redirects that the web server must make
    ///
    /// The files for nginx have them. A bucket needs a CDN with such rules.
    #[arg(long, conflicts_with = "with_base_layers")]
    redirect_base_layers: bool,

    /// Store this protected repository: everybody who can read the folder or bucket can pull it
    #[arg(long, value_name = "REPOSITORY")]
    expose_protected: Vec<RepositoryName>,

    /// Leave protected repositories out
    #[arg(long, conflicts_with = "expose_protected")]
    without_protected: bool,

    /// Remove objects that are published no more, what names others first
    #[arg(long)]
    prune: bool,

    /// Write this path of the folder into the files for nginx [default: DIR]
    #[arg(long, value_name = "DIR")]
    served_from: Option<PathBuf>,

    /// Say what would be stored, and store nothing
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    if arguments.served_from.is_some() && matches!(arguments.to, Target::Bucket { .. }) {
        return Err(Failure::new(Kind::Usage, "--served-from is for a folder, and --to names a bucket")
            .hint("leave --served-from out"));
    }
    let base_layers = match (arguments.with_base_layers, arguments.redirect_base_layers) {
        (true, _) => BaseLayers::Store,
        (false, true) => BaseLayers::Redirect,
        (false, false) => BaseLayers::Refuse,
    };
    let protected = if arguments.without_protected {
        ProtectedRepositories::LeaveOut
    } else {
        ProtectedRepositories::Expose(arguments.expose_protected)
    };
    let options = Options {
        vendor: arguments.vendor,
        target: arguments.to,
        base_layers,
        protected,
        prune: arguments.prune,
        served_from: arguments.served_from,
        dry_run: arguments.dry_run,
    };
    let progress = if arguments.json { Progress::quiet() } else { Progress::shown() };
    let report = publish_static::publish(home, config, &options, &progress)?;
    if arguments.json {
        output::json(&report);
    } else {
        report.lines().iter().for_each(|line| output::line(line));
    }
    Ok(ExitCode::SUCCESS)
}
