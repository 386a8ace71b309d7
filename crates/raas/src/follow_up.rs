//! The steps after a publication: wait until servers serve it, and back it up in the configuration repository.

use raas_base::failure::Failure;
use raas_git::CommitId;
use raas_platform::{Local, Platform as _, Revision, Server, ServerRegistration};
use raas_publish::home::Home;
use raas_publish::registry::Registry;
use raas_types::RepositoryName;

use crate::backup;
use crate::config::Config;
use crate::platform;

/// Waits until servers serve a publication, and backs it up in the configuration repository.
pub(crate) struct FollowUp<'a> {
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) registry: Registry<'a>,
    pub(crate) name: &'a RepositoryName,
    /// `--nocommit`
    pub(crate) no_backup: bool,
    pub(crate) say: &'a dyn Fn(&str),
}

/// The result of the steps after a publication.
pub(crate) struct Followed {
    /// The servers that serve the publication.
    pub(crate) servers: Vec<ServerRegistration>,
    /// Whether the configuration repository has the backup.
    pub(crate) backed_up: bool,
}

impl FollowUp<'_> {
    pub(crate) fn run(&self, commit: &CommitId) -> Result<Followed, Failure> {
        let vendor = self.registry.vendor;
        let platform = Local::new(self.home.servers());
        let servers = platform.servers(vendor.name())?;
        let record = vendor.record();
        let is_served_by = |served: &str| match CommitId::parse(served) {
            Ok(served) if served == *commit => true,
            // Another push may have published on top of the commit. A server of another home may answer at the address with a
            // commit that this record does not have.
            Ok(served) => record.is_ancestor(commit, &served).unwrap_or(false),
            Err(_) => false,
        };
        let revision = Revision { short: commit.short(), is_served_by: &is_served_by };
        let running: Vec<Server> = servers.iter().map(Server::from).collect();
        let served = platform.await_revision(vendor.name(), &running, &revision, self.say);
        // The publication is backed up even if a server does not serve it.
        let backed_up =
            !self.no_backup && backup::back_up(self.config, &self.registry, commit, self.name, self.say)?;
        served?;
        platform::deliver(self.home, self.config, vendor, self.say)?;
        Ok(Followed { servers, backed_up })
    }
}
