//! The objects of a vendor's registry, as pure functions of the plan.

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
use crate::plan::{Plan, Scale, object_name};
use raas_types::VendorName;

/// The field manager of everything that raas applies.
pub const MANAGER: &str = "raas";

/// The port of the servers in their pods.
const PORT: u16 = 5000;

/// The port of the servers' metrics in their pods.
const METRICS_PORT: u16 = 9090;

/// The objects of a plan, in the order in which they are made.
pub fn objects(plan: &Plan) -> Vec<Object> {
    let mut objects = Vec::new();
    objects.extend(configuration::service_account(plan));
    objects.push(configuration::files(plan));
    objects.extend(network::certificate(plan));
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

/// The labels of a vendor's objects.
fn labels(plan: &Plan) -> Value {
    json!({
        "app.kubernetes.io/name": "raas",
        "app.kubernetes.io/instance": object_name(&plan.vendor),
        "app.kubernetes.io/component": "registry",
        "app.kubernetes.io/managed-by": MANAGER,
    })
}

/// The labels that select a vendor's pods. A deployment cannot change them.
fn pod_selector(plan: &Plan) -> Value {
    json!({ "app.kubernetes.io/name": "raas", "app.kubernetes.io/instance": object_name(&plan.vendor) })
}

/// The query that finds a vendor's objects.
pub fn label_query(vendor: &VendorName) -> String {
    format!(
        "app.kubernetes.io/managed-by={MANAGER},app.kubernetes.io/name=raas,app.kubernetes.io/instance={}",
        object_name(vendor)
    )
}

/// The query that finds a vendor's pods.
pub fn pod_query(vendor: &VendorName) -> String {
    format!("app.kubernetes.io/name=raas,app.kubernetes.io/instance={}", object_name(vendor))
}
