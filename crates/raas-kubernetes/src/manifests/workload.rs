//! The deployment: the servers themselves.

use serde_json::{Value, json};

use super::configuration::{self, DRAIN_DELAY, FOLDER};
use super::{METRICS_PORT, PORT, labels, pod_selector};
use crate::object::{Kind, Object, merge};
use crate::plan::{Instance, Plan, Scale};

/// How long a pod that is to stop still counts as running, in seconds. Routers and nodes stop sending clients meanwhile.
const PRE_STOP: u32 = 5;

/// How long requests in flight may take after that, in seconds, as the server has it.
const IN_FLIGHT: u32 = 30;

/// The deployment of an instance's servers.
pub(super) fn deployment(plan: &Plan) -> Object {
    let name = plan.name();
    let selector = pod_selector(plan);
    let mut spec = json!({
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 120,
        // A new server is ready before an old one stops.
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } },
        "selector": { "matchLabels": selector },
        "template": {
            "metadata": {
                "labels": selector,
                "annotations": { "raas-configuration-sha256": configuration::version(plan) },
            },
            "spec": pod(plan),
        },
    });
    // An autoscaler sets the number itself.
    if let Scale::Fixed(replicas) = plan.scale {
        merge(&mut spec, json!({ "replicas": replicas }));
    }
    Object::new(Kind::Deployment, &name, &labels(plan), json!({ "spec": spec }))
}

/// No user id, group id or SELinux option is set: OpenShift gives each project its own.
fn pod(plan: &Plan) -> Value {
    let name = plan.name();
    let mut pod = json!({
        "serviceAccountName": plan.service_account.as_ref().unwrap_or(&name),
        // If an account is named, the cloud gives the servers its identity by a token of its own.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": PRE_STOP + DRAIN_DELAY + IN_FLIGHT + 5,
        "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": pod_selector(plan) },
            "matchLabelKeys": ["pod-template-hash"],
        }],
        "containers": [container(plan)],
        // Every user id of the cluster may read the files; the pod has one process.
        "volumes": [{ "name": "configuration", "secret": { "secretName": name, "defaultMode": 0o444 } }],
    });
    if !plan.pull_secrets.is_empty() {
        let secrets: Vec<Value> = plan.pull_secrets.iter().map(|name| json!({ "name": name })).collect();
        merge(&mut pod, json!({ "imagePullSecrets": secrets }));
    }
    pod
}

fn container(plan: &Plan) -> Value {
    let name = plan.name();
    let mut environment = vec![json!({ "configMapRef": { "name": name } })];
    environment.extend(plan.environment_secret.iter().map(|name| json!({ "secretRef": { "name": name } })));
    let mut arguments = vec!["serve".to_owned()];
    // Without a vendor, the servers serve all vendors of their configuration.
    if let Instance::Vendor(vendor) = &plan.instance {
        arguments.push(vendor.to_string());
    }
    let config = format!("{FOLDER}/raas.cfg");
    let (listen, metrics) = (format!("0.0.0.0:{PORT}"), format!("0.0.0.0:{METRICS_PORT}"));
    let options = ["--config", &config, "--listen", &listen, "--metrics", &metrics, "--log", "json"];
    arguments.extend(options.map(str::to_owned));
    let probe = |path: &str| json!({ "path": path, "port": "http" });
    json!({
        "name": "raas",
        "image": plan.image,
        "args": arguments,
        "ports": [
            { "name": "http", "containerPort": PORT, "protocol": "TCP" },
            { "name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP" },
        ],
        "envFrom": environment,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        // The processor has no limit: a limit would slow down answers, and the request is the fair share.
        "resources": {
            "requests": { "cpu": "100m", "memory": "128Mi" },
            "limits": { "memory": format!("{}Mi", plan.memory) },
        },
        "startupProbe": { "httpGet": probe("/-/healthz"), "periodSeconds": 1, "failureThreshold": 60 },
        "readinessProbe": {
            "httpGet": probe("/-/readyz"), "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2,
        },
        "livenessProbe": {
            "httpGet": probe("/-/healthz"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6,
        },
        "lifecycle": { "preStop": { "sleep": { "seconds": PRE_STOP } } },
        "volumeMounts": [{ "name": "configuration", "mountPath": FOLDER, "readOnly": true }],
    })
}
