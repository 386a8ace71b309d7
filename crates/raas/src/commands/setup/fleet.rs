//! `raas setup --fleet`: the servers of all vendors in one deployment.

use std::process::ExitCode;

use raas_base::failure::Failure;
use raas_types::VendorName;
use serde::Serialize;

use super::Arguments;
use crate::config::Config;
use crate::output;
use crate::platform;

/// With --fleet, the servers of all vendors.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FleetReport<'a> {
    platform: &'static str,
    /// The vendors that the fleet serves.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    served_vendors: Vec<&'a VendorName>,
    /// Whether anything was made, changed or removed.
    changed: bool,
    /// The names of the servers.
    servers: Vec<String>,
}

pub(super) fn run(config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let chosen = platform::fleet(config, arguments.create)?;
    output::note(&format!("Setting up the fleet in {}", chosen.place.unwrap_or_default()));
    let vendors: Vec<&VendorName> = config.with_buckets().map(|(vendor, _)| vendor).collect();
    let say = |line: &str| {
        if !arguments.json {
            output::line(line);
        }
    };
    // The check of the settings has found a vendor. The platform knows that the servers are those of all.
    let first = vendors.first().expect("a fleet has a vendor");
    let ensured = chosen.platform.ensure(first, &say)?;
    if arguments.json {
        output::json(&FleetReport {
            platform: chosen.platform.name(),
            served_vendors: vendors,
            changed: ensured.changed,
            servers: ensured.servers.into_iter().map(|server| server.name).collect(),
        });
    }
    Ok(ExitCode::SUCCESS)
}
