//! The pods of an instance, and what each of them serves.

use raas_base::failure::{Failure, Kind as FailureKind};
use raas_platform::Server;
use raas_types::VendorName;
use serde::Deserialize;
use serde_json::Value;

use crate::access::Cluster;
use crate::api::ApiError;
use crate::explain::Attempt;
use crate::manifests::{self, METRICS_PORT};
use crate::plan::{Instance, Namespace};

/// What a server serves of one vendor. Source: docs/request-handling.md, `/-/sites`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Site {
    /// The vendor.
    pub vendor: VendorName,
    /// The commit that is served. `None` before the first load.
    pub revision: Option<String>,
    /// Whether anything was ever published.
    pub published: bool,
    /// Why nothing newer is served.
    pub problem: Option<String>,
}

#[derive(Deserialize)]
struct Sites {
    sites: Vec<Site>,
}

impl Site {
    /// Whether the server has looked, and nothing was ever published.
    pub fn is_unpublished(&self) -> bool {
        self.revision.is_some() && !self.published
    }
}

impl Cluster {
    /// The pods of an instance that neither ended nor stop, in the order of their names.
    pub(crate) fn pods(&self, namespace: &Namespace, instance: &Instance) -> Result<Vec<Server>, Failure> {
        let target =
            format!("/api/v1/namespaces/{namespace}/pods?labelSelector={}", manifests::pod_query(instance));
        let attempt = Attempt { verb: "list", object: "pods", namespace: namespace.as_str() };
        let listed = match self.api.find(&target).map_err(|error| attempt.failed(error))? {
            Some(listed) => listed,
            None => return Ok(Vec::new()),
        };
        let pods = listed["items"].as_array().into_iter().flatten();
        let mut servers: Vec<Server> = pods.filter(|pod| is_alive(pod)).map(server).collect();
        servers.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(servers)
    }

    /// What a server serves, asked through the API server at the operators' port.
    pub(crate) fn sites(&self, namespace: &Namespace, server: &Server) -> Result<Vec<Site>, Failure> {
        let target = sites_of(namespace, server);
        let object = format!("the revisions of pod {}", server.name);
        let attempt = Attempt { verb: "read", object: &object, namespace: namespace.as_str() };
        let text = self.api.text(&target).map_err(|error| attempt.failed(error))?;
        let Sites { sites } = serde_json::from_str(&text).map_err(|error| {
            Failure::new(FailureKind::Environment, format!("cannot read {object}")).caused_by(error).hint(
                "update the image of the servers, `cartridge` in [openshift]: it may be older than this raas",
            )
        })?;
        Ok(sites)
    }

    /// Whether a server has looked, and nothing was ever published.
    pub(crate) fn is_unpublished(&self, namespace: &Namespace, server: &Server) -> Result<bool, ApiError> {
        let answer = self.api.text_once(&sites_of(namespace, server))?;
        let sites = serde_json::from_str::<Sites>(&answer).map(|answer| answer.sites).unwrap_or_default();
        Ok(!sites.is_empty() && sites.iter().all(Site::is_unpublished))
    }
}

/// The path at which the API server passes a request on to a server's port for operators.
fn sites_of(namespace: &Namespace, server: &Server) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{}:{METRICS_PORT}/proxy/-/sites", server.name)
}

/// Whether a pod neither ended nor stops.
fn is_alive(pod: &Value) -> bool {
    let ended = ["Succeeded", "Failed"].iter().any(|phase| pod["status"]["phase"] == *phase);
    !ended && pod["metadata"].get("deletionTimestamp").is_none()
}

fn server(pod: &Value) -> Server {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    let is_ready = conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
    let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Server { name, url: None, is_ready }
}
