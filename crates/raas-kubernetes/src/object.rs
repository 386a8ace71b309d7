//! The kinds of objects that raas makes in a cluster, and one object.

use std::fmt;

use serde_json::{Value, json};

/// A kind of object, and where the API has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A service account.
    ServiceAccount,
    /// A secret.
    Secret,
    /// A config map.
    ConfigMap,
    /// A network policy.
    NetworkPolicy,
    /// A service.
    Service,
    /// A pod disruption budget.
    PodDisruptionBudget,
    /// A deployment.
    Deployment,
    /// A horizontal pod autoscaler.
    HorizontalPodAutoscaler,
    /// OpenShift's route.
    Route,
    /// An ingress.
    Ingress,
    /// A route of the Gateway API.
    HttpRoute,
    /// What Prometheus is to scrape.
    ServiceMonitor,
}

impl Kind {
    /// All kinds, in the order in which objects are made. What an object refers to comes before it, and the network
    /// policy comes before the pods, so that no pod is ever open to the cluster.
    pub const ALL: [Self; 12] = [
        Self::ServiceAccount,
        Self::Secret,
        Self::ConfigMap,
        Self::NetworkPolicy,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
        Self::Route,
        Self::Ingress,
        Self::HttpRoute,
        Self::ServiceMonitor,
    ];

    /// The API group, empty for the core group.
    pub fn group(self) -> &'static str {
        match self {
            Self::ServiceAccount | Self::Secret | Self::ConfigMap | Self::Service => "",
            Self::NetworkPolicy | Self::Ingress => "networking.k8s.io",
            Self::PodDisruptionBudget => "policy",
            Self::Deployment => "apps",
            Self::HorizontalPodAutoscaler => "autoscaling",
            Self::Route => "route.openshift.io",
            Self::HttpRoute => "gateway.networking.k8s.io",
            Self::ServiceMonitor => "monitoring.coreos.com",
        }
    }

    /// The version of the group that raas speaks.
    pub fn version(self) -> &'static str {
        if self == Self::HorizontalPodAutoscaler { "v2" } else { "v1" }
    }

    /// The resource, as paths and permissions name it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::ServiceAccount => "serviceaccounts",
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
            Self::NetworkPolicy => "networkpolicies",
            Self::Service => "services",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::Deployment => "deployments",
            Self::HorizontalPodAutoscaler => "horizontalpodautoscalers",
            Self::Route => "routes",
            Self::Ingress => "ingresses",
            Self::HttpRoute => "httproutes",
            Self::ServiceMonitor => "servicemonitors",
        }
    }

    /// The kind's name in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceAccount => "ServiceAccount",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::Deployment => "Deployment",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::Route => "Route",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
            Self::ServiceMonitor => "ServiceMonitor",
        }
    }

    /// `apps/v1`, and `v1` for the core group.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// The path of all objects of this kind in a namespace.
    pub fn path(self, namespace: &str) -> String {
        let root = if self.group().is_empty() { "api" } else { "apis" };
        format!("/{root}/{}/namespaces/{namespace}/{}", self.api_version(), self.resource())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An object as raas applies it: what raas wants, and nothing else.
#[derive(Clone, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The whole object, with `apiVersion`, `kind` and `metadata`.
    pub body: Value,
}

impl Object {
    /// An object with labels. `content` has the fields beside `metadata`, such as `spec`.
    pub(crate) fn new(kind: Kind, name: &str, labels: &Value, content: Value) -> Self {
        let mut body = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.name(),
            "metadata": { "name": name, "labels": labels },
        });
        merge(&mut body, content);
        Self { kind, name: name.to_owned(), body }
    }

    /// The name for people: `Deployment raas-acme`.
    pub fn display_name(&self) -> String {
        format!("{} {}", self.kind, self.name)
    }
}

impl fmt::Debug for Object {
    /// Without the body, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display_name())
    }
}

/// Adds the fields of `more` to `value`, objects field by field.
pub(crate) fn merge(value: &mut Value, more: Value) {
    match (value, more) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, more) in from {
                merge(into.entry(key).or_insert(Value::Null), more);
            }
        }
        (value, more) => *value = more,
    }
}
