//! Waiting for a rollout and for routers, and the evidence when it fails.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use raas_base::failure::{Failure, Kind as FailureKind};
use serde_json::{Value, json};

use crate::access::Cluster;
use crate::api::ApiError;
use crate::explain::Attempt;
use crate::manifests;
use crate::object::Kind;
use crate::plan::Plan;
use crate::status::Status;
use crate::trouble::{Evidence, diagnose};

/// How long the setup waits, and how often it asks. It asks and does not watch: a rollout takes seconds to minutes, a
/// connection that is cut costs nothing, and the operator needs no permission to watch.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the rollout. The deployment itself gives up before, after 120 s without progress.
    pub rollout: Duration,
    /// For the routers.
    pub admission: Duration,
    /// For the first progress of a rollout that failed before the setup.
    pub retry: Duration,
    /// The pause between two questions.
    pub poll: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            rollout: Duration::from_secs(300),
            admission: Duration::from_secs(30),
            retry: Duration::from_secs(30),
            poll: Duration::from_secs(1),
        }
    }
}

/// The field manager of the note that a rollout was tried again. The manager of the objects sends the same fields each time.
const RETRY_MANAGER: &str = "raas-retry";

/// The state of a deployment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// All servers have what was applied, and are ready.
    Done,
    /// The rollout goes on. The text is for people.
    Going(String),
    /// The deployment has given up.
    Failed,
}

/// How a rollout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rollout {
    /// All servers are ready.
    Ready,
    /// All servers run, and wait for the first publication.
    Unpublished,
}

/// What the servers say of publications.
enum Asked {
    /// Nothing was ever published.
    Unpublished,
    /// Something was published, or a server does not answer.
    Otherwise,
    /// The user may not ask them.
    Forbidden(Box<Status>),
}

/// Whether the deployment's controller has seen what was applied, and has started a server with it. A quota that keeps the
/// other servers out is not passing.
fn is_started(deployment: &Value) -> bool {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let status = &deployment["status"];
    number(&status["observedGeneration"]) >= number(&deployment["metadata"]["generation"])
        && number(&status["updatedReplicas"]) > 0
        && failed_creation(deployment).is_none()
}

/// The state of a deployment by its status.
pub(crate) fn state(deployment: &Value) -> State {
    let status = &deployment["status"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let (updated, available) = (number(&status["updatedReplicas"]), number(&status["availableReplicas"]));
    let is_seen = number(&status["observedGeneration"]) >= number(&deployment["metadata"]["generation"]);
    let old = number(&status["replicas"]).saturating_sub(updated);
    if is_seen
        && condition(deployment, "Progressing").is_some_and(|one| one["reason"] == "ProgressDeadlineExceeded")
    {
        return State::Failed;
    }
    // A few old pods that still stop do not matter; old pods that run do.
    if is_seen && updated >= wanted && old == 0 && available >= wanted {
        return State::Done;
    }
    let old = if old == 0 { String::new() } else { format!(", {old} of the earlier ones") };
    let failing = failed_creation(deployment).map(|text| format!(": {text}")).unwrap_or_default();
    State::Going(format!(
        "Waiting for servers: {updated} of {wanted} started, {available} ready{old}{failing}"
    ))
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Why the cluster makes no pod.
fn failed_creation(deployment: &Value) -> Option<&str> {
    condition(deployment, "ReplicaFailure").filter(|one| one["status"] == "True")?["message"].as_str()
}

impl Cluster {
    /// Waits until all servers run what was applied, and are ready. Before the first publication no server is ready: then
    /// it suffices that they run. A server without a publication must not count as ready, or a lost pointer of a bucket
    /// would replace good servers by empty ones.
    ///
    /// # Errors
    /// The rollout fails, or is not done in time. The earlier servers keep serving.
    pub(crate) fn await_rollout(
        &self,
        plan: &Plan,
        patience: &Patience,
        say: &dyn Fn(&str),
    ) -> Result<Rollout, Failure> {
        let name = format!("Deployment {}", plan.name());
        let path = format!("{}/{}", Kind::Deployment.path(plan.namespace.as_str()), plan.name());
        let attempt = Attempt { verb: "read", object: &name, namespace: plan.namespace.as_str() };
        let begun = Instant::now();
        let mut said = String::new();
        let mut forbidden = None;
        let mut is_retried = false;
        loop {
            let deployment = self.api.get(&path).map_err(|error| attempt.failed(error))?;
            let state = state(&deployment);
            if state != State::Done && is_started(&deployment) {
                match self.lacks_publication(plan)? {
                    Asked::Unpublished => return Ok(Rollout::Unpublished),
                    Asked::Otherwise => {}
                    Asked::Forbidden(status) => forbidden = Some(status),
                }
            }
            match state {
                State::Done => return Ok(Rollout::Ready),
                State::Going(line) if begun.elapsed() < patience.rollout => {
                    if line != said {
                        say(&line);
                        said = line;
                    }
                    thread::sleep(patience.poll);
                }
                // The rollout failed before this setup, and its cause may be gone.
                State::Failed if said.is_empty() && begun.elapsed() < patience.retry => {
                    if !is_retried {
                        self.retry(plan)
                            .map_err(|error| Attempt { verb: "apply", ..attempt }.failed(error))?;
                        is_retried = true;
                    }
                    thread::sleep(patience.poll);
                }
                State::Going(_) | State::Failed => {
                    let evidence = Evidence { forbidden, ..self.evidence(plan, &deployment) };
                    return Err(diagnose(plan, &evidence));
                }
            }
        }
    }

    /// Lets the cluster make the missing pods of a deployment at once. After failures it tries by itself ever more rarely, up
    /// to every 16 minutes; any change of the deployment makes it try.
    fn retry(&self, plan: &Plan) -> Result<(), ApiError> {
        let kind = Kind::Deployment;
        let target = format!(
            "{}/{}?fieldManager={RETRY_MANAGER}&force=true",
            kind.path(plan.namespace.as_str()),
            plan.name()
        );
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let body = json!({
            "apiVersion": kind.api_version(), "kind": kind.name(),
            "metadata": { "name": plan.name(), "annotations": { "raas-retried": now.to_string() } },
        });
        self.api.apply(&target, &body).map(drop)
    }

    /// Whether all servers say that nothing was ever published. A server that serves a publication proves that there was
    /// one. A server that does not answer proves nothing.
    fn lacks_publication(&self, plan: &Plan) -> Result<Asked, Failure> {
        let mut pods = self.pods(&plan.namespace, &plan.instance)?;
        // The new servers are the ones that are not ready.
        pods.sort_by_key(|server| server.is_ready);
        if pods.first().is_none_or(|server| server.is_ready) {
            return Ok(Asked::Otherwise);
        }
        for server in &pods {
            match self.is_unpublished(&plan.namespace, server) {
                Ok(true) => {}
                Err(ApiError::Refused(status)) if status.code == 403 => return Ok(Asked::Forbidden(status)),
                Ok(false) | Err(_) => return Ok(Asked::Otherwise),
            }
        }
        Ok(Asked::Unpublished)
    }

    /// What explains a failed rollout. A part that the user may not read is left out.
    fn evidence(&self, plan: &Plan, deployment: &Value) -> Evidence {
        let namespace = &plan.namespace;
        let selector = manifests::pod_query(&plan.instance);
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let events = format!("/api/v1/namespaces/{namespace}/events?fieldSelector=type%3DWarning&limit=500");
        let mut evidence = Evidence::of(
            plan,
            deployment,
            &self.api.get(&format!("{pods}?labelSelector={selector}")).unwrap_or_default(),
            &self.api.get(&events).unwrap_or_default(),
        );
        if let Some(pod) = &evidence.crashed {
            let log = format!("{pods}/{pod}/log?container=raas&tailLines=5&previous=true");
            let log = self.api.text(&log).unwrap_or_default();
            evidence.log = log.lines().map(str::to_owned).collect();
        }
        evidence
    }

    /// Waits until the routers serve the routes, and returns their hosts.
    ///
    /// # Errors
    /// A router refuses a route, or no router takes it in time.
    pub(crate) fn await_routes(&self, plan: &Plan, patience: &Patience) -> Result<Vec<String>, Failure> {
        let routes = manifests::objects(plan).into_iter().filter(|object| object.kind == Kind::Route);
        let mut hosts = Vec::new();
        for route in routes {
            let name = route.display_name();
            let path = format!("{}/{}", Kind::Route.path(plan.namespace.as_str()), route.name);
            let attempt = Attempt { verb: "read", object: &name, namespace: plan.namespace.as_str() };
            let begun = Instant::now();
            loop {
                let found = self.api.get(&path).map_err(|error| attempt.failed(error))?;
                match admission(&found) {
                    Admission::By(host) => break hosts.push(host),
                    _ if begun.elapsed() < patience.admission => thread::sleep(patience.poll),
                    Admission::Refused(reason) => return Err(refused(&name, plan, &reason)),
                    Admission::None => return Err(refused(&name, plan, "no router has taken it")),
                }
            }
        }
        Ok(hosts)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// A router serves this host.
    By(String),
    Refused(String),
    None,
}

/// Whether a router serves a route. One of several routers is enough.
pub(crate) fn admission(route: &Value) -> Admission {
    let entries: Vec<&Value> = route["status"]["ingress"].as_array().into_iter().flatten().collect();
    let admitted = |entry: &&&Value| {
        entry["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Admitted" && one["status"] == "True"))
    };
    if let Some(entry) = entries.iter().find(admitted) {
        let host = entry["host"].as_str().or_else(|| route["spec"]["host"].as_str());
        return Admission::By(host.unwrap_or_default().to_owned());
    }
    let reason = entries.iter().find_map(|entry| {
        let condition = entry["conditions"].as_array()?.iter().find(|one| one["type"] == "Admitted")?;
        let text = |key: &str| condition[key].as_str().unwrap_or_default().to_owned();
        Some(format!("{}: {}", text("reason"), text("message")))
    });
    reason.map_or(Admission::None, Admission::Refused)
}

fn refused(route: &str, plan: &Plan, reason: &str) -> Failure {
    let hint = if reason.starts_with("HostAlreadyClaimed") {
        "take another host as `registry_host`, or remove the other route: oc get routes --all-namespaces"
    } else if reason.starts_with("ExtendedValidationFailed") {
        "check `tls_certificate` and `tls_key` of the vendor: the router takes no broken certificate"
    } else {
        "ask an administrator which router serves this project: oc describe route"
    };
    let message = format!("the servers run, and no router serves {route} in {}", plan.namespace);
    Failure::new(FailureKind::Environment, message).caused_by(reason.to_owned()).hint(hint)
}
