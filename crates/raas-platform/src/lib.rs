//! Platforms: where a vendor's registry server runs.
//!
//! A [`Platform`] makes sure that the server runs, says which servers run, and waits until they serve a publication.
//! [`Local`] is the platform of the embedded default.

pub mod client;
mod local;
pub mod registration;

use raas_base::failure::Failure;
use raas_types::VendorName;

pub use local::Local;
pub use registration::ServerRegistration;

/// A publication that servers are to serve.
pub struct Revision<'a> {
    /// Its name for people.
    pub short: &'a str,
    /// Whether a server that reports this revision serves the publication: the revision is the publication itself, or a
    /// later one that was made on top of it.
    pub is_served_by: &'a dyn Fn(&str) -> bool,
}

/// Where a vendor's registry server runs.
pub trait Platform {
    /// The platform's name, for people and scripts.
    fn name(&self) -> &'static str;

    /// Makes sure that the vendor's registry answers, and gives its servers.
    ///
    /// # Errors
    /// A server runs and does not answer.
    fn ensure(&self, vendor: &VendorName, say: &dyn Fn(&str)) -> Result<Vec<ServerRegistration>, Failure>;

    /// The vendor's servers that run.
    ///
    /// # Errors
    /// The platform cannot be asked.
    fn observe(&self, vendor: &VendorName) -> Result<Vec<ServerRegistration>, Failure>;

    /// Waits until each of these servers serves the publication. A server that is stopped meanwhile is not waited for.
    ///
    /// # Errors
    /// A server runs, and does not serve the publication in time.
    fn await_revision(
        &self,
        vendor: &VendorName,
        servers: &[ServerRegistration],
        revision: &Revision<'_>,
        say: &dyn Fn(&str),
    ) -> Result<(), Failure>;
}
