//! Platforms: where a vendor's registry server runs.
//!
//! A [`Platform`] makes sure that the server runs, says which servers run, brings publications to servers that follow no
//! bucket, waits until they serve a publication, and removes what it made. [`Local`] is the platform of the embedded
//! default.

pub mod client;
mod git;
mod local;
mod openshift2;
pub mod registration;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

use raas_base::failure::Failure;
use raas_git::Repository;
use raas_types::VendorName;

pub use git::{DeployedRepository, Git};
pub use local::Local;
pub use openshift2::{Credentials, OpenShift2, OpenShift2Settings};
pub use registration::ServerRegistration;

/// A publication that servers are to serve.
pub struct Revision<'a> {
    /// Its name for people.
    pub short: &'a str,
    /// Whether a server that reports this revision serves the publication: the revision is the publication itself, or a
    /// later one that was made on top of it.
    pub is_served_by: &'a dyn Fn(&str) -> bool,
}

/// A server as its platform sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name for people: the address of a process, the name of a pod, the name of an application.
    pub name: String,
    /// The base URL by which this machine reaches it, if there is one.
    pub url: Option<String>,
    /// Whether the platform sends clients to it.
    pub is_ready: bool,
}

/// What [`Platform::ensure`] found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    /// The vendor's servers.
    pub servers: Vec<Server>,
    /// Whether anything was made, changed or removed.
    pub changed: bool,
}

/// How a publication comes to the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The servers follow the bucket or the home by themselves.
    Followed,
    /// The platform had the publication already.
    Unchanged,
    /// The platform has the publication now.
    Delivered,
}

/// Where a vendor's registry server runs. The module `suite` holds the promises of the trait, as tests.
pub trait Platform {
    /// The platform's name, for people and scripts.
    fn name(&self) -> &'static str;

    /// Makes sure that the vendor's registry answers, and gives its servers. A second call changes nothing.
    ///
    /// # Errors
    /// The platform refuses, or a server runs and does not answer. What existed is left as it was.
    fn ensure(&self, vendor: &VendorName, say: &dyn Fn(&str)) -> Result<Ensured, Failure>;

    /// The vendor's servers that run. Changes nothing and waits for nothing.
    ///
    /// # Errors
    /// The platform cannot be asked.
    fn observe(&self, vendor: &VendorName) -> Result<Vec<Server>, Failure>;

    /// Brings the last publication of the vendor's record to the servers, if they do not follow the vendor's bucket by
    /// themselves. The platform reads the record itself, after it knows what it has: so of two pushes at once, the later
    /// publication stays.
    ///
    /// # Errors
    /// The platform refuses. The earlier publication is still served.
    fn deliver(
        &self,
        vendor: &VendorName,
        record: &Repository,
        say: &dyn Fn(&str),
    ) -> Result<Delivery, Failure>;

    /// Waits until each of these servers serves the publication. A server that is stopped meanwhile is not waited for.
    ///
    /// # Errors
    /// A server runs, and does not serve the publication in time.
    fn await_revision(
        &self,
        vendor: &VendorName,
        servers: &[Server],
        revision: &Revision<'_>,
        say: &dyn Fn(&str),
    ) -> Result<(), Failure>;

    /// Removes what [`ensure`](Self::ensure) made, and returns the names of the removed things. Never removes a bucket, a
    /// record or a home, nor what somebody else manages.
    ///
    /// # Errors
    /// The platform refuses. A second call removes the rest.
    fn remove(&self, vendor: &VendorName, say: &dyn Fn(&str)) -> Result<Vec<String>, Failure>;
}
