//! `raas status`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{ImageReferenceError, RepositoryName, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::output;
use crate::progress::{Progress, bytes};
use crate::status::egress::{Egress, Host};
use crate::status::{self, Outcome, Status};
use crate::sync_rule::SyncSource;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_publish::home::{Home, Vendor};
use raas_sources::registry::RegistryAddress;

/// Check a vendor's registry from end to end
///
/// The exit code is 0 only if every check holds.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas status bigdatainc\n  raas status bigdatainc bigdata-app --pulp\n  raas status --egress bigdatainc"
)]
pub(crate) struct Arguments {
    /// Check this vendor [with --egress, default: all]
    #[arg(value_name = "ISV", required_unless_present = "egress")]
    vendor: Option<VendorName>,

    /// Check only the objects and documents of this image
    #[arg(value_name = "IMAGE")]
    image: Option<RepositoryName>,

    /// Read every stored object, and compare its content with its digest
    #[arg(long)]
    deep: bool,

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

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Some(vendor) = arguments.vendor.as_ref().filter(|_| !arguments.egress) else {
        return egress(home, config, arguments);
    };
    let progress = if arguments.json { Progress::quiet() } else { Progress::shown() };
    let deep = arguments.deep.then_some(&progress);
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
    if arguments.json {
        output::json(&status);
    } else {
        print(&status);
    }
    Ok(if status.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

fn egress(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    #[derive(Serialize)]
    struct EgressReport {
        vendors: Vec<Egress>,
    }
    let vendors = match &arguments.vendor {
        Some(name) => vec![home.existing(name)?],
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
            for (host, from) in &image.from {
                let share = match image.size {
                    Some(size) => format!("{} of {}", bytes(*from), bytes(size)),
                    None => "all".to_owned(),
                };
                output::line(&format!("  {:40}  {share} from {host}", format!("{}{tag}", image.image)));
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
        output::line(&format!("{outcome:4}  {:9}  {}", check.name, check.found));
        for detail in &check.details {
            output::line(&format!("                 {detail}"));
        }
        if let Some(fix) = &check.fix {
            output::line(&format!("                 fix: {fix}"));
        }
    }
}
