//! One vendor's registry, as commands read and change it.

use raas_base::Say;

use crate::home::Vendor;
use crate::storage::Storage;

/// A vendor's registry: the vendor's part of the home, and its storage.
#[derive(Clone, Copy)]
pub struct Registry<'a> {
    /// The vendor's part of the home.
    pub vendor: &'a Vendor,
    /// The vendor's objects.
    pub storage: &'a dyn Storage,
    /// Whether other homes may publish to the storage too. Then servers elsewhere follow its snapshot.
    pub shared: bool,
    /// Takes lines for people while a command runs.
    pub say: &'a Say,
}

impl<'a> Registry<'a> {
    /// The storage, if other homes may publish to it too.
    pub fn shared_storage(&self) -> Option<&'a dyn Storage> {
        self.shared.then_some(self.storage)
    }
}
