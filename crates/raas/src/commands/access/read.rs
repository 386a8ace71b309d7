//! `raas access list` and `raas access show`.

use std::time::SystemTime;

use clap::Args;
use raas_types::VendorName;
use raas_types::access::CustomerName;

use crate::access::{AccessListing, ListedCustomer, Period};
use crate::config::Config;
use crate::output;
use crate::storage::refresh_or_say;
use raas_base::failure::{Failure, Kind};
use raas_publish::access;
use raas_publish::home::Home;

/// List the customers of a vendor: what they may see, and until when
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access list bigdatainc --expiring 30d")]
pub(super) struct List {
    /// List the customers of this vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// List only valid keys that expire within this time, such as 30d
    #[arg(long, value_name = "PERIOD")]
    expiring: Option<Period>,

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

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) fn run(&self, home: &Home, config: &Config) -> Result<(), Failure> {
        let vendor = home.existing(&self.vendor)?;
        refresh_or_say(&vendor, config);
        let now = SystemTime::now();
        let mut listing = AccessListing::read(&vendor.record(), now)?;
        if let Some(period) = self.expiring {
            listing.retain_expiring(period.after(now));
        }
        if self.json {
            output::json(&listing);
            return Ok(());
        }
        listing.customers.iter().for_each(ListedCustomer::print);
        Ok(())
    }
}

impl Show {
    pub(super) fn run(&self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { vendor: name, customer, json } = self;
        let vendor = home.existing(name)?;
        refresh_or_say(&vendor, config);
        let record = vendor.record();
        let found = access::customer(&record, record.head()?.as_ref(), customer)?.ok_or_else(|| {
            Failure::new(Kind::Usage, format!("{name} has no customer {customer}"))
                .hint(format!("run `raas access list {name}` to see the customers"))
        })?;
        let shown = ListedCustomer::new(customer.clone(), &found, SystemTime::now());
        if *json {
            output::json(&shown);
        } else {
            shown.print();
        }
        Ok(())
    }
}
