//! `raas gc`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use raas_types::VendorName;
use serde::Serialize;

use crate::config::Config;
use crate::output::{self, number};
use crate::progress::bytes;
use crate::storage::{OpenRegistry, say_on_stderr};
use crate::vendors;
use raas_base::failure::Failure;
use raas_publish::gc::{GRACE_HOURS, Garbage, KEEP_DAYS, Policy, collect};
use raas_publish::home::Home;

/// List content that no publication names, and remove it with --yes
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas gc bigdatainc --keep-days 90 --yes")]
pub(crate) struct Arguments {
    /// Look through the storage of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Remove the content instead of listing it
    #[arg(long)]
    yes: bool,

    /// Keep what publications named within this many days, so that they can be rolled back to
    #[arg(long, value_name = "N", default_value_t = KEEP_DAYS)]
    keep_days: u32,

    /// Keep content younger than this many hours
    ///
    /// A running push has stored content that no publication names yet.
    #[arg(long, value_name = "N", default_value_t = GRACE_HOURS)]
    grace_hours: u32,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// The shortest grace period, in hours, that is safe for concurrent pushes. A push relies on unpublished content for half
/// of this time only: see `repository_listing.rs` of `raas-publish`.
const SAFE_GRACE: u32 = 24;

/// What no publication names.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct GcReport<'a> {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: &'a VendorName,
    /// Whether nothing was removed: the command ran without --yes.
    dry_run: bool,
    /// The objects that were removed, or that --yes would remove.
    garbage: Vec<GarbageObject>,
    /// Their size together.
    size: u64,
    /// How many objects publications of the days kept refer to.
    kept_objects: u64,
    /// How many objects nothing refers to that are younger than the grace period.
    young_objects: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct GarbageObject {
    object: String,
    size: u64,
}

impl<'a> GcReport<'a> {
    fn new(vendor: &'a VendorName, found: Garbage) -> Self {
        let Garbage { kept: kept_objects, young: young_objects, garbage, bytes: size, removed } = found;
        let garbage = garbage.into_iter().map(|(object, size)| GarbageObject { object, size }).collect();
        Self { vendor, dry_run: !removed, garbage, size, kept_objects, young_objects }
    }
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let vendor = vendors::existing(home, config, &arguments.vendor)?;
    let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3600);
    let policy = Policy {
        keep: hours(arguments.keep_days.saturating_mul(24)),
        grace: hours(arguments.grace_hours),
        remove: arguments.yes,
    };
    if arguments.yes && arguments.grace_hours < SAFE_GRACE {
        output::note(&format!(
            "Note: a push that runs now, here or elsewhere, may lose what it has stored, and must then be run again. \
             --grace-hours {SAFE_GRACE} is safe"
        ));
    }
    let open = OpenRegistry::open(&vendor, config, say_on_stderr())?;
    vendor.check_formats()?;
    if arguments.yes {
        open.remember_storage()?;
    }
    // Removes the uploads of killed runs.
    open.storage().abort_stale_uploads()?;
    let garbage = collect(&open.registry(), policy)?;
    if arguments.json {
        output::json(&GcReport::new(&arguments.vendor, garbage));
    } else {
        print(&garbage);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(garbage: &Garbage) {
    for (key, size) in &garbage.garbage {
        output::line(&format!("{key} ({})", bytes(*size)));
    }
    let verb = if garbage.removed { "Removed" } else { "Would remove" };
    output::line(&format!(
        "{verb} {} ({}); keeping {} that publications need, {} that are too young",
        number(garbage.garbage.len(), "object"),
        bytes(garbage.bytes),
        garbage.kept,
        garbage.young
    ));
    if !garbage.removed && !garbage.garbage.is_empty() {
        output::line("Nothing was removed; --yes removes the objects");
    }
}
