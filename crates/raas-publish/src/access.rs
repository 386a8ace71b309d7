//! Who may read a vendor's protected repositories: protection of repositories, and customers. Each change is one
//! publication.

mod customers;
mod protection;

use raas_types::access::AccessFileError;
use raas_types::crane::tree;

use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

use crate::record::Record;

pub use customers::{Customers, Damaged, change_customer, customer, customers, remove_customer};
pub use protection::{Protection, ProtectionChange, change_protection, patterns};

/// The error for a file of the record that this raas cannot read.
fn unreadable(path: &str, commit: &CommitId, error: AccessFileError) -> Failure {
    let hint = match &error {
        AccessFileError::Newer(_) => "upgrade this raas; nothing was written",
        _ => "correct the file in the record with git; nothing was written",
    };
    let path = path.strip_prefix(tree::DATA).map_or(path, |rest| rest.trim_start_matches('/'));
    Failure::new(Kind::Environment, format!("{path} of commit {} cannot be read", commit.short()))
        .caused_by(error)
        .hint(hint)
}

/// Reads a file of the last publication with one of the parsers.
fn read<T>(
    record: &Record,
    head: Option<&CommitId>,
    path: &str,
    parse: impl FnOnce(&[u8]) -> Result<T, AccessFileError>,
) -> Result<Option<T>, Failure> {
    let Some(head) = head else { return Ok(None) };
    let Some(bytes) = record.read(head, path)? else { return Ok(None) };
    parse(&bytes).map(Some).map_err(|error| unreadable(path, head, error))
}
