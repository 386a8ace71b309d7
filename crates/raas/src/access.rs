//! Customers and their keys: what the `raas access` commands have in common.

mod change;
mod credential;
mod lookup;
mod secret;
mod time;
mod unmatched;

pub(crate) use change::Change;
pub(crate) use credential::{Credential, CredentialFormat};
pub(crate) use lookup::{AccessListing, ListedCustomer};
pub(crate) use secret::SecretSource;
pub(crate) use time::{Expiry, Period};
pub(crate) use unmatched::note_unmatched;
