//! How clients and Prometheus reach the servers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_types::HostName;
use serde_json::{Value, json};

use super::{METRICS_PORT, PORT, labels, pod_selector};
use crate::object::{Kind, Object, merge};
use crate::plan::{Entry, Instance, Plan, Registry};

/// How long OpenShift's router waits for an answer. A layer that a server proxies takes its time.
const ROUTER_TIMEOUT: &str = "10m";

/// The label that every namespace has, with its name as the value.
///
/// Source: Kubernetes, "Well-Known Labels, Annotations and Taints".
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The service.
pub(super) fn service(plan: &Plan) -> Object {
    let spec = json!({
        "selector": pod_selector(plan),
        "ports": [
            { "name": "http", "port": 80, "targetPort": "http", "protocol": "TCP" },
            { "name": "metrics", "port": METRICS_PORT, "targetPort": "metrics", "protocol": "TCP" },
        ],
    });
    Object::new(Kind::Service, &plan.name(), &labels(plan), json!({ "spec": spec }))
}

/// Who may connect to the servers. Connections that the servers make are not limited: they need DNS and the bucket.
pub(super) fn policy(plan: &Plan) -> Object {
    let from_namespaces =
        |label: &str, value: &str| json!([{ "namespaceSelector": { "matchLabels": { label: value } } }]);
    let http = json!([{ "port": PORT, "protocol": "TCP" }]);
    let metrics = json!([{ "port": METRICS_PORT, "protocol": "TCP" }]);
    let ingress = match plan.entry {
        // The label covers routers on the network of their hosts too.
        Entry::Route => json!([
            { "from": from_namespaces("policy-group.network.openshift.io/ingress", ""), "ports": http },
            { "from": from_namespaces("network.openshift.io/policy-group", "monitoring"), "ports": metrics },
            // The API server asks for revisions from the network of its host.
            { "from": from_namespaces("policy-group.network.openshift.io/host-network", ""), "ports": metrics },
        ]),
        // No label tells where an ingress controller, a gateway or Prometheus runs. The operator may say the namespace of
        // the first two.
        Entry::Ingress(_) | Entry::Gateway { .. } => match &plan.ingress_namespace {
            Some(namespace) => json!([
                { "from": from_namespaces(NAMESPACE_NAME, namespace.as_str()), "ports": http },
                { "ports": metrics },
            ]),
            None => json!([{ "ports": http }, { "ports": metrics }]),
        },
    };
    let spec = json!({
        "podSelector": { "matchLabels": pod_selector(plan) },
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    });
    Object::new(Kind::NetworkPolicy, &plan.name(), &labels(plan), json!({ "spec": spec }))
}

/// The secrets with the certificates, for an ingress. A route holds its certificate itself, and the owner of a gateway
/// gives the gateway its certificates.
pub(super) fn certificates(plan: &Plan) -> Vec<Object> {
    let secret = |registry: &Registry| {
        let certificate =
            registry.certificate.as_ref().filter(|_| matches!(plan.entry, Entry::Ingress(_)))?;
        let data = json!({
            "tls.crt": STANDARD.encode(&certificate.chain),
            "tls.key": STANDARD.encode(certificate.key.expose()),
        });
        let content = json!({ "type": "kubernetes.io/tls", "data": data });
        Some(Object::new(Kind::Secret, &certificate_name(plan, registry), &labels(plan), content))
    };
    plan.registries.iter().filter_map(secret).collect()
}

/// The name of the objects that let clients in to one vendor's registry.
fn entry_name(plan: &Plan, registry: &Registry) -> String {
    match plan.instance {
        Instance::Vendor(_) => plan.name(),
        Instance::Fleet => format!("{}.{}", plan.name(), registry.vendor),
    }
}

fn certificate_name(plan: &Plan, registry: &Registry) -> String {
    format!("{}-tls", entry_name(plan, registry))
}

/// The objects that let clients in from outside the cluster.
pub(super) fn entries(plan: &Plan) -> Vec<Object> {
    plan.registries.iter().flat_map(|registry| entries_of(plan, registry)).collect()
}

fn entries_of(plan: &Plan, registry: &Registry) -> Vec<Object> {
    match &plan.entry {
        Entry::Route if registry.hosts.is_empty() => vec![route(plan, registry, &plan.name(), None)],
        Entry::Route => {
            let named = |host: &HostName| {
                route(plan, registry, &format!("{}.{host}", plan.name()), Some(host.as_str()))
            };
            registry.hosts.iter().map(named).collect()
        }
        Entry::Ingress(class) => vec![ingress(plan, registry, class.as_deref())],
        Entry::Gateway { namespace, name } => vec![http_route(plan, registry, namespace.as_deref(), name)],
    }
}

fn route(plan: &Plan, registry: &Registry, name: &str, host: Option<&str>) -> Object {
    let mut spec = json!({
        "to": { "kind": "Service", "name": plan.name() },
        "port": { "targetPort": "http" },
        "tls": { "termination": "edge", "insecureEdgeTerminationPolicy": "Redirect" },
    });
    if let Some(host) = host {
        merge(&mut spec, json!({ "host": host }));
    }
    if let Some(certificate) = &registry.certificate {
        let tls = json!({ "certificate": certificate.chain, "key": certificate.key.expose() });
        merge(&mut spec, json!({ "tls": tls }));
    }
    let annotations = json!({ "haproxy.router.openshift.io/timeout": ROUTER_TIMEOUT });
    let content = json!({ "metadata": { "annotations": annotations }, "spec": spec });
    Object::new(Kind::Route, name, &labels(plan), content)
}

fn ingress(plan: &Plan, registry: &Registry, class: Option<&str>) -> Object {
    let backend = json!({ "service": { "name": plan.name(), "port": { "name": "http" } } });
    let rule = |host: &HostName| {
        json!({
            "host": host.as_str(),
            "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] },
        })
    };
    let rules: Vec<Value> = registry.hosts.iter().map(rule).collect();
    let mut spec = json!({ "rules": rules });
    if let Some(class) = class {
        merge(&mut spec, json!({ "ingressClassName": class }));
    }
    if registry.certificate.is_some() {
        let tls = json!([{ "hosts": hosts(registry), "secretName": certificate_name(plan, registry) }]);
        merge(&mut spec, json!({ "tls": tls }));
    }
    Object::new(Kind::Ingress, &entry_name(plan, registry), &labels(plan), json!({ "spec": spec }))
}

fn http_route(plan: &Plan, registry: &Registry, namespace: Option<&str>, gateway: &str) -> Object {
    let mut parent = json!({ "name": gateway });
    if let Some(namespace) = namespace {
        merge(&mut parent, json!({ "namespace": namespace }));
    }
    let spec = json!({
        "parentRefs": [parent],
        "hostnames": hosts(registry),
        "rules": [{ "backendRefs": [{ "name": plan.name(), "port": 80 }] }],
    });
    Object::new(Kind::HttpRoute, &entry_name(plan, registry), &labels(plan), json!({ "spec": spec }))
}

fn hosts(registry: &Registry) -> Vec<&str> {
    registry.hosts.iter().map(HostName::as_str).collect()
}

/// What Prometheus's operator is to scrape.
pub(super) fn monitor(plan: &Plan) -> Object {
    let spec = json!({
        "selector": { "matchLabels": pod_selector(plan) },
        "endpoints": [{ "port": "metrics", "interval": "30s" }],
    });
    Object::new(Kind::ServiceMonitor, &plan.name(), &labels(plan), json!({ "spec": spec }))
}
