//! The REST API of Pulp 3.

use raas_base::failure::{Failure, Kind};
use raas_http::http::Method;
use raas_types::{RepositoryName, null_as_default};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::PulpSettings;
use crate::registry::{Connection, Document, JSON, RegistryError, RemoteOptions, Repeat, Request, escaped};

/// The longest answer of the REST API that is read.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// The REST API of a Pulp 3.
#[derive(Debug)]
pub(super) struct Api {
    connection: Connection,
    /// The path before the resources.
    root: String,
    domain: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default, deserialize_with = "null_as_default")]
    versions: Vec<Component>,
    #[serde(default, deserialize_with = "null_as_default")]
    domain_enabled: bool,
    #[serde(default, deserialize_with = "null_as_default")]
    online_workers: Vec<Value>,
}

#[derive(Deserialize)]
struct Component {
    component: String,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Page<T> {
    #[serde(deserialize_with = "null_as_default")]
    results: Vec<T>,
}

/// A distribution of a repository.
#[derive(Debug, Deserialize)]
pub(super) struct Distribution {
    pub(super) base_path: String,
    #[serde(default)]
    pub(super) repository: Option<String>,
    #[serde(default)]
    pub(super) repository_version: Option<String>,
    #[serde(default)]
    pub(super) remote: Option<String>,
    /// Old releases do not know private distributions, and do not send this field. raas takes their distributions for
    /// private, and those with `null`.
    #[serde(default = "yes", deserialize_with = "null_as_yes")]
    pub(super) private: bool,
}

fn yes() -> bool {
    true
}

fn null_as_yes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(true))
}

/// The path of the status, which is the same with and without domains.
const STATUS: &str = "/pulp/api/v3/status/";

impl Api {
    /// The API of the server; `None` if the server has no such API.
    ///
    /// # Errors
    /// The server does not answer, has no plugin for containers, or the domain does not fit.
    pub(super) fn open(settings: &PulpSettings, access: RemoteOptions) -> Result<Option<Self>, Failure> {
        let host = settings.host();
        let connection = Connection::new(host, false, &api_name(), access)?;
        let Some(status) = status(&connection)? else { return Ok(None) };
        if !status.versions.iter().any(|version| version.component == "container") {
            let message = format!("the Pulp server {host} has no plugin for containers");
            return Err(Failure::new(Kind::Environment, message).hint("install pulp-container on it"));
        }
        let domain = match (status.domain_enabled, &settings.domain) {
            (true, Some(domain)) => Some(domain.clone()),
            (true, None) => Some("default".to_owned()),
            (false, None) => None,
            (false, Some(domain)) => {
                let message = format!(
                    "the Pulp server {host} has no domains, and [pulpserver] names the domain `{domain}`"
                );
                return Err(Failure::new(Kind::Usage, message).hint("remove `domain` from [pulpserver]"));
            }
        };
        let root = match &domain {
            Some(domain) => format!("/pulp/{}/api/v3/", escaped(domain)),
            None => "/pulp/api/v3/".to_owned(),
        };
        Ok(Some(Self { connection, root, domain }))
    }

    pub(super) fn host(&self) -> &str {
        self.connection.host()
    }

    /// The domain, if the server has domains.
    pub(super) fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// The path of a collection of resources.
    pub(super) fn path(&self, resource: &str) -> String {
        format!("{}{resource}", self.root)
    }

    /// Whether Pulp has a worker online. Without a worker no task begins.
    pub(super) fn has_worker(&self) -> Result<bool, RegistryError> {
        let status = status(&self.connection)?;
        Ok(status.is_none_or(|status| !status.online_workers.is_empty()))
    }

    /// The first of these base paths that has a distribution.
    pub(super) fn first_distribution(
        &self,
        base_paths: &[RepositoryName],
    ) -> Result<Option<(RepositoryName, Distribution)>, RegistryError> {
        for base_path in base_paths {
            let found = self.distributions(&format!("base_path={}", escaped(base_path.as_str())))?;
            if let Some(found) = found.into_iter().find(|found| found.base_path == base_path.as_str()) {
                return Ok(Some((base_path.clone(), found)));
            }
        }
        Ok(None)
    }

    pub(super) fn distributions(&self, query: &str) -> Result<Vec<Distribution>, RegistryError> {
        let what = format!("the list of distributions of the Pulp server {}", self.host());
        let path = format!("{}?{query}", self.path("distributions/container/container/"));
        let request = Request::get(&path, JSON, &what);
        let page = self.connection.read(&request, MAX_ANSWER)?.ok_or_else(|| {
            let hint = match &self.domain {
                Some(domain) => format!(": perhaps it has no domain `{domain}`"),
                None => String::new(),
            };
            RegistryError::NotFound { what: what.clone(), said: hint }
        })?;
        Ok(parsed::<Page<Distribution>>(&page, &what)?.results)
    }

    /// Reads a resource. `href` is its path, as Pulp names it.
    pub(super) fn get<T: DeserializeOwned>(&self, href: &str, what: &str) -> Result<T, RegistryError> {
        let request = Request::get(checked(href, what)?, JSON, what);
        let document = self.connection.read(&request, MAX_ANSWER)?;
        let missing = || RegistryError::NotFound { what: what.to_owned(), said: String::new() };
        parsed(&document.ok_or_else(missing)?, what)
    }

    /// Makes or changes a resource.
    pub(super) fn send<T: DeserializeOwned>(
        &self,
        method: &Method,
        href: &str,
        json: &Value,
        what: &str,
    ) -> Result<T, RegistryError> {
        let bytes = json.to_string().into_bytes();
        let request = Request::json(method, checked(href, what)?, &bytes, what);
        let repeat = if method == Method::POST { Repeat::Unsafe } else { Repeat::Safe };
        parsed(&self.connection.change(&request, repeat)?, what)
    }

    /// Removes a resource, and does not wait until it is gone.
    pub(super) fn delete(&self, href: &str, what: &str) -> Result<(), RegistryError> {
        let request = Request { method: &Method::DELETE, ..Request::get(checked(href, what)?, JSON, what) };
        self.connection.change(&request, Repeat::Safe).map(drop)
    }
}

/// The name that a connection to a REST API has instead of a repository's. The REST APIs ask for no tokens, so no
/// server sees it.
pub(super) fn api_name() -> RepositoryName {
    "pulp".parse().expect("it is a name")
}

fn status(connection: &Connection) -> Result<Option<Status>, RegistryError> {
    let what = format!("the status of the Pulp server {}", connection.host());
    let found = connection.read(&Request::get(STATUS, JSON, &what), MAX_ANSWER)?;
    found.map(|found| parsed(&found, &what)).transpose()
}

/// A path that the server has sent. It must be a path: the login goes with it.
fn checked<'a>(href: &'a str, what: &str) -> Result<&'a str, RegistryError> {
    let is_path =
        href.starts_with('/') && !href.starts_with("//") && href.bytes().all(|b| b.is_ascii_graphic());
    is_path.then_some(href).ok_or_else(|| RegistryError::Content {
        what: what.to_owned(),
        why: "the server names a resource by something else than a path".into(),
    })
}

/// Reads an answer.
pub(super) fn parsed<T: DeserializeOwned>(document: &Document, what: &str) -> Result<T, RegistryError> {
    serde_json::from_slice(&document.bytes).map_err(|_| RegistryError::Content {
        what: what.to_owned(),
        why: "it is not the JSON that Pulp sends".into(),
    })
}
