//! `raas status`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, VendorName};

use crate::config::Config;
use crate::failure::Failure;
use crate::home::Home;
use crate::output;
use crate::push::Progress;
use crate::status::{self, Outcome, Status};

/// Check a vendor's registry from end to end.
///
/// Exit code 0 only if every check holds.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// Only this image's objects and documents
    #[arg(value_name = "IMAGE")]
    image: Option<RepositoryName>,

    /// Read every stored object and compare its content with its digest
    #[arg(long)]
    deep: bool,

    /// Also ask every place that layers are served from, other than the bucket, whether it has them
    #[arg(long)]
    federation: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let progress = if arguments.json { Progress::quiet() } else { Progress::shown() };
    let deep = arguments.deep.then_some(&progress);
    let image = arguments.image.as_ref();
    let mut status = status::check(home, config, &arguments.vendor, image, deep);
    if arguments.federation {
        status::federation::add(&mut status, &home.vendor(&arguments.vendor), image);
    }
    if arguments.json {
        output::json(&status);
    } else {
        tell(&status);
    }
    Ok(if status.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(status: &Status) {
    for check in &status.checks {
        let outcome = match check.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warn",
            Outcome::Failed => "FAIL",
        };
        output::line(&format!("{outcome:4}  {:9}  {}", check.name, check.found));
        for detail in &check.details {
            output::line(&format!("                 {detail}"));
        }
        if let Some(fix) = &check.fix {
            output::line(&format!("                 fix: {fix}"));
        }
    }
}
