//! What a cluster offers, found by discovery, and what an earlier setup left there.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_base::Secret;
use raas_base::failure::Failure;
use serde_json::Value;

use crate::access::Cluster;
use crate::explain::Attempt;
use crate::object::Kind;
use crate::plan::{Instance, Namespace};

/// What a plan needs to know of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Whether OpenShift's routes are there.
    pub has_routes: bool,
    /// Whether the Gateway API is there.
    pub has_gateways: bool,
    /// Whether Prometheus's operator is there.
    pub has_monitors: bool,
    /// Whether the cluster has projects, which users ask for.
    pub has_projects: bool,
    /// The files that an earlier setup gave to the servers.
    pub files: BTreeMap<String, Secret>,
}

impl Facts {
    /// Whether the cluster has objects of a kind.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Route => self.has_routes,
            Kind::HttpRoute => self.has_gateways,
            Kind::ServiceMonitor => self.has_monitors,
            _ => true,
        }
    }
}

impl Cluster {
    /// Asks the cluster what it offers.
    ///
    /// # Errors
    /// The API server does not answer, or refuses.
    pub fn facts(&self) -> Result<Facts, Failure> {
        let attempt = Attempt { verb: "read", object: "the list of its APIs", namespace: &self.display_name };
        let groups = self.api.get("/apis").map_err(|error| attempt.failed(error))?;
        let names: Vec<&str> = groups["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|group| group["name"].as_str())
            .collect();
        let has = |group: &str| names.contains(&group);
        Ok(Facts {
            has_routes: has(Kind::Route.group()),
            has_gateways: has(Kind::HttpRoute.group()),
            has_monitors: has(Kind::ServiceMonitor.group()),
            has_projects: has("project.openshift.io"),
            files: BTreeMap::new(),
        })
    }

    /// The files that an earlier setup gave to an instance's servers.
    ///
    /// # Errors
    /// The API server refuses.
    pub fn files(
        &self,
        namespace: &Namespace,
        instance: &Instance,
    ) -> Result<BTreeMap<String, Secret>, Failure> {
        let name = instance.name();
        let object = format!("Secret {name}");
        let attempt = Attempt { verb: "read", object: &object, namespace: namespace.as_str() };
        let target = format!("{}/{name}", Kind::Secret.path(namespace.as_str()));
        let found = self.api.find(&target).map_err(|error| attempt.failed(error))?;
        let data = found.as_ref().and_then(|secret| secret["data"].as_object());
        let decoded = |value: &Value| {
            let bytes = STANDARD.decode(value.as_str()?).ok()?;
            String::from_utf8(bytes).ok().map(Secret::new)
        };
        let files =
            data.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), decoded(value)?)));
        Ok(files.collect())
    }
}
