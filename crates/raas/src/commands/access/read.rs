//! `raas access list` and `raas access show`.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use raas_types::VendorName;
use raas_types::access::CustomerName;

use crate::access::{AccessListing, ListedCustomer, Period};
use crate::config::Config;
use crate::output;
use crate::pulls::LastUsed;
use crate::storage::refresh_or_say;
use raas_base::failure::{Failure, Kind};
use raas_publish::access;
use raas_publish::home::Home;

/// List the customers of a vendor: what they may see, until when, and when they were last seen
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access list bigdatainc --expiring 30d")]
pub(super) struct List {
    /// List the customers of this vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// List only valid keys that expire within this time, such as 30d
    #[arg(long, value_name = "PERIOD")]
    expiring: Option<Period>,

    #[command(flatten)]
    used: UsedArguments,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Show one customer
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access show bigdatainc bigbank")]
pub(super) struct Show {
    /// Show a customer of this vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// Show this customer
    #[arg(value_name = "CUSTOMER")]
    customer: CustomerName,

    #[command(flatten)]
    used: UsedArguments,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Access logs that say when keys were last used.
#[derive(Debug, Args)]
struct UsedArguments {
    /// Add when each key was last used, from this access log; may be repeated
    ///
    /// The logs are those of `raas serve --log json`, plain or packed with gzip. `-` is standard input.
    #[arg(long = "log", value_name = "LOG")]
    logs: Vec<PathBuf>,
}

impl UsedArguments {
    /// What the logs say. None without logs.
    fn read(&self, vendor: &VendorName) -> Result<Option<LastUsed>, Failure> {
        if self.logs.is_empty() {
            return Ok(None);
        }
        let found = LastUsed::read(&self.logs, vendor)?;
        if found.lines.access == 0 {
            output::error("The logs have no line of an access log; `raas serve --log json` writes them");
        }
        Ok(Some(found))
    }
}

impl List {
    pub(super) fn run(&self, home: &Home, config: &Config) -> Result<(), Failure> {
        let vendor = home.existing(&self.vendor)?;
        refresh_or_say(&vendor, config);
        let now = SystemTime::now();
        let mut listing = AccessListing::read(&vendor.record(), now)?;
        let used = self.used.read(&self.vendor)?;
        if let Some(used) = &used {
            listing.add_last_used(used);
        }
        if let Some(period) = self.expiring {
            listing.retain_expiring(period.after(now));
        }
        if self.json {
            output::json(&listing);
            return Ok(());
        }
        if listing.customers.is_empty() && self.expiring.is_none() {
            output::note(&format!("{} has no customers; `raas access add` makes one", self.vendor));
        }
        listing.customers.iter().for_each(|customer| customer.print(used.is_some()));
        Ok(())
    }
}

impl Show {
    pub(super) fn run(&self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { vendor: name, customer, used, json } = self;
        let vendor = home.existing(name)?;
        refresh_or_say(&vendor, config);
        let record = vendor.record();
        let found = access::customer(&record, record.head()?.as_ref(), customer)?.ok_or_else(|| {
            Failure::new(Kind::Usage, format!("{name} has no customer {customer}"))
                .hint(format!("run `raas access list {name}` to see the customers"))
        })?;
        let mut shown = ListedCustomer::new(customer.clone(), &found, SystemTime::now());
        let used = used.read(name)?;
        if let Some(used) = &used {
            shown.add_last_used(used);
        }
        if *json {
            output::json(&shown);
        } else {
            shown.print(used.is_some());
        }
        Ok(())
    }
}
