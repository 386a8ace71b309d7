//! `raas status`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use raas_types::{ImageReferenceError, RepositoryName, VendorName};
use serde::Serialize;

use crate::config::{Config, SyncSource};
use crate::output;
use crate::progress::{Progress, bytes};
use crate::status::egress::{Egress, Host, HostShare};
use crate::status::{self, Deep, Outcome, Status};
use crate::vendors;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;
use raas_base::parallel;
use raas_publish::home::{Home, Vendor};
use raas_sources::registry::RegistryAddress;

/// Check the registry of a vendor from end to end, or of all vendors
///
/// Without a vendor, the command checks every vendor of the configuration and of the home, several at once, and prints a
/// line for each. The exit code is 0 only if every check of every vendor holds.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas status bigdatainc\n  raas status bigdatainc bigdata-app --pulp\n  raas status --egress bigdatainc\n  raas status bigdatainc --deep --resume --rate 50M"
)]
pub(crate) struct Arguments {
    /// Check this vendor [default: all, with a line for each]
    #[arg(value_name = "ISV")]
    pub(crate) vendor: Option<VendorName>,

    /// Check only the objects and documents of this image
    #[arg(value_name = "IMAGE")]
    image: Option<RepositoryName>,

    /// Check all vendors; a command without a vendor does the same
    #[arg(long, conflicts_with = "vendor")]
    all: bool,

    /// Read every stored object and all metadata, and compare every byte with what was published
    #[arg(long)]
    deep: bool,

    /// With --deep, read on where the last run with this option ended
    ///
    /// Use it in a daily job. A run that is stopped loses nothing. When all objects are read, the next reading begins
    /// four weeks later.
    #[arg(long, requires = "deep", conflicts_with = "image")]
    resume: bool,

    /// With --deep, read at most this many bytes of content in a second: `50M`
    #[arg(long, value_name = "BYTES", requires = "deep", value_parser = rate)]
    rate: Option<u64>,

    /// Also write the results to this file as metrics
    ///
    /// The textfile collector of Prometheus's node exporter reads such files.
    #[arg(long, value_name = "FILE", conflicts_with = "egress")]
    metrics: Option<PathBuf>,

    /// Also ask each location of a masked layer whether it has the layer
    #[arg(long)]
    federation: bool,

    /// Also compare the tags of the image with those of the Pulp server
    #[arg(long, requires = "image", conflicts_with_all = ["egress", "source"])]
    pulp: bool,

    /// Also compare the tags of the image with those of this repository, docker://HOST/NAME
    #[arg(long, value_name = "ADDRESS", requires = "image", conflicts_with = "egress")]
    source: Option<String>,

    /// List only the hosts that a customer's firewall must allow, with the bytes from each
    ///
    /// With --federation, the list includes the hosts that the locations redirect clients to.
    #[arg(long, conflicts_with_all = ["deep", "image"])]
    egress: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Reads a number of bytes, with `K`, `M` or `G` for the binary multiples.
fn rate(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let factor = match unit {
        "" => 1,
        "K" | "k" => 1 << 10,
        "M" | "m" => 1 << 20,
        "G" | "g" => 1 << 30,
        _ => return Err("expected a number of bytes, such as 50M".to_owned()),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    number.filter(|number| *number > 0).ok_or_else(|| "expected a number of bytes, such as 50M".to_owned())
}

/// The checks of one vendor, or of all.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StatusReport {
    /// Whether every check of every vendor holds. Warnings do not count.
    healthy: bool,
    vendors: Vec<Status>,
}

/// With --egress, the hosts that a firewall must allow.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EgressReport {
    vendors: Vec<Egress>,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.egress {
        return egress(home, config, arguments);
    }
    let Some(vendor) = &arguments.vendor else { return all(home, config, arguments) };
    let progress = if arguments.json { Progress::quiet() } else { Progress::shown() };
    let deep = Deep { progress: &progress, rate: arguments.rate, resume: arguments.resume };
    let deep = arguments.deep.then_some(&deep);
    let image = arguments.image.as_ref();
    let mut status = status::check(home, config, vendor, image, deep);
    if arguments.federation {
        status::federation::add(&mut status, &home.vendor(vendor), image);
    }
    let source = match &arguments.source {
        // clap's errors would repeat the value, which may hold a password.
        Some(address) => Some(SyncSource::Registry(repository(address)?)),
        None => arguments.pulp.then_some(SyncSource::Pulp),
    };
    if let (Some(source), Some(image)) = (source, image) {
        status::source::add(&mut status, home, config, vendor, image, &source);
    }
    if let Some(file) = &arguments.metrics {
        let text = status::metrics::render(&status);
        files::write_shared(file, text.as_bytes()).context(|| format!("cannot write {}", file.display()))?;
    }
    let healthy = status.healthy;
    if arguments.json {
        output::json(&StatusReport { healthy, vendors: vec![status] });
    } else {
        print(&status);
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repository of an address, with all its tags.
fn repository(address: &str) -> Result<RegistryAddress, Failure> {
    let address: RegistryAddress =
        address.parse().map_err(|error: ImageReferenceError| Failure::new(Kind::Usage, error.to_string()))?;
    if address.tag.is_some() || address.digest.is_some() {
        let message = format!("--source compares a repository, and {address} names one image of it");
        return Err(Failure::new(Kind::Usage, message).hint("give docker://HOST/NAME"));
    }
    Ok(address)
}

/// The most vendors that are checked at once.
const IN_FLIGHT: usize = 8;

/// Checks all vendors, and prints a line for each.
fn all(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let quiet = Progress::quiet();
    let deep = Deep { progress: &quiet, rate: arguments.rate, resume: arguments.resume };
    let deep = arguments.deep.then_some(&deep);
    let names: Vec<VendorName> = vendors::all(home, config)?.into_iter().collect();
    let vendors = parallel::each(IN_FLIGHT, names, |name| {
        let mut status = status::check(home, config, &name, None, deep);
        if arguments.federation {
            status::federation::add(&mut status, &home.vendor(&name), None);
        }
        Ok(status)
    })?;
    let healthy = vendors.iter().all(|status| status.healthy);
    let code = if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if arguments.json {
        output::json(&StatusReport { healthy, vendors });
        return Ok(code);
    }
    if vendors.is_empty() {
        output::line("no vendor is set up or configured");
    }
    vendors.iter().for_each(print_line);
    if let Some(Status { vendor, .. }) = vendors.iter().find(|status| !status.healthy) {
        output::note(&format!("hint: run `raas status {vendor}` for all checks of {vendor}"));
    }
    Ok(code)
}

/// The state of a vendor in a line: the first check that does not hold, or the number of warnings.
fn print_line(status: &Status) {
    let of = |outcome| status.checks.iter().filter(move |check| check.outcome == outcome);
    let (failed, warnings) = (of(Outcome::Failed).count(), of(Outcome::Warning).count());
    let mut found = match of(Outcome::Failed).next().or_else(|| of(Outcome::Warning).next()) {
        Some(check) => format!("{}: {}", check.name, check.found),
        None => format!("{} hold", output::number(status.checks.len(), "check")),
    };
    if failed + warnings > 1 {
        found.push_str(&format!(" (and {} more)", failed + warnings - 1));
    }
    let outcome = match (failed, warnings) {
        (0, 0) => "ok",
        (0, _) => "warn",
        _ => "FAIL",
    };
    output::line(&format!("{outcome:4}  {:20}  {found}", status.vendor));
}

fn egress(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let vendors = match &arguments.vendor {
        Some(name) => vec![vendors::existing(home, config, name)?],
        None => home.vendors().context(|| format!("cannot read {}", home.root().display()))?,
    };
    let of = |vendor: &Vendor| status::egress::of(home, config, vendor, arguments.federation);
    let vendors = vendors.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    if arguments.json {
        output::json(&EgressReport { vendors });
        return Ok(ExitCode::SUCCESS);
    }
    for Egress { vendor, hosts, images } in &vendors {
        output::line(&format!("{vendor}"));
        for Host { host, uses } in hosts {
            let uses: Vec<&str> = uses.iter().copied().collect();
            output::line(&format!("  {host:40}  {}", uses.join(", ")));
        }
        for image in images {
            let tag = image.tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
            for HostShare { host, size: from } in &image.hosts {
                let share = match image.size {
                    Some(size) => format!("{} of {}", bytes(*from), bytes(size)),
                    None => "all".to_owned(),
                };
                output::line(&format!("  {:40}  {share} from {host}", format!("{}{tag}", image.repository)));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(status: &Status) {
    for check in &status.checks {
        let outcome = match check.outcome {
            Outcome::Ok => "ok",
            Outcome::Warning => "warn",
            Outcome::Failed => "FAIL",
        };
        let took = check.milliseconds.map(|time| format!(" ({time} ms)")).unwrap_or_default();
        output::line(&format!("{outcome:4}  {:9}  {}{took}", check.name, check.found));
        for detail in &check.details {
            output::line(&format!("                 {detail}"));
        }
        if let Some(fix) = &check.fix {
            output::line(&format!("                 fix: {fix}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_bytes() {
        let table = [("1", 1), ("50M", 50 << 20), ("3k", 3 << 10), ("2G", 2 << 30)];
        for (text, bytes) in table {
            assert_eq!(rate(text), Ok(bytes));
        }
        for text in ["", "0", "M", "-1", "1.5M", "5MB", "99999999999999G"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
