//! `raas lint`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use raas_types::crane::{Document, Finding, Severity, lint};

use crate::failure::{Context as _, Failure, Kind};
use crate::output;

/// Check Crane metadata documents from anywhere.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The documents; `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Print one JSON object: file to findings
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut results: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for path in &arguments.files {
        let shown = path.display().to_string();
        let bytes = read(path).context(|| format!("cannot read {shown}"))?;
        if bytes.len() as u64 > Document::MAX_SIZE {
            let message =
                format!("{shown} is longer than the {} bytes of the longest document", Document::MAX_SIZE);
            return Err(Failure::new(Kind::Refused, message));
        }
        results.insert(shown, lint(&bytes));
    }
    let errors = results.values().flatten().filter(|finding| finding.severity == Severity::Error).count();
    if arguments.json {
        output::json(&results);
    } else {
        for (file, findings) in &results {
            for finding in findings {
                output::line(&format!("{file}: {finding}"));
            }
            if findings.is_empty() {
                output::line(&format!("{file}: ok"));
            }
        }
    }
    Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(path: &std::path::Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = Document::MAX_SIZE + 1;
    if path.as_os_str() == "-" {
        io::stdin().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
