//! `raas sync`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, Tag, VendorName};

use crate::config::Config;
use crate::output::{self, number};
use crate::progress::Progress;
use crate::sync::{self, ImageReport, Options, Outcome, Report};
use crate::traces;
use raas_base::failure::Failure;
use raas_publish::home::Home;

/// Publish what has changed at the sources of images
///
/// The sources are the keys `sync.IMAGE` of the vendors' sections. raas compares the digest of each tag, and publishes what
/// is new or has moved. A failure of one image does not stop the others; the exit code is then 1.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas sync bigdatainc --dry-run")]
pub(crate) struct Arguments {
    /// Compare the images of this vendor only
    #[arg(value_name = "ISV")]
    pub(crate) vendor: Option<VendorName>,

    /// Compare this image only
    #[arg(value_name = "IMAGE", requires = "vendor")]
    image: Option<RepositoryName>,

    /// Remove more tags than `prune` allows
    #[arg(long)]
    force: bool,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Say what the run would publish and remove, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Write metrics to this file, for the textfile collector of node_exporter
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let options = Options {
        vendor: arguments.vendor.clone(),
        image: arguments.image.clone(),
        force: arguments.force,
        no_backup: arguments.nocommit,
        dry_run: arguments.dry_run,
    };
    let progress = if arguments.json { Progress::quiet() } else { Progress::shown() };
    let report = sync::sync(home, config, &options, &progress)?;
    traces::set("raas.failed_images", report.failed() as u64);
    if arguments.json {
        output::json(&report);
    } else {
        print(&report);
    }
    if let Some(path) = arguments.metrics.as_ref().filter(|_| !arguments.dry_run) {
        sync::write_metrics(path, &report)?;
    }
    Ok(if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &Report) {
    for image in &report.images {
        output::line(&format!("{}/{}: {}", image.vendor, image.image, outcome(image, report.dry_run)));
    }
    let changed = report.images.iter().filter(|image| image.outcome == Outcome::Changed).count();
    let total = number(report.images.len(), "image");
    output::line(&format!("{total}: {changed} changed, {} failed; {:.1} s", report.failed(), report.seconds));
    if report.dry_run {
        output::line("Nothing was done (--dry-run)");
    }
}

fn outcome(image: &ImageReport, dry_run: bool) -> String {
    match image.outcome {
        Outcome::Unchanged => format!("unchanged, {}", number(image.tags, "tag")),
        Outcome::Failed => "failed".into(),
        Outcome::Changed => {
            let (publishes, removes) =
                if dry_run { ("would publish", "would remove") } else { ("published", "removed") };
            let mut text = format!("{publishes} {}", tags(&image.changed));
            if !image.removed.is_empty() {
                text.push_str(&format!(", {removes} {}", tags(&image.removed)));
            }
            if let Some(commit) = &image.commit {
                text.push_str(&format!(" as commit {}", &commit[..commit.len().min(12)]));
            }
            text
        }
    }
}

/// The number of the tags, and the names of the first.
fn tags(tags: &[Tag]) -> String {
    const MOST: usize = 20;
    let count = number(tags.len(), "tag");
    if tags.is_empty() {
        return count;
    }
    let mut names: Vec<String> = tags.iter().take(MOST).map(ToString::to_string).collect();
    if tags.len() > MOST {
        names.push(format!("and {} more", tags.len() - MOST));
    }
    format!("{count} ({})", names.join(", "))
}
