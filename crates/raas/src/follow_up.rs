//! The steps after a publication: wait until servers serve it, and back it up in the configuration repository.

use std::thread;
use std::time::{Duration, Instant};

use raas_base::failure::Failure;
use raas_git::CommitId;
use raas_platform::{Local, Platform as _, Revision, Server, ServerRegistration};
use raas_publish::home::{Home, Vendor};
use raas_publish::record::Record;
use raas_publish::registry::Registry;
use raas_types::RepositoryName;

use crate::backup;
use crate::config::{Config, RegistryAddress};
use crate::platform;
use crate::registry::{self, Endpoint};
use crate::traces::stage;

/// Waits until servers serve a publication, and backs it up in the configuration repository.
pub(crate) struct FollowUp<'a> {
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) registry: Registry<'a>,
    /// The repository that was published; `None` for settings of the vendor.
    pub(crate) name: Option<&'a RepositoryName>,
    /// `--nocommit`
    pub(crate) no_backup: bool,
    pub(crate) say: &'a dyn Fn(&str),
}

/// The result of the steps after a publication.
pub(crate) struct Followed {
    /// The servers of this machine that serve the publication.
    pub(crate) servers: Vec<ServerRegistration>,
    /// Whether the registry serves it at the address that people pull from. `None` if no address is known.
    pub(crate) registry: Option<Served>,
    /// Whether the configuration repository has the backup.
    pub(crate) backed_up: bool,
}

/// Whether a registry serves a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Served {
    /// It does at every IP address of its name.
    Yes,
    /// It does not at one of the addresses within the time limit, for this reason.
    No(String),
    /// One of the addresses cannot be asked, for this reason.
    Unknown(String),
}

impl Followed {
    /// Whether people can pull the publication now.
    pub(crate) fn is_served(&self) -> bool {
        match &self.registry {
            Some(served) => *served == Served::Yes,
            None => !self.servers.is_empty(),
        }
    }

    /// What to say about a registry that may not obey a change of access yet, which was published at this time. A registry
    /// that cannot be asked gets the time in which servers read a publication.
    pub(crate) fn doubt(&self, published: Instant) -> Option<String> {
        match self.registry.as_ref()? {
            Served::Yes => None,
            Served::No(why) => Some(format!("the registry does not obey it yet: {why}")),
            Served::Unknown(why) => {
                thread::sleep(OBEYED_WITHIN.saturating_sub(published.elapsed()));
                Some(format!(
                    "the registry cannot be asked whether it obeys: {why}; servers that follow the bucket obey within a second"
                ))
            }
        }
    }
}

/// How long servers that follow the bucket may take to obey a change of access: they ask it every 0.6 s, and then load what has
/// changed.
const OBEYED_WITHIN: Duration = Duration::from_secs(2);

/// How long to wait for the registry. Its servers look for publications every second.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two requests to the registry.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

impl FollowUp<'_> {
    /// Takes all steps after the publication of `commit`.
    ///
    /// # Errors
    /// A server of this home does not serve the commit, or the backup or the delivery to the platform fails.
    pub(crate) fn run(&self, commit: &CommitId) -> Result<Followed, Failure> {
        let vendor = self.registry.vendor;
        let servers = Local::new(self.home.servers()).servers(vendor.name())?;
        let served =
            stage("wait until served", || await_served(self.home, vendor, &servers, commit, self.say));
        // The publication is backed up even if a server does not serve it.
        let back_up = || backup::back_up(self.config, &self.registry, commit, self.name, self.say);
        let backed_up = !self.no_backup && stage("back up", back_up)?;
        served?;
        stage("deliver", || platform::deliver(self.home, self.config, vendor, self.say))?;
        let settings = self.config.vendor(vendor.name());
        let registry = match settings.registry_addresses.first() {
            Some(registry) => Some(stage("wait for registry", || {
                Ok(self.registry(registry, &|served| is_served(&vendor.record(), commit, served)))
            })?),
            None => None,
        };
        Ok(Followed { servers, registry, backed_up })
    }

    /// Waits until each address of the registry serves the publication. A registry that does not answer is no failure:
    /// the publication is made, and the registry may be out of reach from this machine only.
    fn registry(&self, registry: &RegistryAddress, is_served_by: &dyn Fn(&str) -> bool) -> Served {
        match registry::endpoints(registry) {
            Ok(endpoints) => await_endpoints(&endpoints, Instant::now() + PATIENCE, is_served_by, self.say),
            Err(why) => Served::Unknown(why),
        }
    }
}

fn await_endpoints(
    endpoints: &[Endpoint],
    deadline: Instant,
    is_served_by: &dyn Fn(&str) -> bool,
    say: &dyn Fn(&str),
) -> Served {
    for endpoint in endpoints {
        loop {
            let why = match endpoint.revision() {
                Ok(served) if is_served_by(&served) => break,
                Ok(served) => format!("it serves revision `{served}`"),
                // Waiting makes no sense: only a server that answers can become current.
                Err(error) => {
                    let fix = endpoint.trust_fix(&error).map(|fix| format!("; {fix}")).unwrap_or_default();
                    return Served::Unknown(format!("{}: {error}{fix}", endpoint.shown()));
                }
            };
            if Instant::now() > deadline {
                return Served::No(format!("{}: {why}", endpoint.shown()));
            }
            thread::sleep(POLL_INTERVAL);
        }
        say(&format!("Served on {}", endpoint.shown()));
    }
    Served::Yes
}

/// Whether a server that reports this revision serves the publication.
fn is_served(record: &Record, commit: &CommitId, served: &str) -> bool {
    match CommitId::parse(served) {
        Ok(served) if served == *commit => true,
        // Another push may have published on top of the commit. A server of another home may answer at the address with
        // a commit that this record does not have.
        Ok(served) => record.is_ancestor(commit, &served).unwrap_or(false),
        Err(_) => false,
    }
}

/// Waits until these servers of a home serve a publication.
///
/// # Errors
/// A server does not serve it in time.
pub(crate) fn await_served(
    home: &Home,
    vendor: &Vendor,
    servers: &[ServerRegistration],
    commit: &CommitId,
    say: &dyn Fn(&str),
) -> Result<(), Failure> {
    let is_served_by = |served: &str| is_served(&vendor.record(), commit, served);
    let revision = Revision { short: commit.short(), is_served_by: &is_served_by };
    let servers: Vec<Server> = servers.iter().map(Server::from).collect();
    Local::new(home.servers()).await_revision(vendor.name(), &servers, &revision, say)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use raas_testkit::http::{Reply, Server};

    use super::*;

    /// An address of a registry that serves these revisions one after the other, and goes on with the last.
    fn address(revisions: &'static [&'static str]) -> (Server, Endpoint) {
        let asked = AtomicUsize::new(0);
        let server = Server::scripted(move |_| {
            let turn = asked.fetch_add(1, Ordering::Relaxed).min(revisions.len() - 1);
            Reply::new(200, revisions[turn])
        });
        let registry: RegistryAddress = server.address().to_string().parse().unwrap();
        let endpoint = registry::endpoints(&registry).unwrap().remove(0);
        (server, endpoint)
    }

    #[test]
    fn a_registry_serves_a_publication_once_each_of_its_addresses_does() {
        for (second, patience, is_served) in
            [(&["old", "new"][..], Duration::from_secs(60), true), (&["old"], Duration::ZERO, false)]
        {
            let (first, second) = (address(&["new"]), address(second));
            let names = [first.1.shown(), second.1.shown()];
            let said = Mutex::new(Vec::new());
            let say = |line: &str| said.lock().unwrap().push(line.to_owned());
            let deadline = Instant::now() + patience;
            let served = await_endpoints(&[first.1, second.1], deadline, &|served| served == "new", &say);
            let lines = names.clone().map(|name| format!("Served on {name}"));
            if is_served {
                assert_eq!((served, said.into_inner().unwrap()), (Served::Yes, lines.to_vec()));
            } else {
                let why = format!("{}: it serves revision `old`", names[1]);
                assert_eq!((served, said.into_inner().unwrap()), (Served::No(why), lines[..1].to_vec()));
            }
        }
    }
}
