//! Pulp servers: which repository of a Pulp server an image is, and how Pulp's registry is asked for it.

use std::sync::Arc;

use raas_base::failure::{Failure, Kind};
use raas_base::{Say, Secret};
use raas_http::ClientIdentity;
use raas_types::{RepositoryName, VendorName};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::registry::{
    Connection, Login, LoginSource, Patience, RegistryAddress, RegistryError, RemoteOptions, Request,
    Transport, escaped,
};

/// `[pulpserver]`: a Pulp server.
#[derive(Debug, Clone, Default)]
pub struct PulpSettings {
    /// The server: `http://` or `https://`, host and port.
    pub url: String,
    /// The user name and the password.
    pub login: Option<(String, Secret)>,
    /// The certificate to show in place of a password.
    pub identity: Option<Arc<ClientIdentity>>,
    /// Whether to take any certificate of the server.
    pub any_certificate: bool,
    /// The domain, for a server with domains; `default` without it.
    pub domain: Option<String>,
    /// The base paths under which an image may be, the first that exists counts. `{isv}` and `{image}` stand for the names.
    pub base_paths: Vec<String>,
    /// Whether Katello, Satellite or Foreman stands before Pulp. Its REST API is not asked.
    pub katello: bool,
}

/// The base paths of an image without a setting.
pub const DEFAULT_BASE_PATHS: [&str; 2] = ["{isv}/{image}", "{isv}-{image}"];

/// A repository of a Pulp server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulpRepository {
    /// Where Pulp's registry has it.
    pub address: RegistryAddress,
    /// The base path of its distribution.
    pub base_path: RepositoryName,
    /// Whether only some users may pull it.
    pub private: bool,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// The longest answer of the REST API that is read.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// The most base paths that an error lists.
const MOST_LISTED: usize = 10;

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    versions: Vec<Component>,
    #[serde(default)]
    domain_enabled: bool,
}

#[derive(Deserialize)]
struct Component {
    component: String,
}

#[derive(Deserialize)]
struct Page<T> {
    results: Vec<T>,
}

#[derive(Deserialize)]
struct Distribution {
    base_path: String,
    #[serde(default)]
    repository: Option<String>,
    #[serde(default)]
    repository_version: Option<String>,
    #[serde(default)]
    remote: Option<String>,
    /// Old releases do not know private distributions. Whoever has none of them is told nothing, so all are taken for
    /// private.
    #[serde(default = "yes")]
    private: bool,
}

fn yes() -> bool {
    true
}

impl PulpSettings {
    /// How Pulp's registry and its REST API are asked.
    pub fn access(&self, say: Say, patience: Patience) -> RemoteOptions {
        const ADVICE: &str = "set or correct `username` and `password` in [pulpserver]";
        let login = match &self.login {
            Some((name, password)) => LoginSource::Given(
                Login::Password { name: name.clone(), password: password.clone() },
                ADVICE.into(),
            ),
            None => LoginSource::None(ADVICE.into()),
        };
        RemoteOptions {
            transport: if self.url.starts_with("http://") { Transport::Plain } else { Transport::Tls },
            any_certificate: self.any_certificate,
            identity: self.identity.clone(),
            login,
            patience,
            say,
            ..RemoteOptions::default()
        }
    }

    /// Finds the repository of an image.
    ///
    /// # Errors
    /// The server does not answer, is no Pulp 3, or has no such repository.
    pub fn find(
        &self,
        vendor: &VendorName,
        image: &RepositoryName,
        access: RemoteOptions,
    ) -> Result<PulpRepository, Failure> {
        let base_paths = self.base_paths(vendor, image)?;
        if self.katello {
            return self.behind_katello(&base_paths);
        }
        let api = Api::open(self, access)?;
        let domain = api.domain.clone();
        for base_path in &base_paths {
            let found = api.distributions(&format!("base_path={}", escaped(base_path.as_str())))?;
            let exact = found.into_iter().find(|found| found.base_path == base_path.as_str());
            if let Some(distribution) = exact {
                return self.repository(base_path, domain.as_deref(), &distribution);
            }
        }
        Err(self.none(&api, &base_paths, image)?)
    }

    fn base_paths(
        &self,
        vendor: &VendorName,
        image: &RepositoryName,
    ) -> Result<Vec<RepositoryName>, Failure> {
        let defaults = || DEFAULT_BASE_PATHS.map(str::to_owned).to_vec();
        let patterns = if self.base_paths.is_empty() { defaults() } else { self.base_paths.clone() };
        let of = |pattern: &String| {
            let text = pattern.replace("{isv}", vendor.as_str()).replace("{image}", image.as_str());
            text.parse::<RepositoryName>().map_err(|error| {
                Failure::new(Kind::Usage, format!("`base_path` of [pulpserver] makes no name: {error}"))
            })
        };
        patterns.iter().map(of).collect()
    }

    fn host(&self) -> &str {
        self.url.split_once("://").map_or(self.url.as_str(), |(_, host)| host)
    }

    fn address(&self, domain: Option<&str>, base_path: &RepositoryName) -> Result<RegistryAddress, Failure> {
        let text = match domain {
            Some(domain) => format!("{domain}/{base_path}"),
            None => base_path.to_string(),
        };
        let name = text.parse().map_err(|error| {
            Failure::new(Kind::Refused, format!("the domain of the Pulp server makes no name: {error}"))
        })?;
        Ok(RegistryAddress { host: self.host().to_owned(), name, tag: None, digest: None })
    }

    fn repository(
        &self,
        base_path: &RepositoryName,
        domain: Option<&str>,
        distribution: &Distribution,
    ) -> Result<PulpRepository, Failure> {
        let Distribution { repository, repository_version, remote, private, .. } = distribution;
        let mut notes = Vec::new();
        if remote.is_some() {
            notes.push(format!(
                "the distribution {base_path} passes on what another registry has: only the tags that Pulp lists are published"
            ));
        } else if repository.is_none() && repository_version.is_none() {
            let message =
                format!("the distribution {base_path} of the Pulp server {} has no repository", self.host());
            return Err(Failure::new(Kind::Refused, message).hint(
                "give it a repository: `pulp container distribution update --name NAME --repository NAME`",
            ));
        }
        let address = self.address(domain, base_path)?;
        Ok(PulpRepository { address, base_path: base_path.clone(), private: *private, notes })
    }

    /// Katello keeps Pulp's REST API to itself, so nothing tells whether a repository is private: it is taken for private.
    fn behind_katello(&self, base_paths: &[RepositoryName]) -> Result<PulpRepository, Failure> {
        let [base_path] = base_paths else {
            return Err(Failure::new(Kind::Usage, "`katello` of [pulpserver] needs one `base_path`")
                .hint("set `base_path` to the names of your Katello, such as `myorg-{isv}-{image}`"));
        };
        let notes =
            vec!["Katello does not tell whether a repository is private: raas takes it for private".into()];
        let address = self.address(None, base_path)?;
        Ok(PulpRepository { address, base_path: base_path.clone(), private: true, notes })
    }

    fn none(
        &self,
        api: &Api,
        base_paths: &[RepositoryName],
        image: &RepositoryName,
    ) -> Result<Failure, RegistryError> {
        let names: Vec<String> = base_paths.iter().map(|path| format!("`{path}`")).collect();
        let message = format!(
            "the Pulp server {} has no distribution with the base path {}, or does not show it to this user",
            self.host(),
            names.join(" or ")
        );
        let last = image.parts().last().unwrap_or_default();
        let query = format!("base_path__contains={}&limit={MOST_LISTED}", escaped(last));
        // Old releases do not know this filter, and the error is the same without it.
        let similar = api.distributions(&query).unwrap_or_default();
        let similar: Vec<&str> =
            similar.iter().take(MOST_LISTED).map(|found| found.base_path.as_str()).collect();
        let failure = Failure::new(Kind::Refused, message);
        Ok(match similar.as_slice() {
            [] => failure.hint(
                "look with `pulp container distribution list`, and set `base_path` in [pulpserver] to the names of your server",
            ),
            similar => {
                let similar: String = similar.join(", ").chars().filter(|c| !c.is_control()).take(1000).collect();
                failure.hint(format!("set `base_path` in [pulpserver] to your names; the server has {similar}"))
            }
        })
    }
}

/// The REST API of a Pulp 3.
struct Api {
    connection: Connection,
    /// The path before the resources.
    root: String,
    /// The domain, if the server has domains.
    domain: Option<String>,
}

impl Api {
    fn open(settings: &PulpSettings, access: RemoteOptions) -> Result<Self, Failure> {
        let host = settings.host();
        let connection = Connection::new(host, false, "pulp", access)?;
        let what = format!("the status of the Pulp server {host}");
        let status =
            connection.read(&Request::get("/pulp/api/v3/status/", "application/json", &what), MAX_ANSWER)?;
        let Some(status) = status else {
            return Err(Failure::new(
                Kind::Environment,
                format!("{host} is no Pulp 3 server: it has no /pulp/api/v3/status/"),
            )
            .hint("correct `host` in [pulpserver]"));
        };
        let status: Status = parsed(&status.bytes, &what)?;
        if !status.versions.iter().any(|version| version.component == "container") {
            return Err(Failure::new(
                Kind::Environment,
                format!("the Pulp server {host} has no plugin for containers"),
            )
            .hint("install pulp-container on it"));
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
        Ok(Self { connection, root, domain })
    }

    fn distributions(&self, query: &str) -> Result<Vec<Distribution>, RegistryError> {
        let what = format!("the list of distributions of the Pulp server {}", self.connection.host());
        let path = format!("{}distributions/container/container/?{query}", self.root);
        let request = Request::get(&path, "application/json", &what);
        let page = self.connection.read(&request, MAX_ANSWER)?.ok_or_else(|| {
            let hint = match &self.domain {
                Some(domain) => format!(": perhaps it has no domain `{domain}`"),
                None => String::new(),
            };
            RegistryError::NotFound { what: what.clone(), said: hint }
        })?;
        Ok(parsed::<Page<Distribution>>(&page.bytes, &what)?.results)
    }
}

fn parsed<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|_| RegistryError::Content {
        what: what.to_owned(),
        why: "it is not the JSON that Pulp sends".into(),
    })
}
