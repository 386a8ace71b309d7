//! `raas lint`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use raas_types::crane::{Document, Finding, Severity, lint};
use serde::Serialize;

use crate::output::{self, number};
use raas_base::failure::{Failure, Kind};
use raas_base::files;

/// Check Crane metadata documents
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas lint crane/data")]
pub(crate) struct Arguments {
    /// Check these documents, and the documents in these folders; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Print one JSON object with the findings of each file instead of text
    #[arg(long)]
    json: bool,
}

/// The findings of each file.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LintReport<'a> {
    /// Whether every file could be read, and none has an error.
    healthy: bool,
    files: Vec<LintedFile<'a>>,
    unreadable_files: Vec<UnreadableFile>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LintedFile<'a> {
    file: &'a str,
    findings: Vec<FindingReport<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct FindingReport<'a> {
    /// `error`: a registry would skip the document, or serve something that cannot be pulled. `warning`: a person should
    /// check it.
    severity: &'static str,
    /// The place of the fault: a JSON pointer (RFC 6901), empty for the whole document.
    at: &'a str,
    /// What is wrong, and what was expected.
    message: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct UnreadableFile {
    file: String,
    why: String,
}

impl<'a> LintReport<'a> {
    fn new(results: &'a BTreeMap<String, Vec<Finding>>, unread: &[(PathBuf, io::Error)]) -> Self {
        let finding = |finding: &'a Finding| FindingReport {
            severity: match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            at: &finding.at,
            message: &finding.message,
        };
        let linted = |(file, findings): (&'a String, &'a Vec<Finding>)| LintedFile {
            file,
            findings: findings.iter().map(finding).collect(),
        };
        let unreadable = |(file, error): &(PathBuf, io::Error)| UnreadableFile {
            file: file.display().to_string(),
            why: error.to_string(),
        };
        let mut findings = results.values().flatten();
        Self {
            healthy: unread.is_empty() && findings.all(|finding| finding.severity != Severity::Error),
            files: results.iter().map(linted).collect(),
            unreadable_files: unread.iter().map(unreadable).collect(),
        }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let mut results: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    let mut unread = Vec::new();
    for path in documents(&arguments.files, &mut unread) {
        match read(&path) {
            Ok(bytes) => drop(results.insert(path.display().to_string(), lint(&bytes))),
            Err(error) => unread.push((path, error)),
        }
    }
    let errors = results.values().flatten().filter(|finding| finding.severity == Severity::Error).count();
    if arguments.json {
        output::json(&LintReport::new(&results, &unread));
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
    // The findings of readable files are printed before the error.
    let mut unread = unread.into_iter();
    if let Some((path, error)) = unread.next() {
        let more = unread.len();
        let others = if more > 0 { format!(" and {}", number(more, "other file")) } else { String::new() };
        let message = format!("cannot read {}{others}", path.display());
        return Err(Failure::new(Kind::of_named_file(&error), message)
            .caused_by(error)
            .hint("check the names and the permissions of the files"));
    }
    Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The named files, and the documents in named folders.
fn documents(named: &[PathBuf], unread: &mut Vec<(PathBuf, io::Error)>) -> Vec<PathBuf> {
    let mut documents = Vec::new();
    for path in named {
        if !path.is_dir() {
            documents.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        let walked = files::walk(path, "", &mut |name, _| {
            if name.ends_with(".json") {
                found.push(path.join(name));
            }
        });
        if let Err(error) = walked {
            unread.push((path.clone(), error));
        }
        found.sort();
        documents.extend(found);
    }
    documents
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = Document::MAX_SIZE + 1;
    if path.as_os_str() == "-" {
        io::stdin().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 == most {
        return Err(io::Error::other(format!(
            "it is longer than {} bytes, the limit for a document",
            Document::MAX_SIZE
        )));
    }
    Ok(bytes)
}
