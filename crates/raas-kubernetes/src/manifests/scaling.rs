//! How many servers there are, and how many may be away at once.

use serde_json::json;

use super::{labels, pod_selector};
use crate::object::{Kind, Object};
use crate::plan::Plan;

/// How much of its requested processor time a server takes before another one is started, in percent. The request is
/// small and has no limit, so a server is busy only far above it.
const BUSY: u32 = 400;

/// One server may be away at a time. This is `maxUnavailable` and not `minAvailable`, so that a node can be drained
/// even if there is only one server. A broken pod does not keep a node from being drained either.
pub(super) fn disruption_budget(plan: &Plan) -> Object {
    let spec = json!({
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": { "matchLabels": pod_selector(plan) },
    });
    Object::new(Kind::PodDisruptionBudget, &plan.name(), &labels(plan), json!({ "spec": spec }))
}

/// The autoscaler.
pub(super) fn autoscaler(plan: &Plan, min: u32, max: u32) -> Object {
    let spec = json!({
        "minReplicas": min,
        "maxReplicas": max,
        "scaleTargetRef": { "apiVersion": Kind::Deployment.api_version(), "kind": "Deployment", "name": plan.name() },
        "metrics": [{
            "type": "Resource",
            "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": BUSY } },
        }],
    });
    Object::new(Kind::HorizontalPodAutoscaler, &plan.name(), &labels(plan), json!({ "spec": spec }))
}
