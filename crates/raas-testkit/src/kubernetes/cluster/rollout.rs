//! How the controllers of the scripted cluster carry out a deployment.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Stored, Target, json_reply, missing};
use crate::http::Reply;
use crate::kubernetes::Exchange;

/// The part of a pod's name that tells the new replica set.
const NEW: &str = "7df94f5596-";

/// How deployments go.
#[derive(Debug, Clone)]
pub enum Rollout {
    /// All pods run at once.
    Good,
    /// The new pod waits, for a reason and with a message of the kubelet.
    Waiting {
        /// `ImagePullBackOff`, `CrashLoopBackOff`
        reason: String,
        /// The kubelet's message.
        message: String,
        /// The last lines of its log.
        log: String,
    },
    /// The cluster makes no pod, with this message of the replica set.
    NoPod(String),
    /// Nothing keeps the cluster from making pods any more. It tries again when somebody changes the deployment, and until
    /// then its condition says that the rollout failed.
    LateAgain,
    /// A pod runs and does not become ready, with this message of its probe.
    NotReady(String),
    /// All pods run, and none is ready, since nothing was ever published.
    Unpublished,
    /// One pod runs and waits for a first publication, and the cluster makes no other one, with this message of the replica
    /// set.
    UnpublishedInPart(String),
    /// The new pod finds nothing in the bucket, and an old one serves what was published before.
    LostPointer,
    /// Nothing happens, and no condition says so: controllers are away.
    Stuck,
}

impl Rollout {
    /// The status of a deployment.
    pub(super) fn status(&self, body: &Value) -> Value {
        let generation = body["metadata"]["generation"].as_u64().unwrap_or(1);
        let replicas = body["spec"]["replicas"].as_u64().unwrap_or(1);
        let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({ "type": kind, "status": status, "reason": reason, "message": message });
        let late = condition(
            "Progressing",
            "False",
            "ProgressDeadlineExceeded",
            "ReplicaSet \"raas-bigdatainc-7df94f5596\" has timed out progressing.",
        );
        match self {
            Self::LateAgain if body["metadata"]["annotations"].is_null() => json!({
                "observedGeneration": generation, "unavailableReplicas": replicas, "conditions": [late],
            }),
            Self::Good | Self::LateAgain => json!({
                "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
                "readyReplicas": replicas, "availableReplicas": replicas,
                "conditions": [condition("Progressing", "True", "NewReplicaSetAvailable", "done")],
            }),
            Self::Waiting { .. } | Self::NotReady(_) | Self::LostPointer => json!({
                "observedGeneration": generation, "replicas": replicas + 1, "updatedReplicas": 1,
                "readyReplicas": replicas, "availableReplicas": replicas, "unavailableReplicas": 1,
                "conditions": [late],
            }),
            Self::Unpublished => json!({
                "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas,
                "unavailableReplicas": replicas, "conditions": [late],
            }),
            Self::NoPod(message) => json!({
                "observedGeneration": generation, "unavailableReplicas": replicas,
                "conditions": [late, condition("ReplicaFailure", "True", "FailedCreate", message)],
            }),
            Self::UnpublishedInPart(message) => json!({
                "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1,
                "unavailableReplicas": replicas,
                "conditions": [late, condition("ReplicaFailure", "True", "FailedCreate", message)],
            }),
            Self::Stuck => json!({}),
        }
    }

    /// Whether a pod has found a publication.
    pub(super) fn is_published(&self, pod: &str) -> bool {
        match self {
            Self::Unpublished | Self::UnpublishedInPart(_) => false,
            Self::LostPointer => !pod.contains(NEW),
            _ => true,
        }
    }

    /// Pods, their logs, and events.
    pub(super) fn answer(&self, target: &Target<'_>, objects: &BTreeMap<String, Stored>) -> Reply {
        if target.sub == Some("log") {
            return self.log(target);
        }
        if target.resource == "events" {
            return json_reply(200, &json!({ "kind": "EventList", "items": self.events() }));
        }
        let selector = target.query.get("labelSelector").cloned().unwrap_or_default();
        let deployments = objects.values().filter(|stored| {
            let name = stored.body["metadata"]["name"].as_str().unwrap_or_default();
            stored.body["kind"] == "Deployment" && selector.contains(&format!("instance={name}"))
        });
        let items: Vec<Value> = deployments.flat_map(|stored| self.pods(&stored.body)).collect();
        match target.name {
            None => json_reply(200, &json!({ "kind": "PodList", "items": items })),
            Some(_) => missing(target),
        }
    }

    fn pods(&self, deployment: &Value) -> Vec<Value> {
        let name = deployment["metadata"]["name"].as_str().unwrap_or_default();
        let replicas = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
        let pod = |suffix: &str, ready: bool, state: Value| {
            let status = json!({
                "phase": if ready { "Running" } else { "Pending" },
                "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }],
                "containerStatuses": [{ "name": "raas", "ready": ready, "restartCount": 0, "state": state }],
            });
            json!({ "metadata": { "name": format!("{name}-{suffix}") }, "status": status })
        };
        let running = json!({ "running": {} });
        match self {
            Self::Good | Self::LateAgain => {
                (0..replicas).map(|n| pod(&format!("55d8d54949-pod{n}"), true, running.clone())).collect()
            }
            Self::Unpublished => {
                (0..replicas).map(|n| pod(&format!("55d8d54949-pod{n}"), false, running.clone())).collect()
            }
            Self::Waiting { reason, message, .. } => {
                let waiting = json!({ "waiting": { "reason": reason, "message": message } });
                vec![pod("55d8d54949-pod0", true, running), pod("7df94f5596-9hbfm", false, waiting)]
            }
            Self::LostPointer => vec![
                pod("55d8d54949-pod0", true, running.clone()),
                pod(&format!("{NEW}9hbfm"), false, running),
            ],
            Self::NotReady(_) | Self::UnpublishedInPart(_) => vec![pod("7df94f5596-9hbfm", false, running)],
            Self::NoPod(_) | Self::Stuck => Vec::new(),
        }
    }

    fn events(&self) -> Vec<Value> {
        let event = |kind: &str, name: &str, reason: &str, message: &str| {
            json!({
                "involvedObject": { "kind": kind, "name": name }, "type": "Warning", "reason": reason,
                "message": message, "lastTimestamp": "2026-11-28T17:43:36Z",
            })
        };
        // Events of somebody else's pod, which explain nothing here.
        let mut events = vec![event("Pod", "other-1", "Failed", "the other pod's own trouble")];
        match self {
            Self::Waiting { message, .. } => {
                events.push(event("Pod", "raas-bigdatainc-7df94f5596-9hbfm", "Failed", message));
            }
            Self::NoPod(message) | Self::UnpublishedInPart(message) => {
                // The replica set tries again and again, each time with another name.
                for (words, pod) in [("", "9hbfm"), ("(combined from similar events): ", "x2k8v")] {
                    let message = message.replace("9hbfm", pod);
                    let text = format!("{words}Error creating: {message}");
                    events.push(event("ReplicaSet", "raas-bigdatainc-7df94f5596", "FailedCreate", &text));
                }
            }
            Self::NotReady(message) => {
                events.push(event("Pod", "raas-bigdatainc-7df94f5596-9hbfm", "Unhealthy", message));
            }
            Self::Good | Self::LateAgain | Self::Unpublished | Self::LostPointer | Self::Stuck => {}
        }
        events
    }

    fn log(&self, target: &Target<'_>) -> Reply {
        match self {
            Self::Waiting { reason, .. } if reason.contains("Pull") => {
                Exchange::recorded("34-log-of-waiting-container").reply
            }
            Self::Waiting { log, .. } if target.query.contains_key("previous") => {
                Reply::new(200, log.clone()).with("Content-Type", "text/plain")
            }
            _ => Reply::new(200, "").with("Content-Type", "text/plain"),
        }
    }
}
