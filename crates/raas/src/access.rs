//! Customers and their keys: what the `raas access` commands have in common.

mod change;
mod credential;
mod lookup;
mod secret;
mod time;
mod unmatched;

pub(crate) use change::Change;
#[cfg(test)]
pub(crate) use change::ChangeReport;
#[cfg(test)]
pub(crate) use credential::CredentialReport;
pub(crate) use credential::{Credential, CredentialFormat};
pub(crate) use lookup::{AccessListing, ListedCustomer, UnreadableCustomer, existing_customer};
pub(crate) use secret::SecretSource;
pub(crate) use time::{Expiry, Period, ShownEnd};
pub(crate) use unmatched::note_unmatched;
