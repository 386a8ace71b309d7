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
#[command(after_long_help = "Example:\n  raas teardown bigdatainc\n  raas teardown --fleet")]
pub(crate) struct Arguments {
    /// Remove the servers of this vendor
    #[arg(value_name = "ISV", required_unless_present = "fleet")]
    pub(crate) vendor: Option<VendorName>,

    /// Remove the servers of all vendors from the cluster
    #[arg(long, conflicts_with = "vendor")]
    fleet: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// Print one JSON object instead of text
    #[arg(long, requires = "yes")]
    json: bool,
}

/// What was removed from the platform.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TeardownReport {
    /// `null` for the fleet.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    vendor: Option<VendorName>,
    platform: &'static str,
    /// The names of the objects in the cluster.
    removed_resources: Vec<String>,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, yes, json, .. } = arguments;
    if platform::is_local(config) {
        platform::expect_cluster(config, "`raas teardown`")?;
    }
    let chosen = match vendor {
        Some(vendor) => {
            reject_vendor_of_fleet(config, vendor)?;
            platform::choose(home, config, vendor, false)?
        }
        None => platform::fleet(config, false)?,
    };
    let whose = vendor.as_ref().map_or("the fleet".to_owned(), ToString::to_string);
    let place = chosen.place.unwrap_or_default();
    if !yes {
        let made = match vendor {
            Some(vendor) => platform::made(home, config, vendor)?,
            None => platform::made_for_fleet(config)?,
        };
        if made.is_empty() {
            output::line(&format!("Nothing of {whose} is in {place}"));
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
    // The platform knows whose servers they are. A fleet has every vendor of the configuration.
    let named = vendor.clone().or_else(|| config.vendors().next().cloned());
    let removed = named.map_or(Ok(Vec::new()), |vendor| chosen.platform.remove(&vendor, &say))?;
    if removed.is_empty() {
        say(&format!("Nothing of {whose} is in {place}"));
    }
    if *json {
        output::json(&TeardownReport {
            vendor: vendor.clone(),
            platform: chosen.platform.name(),
            removed_resources: removed,
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// Rejects a vendor whose servers are those of all vendors.
fn reject_vendor_of_fleet(config: &Config, vendor: &VendorName) -> Result<(), Failure> {
    if !config.openshift.fleet || platform::expect_cluster(config, "").is_err() {
        return Ok(());
    }
    Err(Failure::new(
        Kind::Usage,
        format!("the servers of {vendor} are those of the fleet, which has other vendors too"),
    )
    .hint(format!(
        "take `s3_bucket` out of [{vendor}] and run `raas setup --fleet`: it removes the vendor's route"
    ))
    .hint("remove the servers of all vendors with `raas teardown --fleet`"))
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
