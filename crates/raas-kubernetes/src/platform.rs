//! Kubernetes as a platform.

use std::thread;
use std::time::{Duration, Instant};

use raas_base::failure::{Failure, Kind as FailureKind};
use raas_git::Repository;
use raas_platform::{Delivery, Ensured, Platform, Revision, Server};
use raas_types::VendorName;
use serde_json::Value;

use crate::access::Cluster;
use crate::apply::Mode;
use crate::diff::Change;
use crate::explain::Attempt;
use crate::facts::Facts;
use crate::manifests;
use crate::plan::{Namespace, Plan};
use crate::rollout::Patience;

/// How long servers may take to serve a publication. They look every second.
const REVISION_TIMEOUT: Duration = Duration::from_secs(20);

/// Makes the plan of a vendor, once the cluster has told what it offers.
pub type Planner<'a> = dyn Fn(&Facts) -> Result<Plan, Failure> + 'a;

/// A project of a cluster.
pub struct Kubernetes<'a> {
    cluster: Cluster,
    namespace: Namespace,
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
    /// A project of a cluster. With `create`, the setup makes the project if it is missing.
    pub fn new(cluster: Cluster, namespace: Namespace, create: bool, planner: Box<Planner<'a>>) -> Self {
        let (patience, revision_timeout) = (Patience::default(), REVISION_TIMEOUT);
        Self { cluster, namespace, planner, create, patience, revision_timeout }
    }

    /// The cluster for people.
    pub fn display_name(&self) -> String {
        format!("project {} on {}", self.namespace, self.cluster.display_name)
    }

    /// What [`Platform::ensure`] would change, checked by the API server and without a change.
    ///
    /// # Errors
    /// As for [`Platform::ensure`].
    pub fn preview(&self, vendor: &VendorName) -> Result<Preview, Failure> {
        let mut facts = self.cluster.facts()?;
        let needs_namespace = self.create && !self.cluster.has_namespace(&self.namespace)?;
        if needs_namespace {
            let objects = manifests::objects(&(self.planner)(&facts)?);
            let changes = objects.iter().map(|object| Change::Created(object.display_name())).collect();
            return Ok(Preview { changes, needs_namespace });
        }
        self.cluster.ensure_namespace(&self.namespace, &facts, false, &|_| {})?;
        facts.files = self.cluster.files(&self.namespace, vendor)?;
        let changes = self.cluster.apply(&(self.planner)(&facts)?, &facts, Mode::DryRun)?;
        Ok(Preview { changes, needs_namespace })
    }

    /// The names of what [`Platform::remove`] would remove.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn made(&self, vendor: &VendorName) -> Result<Vec<String>, Failure> {
        let facts = self.cluster.facts()?;
        self.cluster.tear_down(&self.namespace, vendor, &facts, Mode::DryRun)
    }

    /// The revision that a server serves, asked through the API server.
    ///
    /// # Errors
    /// The API server or the server does not answer.
    pub fn revision(&self, server: &Server) -> Result<String, Failure> {
        let target =
            format!("/api/v1/namespaces/{}/pods/{}:5000/proxy/-/revision", self.namespace, server.name);
        let object = format!("the revision of pod {}", server.name);
        let attempt = Attempt { verb: "read", object: &object, namespace: self.namespace.as_str() };
        let text = self.cluster.api.text(&target).map_err(|error| attempt.failed(error))?;
        Ok(text.trim().to_owned())
    }

    fn pods(&self, vendor: &VendorName) -> Result<Vec<Server>, Failure> {
        let selector =
            manifests::pod_query(vendor).replace('=', "%3D").replace(',', "%2C").replace('/', "%2F");
        let target = format!("/api/v1/namespaces/{}/pods?labelSelector={selector}", self.namespace);
        let attempt = Attempt { verb: "list", object: "pods", namespace: self.namespace.as_str() };
        let listed = match self.cluster.api.find(&target).map_err(|error| attempt.failed(error))? {
            Some(listed) => listed,
            None => return Ok(Vec::new()),
        };
        let pods = listed["items"].as_array().into_iter().flatten();
        let mut servers: Vec<Server> = pods.filter(|pod| is_alive(pod)).map(server).collect();
        servers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(servers)
    }
}

/// Whether a pod neither ended nor stops.
fn is_alive(pod: &Value) -> bool {
    let ended = ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase);
    !ended && pod["metadata"].get("deletionTimestamp").is_none()
}

fn server(pod: &Value) -> Server {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready = conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Server { name, url: None, is_ready }
}

impl Platform for Kubernetes<'_> {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn ensure(&self, vendor: &VendorName, say: &dyn Fn(&str)) -> Result<Ensured, Failure> {
        let mut facts = self.cluster.facts()?;
        // Contradictions in the settings are found before anything is made.
        (self.planner)(&facts)?;
        let made = self.cluster.ensure_namespace(&self.namespace, &facts, self.create, say)?;
        facts.files = self.cluster.files(&self.namespace, vendor)?;
        let plan = (self.planner)(&facts)?;
        let changes = self.cluster.apply(&plan, &facts, Mode::Apply)?;
        for change in &changes {
            change.lines().iter().for_each(|line| say(line));
        }
        if changes.is_empty() {
            say(&format!("Nothing changed in {}", self.display_name()));
        }
        self.cluster.await_rollout(&plan, &self.patience, say)?;
        let hosts = self.cluster.await_routes(&plan, &self.patience)?;
        let hosts =
            if hosts.is_empty() { plan.hosts.iter().map(ToString::to_string).collect() } else { hosts };
        let servers = self.pods(vendor)?;
        for host in hosts {
            say(&format!("{} servers answer at https://{host}", servers.len()));
        }
        Ok(Ensured { servers, changed: made || !changes.is_empty() })
    }

    fn observe(&self, vendor: &VendorName) -> Result<Vec<Server>, Failure> {
        self.pods(vendor)
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
                let last = match self.revision(server) {
                    Ok(served) if (revision.is_served_by)(&served) => {
                        say(&format!("Served by {}", server.name));
                        break;
                    }
                    Ok(served) => format!("it serves revision `{served}`"),
                    Err(failure) => failure.causes().first().cloned().unwrap_or(failure.message().to_owned()),
                };
                if !self.pods(vendor)?.iter().any(|running| running.name == server.name) {
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
        let removed = self.cluster.tear_down(&self.namespace, vendor, &facts, Mode::Apply)?;
        removed.iter().for_each(|name| say(&format!("Removed {name}")));
        Ok(removed)
    }
}

#[cfg(test)]
mod tests;
