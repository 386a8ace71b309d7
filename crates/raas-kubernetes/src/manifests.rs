//! The objects of an instance's servers, as pure functions of the plan.

mod configuration;
mod network;
mod scaling;
mod workload;

#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::object::{Kind, Object};
use crate::plan::{Instance, Plan, Scale};

/// The field manager of everything that raas applies.
pub const MANAGER: &str = "raas";

/// The port of the servers in their pods.
const PORT: u16 = 5000;

/// The port of the servers' metrics in their pods.
pub(crate) const METRICS_PORT: u16 = 9090;

/// The objects of a plan, in the order in which they are made.
pub fn objects(plan: &Plan) -> Vec<Object> {
    let mut objects = Vec::new();
    objects.extend(configuration::service_account(plan));
    objects.push(configuration::files(plan));
    objects.extend(network::certificates(plan));
    objects.push(configuration::environment(plan));
    objects.push(network::policy(plan));
    objects.push(network::service(plan));
    objects.push(scaling::disruption_budget(plan));
    objects.push(workload::deployment(plan));
    if let Scale::Auto { min, max } = plan.scale {
        objects.push(scaling::autoscaler(plan, min, max));
    }
    objects.extend(network::entries(plan));
    if plan.monitored {
        objects.push(network::monitor(plan));
    }
    objects
}

/// The objects of a plan for people who keep them in git: texts of secrets can be read and replaced.
pub fn for_people(plan: &Plan) -> Vec<Object> {
    let mut objects = objects(plan);
    for object in objects.iter_mut().filter(|object| object.kind == Kind::Secret) {
        let Some(data) = object.body.as_object_mut().and_then(|body| body.remove("data")) else { continue };
        let mut texts = data;
        for value in texts.as_object_mut().into_iter().flat_map(|map| map.values_mut()) {
            let decoded = value.as_str().and_then(|text| STANDARD.decode(text).ok());
            if let Some(text) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) {
                *value = text.into();
            }
        }
        object.body["stringData"] = texts;
    }
    objects
}

/// The labels of an instance's objects.
fn labels(plan: &Plan) -> Value {
    json!({
        "app.kubernetes.io/name": "raas",
        "app.kubernetes.io/instance": plan.name(),
        "app.kubernetes.io/component": "registry",
        "app.kubernetes.io/managed-by": MANAGER,
    })
}

/// The labels that select an instance's pods. A deployment cannot change them.
fn pod_selector(plan: &Plan) -> Value {
    json!({ "app.kubernetes.io/name": "raas", "app.kubernetes.io/instance": plan.name() })
}

/// The query that finds an instance's objects, as a URL has it.
pub fn label_query(instance: &Instance) -> String {
    in_url(&format!("app.kubernetes.io/managed-by={MANAGER},{}", selector(instance)))
}

/// The query that finds an instance's pods, as a URL has it.
pub fn pod_query(instance: &Instance) -> String {
    in_url(&selector(instance))
}

fn selector(instance: &Instance) -> String {
    format!("app.kubernetes.io/name=raas,app.kubernetes.io/instance={}", instance.name())
}

fn in_url(query: &str) -> String {
    query.replace('=', "%3D").replace(',', "%2C").replace('/', "%2F")
}
