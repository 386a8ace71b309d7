//! `raas gc`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use raas_types::VendorName;

use crate::config::Config;
use crate::output::{self, number};
use crate::push::bytes;
use crate::storage::{OpenRegistry, say_on_stderr};
use raas_base::failure::{Failure, Kind};
use raas_publish::gc::{Garbage, Policy, collect};
use raas_publish::home::Home;

/// Remove content that no publication refers to; without `--yes`, say what would be removed.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// Remove it
    #[arg(long)]
    yes: bool,

    /// For how many days a publication can be rolled back to after another one took its place
    #[arg(long, value_name = "N", default_value_t = 30)]
    keep_days: u32,

    /// How many hours old content must be: a push that runs has stored what nothing refers to yet
    #[arg(long, value_name = "N", default_value_t = 24)]
    grace_hours: u32,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// From how many hours of grace on no push can be met that takes content for there which is being removed: see `held.rs`.
const SAFE_GRACE: u32 = 24;

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let vendor = home.vendor(&arguments.vendor);
    if !vendor.exists() {
        let message = format!("there is no vendor {} in {}", vendor.name(), home.root().display());
        return Err(Failure::new(Kind::Usage, message));
    }
    let hours = |hours: u32| Duration::from_secs(u64::from(hours) * 3600);
    let policy = Policy {
        keep: hours(arguments.keep_days.saturating_mul(24)),
        grace: hours(arguments.grace_hours),
        remove: arguments.yes,
    };
    if arguments.yes && arguments.grace_hours < SAFE_GRACE {
        output::error(&format!(
            "Note: a push that runs at this moment, here or elsewhere, may lose what it has stored; it would have to be \
             run again. {SAFE_GRACE} hours of grace are safe"
        ));
    }
    let open = OpenRegistry::open(&vendor, config, say_on_stderr())?;
    vendor.check_formats()?;
    // What runs that were killed left unfinished.
    open.storage().abort_stale_uploads()?;
    let garbage = collect(&open.registry(), policy)?;
    if arguments.json {
        output::json(&garbage);
    } else {
        tell(&garbage);
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(garbage: &Garbage) {
    for (key, size) in &garbage.garbage {
        output::line(&format!("{key} ({})", bytes(*size)));
    }
    let verb = if garbage.removed { "Removed" } else { "Would remove" };
    output::line(&format!(
        "{verb} {} ({}); kept {} that are published, {} that are young",
        number(garbage.garbage.len(), "object"),
        bytes(garbage.bytes),
        garbage.kept,
        garbage.young
    ));
    if !garbage.removed && !garbage.garbage.is_empty() {
        output::line("Nothing was done; --yes removes them");
    }
}
