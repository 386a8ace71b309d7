//! The customers of a vendor.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::access::{Customer, CustomerName, SecretHash};
use raas_types::crane::tree;

use super::{read, unreadable};
use crate::publication::{Done, SettingsPublication};
use crate::record::Record;
use crate::registry::Registry;
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

/// All customers of a commit, by name.
///
/// # Errors
/// A file cannot be read, or a newer raas has written it.
pub fn customers(record: &Record, head: &CommitId) -> Result<BTreeMap<CustomerName, Customer>, Failure> {
    let files = record.files(head, tree::CUSTOMERS)?;
    let mut customers = BTreeMap::new();
    let mut wrong = None;
    record.read_each(&files, |file, bytes| {
        if let Some(name) = tree::customer_of(&file.path) {
            match Customer::parse(&bytes) {
                Ok(customer) => drop(customers.insert(name, customer)),
                Err(error) => wrong = wrong.take().or(Some(unreadable(&file.path, head, error))),
            }
        }
        Ok(())
    })?;
    match wrong {
        Some(failure) => Err(failure),
        None => Ok(customers),
    }
}

/// One customer of the last publication.
///
/// # Errors
/// As [`customers`].
pub fn customer(
    record: &Record,
    head: Option<&CommitId>,
    name: &CustomerName,
) -> Result<Option<Customer>, Failure> {
    read(record, head, &tree::customer(name), Customer::parse)
}

/// Changes one customer. `edit` gets the customer as it is under the lock, and returns it as it shall be, with the
/// subject of the commit.
///
/// # Errors
/// `edit` refuses the change, or publishing fails.
pub fn change_customer(
    registry: &Registry<'_>,
    name: &CustomerName,
    edit: impl FnOnce(Option<Customer>) -> Result<(Customer, String), Failure>,
) -> Result<Done, Failure> {
    let publication = SettingsPublication::begin(registry)?;
    let before = customer(&publication.record, publication.head.as_ref(), name)?;
    let hashes = |customer: &Customer| -> BTreeSet<SecretHash> {
        customer.keys.values().flat_map(|key| &key.secrets).map(|secret| secret.hash).collect()
    };
    let known = before.as_ref().map(hashes).unwrap_or_default();
    let (after, subject) = edit(before)?;
    let new: BTreeSet<SecretHash> = hashes(&after).difference(&known).copied().collect();
    if let (false, Some(head)) = (new.is_empty(), &publication.head) {
        let others = customers(&publication.record, head)?.into_iter().filter(|(other, _)| other != name);
        // A login must tell whose key it is.
        if let Some((other, _)) = others.into_iter().find(|(_, other)| !hashes(other).is_disjoint(&new)) {
            return Err(Failure::new(
                Kind::Usage,
                format!("customer {other} has a key with the same secret"),
            )
            .hint("take another secret; nothing was published"));
        }
    }
    let bytes = after.to_bytes();
    if bytes.len() as u64 > raas_types::access::MAX_SIZE {
        let message = format!("customer {name} would have a file of {} bytes", bytes.len());
        return Err(Failure::new(Kind::Usage, message)
            .hint("use patterns such as `appliance/*` instead of many names; nothing was published"));
    }
    let done = publication.commit(vec![(tree::customer(name), Some(bytes))], &format!("{subject}\n"))?;
    Ok(done.expect("a customer's file is never empty, so there is a publication"))
}

/// Removes a customer, with all keys. `check` gets the customer as it is under the lock, and returns the subject of the
/// commit. None if there is no such customer.
///
/// # Errors
/// `check` refuses the removal, or publishing fails.
pub fn remove_customer(
    registry: &Registry<'_>,
    name: &CustomerName,
    check: impl FnOnce(&Customer) -> Result<String, Failure>,
) -> Result<Option<Done>, Failure> {
    let publication = SettingsPublication::begin(registry)?;
    let Some(before) = customer(&publication.record, publication.head.as_ref(), name)? else {
        return Ok(None);
    };
    let subject = check(&before)?;
    publication.commit(vec![(tree::customer(name), None)], &format!("{subject}\n"))
}
