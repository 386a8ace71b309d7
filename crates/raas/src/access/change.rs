//! Changing a customer: one publication, and what follows from it.

use std::time::Instant;

use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_publish::access::{self, Damaged};
use raas_publish::home::Home;
use raas_publish::publication::Done;
use raas_types::VendorName;
use raas_types::access::{Customer, CustomerName, KeyName};
use serde::Serialize;

use super::lookup::unknown_customer;
use crate::config::Config;
use crate::follow_up::FollowUp;
use crate::output;
use crate::report::Published;
use crate::storage::OpenRegistry;
use crate::traces::stage;

/// A change of one customer.
pub(crate) struct Change<'a> {
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) vendor: &'a VendorName,
    pub(crate) customer: &'a CustomerName,
    /// `--nocommit`
    pub(crate) no_backup: bool,
}

/// The result for scripts.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChangeReport {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    #[cfg_attr(test, schemars(with = "String"))]
    customer: CustomerName,
    /// What was done, in a sentence.
    pub(crate) what: String,
    #[serde(flatten)]
    pub(crate) published: Published,
}

impl Change<'_> {
    /// Publishes the change that `edit` makes, calls `published`, and waits until servers serve it. `edit` gets the
    /// customer as published, and returns it with a sentence for the log.
    ///
    /// # Errors
    /// `edit` refuses, or publishing fails. If a server does not serve the change in time, it is published nevertheless.
    pub(crate) fn run(
        &self,
        edit: impl FnOnce(Option<Customer>) -> Result<(Customer, String), Failure>,
        published: impl FnOnce(),
    ) -> Result<ChangeReport, Failure> {
        self.run_with(Damaged::Refuse, edit, published)
    }

    /// As [`run`](Self::run). `damaged` says what to do if the customer's own file is damaged.
    pub(crate) fn run_with(
        &self,
        damaged: Damaged,
        edit: impl FnOnce(Option<Customer>) -> Result<(Customer, String), Failure>,
        published: impl FnOnce(),
    ) -> Result<ChangeReport, Failure> {
        let Self { home, config, no_backup, .. } = *self;
        let vendor = home.existing(self.vendor)?;
        let say = Say::new(output::note);
        let open = OpenRegistry::open(&vendor, config, say.clone())?;
        let registry = open.registry();
        let mut what = String::new();
        let edit = |before| {
            let (customer, subject) = edit(before)?;
            what.clone_from(&subject);
            Ok((customer, subject))
        };
        let done = stage("publish", || access::change_customer(&registry, self.customer, damaged, edit))?;
        published();
        let follow_up =
            FollowUp { home, config, registry, name: None, no_backup, say: &|line| say.line(line) };
        self.report(&done, what, &follow_up)
    }

    /// Removes the customer, if `check` lets it go, and waits until servers serve that. `check` gets no customer if the file is
    /// damaged.
    ///
    /// # Errors
    /// There is no such customer, `check` refuses, or publishing fails.
    pub(crate) fn remove(
        &self,
        check: impl FnOnce(Option<&Customer>) -> Result<(), Failure>,
    ) -> Result<ChangeReport, Failure> {
        let Self { home, config, no_backup, .. } = *self;
        let vendor = home.existing(self.vendor)?;
        let say = Say::new(output::note);
        let open = OpenRegistry::open(&vendor, config, say.clone())?;
        let registry = open.registry();
        let what = format!("Remove customer {}", self.customer);
        let check = |customer: Option<&Customer>| {
            check(customer)?;
            Ok(what.clone())
        };
        let done = stage("publish", || access::remove_customer(&registry, self.customer, check))?;
        let done = done.ok_or_else(|| self.unknown())?;
        let follow_up =
            FollowUp { home, config, registry, name: None, no_backup, say: &|line| say.line(line) };
        self.report(&done, what, &follow_up)
    }

    /// Waits until servers serve the publication, and backs it up.
    fn report(&self, done: &Done, what: String, follow_up: &FollowUp<'_>) -> Result<ChangeReport, Failure> {
        let published = Instant::now();
        let followed = follow_up.run(&done.commit)?;
        if let Some(doubt) = followed.doubt(published) {
            output::note(&format!("Note: {doubt}"));
        }
        let published = Published {
            commit: done.commit.to_string(),
            changed: done.changed,
            served: followed.is_served(),
            backed_up: followed.backed_up,
        }
        .traced();
        Ok(ChangeReport { vendor: self.vendor.clone(), customer: self.customer.clone(), what, published })
    }

    /// The customer, who must exist.
    pub(crate) fn known(&self, customer: Option<Customer>) -> Result<Customer, Failure> {
        customer.ok_or_else(|| self.unknown())
    }

    fn unknown(&self) -> Failure {
        unknown_customer(self.vendor, self.customer)
    }

    /// The keys that a command means: the named one, or the only one.
    ///
    /// # Errors
    /// There is no such key, or there are several and none is named.
    pub(crate) fn key(&self, customer: &Customer, key: Option<&KeyName>) -> Result<KeyName, Failure> {
        let Self { vendor, customer: name, .. } = *self;
        let keys: Vec<&str> = customer.keys.keys().map(KeyName::as_str).collect();
        let list = keys.join(", ");
        match (key, keys.as_slice()) {
            (Some(key), _) if customer.keys.contains_key(key) => Ok(key.clone()),
            (Some(key), _) => Err(Failure::new(Kind::Usage, format!("{name} has no key `{key}`"))
                .hint(format!("take one of these keys: {list}"))),
            (None, [only]) => only.parse().map_err(|error| Failure::new(Kind::Usage, format!("{error}"))),
            (None, []) => Err(Failure::new(Kind::Usage, format!("{name} has no key"))
                .hint(format!("run `raas access add {vendor} {name}` to make a key"))),
            (None, _) => Err(Failure::new(Kind::Usage, format!("{name} has several keys: {list}"))
                .hint("name one of them with `--key`")),
        }
    }
}

impl ChangeReport {
    /// Prints the result.
    pub(crate) fn print(&self, json: bool) {
        if json {
            return output::json(self);
        }
        output::line(&self.what);
        output::line(&self.published.line());
    }
}
