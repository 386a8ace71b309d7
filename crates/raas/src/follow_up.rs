//! What follows a publication: servers serve it, and the configuration repository keeps it.

use raas_base::failure::Failure;
use raas_git::CommitId;
use raas_platform::{Local, Platform as _, Revision, ServerRegistration};
use raas_publish::home::Home;
use raas_publish::registry::Registry;
use raas_types::RepositoryName;

use crate::backup;
use crate::config::Config;

/// Waits until a publication is served, and keeps it in the configuration repository too.
pub(crate) struct FollowUp<'a> {
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) registry: Registry<'a>,
    pub(crate) name: &'a RepositoryName,
    /// `--nocommit`
    pub(crate) no_backup: bool,
    pub(crate) say: &'a dyn Fn(&str),
}

/// How that went.
pub(crate) struct Followed {
    /// The servers that serve it.
    pub(crate) servers: Vec<ServerRegistration>,
    /// Whether the configuration repository has it.
    pub(crate) backed_up: bool,
}

impl FollowUp<'_> {
    pub(crate) fn run(&self, commit: &CommitId) -> Result<Followed, Failure> {
        let vendor = self.registry.vendor;
        let platform = Local::new(self.home.servers());
        let servers = platform.observe(vendor.name())?;
        let record = vendor.record();
        let is_served_by = |served: &str| match CommitId::parse(served) {
            Ok(served) if served == *commit => true,
            // Another push may have published on top. A server of another home may answer at the address: its commits are
            // unknown here.
            Ok(served) => record.is_ancestor(commit, &served).unwrap_or(false),
            Err(_) => false,
        };
        let revision = Revision { short: commit.short(), is_served_by: &is_served_by };
        let served = platform.await_revision(vendor.name(), &servers, &revision, self.say);
        // The publication is worth keeping, whether or not the server is well.
        let backed_up =
            !self.no_backup && backup::keep(self.config, &self.registry, commit, self.name, self.say)?;
        served?;
        Ok(Followed { servers, backed_up })
    }
}
