//! Pulp 2: exports of Docker v1 images, and uploads. It has no registry.
//!
//! ```text
//! export, upload ──▶ task ──▶ (this module)
//! ```
//!
//! Source: Pulp 2's developer guide; pulp_docker 0.2 to 3.2.

mod export;
mod task;
mod upload;

use std::sync::Arc;

use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_http::http::Method;
use raas_types::null_as_default;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::PulpSettings;
use super::api::{api_name, parsed};
use crate::registry::{Connection, JSON, RegistryError, RemoteOptions, Repeat, Request, escaped};
use crate::registry_error::legible;
pub use export::{ExportPlaces, Pulp2Export};

/// The longest answer of the REST API that is read.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

const ROOT: &str = "/pulp/api/v2";

/// The kinds of distributors of pulp_docker, and the ids that `pulp-admin` gives them.
const EXPORT: (&str, &str) = ("docker_distributor_export", "docker_export_distributor_name_cli");
const WEB: (&str, &str) = ("docker_distributor_web", "docker_web_distributor_name_cli");

/// A Pulp 2 server. A clone is cheap.
#[derive(Debug, Clone)]
pub struct Pulp2 {
    connection: Arc<Connection>,
    places: ExportPlaces,
    say: Say,
}

/// A repository of a Pulp 2 server.
#[derive(Debug)]
pub struct Pulp2Repository {
    server: Pulp2,
    /// Its id.
    pub id: String,
    distributors: Vec<Distributor>,
}

#[derive(Debug, Deserialize)]
struct Distributor {
    id: String,
    distributor_type_id: String,
    #[serde(default)]
    config: Value,
}

#[derive(Deserialize)]
struct Status {
    /// Old releases do not list the workers.
    #[serde(default)]
    known_workers: Option<Vec<Worker>>,
}

#[derive(Deserialize)]
struct Worker {
    #[serde(default, deserialize_with = "null_as_default", rename = "_id", alias = "name")]
    name: String,
}

#[derive(Deserialize)]
struct Repository {
    #[serde(default, deserialize_with = "null_as_default")]
    distributors: Vec<Distributor>,
    #[serde(default)]
    notes: Value,
}

impl Pulp2 {
    /// Asks the server for its status.
    pub(super) fn open(settings: &PulpSettings, access: RemoteOptions) -> Result<Self, Failure> {
        let say = access.say.clone();
        let connection = Arc::new(Connection::new(settings.host(), false, &api_name(), access)?);
        let server = Self { connection, places: ExportPlaces::of(settings), say };
        if server.status()?.is_none() {
            let message = format!(
                "{} is no Pulp server: it has neither /pulp/api/v3/status/ nor {ROOT}/status/",
                server.host()
            );
            return Err(Failure::new(Kind::Environment, message).hint("correct `host` in [pulpserver]"));
        }
        Ok(server)
    }

    fn host(&self) -> &str {
        self.connection.host()
    }

    fn status(&self) -> Result<Option<Status>, RegistryError> {
        let what = format!("the status of the Pulp server {}", self.host());
        let path = format!("{ROOT}/status/");
        let found = self.connection.read(&Request::get(&path, JSON, &what), MAX_ANSWER)?;
        found.map(|found| parsed(&found, &what)).transpose()
    }

    /// Whether the server has a worker for its tasks. True if the server does not list its workers.
    fn has_worker(&self) -> Result<bool, RegistryError> {
        let workers = self.status()?.and_then(|status| status.known_workers);
        let works = |worker: &Worker| worker.name.starts_with("reserved_resource_worker");
        Ok(workers.is_none_or(|workers| workers.iter().any(works)))
    }

    /// The repository with one of these ids, the first that is there.
    pub(super) fn find(self, ids: &[String]) -> Result<Pulp2Repository, Failure> {
        for id in ids {
            if let Some(found) = self.repository(id)? {
                return Ok(found);
            }
        }
        let names: Vec<String> = ids.iter().map(|id| format!("`{id}`")).collect();
        let message = format!(
            "the Pulp server {} has no repository {}, or does not show it to this user",
            self.host(),
            names.join(" or ")
        );
        Err(Failure::new(Kind::Refused, message).hint(
            "make it with `raas pulp-upload ISV FILE`, or set `base_path` in [pulpserver] to the ids of your server",
        ))
    }

    /// The first of these ids that a repository has.
    pub(super) fn existing(&self, ids: &[String]) -> Result<Option<String>, Failure> {
        for id in ids {
            if self.repository(id)?.is_some() {
                return Ok(Some(id.clone()));
            }
        }
        Ok(None)
    }

    fn repository(&self, id: &str) -> Result<Option<Pulp2Repository>, Failure> {
        let what = format!("the repository {id} of the Pulp server {}", self.host());
        let path = format!("{ROOT}/repositories/{}/?details=true", escaped(id));
        let Some(found) = self.connection.read(&Request::get(&path, JSON, &what), MAX_ANSWER)? else {
            return Ok(None);
        };
        let found: Repository = parsed(&found, &what)?;
        let kind = found.notes.get("_repo-type").and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "docker-repo") {
            let message = format!("{what} holds no images: its type is {}", legible(kind));
            return Err(Failure::new(Kind::Refused, message)
                .hint("set `base_path` in [pulpserver] to the ids of your repositories of images"));
        }
        let distributors = found.distributors;
        Ok(Some(Pulp2Repository { server: self.clone(), id: id.to_owned(), distributors }))
    }

    /// The repository, which is made if it is not there. Also returns whether it was made.
    ///
    /// # Errors
    /// The server does not answer, or does not let this user make a repository.
    pub fn repository_or_new(&self, id: &str) -> Result<(Pulp2Repository, bool), Failure> {
        if let Some(found) = self.repository(id)? {
            return Ok((found, false));
        }
        let distributor = |(kind, id): (&str, &str), auto_publish: bool| {
            json!({
                "distributor_type_id": kind, "distributor_id": id, "distributor_config": {},
                "auto_publish": auto_publish,
            })
        };
        let repository = json!({
            "id": id, "display_name": id, "notes": {"_repo-type": "docker-repo"},
            "importer_type_id": "docker_importer", "importer_config": {},
            "distributors": [distributor(WEB, true), distributor(EXPORT, false)],
        });
        let what = format!("a new repository {id} of the Pulp server {}", self.host());
        let _: Value = self.send(&Method::POST, "repositories/", &repository, &what)?;
        let made =
            self.repository(id)?.ok_or_else(|| RegistryError::NotFound { what, said: String::new() })?;
        Ok((made, true))
    }

    fn send<T: DeserializeOwned>(
        &self,
        method: &Method,
        resource: &str,
        json: &Value,
        what: &str,
    ) -> Result<T, RegistryError> {
        let (path, bytes) = (format!("{ROOT}/{resource}"), json.to_string().into_bytes());
        let request = Request::json(method, &path, &bytes, what);
        parsed(&self.connection.change(&request, Repeat::Unsafe)?, what)
    }
}

impl Pulp2Repository {
    /// The server, for messages.
    pub fn host(&self) -> &str {
        self.server.host()
    }

    /// The distributor of a kind.
    fn distributor(&self, (kind, usual): (&str, &str)) -> Result<&Distributor, Failure> {
        self.distributors.iter().find(|distributor| distributor.distributor_type_id == kind).ok_or_else(
            || {
                let message = format!(
                    "the repository {} of the Pulp server {} has no distributor of the type {kind}",
                    self.id,
                    self.host()
                );
                Failure::new(Kind::Refused, message).hint(format!(
                    "add it: POST {ROOT}/repositories/{}/distributors/ with `distributor_type_id` {kind} and \
                 `distributor_id` {usual}",
                    self.id
                ))
            },
        )
    }

    /// Lets a distributor publish, and waits for the end.
    fn publish(&self, distributor: &str, override_config: Value, what: &str) -> Result<(), Failure> {
        let resource = format!("repositories/{}/actions/publish/", escaped(&self.id));
        let body = json!({"id": distributor, "override_config": override_config});
        let report = self.server.send(&Method::POST, &resource, &body, what)?;
        task::follow(&self.server, report, what)
    }
}
