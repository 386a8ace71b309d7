//! `raas certify`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use raas_types::{Digest, ImageArgument, Tag, VendorName};
use serde::Serialize;

use crate::certify::ImageCertification;
use crate::check::Outcome;
use crate::config::Config;
use crate::output;
use crate::progress::Progress;
use crate::push::{self, Options, RegistryAccess, SignArgument, SourceArgument, SourceLogin, Via};
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;

/// Check an image as Red Hat's certification does, as far as raas sees it
///
/// The checks are: labels, user, number of layers, a base image that is masked, files in /licenses, no file of the base image
/// changed, and no new file with setuid or setgid. Every layer is read once, and nothing is stored.
///
/// The exit code is 1 if a check fails.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas certify bigdatainc bigdata-app --from bigdata-app.tar")]
pub(crate) struct Arguments {
    /// Check an image of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Check the image that is published under this name, or only the given tag of the source
    #[arg(value_name = "IMAGE[:TAG]")]
    image: ImageArgument,

    /// Read this file, folder, http(s) URL or registry, as `raas push` does
    #[arg(long, value_name = "PATH|URL|-")]
    from: Option<String>,

    /// Log in at the registry of --from with the `USER:PASSWORD` in this file, or `-` for standard input
    #[arg(long, value_name = "FILE|-")]
    src_creds: Option<SourceLogin>,

    /// Speak http without TLS with the registry of --from
    #[arg(long)]
    src_plain_http: bool,

    /// Take this repository of a source with several [default: the name of the image]
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,

    /// Take the image with this digest from the source
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,

    /// Publish an attestation beside the published image, if every check holds
    ///
    /// The attestation is a statement of in-toto, in an artifact that refers to the image.
    #[arg(long)]
    attach: bool,

    /// Sign the attestation with this key
    #[arg(long, value_name = "FILE", requires = "attach")]
    sign: Option<PathBuf>,

    /// Read the password of the key of --sign from the first line of this file
    #[arg(long, value_name = "FILE", requires = "sign")]
    sign_password_file: Option<PathBuf>,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What was checked.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CertifyReport {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    repository: String,
    source: String,
    certified_images: Vec<ImageCertification>,
    /// Whether every check holds.
    certified: bool,
    /// The commit of the publication of the attestations. `null` if none was published.
    commit: Option<String>,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let from = arguments.from.map_or(Ok(SourceArgument::Default), |text| text.parse())?;
    let access = RegistryAccess::new(arguments.src_creds.as_ref(), arguments.src_plain_http, &from)?;
    let password = arguments.sign_password_file;
    let options = Options {
        vendor: arguments.vendor,
        image: arguments.image,
        from,
        via: Via::Registry,
        access,
        repository: arguments.repository,
        source_tag: None::<Tag>,
        digest: arguments.digest,
        platforms: Vec::new(),
        prune: false,
        force_tag: false,
        protected: false,
        sign: arguments.sign.map(|key| SignArgument { key, password }),
        sign_by: None,
        dry_run: !arguments.attach,
        offline: true,
        no_backup: arguments.nocommit,
        by_sync: false,
    };
    let progress = if arguments.json { Progress::quiet() } else { Progress::shown() };
    let certified = push::certify_source(home, config, &options, arguments.attach, &progress)?;
    if certified.images.is_empty() {
        return Err(Failure::new(Kind::Refused, "the source has no image that could be certified")
            .hint("name a source with an image: artifacts have no file system"));
    }
    let is_certified = certified.images.iter().all(ImageCertification::is_certified);
    let report = CertifyReport {
        vendor: options.vendor.clone(),
        repository: options.image.name.to_string(),
        source: certified.source,
        certified_images: certified.images,
        certified: is_certified,
        commit: certified.report.and_then(|report| report.commit),
    };
    if arguments.json {
        output::json(&report);
    } else {
        print(&report, arguments.attach);
    }
    Ok(ExitCode::from(u8::from(!is_certified)))
}

fn print(report: &CertifyReport, attach: bool) {
    for image in &report.certified_images {
        output::line(&image.name());
        for check in &image.checks {
            let word = match check.outcome {
                Outcome::Ok => "ok",
                Outcome::Warning => "warn",
                Outcome::Failed => "FAIL",
            };
            output::line(&format!("  {word:<4}  {:<11}  {}", check.name, check.found));
            for detail in &check.details {
                output::line(&format!("{:21}- {detail}", ""));
            }
            if let Some(fix) = &check.fix {
                output::line(&format!("{:21}fix: {fix}", ""));
            }
        }
    }
    match (&report.commit, report.certified) {
        (Some(commit), _) => output::line(&format!("Attested as commit {}", &commit[..12])),
        (None, false) if attach => output::line("Nothing was attested: a check does not hold"),
        (None, true) => output::line("Every check holds"),
        (None, false) => output::line("A check does not hold"),
    }
}
