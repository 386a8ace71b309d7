//! The customers of a vendor.

use std::collections::{BTreeMap, BTreeSet};

use raas_types::access::{AccessFileError, Customer, CustomerName, SecretHash};
use raas_types::crane::tree;

use super::unreadable;
use crate::history;
use crate::publication::{Done, SettingsPublication};
use crate::record::Record;
use crate::registry::Registry;
use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

/// The customers of a commit.
#[derive(Debug, Default)]
pub struct Customers {
    /// The customers by name.
    pub readable: BTreeMap<CustomerName, Customer>,
    /// The customers whose files cannot be read, each with the reason. Servers refuse their keys.
    pub unreadable: BTreeMap<CustomerName, AccessFileError>,
}

/// All customers of a commit. A damaged file hides no other customer.
///
/// # Errors
/// The record cannot be read.
pub fn customers(record: &Record, head: &CommitId) -> Result<Customers, Failure> {
    let files = record.files(head, tree::CUSTOMERS)?;
    let mut customers = Customers::default();
    record.read_each(&files, |file, bytes| {
        if let Some(name) = tree::customer_of(&file.path) {
            match Customer::parse(&bytes) {
                Ok(customer) => drop(customers.readable.insert(name, customer)),
                Err(error) => drop(customers.unreadable.insert(name, error)),
            }
        }
        Ok(())
    })?;
    Ok(customers)
}

/// One customer of the last publication.
///
/// # Errors
/// The customer's file cannot be read, or a newer raas has written it.
pub fn customer(
    record: &Record,
    head: Option<&CommitId>,
    name: &CustomerName,
) -> Result<Option<Customer>, Failure> {
    let Some(head) = head else { return Ok(None) };
    published(record, head, name)?
        .map(|read| read.map_err(|error| unusable(record, head, name, error)))
        .transpose()
}

/// The file of a customer, parsed.
fn published(
    record: &Record,
    head: &CommitId,
    name: &CustomerName,
) -> Result<Option<Result<Customer, AccessFileError>>, Failure> {
    Ok(record.read(head, &tree::customer(name))?.map(|bytes| Customer::parse(&bytes)))
}

/// The failure for a customer whose file cannot be read.
fn unusable(record: &Record, head: &CommitId, name: &CustomerName, error: AccessFileError) -> Failure {
    let (is_newer, vendor) = (matches!(error, AccessFileError::Newer(_)), record.vendor_name());
    let failure = unreadable(&tree::customer(name), head, error);
    if is_newer {
        return failure;
    }
    failure.hint(format!(
        "run `raas access revoke {vendor} {name}`, which ends all keys of the last version that can be read, or `raas \
         access remove {vendor} {name}`; servers refuse the customer's keys meanwhile"
    ))
}

/// The last version of a customer's file that can be read, with its commit.
fn last_readable(
    record: &Record,
    head: &CommitId,
    name: &CustomerName,
) -> Result<Option<(CommitId, Customer)>, Failure> {
    for entry in history::entries(record, head, &[tree::customer(name)], None)? {
        if let Some(Ok(customer)) = published(record, &entry.commit, name)? {
            return Ok(Some((entry.commit, customer)));
        }
    }
    Ok(None)
}

/// What a change does if the customer's own file is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damaged {
    /// Refuse.
    Refuse,
    /// Take the last version of the file that can be read. The change must leave no valid key: a later version that cannot
    /// be read may have ended one.
    TakeLastReadable,
}

/// The customer before a change.
fn before(
    publication: &SettingsPublication<'_>,
    say: &Say,
    name: &CustomerName,
    damaged: Damaged,
) -> Result<Option<Customer>, Failure> {
    let (record, Some(head)) = (&publication.record, &publication.head) else { return Ok(None) };
    let error = match published(record, head, name)? {
        None => return Ok(None),
        Some(Ok(customer)) => return Ok(Some(customer)),
        Some(Err(error)) => error,
    };
    if damaged == Damaged::Refuse || matches!(error, AccessFileError::Newer(_)) {
        return Err(unusable(record, head, name, error));
    }
    let found = last_readable(record, head, name)?;
    let taken = match &found {
        Some((commit, _)) => format!("its version of commit {} is taken", commit.short()),
        None => {
            "no version of it can be read, so the customer keeps neither keys nor repositories".to_owned()
        }
    };
    say.line(&format!("Note: the file of customer {name} is damaged ({error}); {taken}"));
    Ok(Some(found.map_or_else(|| Customer::new(Vec::new()), |(_, customer)| customer)))
}

/// Changes one customer. `edit` gets the customer as it is under the lock, and returns it as it shall be, with the
/// subject of the commit. Damaged files of other customers are no obstacle: a line names them.
///
/// # Errors
/// `edit` refuses the change, or publishing fails.
pub fn change_customer(
    registry: &Registry<'_>,
    name: &CustomerName,
    damaged: Damaged,
    edit: impl FnOnce(Option<Customer>) -> Result<(Customer, String), Failure>,
) -> Result<Done, Failure> {
    let publication = SettingsPublication::begin(registry)?;
    let before = before(&publication, registry.say, name, damaged)?;
    let hashes = |customer: &Customer| -> BTreeSet<SecretHash> {
        customer.keys.values().flat_map(|key| &key.secrets).map(|secret| secret.hash).collect()
    };
    let known = before.as_ref().map(hashes).unwrap_or_default();
    let (after, subject) = edit(before)?;
    let new: BTreeSet<SecretHash> = hashes(&after).difference(&known).copied().collect();
    if let (false, Some(head)) = (new.is_empty(), &publication.head) {
        let others = customers(&publication.record, head)?;
        for (other, error) in others.unreadable {
            if matches!(error, AccessFileError::Newer(_)) {
                return Err(unusable(&publication.record, head, &other, error));
            }
            registry.say.line(&format!(
                "Note: the file of customer {other} is damaged ({error}), and servers refuse the keys of {other}"
            ));
        }
        let mut others = others.readable.iter().filter(|(other, _)| *other != name);
        // A login must tell whose key it is.
        if let Some((other, _)) = others.find(|(_, other)| !hashes(other).is_disjoint(&new)) {
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
/// commit. None if there is no such customer. A customer whose file is damaged goes without that check: servers refuse all
/// of its keys.
///
/// # Errors
/// `check` refuses the removal, or publishing fails.
pub fn remove_customer(
    registry: &Registry<'_>,
    name: &CustomerName,
    check: impl FnOnce(Option<&Customer>) -> Result<String, Failure>,
) -> Result<Option<Done>, Failure> {
    let publication = SettingsPublication::begin(registry)?;
    let Some(head) = &publication.head else { return Ok(None) };
    let subject = match published(&publication.record, head, name)? {
        None => return Ok(None),
        Some(Ok(before)) => check(Some(&before))?,
        Some(Err(error @ AccessFileError::Newer(_))) => {
            return Err(unusable(&publication.record, head, name, error));
        }
        Some(Err(_)) => check(None)?,
    };
    publication.commit(vec![(tree::customer(name), None)], &format!("{subject}\n"))
}
