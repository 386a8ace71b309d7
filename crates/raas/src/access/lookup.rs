//! The customers of a vendor, for people and scripts.

use std::time::SystemTime;

use raas_base::failure::{Failure, Kind};
use raas_publish::access::{self, Customers};
use raas_publish::record::Record;
use raas_types::access::{Customer, CustomerKey, CustomerName, KeyName, KeyState};
use raas_types::{Utc, VendorName};
use serde::Serialize;

use super::ShownEnd;
use crate::output;
use crate::pulls::LastUsed;

/// A customer of the last publication.
///
/// # Errors
/// There is no such customer, or the customer's file cannot be read.
pub(crate) fn existing_customer(
    record: &Record,
    vendor: &VendorName,
    name: &CustomerName,
) -> Result<Customer, Failure> {
    let found = access::customer(record, record.head()?.as_ref(), name)?;
    found.ok_or_else(|| unknown_customer(vendor, name))
}

/// The error for a customer that does not exist.
pub(super) fn unknown_customer(vendor: &VendorName, name: &CustomerName) -> Failure {
    Failure::new(Kind::Usage, format!("{vendor} has no customer {name}"))
        .hint(format!("run `raas access list {vendor}` to see the customers"))
}

/// What `raas access list` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AccessListing {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    /// The patterns of repositories that are born protected.
    pub(crate) protected_patterns: Vec<String>,
    pub(crate) customers: Vec<ListedCustomer>,
    /// The customers whose files are damaged. Servers refuse their keys.
    pub(crate) unreadable_customers: Vec<UnreadableCustomer>,
}

/// A customer whose file cannot be read.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UnreadableCustomer {
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) customer: CustomerName,
    /// Why the file cannot be read.
    pub(crate) why: String,
}

/// A customer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ListedCustomer {
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) customer: CustomerName,
    /// The last request in the access logs that were read. None if it is not known.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) last_used: Option<Utc>,
    /// The patterns of the granted repositories.
    pub(crate) granted_patterns: Vec<String>,
    pub(crate) keys: Vec<ListedKey>,
}

/// A key. It has no part of a secret or of its hash.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ListedKey {
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) key: KeyName,
    /// `valid`, `expired` or `revoked`.
    pub(crate) state: &'static str,
    pub(crate) created: String,
    pub(crate) expires: Option<String>,
    pub(crate) revoked: Option<String>,
    /// When an earlier secret of a rotation ends.
    pub(crate) overlap_until: Option<String>,
    /// As that of the customer.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub(crate) last_used: Option<Utc>,
    #[serde(skip)]
    end: Option<Utc>,
}

impl AccessListing {
    /// All customers of the last publication.
    ///
    /// # Errors
    /// The record or the file of patterns cannot be read.
    pub(crate) fn read(vendor: &VendorName, record: &Record, now: SystemTime) -> Result<Self, Failure> {
        let head = record.head()?;
        let customers = head.as_ref().map(|head| access::customers(record, head)).transpose()?;
        let Customers { readable, unreadable } = customers.unwrap_or_default();
        let patterns = access::patterns(record, head.as_ref())?.patterns;
        Ok(Self {
            vendor: vendor.clone(),
            protected_patterns: patterns.iter().map(ToString::to_string).collect(),
            customers: readable
                .into_iter()
                .map(|(name, found)| ListedCustomer::new(name, &found, now))
                .collect(),
            unreadable_customers: unreadable
                .into_iter()
                .map(|(customer, error)| UnreadableCustomer { customer, why: error.to_string() })
                .collect(),
        })
    }

    /// Adds when keys were last used.
    pub(crate) fn add_last_used(&mut self, found: &LastUsed) {
        self.customers.iter_mut().for_each(|customer| customer.add_last_used(found));
    }

    /// Keeps only the valid keys that expire before a time, and the customers with such a key.
    pub(crate) fn retain_expiring(&mut self, before: Utc) {
        for customer in &mut self.customers {
            let expires = |key: &ListedKey| key.state == "valid" && key.end.is_some_and(|end| end <= before);
            customer.keys.retain(expires);
        }
        self.customers.retain(|customer| !customer.keys.is_empty());
    }
}

impl ListedCustomer {
    pub(crate) fn new(name: CustomerName, customer: &Customer, now: SystemTime) -> Self {
        let keys = customer.keys.iter().map(|(name, key)| ListedKey::new(name.clone(), key, Utc::of(now)));
        let granted_patterns = customer.repositories.iter().map(ToString::to_string).collect();
        Self { customer: name, last_used: None, granted_patterns, keys: keys.collect() }
    }

    /// Adds when the customer and the keys were last used.
    pub(crate) fn add_last_used(&mut self, found: &LastUsed) {
        self.last_used = found.of_customer(&self.customer);
        for key in &mut self.keys {
            key.last_used = found.of_key(&self.customer, &key.key);
        }
    }

    /// Prints the customer: a line, and a line for each key. With logs, each line says when the customer or the key was
    /// last used.
    pub(crate) fn print(&self, with_logs: bool) {
        let granted = if self.granted_patterns.is_empty() {
            "nothing".into()
        } else {
            self.granted_patterns.join(", ")
        };
        let used = |last: Option<Utc>| match last {
            _ if !with_logs => String::new(),
            Some(at) => format!("; last used {at}"),
            None => "; not used in these logs".to_owned(),
        };
        output::line(&format!("{}: {granted}{}", self.customer, used(self.last_used)));
        for key in &self.keys {
            let until = match (&key.revoked, key.end.map(ShownEnd)) {
                (Some(at), _) => format!("revoked {at}"),
                (None, Some(end)) if key.state == "expired" => format!("expired {end}"),
                (None, Some(end)) => format!("until {end}"),
                (None, None) => "without an end".to_owned(),
            };
            let overlap = key.overlap_until.as_ref().map(|at| format!("; an earlier secret until {at}"));
            let (overlap, used) = (overlap.unwrap_or_default(), used(key.last_used));
            output::line(&format!("  {:16}  {until}{overlap}{used}", key.key));
        }
    }
}

impl ListedKey {
    fn new(name: KeyName, key: &CustomerKey, now: Utc) -> Self {
        let state = match key.state(now) {
            KeyState::Valid => "valid",
            KeyState::Expired(_) => "expired",
            KeyState::Revoked(_) => "revoked",
        };
        let overlap = key.secrets.iter().filter_map(|secret| secret.until).filter(|until| *until > now).max();
        let text = |time: Utc| time.to_string();
        Self {
            key: name,
            state,
            created: key.created.to_string(),
            expires: key.expires.map(text),
            revoked: key.revoked.map(text),
            overlap_until: overlap.filter(|_| state == "valid").map(text),
            last_used: None,
            end: key.expires,
        }
    }
}
