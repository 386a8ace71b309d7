//! What a cluster says of an instance, for people who look: its project, its rollout, and the ways in.

use raas_base::failure::Failure;
use serde_json::Value;

use crate::access::Cluster;
use crate::explain::Attempt;
use crate::manifests;
use crate::object::Kind;
use crate::plan::{Instance, Namespace};
use crate::rollout::{Admission, State, admission, state};

/// What a cluster says of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The cluster and the project for people.
    pub place: String,
    /// Whether the project is there, as far as the user may know.
    pub has_namespace: bool,
    /// The rollout of the servers.
    pub rollout: RolloutHealth,
    /// The ways in from outside the cluster.
    pub entrances: Vec<Entrance>,
}

/// The state of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RolloutHealth {
    /// There is no deployment.
    Missing,
    /// So many servers run what was applied, and are ready.
    Done(u64),
    /// It goes on, or waits for something: a line for people.
    Going(String),
    /// It has failed: the reason.
    Failed(String),
}

/// A way in from outside the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// `Route raas-acme`
    pub name: String,
    /// The host that clients use.
    pub host: String,
    /// Why no router, ingress controller or gateway serves it.
    pub refusal: Option<String>,
}

impl Cluster {
    /// Looks at an instance.
    ///
    /// # Errors
    /// The API server does not answer, or refuses.
    pub(crate) fn look(&self, namespace: &Namespace, instance: &Instance) -> Result<Observed, Failure> {
        let place = format!("project {namespace} on {}", self.display_name);
        let has_namespace = self.has_namespace(namespace)?;
        if !has_namespace {
            let rollout = RolloutHealth::Missing;
            return Ok(Observed { place, has_namespace, rollout, entrances: Vec::new() });
        }
        let name = format!("Deployment {}", instance.name());
        let attempt = Attempt { verb: "read", object: &name, namespace: namespace.as_str() };
        let path = format!("{}/{}", Kind::Deployment.path(namespace.as_str()), instance.name());
        let deployment = self.api.find(&path).map_err(|error| attempt.failed(error))?;
        let rollout = deployment.map_or(RolloutHealth::Missing, |deployment| health(&deployment));
        let facts = self.facts()?;
        let mut entrances = Vec::new();
        for kind in [Kind::Route, Kind::Ingress, Kind::HttpRoute] {
            if facts.has(kind) {
                entrances.extend(self.entrances(namespace, instance, kind)?);
            }
        }
        Ok(Observed { place, has_namespace, rollout, entrances })
    }

    fn entrances(
        &self,
        namespace: &Namespace,
        instance: &Instance,
        kind: Kind,
    ) -> Result<Vec<Entrance>, Failure> {
        let target =
            format!("{}?labelSelector={}", kind.path(namespace.as_str()), manifests::label_query(instance));
        let attempt = Attempt { verb: "list", object: kind.resource(), namespace: namespace.as_str() };
        let listed = self.api.find(&target).map_err(|error| attempt.failed(error))?.unwrap_or_default();
        Ok(list(&listed["items"]).flat_map(|object| entrances_of(kind, object)).collect())
    }
}

fn health(deployment: &Value) -> RolloutHealth {
    match state(deployment) {
        State::Done => RolloutHealth::Done(deployment["status"]["availableReplicas"].as_u64().unwrap_or(0)),
        State::Going(line) => RolloutHealth::Going(line),
        State::Failed => {
            let progress = list(&deployment["status"]["conditions"]).find(|one| one["type"] == "Progressing");
            let message = progress.and_then(|one| one["message"].as_str()).unwrap_or("no progress in time");
            RolloutHealth::Failed(message.to_owned())
        }
    }
}

/// The hosts of an object, each with what keeps clients out.
fn entrances_of(kind: Kind, object: &Value) -> Vec<Entrance> {
    let name = format!("{kind} {}", object["metadata"]["name"].as_str().unwrap_or_default());
    let entrance =
        |host: &str, refusal: Option<String>| Entrance { name: name.clone(), host: host.to_owned(), refusal };
    match kind {
        Kind::Route => {
            let host = object["spec"]["host"].as_str().unwrap_or_default();
            vec![match admission(object) {
                Admission::By(host) => entrance(&host, None),
                Admission::Refused(reason) => entrance(host, Some(reason)),
                Admission::None => entrance(host, Some("no router has taken it".to_owned())),
            }]
        }
        // A cluster whose controller has no address to tell leaves the status empty.
        Kind::Ingress => list(&object["spec"]["rules"])
            .filter_map(|rule| rule["host"].as_str())
            .map(|host| entrance(host, None))
            .collect(),
        _ => {
            let refusal = refusal_of_gateways(object);
            list(&object["spec"]["hostnames"])
                .filter_map(Value::as_str)
                .map(|host| entrance(host, refusal.clone()))
                .collect()
        }
    }
}

/// Why no gateway has accepted a route. Source: Gateway API, `RouteParentStatus`.
fn refusal_of_gateways(route: &Value) -> Option<String> {
    let conditions = || {
        list(&route["status"]["parents"])
            .flat_map(|parent| list(&parent["conditions"]))
            .filter(|condition| condition["type"] == "Accepted")
    };
    if conditions().any(|condition| condition["status"] == "True") {
        return None;
    }
    let text = |condition: &Value, key: &str| condition[key].as_str().unwrap_or_default().to_owned();
    let reason = conditions().next();
    Some(reason.map_or("no gateway has accepted it".to_owned(), |condition| {
        format!("{}: {}", text(condition, "reason"), text(condition, "message"))
    }))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_way_in_names_its_hosts_and_what_keeps_clients_out() {
        let route = |conditions: Value| {
            json!({
                "metadata": { "name": "r" }, "spec": { "host": "h" },
                "status": { "ingress": [{ "host": "h", "conditions": conditions }] },
            })
        };
        let gateway = |conditions: Value| {
            json!({
                "metadata": { "name": "r" }, "spec": { "hostnames": ["h"] },
                "status": { "parents": [{ "conditions": conditions }] },
            })
        };
        let ingress = json!({ "metadata": { "name": "r" }, "spec": { "rules": [{ "host": "h" }] } });
        let good = |kind: &str| json!([{ "type": kind, "status": "True" }]);
        let bad = |kind: &str| json!([{ "type": kind, "status": "False", "reason": "R", "message": "m" }]);
        let table = [
            (Kind::Route, route(good("Admitted")), None),
            (Kind::Route, route(bad("Admitted")), Some("R: m")),
            (Kind::Route, route(json!([])), Some("no router has taken it")),
            (Kind::Ingress, ingress, None),
            (Kind::HttpRoute, gateway(good("Accepted")), None),
            (Kind::HttpRoute, gateway(bad("Accepted")), Some("R: m")),
            (Kind::HttpRoute, gateway(json!([])), Some("no gateway has accepted it")),
        ];
        for (kind, object, refusal) in table {
            let expected =
                Entrance { name: format!("{kind} r"), host: "h".into(), refusal: refusal.map(str::to_owned) };
            assert_eq!(entrances_of(kind, &object), [expected]);
        }
    }
}
