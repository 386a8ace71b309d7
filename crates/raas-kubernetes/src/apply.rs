//! Server-side apply of a plan's objects under one field manager, and the removal of what the plan no longer has.

use raas_base::failure::{Failure, Kind as FailureKind};
use serde_json::{Value, json};

use crate::access::Cluster;
use crate::api::ApiError;
use crate::diff::{self, Change};
use crate::explain::Attempt;
use crate::facts::Facts;
use crate::manifests::{self, MANAGER};
use crate::object::{Kind, Object};
use crate::plan::{Instance, Namespace, Plan, Scale};

/// The field manager that holds the number of servers between raas and an autoscaler.
const SCALING_MANAGER: &str = "raas-scaling";

/// The managers from which raas may take the number of servers back, once its own autoscaler is gone.
const SCALERS: [&str; 2] = [SCALING_MANAGER, "kube-controller-manager"];

/// Whether changes are made, or only checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Changes are made.
    Apply,
    /// The API server checks every change and makes none.
    DryRun,
}

impl Cluster {
    /// Applies a plan's objects in their order, and removes what the plan no longer has. Returns the changes. The next
    /// run finishes what a killed run has left.
    ///
    /// # Errors
    /// The API server refuses an object. The objects before it are applied; running servers are replaced only by the last of
    /// them.
    pub fn apply(&self, plan: &Plan, facts: &Facts, mode: Mode) -> Result<Vec<Change>, Failure> {
        let objects = manifests::objects(plan);
        let mut changes = Vec::new();
        // An autoscaler that the plan does not have must not set the number of servers any more.
        if let Scale::Fixed(_) = plan.scale {
            changes.extend(self.prune(plan, &objects, &[Kind::HorizontalPodAutoscaler], mode)?);
        }
        for object in &objects {
            changes.extend(self.apply_one(plan, object, mode)?);
        }
        let others: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| facts.has(*kind)).collect();
        let removed = self.prune(plan, &objects, &others, mode)?;
        changes.extend(removed.into_iter().filter(|change| !changes.contains(change)).collect::<Vec<_>>());
        Ok(changes)
    }

    fn apply_one(&self, plan: &Plan, object: &Object, mode: Mode) -> Result<Option<Change>, Failure> {
        let name = object.display_name();
        let attempt = |verb| Attempt { verb, object: &name, namespace: plan.namespace.as_str() };
        let path = format!("{}/{}", object.kind.path(plan.namespace.as_str()), object.name);
        let before = self.api.find(&path).map_err(|error| attempt("read").failed(error))?;
        if let Some(before) = &before
            && !is_of(before, plan)
        {
            return Err(Failure::new(
                FailureKind::Usage,
                format!("{name} is in {} already, and raas has not made it", plan.namespace),
            )
            .hint("remove it, or use another project: raas changes nothing that it has not made"));
        }
        let dry = if mode == Mode::DryRun { "&dryRun=All" } else { "" };
        let mut body = object.body.clone();
        if let Some(replicas) = before.as_ref().and_then(|before| given_up_replicas(object, before)) {
            match mode {
                Mode::Apply => self
                    .hand_over_replicas(&path, object, replicas)
                    .map_err(|error| attempt("apply").failed(error))?,
                // No other manager holds the number yet, so the API server would say that it falls to one.
                Mode::DryRun => body["spec"]["replicas"] = replicas.into(),
            }
        }
        let target = format!("{path}?fieldManager={MANAGER}{dry}");
        let after = match self.api.apply(&target, &body) {
            Err(ApiError::Refused(status)) if is_own_scaling(&status, plan) => {
                self.api.apply(&format!("{target}&force=true"), &body)
            }
            result => result,
        };
        let after = after.map_err(|error| attempt("apply").failed(error))?;
        Ok(match before {
            None => Some(Change::Created(name)),
            Some(before) => {
                let fields = diff::between(object, &before, &after);
                (!fields.is_empty()).then_some(Change::Changed(name, fields))
            }
        })
    }

    /// Lets another manager hold the number of servers before raas gives it up for an autoscaler. The API server
    /// removes a field without a manager: the number would fall to one at once.
    fn hand_over_replicas(&self, path: &str, object: &Object, replicas: u64) -> Result<(), ApiError> {
        let body = json!({
            "apiVersion": object.kind.api_version(), "kind": object.kind.name(),
            "metadata": { "name": object.name }, "spec": { "replicas": replicas },
        });
        self.api.apply(&format!("{path}?fieldManager={SCALING_MANAGER}&force=true"), &body).map(drop)
    }

    /// Removes objects of these kinds that raas made for the instance and the plan does not have.
    fn prune(
        &self,
        plan: &Plan,
        objects: &[Object],
        kinds: &[Kind],
        mode: Mode,
    ) -> Result<Vec<Change>, Failure> {
        let is_planned =
            |kind: Kind, name: &str| objects.iter().any(|object| object.kind == kind && object.name == name);
        let mut changes = Vec::new();
        for kind in kinds {
            for name in self.made(&plan.namespace, &plan.instance, *kind)? {
                if !is_planned(*kind, &name) {
                    if mode == Mode::Apply {
                        self.remove_one(&plan.namespace, *kind, &name)?;
                    }
                    changes.push(Change::Removed(format!("{kind} {name}")));
                }
            }
        }
        Ok(changes)
    }

    /// Removes everything that raas made for an instance, beginning with the objects that clients reach. Returns the
    /// names.
    ///
    /// # Errors
    /// The API server refuses. A second call removes the rest.
    pub fn tear_down(
        &self,
        namespace: &Namespace,
        instance: &Instance,
        facts: &Facts,
        mode: Mode,
    ) -> Result<Vec<String>, Failure> {
        let mut removed = Vec::new();
        for kind in Kind::ALL.into_iter().rev().filter(|kind| facts.has(*kind)) {
            for name in self.made(namespace, instance, kind)? {
                if mode == Mode::Apply {
                    self.remove_one(namespace, kind, &name)?;
                }
                removed.push(format!("{kind} {name}"));
            }
        }
        Ok(removed)
    }

    /// The names of an instance's objects of a kind: by their labels, and by their manager, since anybody may copy labels.
    fn made(&self, namespace: &Namespace, instance: &Instance, kind: Kind) -> Result<Vec<String>, Failure> {
        let query = manifests::label_query(instance);
        let target = format!("{}?labelSelector={query}", kind.path(namespace.as_str()));
        let listed = match self.api.get(&target) {
            Ok(listed) => listed,
            // The group is there, and this kind of it is not.
            Err(error) if error.is_not_found() => return Ok(Vec::new()),
            Err(error) => {
                let object = kind.resource();
                return Err(Attempt { verb: "list", object, namespace: namespace.as_str() }.failed(error));
            }
        };
        let items = listed["items"].as_array().into_iter().flatten();
        let names =
            items.filter(|item| is_managed(item)).filter_map(|item| item["metadata"]["name"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn remove_one(&self, namespace: &Namespace, kind: Kind, name: &str) -> Result<(), Failure> {
        let object = format!("{kind} {name}");
        let target = format!("{}/{name}?propagationPolicy=Background", kind.path(namespace.as_str()));
        let attempt = Attempt { verb: "remove", object: &object, namespace: namespace.as_str() };
        self.api.delete(&target).map_err(|error| attempt.failed(error))
    }
}

/// Whether raas has applied an object.
fn is_managed(object: &Value) -> bool {
    let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    managers.into_iter().any(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply")
}

/// Whether raas has made an object for the plan's instance.
fn is_of(object: &Value, plan: &Plan) -> bool {
    let labels = &object["metadata"]["labels"];
    is_managed(object)
        && labels["app.kubernetes.io/managed-by"] == MANAGER
        && labels["app.kubernetes.io/instance"] == plan.name()
}

/// The number of servers, if raas holds it and gives it up with this object.
fn given_up_replicas(object: &Object, before: &Value) -> Option<u64> {
    let gives_up = object.kind == Kind::Deployment
        && object.body["spec"].get("replicas").is_none()
        && owns_replicas(before);
    before["spec"]["replicas"].as_u64().filter(|_| gives_up)
}

/// Whether raas holds the number of servers.
fn owns_replicas(deployment: &Value) -> bool {
    let managers = deployment["metadata"]["managedFields"].as_array().into_iter().flatten();
    managers
        .into_iter()
        .any(|entry| entry["manager"] == MANAGER && entry["fieldsV1"]["f:spec"].get("f:replicas").is_some())
}

/// Whether a conflict is only about the number of servers, which an autoscaler of raas has set before.
fn is_own_scaling(status: &crate::status::Status, plan: &Plan) -> bool {
    let causes = &status.details.causes;
    let is_scaler = |message: &str| SCALERS.iter().any(|name| message.contains(&format!("\"{name}\"")));
    matches!(plan.scale, Scale::Fixed(_))
        && status.code == 409
        && !causes.is_empty()
        && causes.iter().all(|cause| cause.field == ".spec.replicas" && is_scaler(&cause.message))
}
