//! The customers of a vendor, for people and scripts.

use std::time::SystemTime;

use raas_base::failure::Failure;
use raas_publish::access;
use raas_publish::record::Record;
use raas_types::Utc;
use raas_types::access::{Customer, CustomerKey, CustomerName, KeyName, KeyState};
use serde::{Serialize, Serializer};

use crate::output;
use crate::pulls::LastUsed;

/// What `raas access list` prints.
#[derive(Debug, Serialize)]
pub(crate) struct AccessListing {
    /// The patterns of repositories that are born protected.
    pub(crate) protected_patterns: Vec<String>,
    pub(crate) customers: Vec<ListedCustomer>,
}

/// A customer.
#[derive(Debug, Serialize)]
pub(crate) struct ListedCustomer {
    pub(crate) customer: CustomerName,
    /// The last request in the access logs that were read. None if it is not known.
    #[serde(serialize_with = "maybe_time")]
    pub(crate) last_used: Option<Utc>,
    /// The patterns of the granted repositories.
    pub(crate) repositories: Vec<String>,
    pub(crate) keys: Vec<ListedKey>,
}

/// A key. It has no part of a secret or of its hash.
#[derive(Debug, Serialize)]
pub(crate) struct ListedKey {
    pub(crate) key: KeyName,
    /// `valid`, `expired` or `revoked`.
    pub(crate) state: &'static str,
    pub(crate) created: String,
    pub(crate) expires: Option<String>,
    pub(crate) revoked: Option<String>,
    /// When an earlier secret of a rotation ends.
    pub(crate) overlap_until: Option<String>,
    /// As that of the customer.
    #[serde(serialize_with = "maybe_time")]
    pub(crate) last_used: Option<Utc>,
    #[serde(skip)]
    end: Option<Utc>,
}

impl AccessListing {
    /// All customers of the last publication.
    ///
    /// # Errors
    /// A file of the record cannot be read.
    pub(crate) fn read(record: &Record, now: SystemTime) -> Result<Self, Failure> {
        let head = record.head()?;
        let customers = head.as_ref().map(|head| access::customers(record, head)).transpose()?;
        let customers = customers.unwrap_or_default();
        let patterns = access::patterns(record, head.as_ref())?.patterns;
        Ok(Self {
            protected_patterns: patterns.iter().map(ToString::to_string).collect(),
            customers: customers
                .into_iter()
                .map(|(name, found)| ListedCustomer::new(name, &found, now))
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
        let repositories = customer.repositories.iter().map(ToString::to_string).collect();
        Self { customer: name, last_used: None, repositories, keys: keys.collect() }
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
        let granted =
            if self.repositories.is_empty() { "nothing".into() } else { self.repositories.join(", ") };
        let used = |last: Option<Utc>| match last {
            _ if !with_logs => String::new(),
            Some(at) => format!("; last used {at}"),
            None => "; not used in these logs".to_owned(),
        };
        output::line(&format!("{}: {granted}{}", self.customer, used(self.last_used)));
        for key in &self.keys {
            let until = match (&key.revoked, &key.expires) {
                (Some(at), _) => format!("revoked {at}"),
                (None, Some(at)) if key.state == "expired" => format!("expired {at}"),
                (None, Some(at)) => format!("until {at}"),
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

fn maybe_time<S: Serializer>(time: &Option<Utc>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => to.collect_str(time),
        None => to.serialize_none(),
    }
}
