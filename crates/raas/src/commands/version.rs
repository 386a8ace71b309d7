//! `raas version`.

use std::process::ExitCode;

use clap::Args;
use raas_base::failure::Failure;
use raas_publish::format::{HOME_FORMAT, RECORD_FORMAT};
use raas_types::{Pointer, access};
use serde::Serialize;

use crate::output;

/// Print the version, the commit, the features and the formats of this raas
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas version\n  raas version --json")]
pub(crate) struct Arguments {
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What this program is.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct VersionReport {
    version: &'static str,
    /// The commit of raas's own sources. `null` for a development build, and if it was not known at build time.
    commit: Option<&'static str>,
    /// The system that the program is built for, as Rust names it.
    target: &'static str,
    /// The features that the program is built with.
    features: Vec<&'static str>,
    formats: Formats,
}

/// The newest format of each kind that this raas reads, and the format that it writes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Formats {
    /// The folder of a home.
    home: u32,
    /// The git repository of a vendor's publications.
    record: u32,
    /// The pointer to the snapshot in a bucket.
    pointer: u32,
    /// The parts of the snapshot in a bucket.
    parts: u32,
    /// The files of customers and of protected repositories.
    access_files: u32,
}

fn report() -> VersionReport {
    let features = [
        ("credentials", cfg!(feature = "credentials")),
        ("keyless", cfg!(feature = "keyless")),
        ("kubernetes", cfg!(feature = "kubernetes")),
        ("operator", cfg!(feature = "operator")),
        ("s3", cfg!(feature = "s3")),
        ("traces", cfg!(feature = "traces")),
    ];
    VersionReport {
        version: env!("CARGO_PKG_VERSION"),
        commit: Some(env!("RAAS_BUILD_COMMIT")).filter(|commit| !commit.is_empty()),
        target: env!("RAAS_BUILD_TARGET"),
        features: features.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name).collect(),
        formats: Formats {
            home: HOME_FORMAT,
            record: RECORD_FORMAT,
            pointer: Pointer::FORMAT,
            parts: Pointer::PARTS_FORMAT,
            access_files: access::FORMAT,
        },
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let report = report();
    if arguments.json {
        output::json(&report);
    } else {
        print(&report);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &VersionReport) {
    let VersionReport { version, commit, target, features, formats } = report;
    let Formats { home, record, pointer, parts, access_files } = formats;
    output::line(&format!("raas {version} for {target}"));
    output::line(&format!("commit:    {}", commit.unwrap_or("unknown (a development build)")));
    output::line(&format!("features:  {}", features.join(", ")));
    output::line(&format!(
        "formats:   home {home}, record {record}, pointer {pointer}, parts {parts}, access files {access_files}"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_a_hash_or_unknown() {
        let report = report();
        assert!(report.commit.is_none_or(|commit| commit.len() >= 40), "{report:?}");
        assert!(report.features.contains(&"operator") && report.target.contains('-'), "{report:?}");
    }
}
