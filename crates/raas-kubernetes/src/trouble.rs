//! Why a rollout failed, by what the cluster shows: conditions, waiting containers, events, the last lines of a log.

use raas_base::failure::{Failure, Kind as FailureKind};
use serde_json::Value;

use crate::explain::Attempt;
use crate::plan::Plan;
use crate::status::Status;

/// What explains a failed rollout.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Messages, the most telling first: of conditions, of waiting containers, of events.
    pub(crate) messages: Vec<String>,
    /// The name of a pod that has crashed.
    pub(crate) crashed: Option<String>,
    /// The last lines of its log.
    pub(crate) log: Vec<String>,
    /// The API server does not let the user ask the servers what they wait for.
    pub(crate) forbidden: Option<Box<Status>>,
}

/// The most messages that are shown.
const SHOWN: usize = 6;

impl Evidence {
    pub(crate) fn of(plan: &Plan, deployment: &Value, pods: &Value, events: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut evidence = Self::default();
        for condition in list(&deployment["status"]["conditions"]) {
            if condition["type"] == "ReplicaFailure" && condition["status"] == "True" {
                evidence.messages.push(text(&condition["message"]));
            }
        }
        for pod in list(&pods["items"]) {
            for condition in list(&pod["status"]["conditions"]) {
                if condition["type"] == "PodScheduled" && condition["status"] == "False" {
                    evidence.messages.push(format!("FailedScheduling: {}", text(&condition["message"])));
                }
            }
            for container in list(&pod["status"]["containerStatuses"]) {
                let waiting = &container["state"]["waiting"];
                let ended = &container["lastState"]["terminated"];
                if let Some(reason) = waiting["reason"].as_str() {
                    evidence.messages.push(format!("{reason}: {}", text(&waiting["message"])));
                }
                if let Some(reason) = ended["reason"].as_str() {
                    evidence.messages.push(format!("{reason}: exit code {}", ended["exitCode"]));
                }
                if waiting["reason"] == "CrashLoopBackOff" || ended.is_object() {
                    evidence.crashed = Some(text(&pod["metadata"]["name"]));
                }
            }
        }
        let prefix = format!("{}-", plan.name());
        let is_ours = |event: &&Value| {
            let name = event["involvedObject"]["name"].as_str().unwrap_or_default();
            name == plan.name() || name.starts_with(&prefix)
        };
        let mut own: Vec<&Value> = list(&events["items"]).filter(is_ours).collect();
        // The newest first. Times of one format compare as text. The scheduler's events have no `lastTimestamp`.
        let time = |event: &Value| [&event["lastTimestamp"], &event["eventTime"]].map(text).into_iter().max();
        own.sort_by_key(|event| std::cmp::Reverse(time(event)));
        evidence.messages.extend(
            own.iter().map(|event| format!("{}: {}", text(&event["reason"]), text(&event["message"]))),
        );
        let mut seen: Vec<String> = Vec::new();
        evidence.messages.retain(|message| {
            // An event repeats a condition for each pod that the cluster tried to make, with words before it.
            let key = without_pods(message, &prefix);
            let is_new = !message.is_empty() && !seen.iter().any(|known| key.ends_with(known.as_str()));
            seen.push(key);
            is_new
        });
        evidence
    }

    fn says(&self, part: &str) -> bool {
        self.messages.iter().any(|message| message.contains(part))
    }
}

/// A message without the names of pods, which begin with this prefix.
fn without_pods(message: &str, prefix: &str) -> String {
    let quoted = message.split('"').map(|part| if part.starts_with(prefix) { "" } else { part });
    quoted.collect::<Vec<_>>().join("\"")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The failure of a rollout.
pub(crate) fn diagnose(plan: &Plan, evidence: &Evidence) -> Failure {
    let message = format!(
        "the servers of {} do not start in {}; the earlier ones, if there are any, keep serving",
        plan.instance, plan.namespace
    );
    let mut shown: Vec<String> = evidence.messages.iter().take(SHOWN).cloned().collect();
    if let (Some(pod), false) = (&evidence.crashed, evidence.log.is_empty()) {
        shown.push(format!("the last lines of the log of {pod}:\n    {}", evidence.log.join("\n    ")));
    }
    if shown.is_empty() {
        shown.push("the cluster says nothing: its controllers may not run".into());
    }
    if let Some(status) = &evidence.forbidden {
        shown.push(format!("the servers cannot be asked what they wait for: {}", status.message));
    }
    let failure = Failure::new(FailureKind::Environment, message).caused_by(shown.join("\n  and: "));
    let attempt = Attempt { verb: "ask", object: "the servers", namespace: plan.namespace.as_str() };
    let grant = evidence.forbidden.as_ref().and_then(|status| attempt.grant(status));
    let failure = grant.into_iter().fold(failure, Failure::hint);
    hints(plan, evidence).into_iter().fold(failure, Failure::hint)
}

/// What to do, by what the messages say.
fn hints(plan: &Plan, evidence: &Evidence) -> Vec<String> {
    let namespace = &plan.namespace;
    let account = plan.service_account.clone().unwrap_or_else(|| plan.name());
    let table: [(&[&str], String); 11] = [
        (
            &["unable to validate against any security context constraint"],
            format!(
                "ask an administrator to let the pods in: oc adm policy add-scc-to-user restricted-v2 -z {account} \
                 --namespace {namespace}; the pods ask for no user id and no privilege"
            ),
        ),
        (
            &["violates PodSecurity"],
            format!("check the labels of the namespace: kubectl get namespace {namespace} --show-labels"),
        ),
        (
            &["exceeded quota"],
            format!("ask an administrator for a larger quota: oc describe quota --namespace {namespace}"),
        ),
        (
            &["must specify"],
            format!(
                "ask an administrator for a LimitRange with defaults in {namespace}: the quota demands limits that the \
                 servers do not set"
            ),
        ),
        (
            &["serviceaccount", "service account"],
            format!(
                "make the service account, or correct `service_account`: oc get serviceaccount {account} -n {namespace}"
            ),
        ),
        (
            &["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "Failed to pull image"],
            format!(
                "check `cartridge` in [openshift], which is {}, and name the secret for a private registry as \
                 `pull_secret`",
                plan.image
            ),
        ),
        (&["non-numeric user"], "take an image whose USER is a number, as the one of raas is".into()),
        (
            &["CreateContainerConfigError"],
            "correct `server_secret` in [openshift]: a secret that the servers need is not there".into(),
        ),
        (
            &["OOMKilled"],
            format!(
                "set a larger `server_memory` in [openshift]: the metadata does not fit into {} MiB",
                plan.memory
            ),
        ),
        (
            &["FailedScheduling"],
            format!(
                "ask an administrator for room on the nodes: oc describe pods -n {namespace} -l \
                 app.kubernetes.io/instance={}",
                plan.name()
            ),
        ),
        (
            &["Unhealthy", "CrashLoopBackOff", "BackOff"],
            format!(
                "check that the cluster reaches the bucket and that its keys are right: oc logs deployment/{} -n {namespace}",
                plan.name()
            ),
        ),
    ];
    let fits = |parts: &&(&[&str], String)| parts.0.iter().any(|part| evidence.says(part));
    // The first row that fits is the cause; a later one is often its consequence.
    let found: Vec<String> = table.iter().find(fits).map(|(_, hint)| hint.clone()).into_iter().collect();
    if found.is_empty() {
        vec![format!(
            "look at the pods: oc describe pods -n {namespace} -l app.kubernetes.io/instance={}",
            plan.name()
        )]
    } else {
        found
    }
}
