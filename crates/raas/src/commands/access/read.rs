//! `raas access list` and `raas access show`.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;
use raas_types::VendorName;
use raas_types::access::CustomerName;
use serde::Serialize;

use crate::access::{AccessListing, ListedCustomer, Period, UnreadableCustomer, existing_customer};
use crate::config::Config;
use crate::output;
use crate::pulls::LastUsed;
use crate::storage::refresh_or_say;
use raas_base::failure::Failure;
use raas_publish::home::Home;

/// List the customers of a vendor: what they may see, until when, and when they were last seen
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access list bigdatainc --expiring 30d")]
pub(super) struct List {
    /// List the customers of this vendor
    #[arg(value_name = "ISV")]
    pub(super) vendor: VendorName,

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
    pub(super) vendor: VendorName,

    /// Show this customer
    #[arg(value_name = "CUSTOMER")]
    customer: CustomerName,

    #[command(flatten)]
    used: UsedArguments,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What `raas access show` prints.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CustomerReport<'a> {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: &'a VendorName,
    #[serde(flatten)]
    shown: ListedCustomer,
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
            output::note("The logs have no line of an access log; `raas serve --log json` writes them");
        }
        Ok(Some(found))
    }
}

impl List {
    pub(super) fn run(&self, home: &Home, config: &Config) -> Result<(), Failure> {
        let vendor = home.existing(&self.vendor)?;
        refresh_or_say(&vendor, config);
        let now = SystemTime::now();
        let mut listing = AccessListing::read(&self.vendor, &vendor.record(), now)?;
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
        let is_empty = listing.customers.is_empty() && listing.unreadable_customers.is_empty();
        if is_empty && self.expiring.is_none() {
            output::note(&format!("{} has no customers; `raas access add` makes one", self.vendor));
        }
        listing.customers.iter().for_each(|customer| customer.print(used.is_some()));
        for UnreadableCustomer { customer, why } in &listing.unreadable_customers {
            output::line(&format!("{customer}: damaged, and servers refuse all keys: {why}"));
            output::note(&format!(
                "hint: run `raas access revoke {0} {customer}` or `raas access remove {0} {customer}`, or correct the file in \
                 the record with git",
                self.vendor
            ));
        }
        Ok(())
    }
}

impl Show {
    pub(super) fn run(&self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { vendor: name, customer, used, json } = self;
        let vendor = home.existing(name)?;
        refresh_or_say(&vendor, config);
        let found = existing_customer(&vendor.record(), name, customer)?;
        let mut shown = ListedCustomer::new(customer.clone(), &found, SystemTime::now());
        let used = used.read(name)?;
        if let Some(used) = &used {
            shown.add_last_used(used);
        }
        if *json {
            output::json(&CustomerReport { vendor: name, shown });
        } else {
            shown.print(used.is_some());
        }
        Ok(())
    }
}
