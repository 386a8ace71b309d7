//! Kubernetes as a platform.

use std::thread;
use std::time::{Duration, Instant};

use raas_base::failure::{Failure, Kind as FailureKind};
use raas_git::Repository;
use raas_platform::{Delivery, Ensured, Platform, Revision, Server};
use raas_types::VendorName;

use crate::access::Cluster;
use crate::apply::Mode;
use crate::diff::Change;
use crate::facts::Facts;
use crate::manifests;
use crate::observed::Observed;
use crate::plan::{Instance, Namespace, Plan};
use crate::rollout::{Patience, Rollout};
use crate::servers::Site;

/// How long servers may take to serve a publication. They look every second.
const REVISION_TIMEOUT: Duration = Duration::from_secs(20);

/// Makes the plan of an instance, once the cluster has told what it offers.
pub type Planner<'a> = dyn Fn(&Facts) -> Result<Plan, Failure> + 'a;

/// A project of a cluster.
pub struct Kubernetes<'a> {
    cluster: Cluster,
    namespace: Namespace,
    instance: Instance,
    planner: Box<Planner<'a>>,
    create: bool,
    patience: Patience,
    revision_timeout: Duration,
}

/// What a setup would change.
#[derive(Debug)]
pub struct Preview {
    /// The changes.
    pub changes: Vec<Change>,
    /// Whether the project would be made; the API server cannot check the objects before.
    pub needs_namespace: bool,
}

impl<'a> Kubernetes<'a> {
    /// The servers of an instance in a project of a cluster.
    pub fn new(
        cluster: Cluster,
        namespace: Namespace,
        instance: Instance,
        planner: Box<Planner<'a>>,
    ) -> Self {
        let (patience, revision_timeout) = (Patience::default(), REVISION_TIMEOUT);
        Self { cluster, namespace, instance, planner, create: false, patience, revision_timeout }
    }

    /// Lets the setup make the project if it is missing.
    pub fn creating(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The cluster for people.
    pub fn display_name(&self) -> String {
        format!("project {} on {}", self.namespace, self.cluster.display_name)
    }

    /// What [`Platform::ensure`] would change, checked by the API server and without a change.
    ///
    /// # Errors
    /// As for [`Platform::ensure`].
    pub fn preview(&self) -> Result<Preview, Failure> {
        let mut facts = self.cluster.facts()?;
        let needs_namespace = self.create && !self.cluster.has_namespace(&self.namespace)?;
        if needs_namespace {
            let objects = manifests::objects(&(self.planner)(&facts)?);
            let changes = objects.iter().map(|object| Change::Created(object.display_name())).collect();
            return Ok(Preview { changes, needs_namespace });
        }
        self.cluster.ensure_namespace(&self.namespace, &facts, false, &|_| {})?;
        facts.files = self.cluster.files(&self.namespace, &self.instance)?;
        let changes = self.cluster.apply(&(self.planner)(&facts)?, &facts, Mode::DryRun)?;
        Ok(Preview { changes, needs_namespace })
    }

    /// The names of what [`Platform::remove`] would remove.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn made(&self) -> Result<Vec<String>, Failure> {
        let facts = self.cluster.facts()?;
        self.cluster.tear_down(&self.namespace, &self.instance, &facts, Mode::DryRun)
    }

    /// What a server serves of a vendor, asked through the API server.
    ///
    /// # Errors
    /// The API server or the server does not answer, or the server does not have the vendor.
    pub fn site(&self, server: &Server, vendor: &VendorName) -> Result<Site, Failure> {
        let sites = self.cluster.sites(&self.namespace, server)?;
        sites.into_iter().find(|site| site.vendor == *vendor).ok_or_else(|| {
            Failure::new(FailureKind::Environment, format!("{} does not serve {vendor}", server.name)).hint(
                "run `raas setup` for the servers again: their configuration may be older than the vendor",
            )
        })
    }

    /// The servers that a vendor has: its own, or the fleet.
    fn instance_of(&self, vendor: &VendorName) -> Instance {
        match self.instance {
            Instance::Fleet => Instance::Fleet,
            Instance::Vendor(_) => Instance::Vendor(vendor.clone()),
        }
    }

    /// What the cluster says of the instance: its project, its rollout, its routes.
    ///
    /// # Errors
    /// The API server does not answer.
    pub fn look(&self) -> Result<Observed, Failure> {
        self.cluster.look(&self.namespace, &self.instance)
    }
}

impl Platform for Kubernetes<'_> {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn ensure(&self, _: &VendorName, say: &dyn Fn(&str)) -> Result<Ensured, Failure> {
        let mut facts = self.cluster.facts()?;
        // Contradictions in the settings are found before anything is made.
        (self.planner)(&facts)?;
        let made = self.cluster.ensure_namespace(&self.namespace, &facts, self.create, say)?;
        facts.files = self.cluster.files(&self.namespace, &self.instance)?;
        let plan = (self.planner)(&facts)?;
        let changes = self.cluster.apply(&plan, &facts, Mode::Apply)?;
        for change in &changes {
            change.lines().iter().for_each(|line| say(line));
        }
        if changes.is_empty() {
            say(&format!("Nothing changed in {}", self.display_name()));
        }
        plan.admission_note().into_iter().for_each(say);
        let rollout = self.cluster.await_rollout(&plan, &self.patience, say)?;
        let hosts = self.cluster.await_routes(&plan, &self.patience)?;
        let hosts = if hosts.is_empty() { plan.hosts().map(ToString::to_string).collect() } else { hosts };
        let servers = self.cluster.pods(&self.namespace, &self.instance)?;
        for host in hosts {
            say(&match rollout {
                Rollout::Ready => format!("{} servers answer at https://{host}", servers.len()),
                Rollout::Unpublished => format!(
                    "{} servers run, and answer at https://{host} as soon as something is published",
                    servers.len()
                ),
            });
        }
        Ok(Ensured { servers, changed: made || !changes.is_empty() })
    }

    fn observe(&self, vendor: &VendorName) -> Result<Vec<Server>, Failure> {
        self.cluster.pods(&self.namespace, &self.instance_of(vendor))
    }

    fn deliver(&self, _: &VendorName, _: &Repository, _: &dyn Fn(&str)) -> Result<Delivery, Failure> {
        // The servers follow the snapshot in the vendor's bucket.
        Ok(Delivery::Followed)
    }

    fn await_revision(
        &self,
        vendor: &VendorName,
        servers: &[Server],
        revision: &Revision<'_>,
        say: &dyn Fn(&str),
    ) -> Result<(), Failure> {
        let begun = Instant::now();
        for server in servers {
            loop {
                let last = match self.site(server, vendor) {
                    Ok(Site { revision: Some(served), .. }) if (revision.is_served_by)(&served) => {
                        say(&format!("Served by {}", server.name));
                        break;
                    }
                    Ok(site) => format!("it serves revision `{}`", site.revision.unwrap_or_default()),
                    Err(failure) => failure.causes().first().cloned().unwrap_or(failure.message().to_owned()),
                };
                if !self.observe(vendor)?.iter().any(|running| running.name == server.name) {
                    break;
                }
                if begun.elapsed() > self.revision_timeout {
                    let message = format!(
                        "it is published as commit {}, but after {} s {} does not serve it",
                        revision.short,
                        self.revision_timeout.as_secs(),
                        server.name
                    );
                    return Err(Failure::new(FailureKind::Environment, message)
                        .caused_by(last)
                        .hint(format!("look into its log: oc logs {} -n {}", server.name, self.namespace)));
                }
                thread::sleep(self.patience.poll);
            }
        }
        Ok(())
    }

    fn remove(&self, vendor: &VendorName, say: &dyn Fn(&str)) -> Result<Vec<String>, Failure> {
        let facts = self.cluster.facts()?;
        let instance = self.instance_of(vendor);
        let removed = self.cluster.tear_down(&self.namespace, &instance, &facts, Mode::Apply)?;
        removed.iter().for_each(|name| say(&format!("Removed {name}")));
        Ok(removed)
    }
}

#[cfg(test)]
mod tests;
