//! `raas push`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{ImageArgument, VendorName};

use crate::config::Config;
use crate::failure::Failure;
use crate::home::Home;
use crate::output;
use crate::push::{self, Counted, Options, Origin, Progress, Report, bytes};

/// Publish an image, or an update of one.
///
/// The image comes from a Pulp 2 or Pulp 3 export, a docker save archive or an OCI image layout, recognised by its
/// content. Layers that the configuration masks are not stored: the registry sends clients to where they are. The
/// tags of the source are added to those that are published.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// The name that people pull, and the one tag wanted of the source (or the name of an untagged source)
    #[arg(value_name = "IMAGE[:TAG]")]
    image: ImageArgument,

    /// Where the image comes from: a file or folder, an http(s) URL, or `-` for standard input; of an export in
    /// several files, the table of contents or the first one [default: IMAGE.tar in the current folder]
    #[arg(long, value_name = "PATH|URL|-", default_value = "", hide_default_value = true, value_parser = origin)]
    from: Origin,

    /// The repository in the source, where it has several and none is called like the image
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,

    /// Make the published repository equal to the source: tags that the source does not have are removed
    #[arg(long)]
    prune: bool,

    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Print the reference to pull and nothing else
    #[arg(long, conflicts_with = "json")]
    terse: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn origin(text: &str) -> Result<Origin, String> {
    if text.is_empty() { Ok(Origin::Default) } else { text.parse() }
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, image, from, repository, prune, dry_run, terse, json } = arguments;
    let options = Options { vendor, image, from, repository, prune, dry_run };
    let progress = if terse || json { Progress::quiet() } else { Progress::shown() };
    let report = push::push(home, config, &options, &progress)?;
    if json {
        output::json(&report);
    } else if terse {
        output::line(&report.reference);
    } else {
        tell(&report);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(report: &Report) {
    let requests = report.requests.map(|count| format!("{count} requests; ")).unwrap_or_default();
    let store = if report.dry_run { "Would store" } else { "Stored" };
    output::line(&format!(
        "{store} {}; {} already there; skipped {} masked {}; {requests}{:.1} s",
        counted(&report.stored),
        counted(&report.present),
        report.masked.len(),
        if report.masked.len() == 1 { "layer" } else { "layers" },
        report.seconds
    ));
    match &report.commit {
        Some(commit) if report.changed => output::line(&format!("Published as commit {}", &commit[..12])),
        Some(commit) => {
            output::line(&format!("Nothing changed: it is published already, as commit {}", &commit[..12]));
        }
        None => {}
    }
    if report.dry_run {
        output::line("Nothing was done (--dry-run)");
    } else {
        output::line(&format!("docker pull {}", report.reference));
    }
}

fn counted(counted: &Counted) -> String {
    let objects = if counted.objects == 1 { "object" } else { "objects" };
    format!("{} {objects} ({})", counted.objects, bytes(counted.bytes))
}
