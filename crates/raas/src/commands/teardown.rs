//! `raas teardown`.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use clap::Args;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;
use raas_types::VendorName;
use serde::Serialize;

use crate::config::Config;
use crate::output;
use crate::platform;

/// Remove a vendor's servers from the platform
///
/// The command removes exactly what `raas setup` has made there, after asking. The bucket, the record, the home and the
/// project stay, so `raas setup` brings everything back.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas teardown bigdatainc")]
pub(crate) struct Arguments {
    /// Remove the servers of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Print one JSON object instead of text
    #[arg(long, requires = "yes")]
    json: bool,
}

/// The result for scripts.
#[derive(Serialize)]
struct TeardownReport {
    vendor: VendorName,
    platform: &'static str,
    removed: Vec<String>,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, yes, json } = arguments;
    if platform::is_local(config) {
        platform::expect_cluster(config, "`raas teardown`")?;
    }
    let chosen = platform::choose(home, config, vendor, false)?;
    let place = chosen.place.unwrap_or_default();
    if !yes {
        let made = platform::made(home, config, vendor)?;
        if made.is_empty() {
            output::line(&format!("Nothing of {vendor} is in {place}"));
            return Ok(ExitCode::SUCCESS);
        }
        output::error(&format!("This will be removed from {place}:"));
        made.iter().for_each(|name| output::error(&format!("  {name}")));
        confirm()?;
    }
    let say = |line: &str| {
        if !json {
            output::line(line);
        }
    };
    let removed = chosen.platform.remove(vendor, &say)?;
    if removed.is_empty() {
        say(&format!("Nothing of {vendor} is in {place}"));
    }
    if *json {
        output::json(&TeardownReport { vendor: vendor.clone(), platform: chosen.platform.name(), removed });
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks a person. Without a terminal, nobody can answer.
fn confirm() -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Kind::Usage, "nobody can answer: standard input is no terminal")
            .hint("give --yes to remove these without a question"));
    }
    output::error("Remove them? [y/N]");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim().to_ascii_lowercase().as_str()) {
        (Ok(_), "y" | "yes") => Ok(()),
        _ => Err(Failure::new(Kind::Usage, "nothing was removed").hint("answer y, or give --yes")),
    }
}
