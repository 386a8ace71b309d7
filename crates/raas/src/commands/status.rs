//! `raas status`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::output;
use crate::progress::{Progress, bytes};
use crate::status::egress::{Egress, Host};
use crate::status::{self, Outcome, Status};
use raas_base::failure::{Context as _, Failure};
use raas_publish::home::{Home, Vendor};

/// Check a vendor's registry from end to end.
///
/// Exit code 0 only if every check holds.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendor [with --egress, default: all]
    #[arg(value_name = "ISV", required_unless_present = "egress")]
    vendor: Option<VendorName>,

    /// Only this image's objects and documents
    #[arg(value_name = "IMAGE")]
    image: Option<RepositoryName>,

    /// Read every stored object and compare its content with its digest
    #[arg(long)]
    deep: bool,

    /// Also ask every place that layers are served from, other than the bucket, whether it has them
    #[arg(long)]
    federation: bool,

    /// Only list every host that a customer's firewall must allow, and how many bytes of each image come from where; with
    /// --federation, the hosts that those elsewhere send clients on to are found out
    #[arg(long, conflicts_with_all = ["deep", "image"])]
    egress: bool,

    /// Print one JSON object
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
    if arguments.json {
        output::json(&status);
    } else {
        print(&status);
    }
    Ok(if status.healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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
