//! `raas push`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{Digest, ImageArgument, Platform, VendorName};

use crate::config::Config;
use crate::output::{self, number};
use crate::progress::{Progress, bytes};
use crate::push::{self, Counted, Options, Report, SourceArgument};
use raas_base::failure::Failure;
use raas_publish::home::Home;

/// Publish an image, or an update of one.
///
/// The image comes from a Pulp 2 or Pulp 3 export, a docker save archive, an OCI image layout or a `dir:` folder of
/// skopeo, recognised by its content. Layers that the configuration masks are not stored: the registry sends clients to where they are. The
/// tags of the source are added to those that are published. A vendor that is not set up yet is set up.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// The name that people pull, and the one tag of the source that is wanted, or the tag for a source that has none;
    /// tags are published under their own names
    #[arg(value_name = "IMAGE[:TAG]")]
    image: ImageArgument,

    /// Where the image comes from: a file or folder, an http(s) URL, or `-` for standard input; of an export in
    /// several files, the table of contents or the first one [default: IMAGE.tar in the current folder]
    #[arg(long, value_name = "PATH|URL|-")]
    from: Option<String>,

    /// The repository in the source, where it has several and none is called like the image
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,

    /// The image in the source, by the digest of its manifest, or of its config in an archive without manifests: for a
    /// source with several images, or with one that has no tag
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,

    /// The platforms to publish of an image for several, such as linux/amd64,linux/arm64: one alone is published as that
    /// image, several as an index with a digest of its own
    #[arg(long = "platform", value_name = "OS/ARCH", value_delimiter = ',')]
    platforms: Vec<Platform>,

    /// Make the published repository equal to the source: tags that the source does not have are removed
    #[arg(long)]
    prune: bool,

    /// Leave the configuration repository as it is
    #[arg(long)]
    nocommit: bool,

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

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments {
        vendor,
        image,
        from,
        repository,
        digest,
        platforms,
        prune,
        nocommit,
        dry_run,
        terse,
        json,
    } = arguments;
    // clap's errors would repeat the value, which may hold a password.
    let from = from.map_or(Ok(SourceArgument::Default), |text| text.parse())?;
    let options =
        Options { vendor, image, from, repository, digest, platforms, prune, dry_run, no_backup: nocommit };
    let progress = if terse || json { Progress::quiet() } else { Progress::shown() };
    let report = push::push(home, config, &options, &progress)?;
    if json {
        output::json(&report);
    } else if terse {
        output::line(&report.reference);
    } else {
        print(&report, &options.vendor);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report, vendor: &VendorName) {
    let (store, remove) =
        if report.dry_run { ("Would store", "Would remove") } else { ("Stored", "Removed") };
    let mut totals = format!("{store} {}", counted(&report.stored));
    if report.present.objects > 0 {
        totals.push_str(&format!("; {} already there", counted(&report.present)));
    }
    if !report.masked.is_empty() {
        totals.push_str(&format!("; {} masked, not stored", number(report.masked.len(), "layer")));
    }
    if let Some(requests) = report.requests {
        totals.push_str(&format!("; {}", number(requests, "request")));
    }
    output::line(&format!("{totals}; {:.1} s", report.seconds));
    for tag in &report.removed_tags {
        output::line(&format!("{remove} tag {tag}"));
    }
    if let Some(commit) = &report.commit {
        let commit = &commit[..12];
        output::line(&if report.changed {
            format!("Published as commit {commit}")
        } else {
            format!("Nothing changed: it is published already, as commit {commit}")
        });
    }
    if report.dry_run {
        output::line("Nothing was done (--dry-run)");
    } else if report.served {
        output::line(&format!("docker pull {}", report.reference));
    } else {
        output::line(&format!("No server of {vendor} runs; start one with `raas serve {vendor}`, then:"));
        output::line(&format!("docker pull {}", report.reference));
    }
}

fn counted(counted: &Counted) -> String {
    format!("{} ({})", number(counted.objects, "object"), bytes(counted.bytes))
}
