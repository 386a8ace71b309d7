//! An export of Pulp 2, which the server's web server serves as a tar.

use std::io::Read;
use std::sync::Arc;

use raas_base::failure::{Failure, Kind};
use raas_http::Response;
use raas_http::http::Method;
use serde_json::{Value, json};

use super::{EXPORT, Pulp2Repository};
use crate::pulp::PulpSettings;
use crate::pulp::api::api_name;
use crate::registry::{Connection, LoginSource, Patience, RegistryError, RemoteOptions, Request, Transport};
use crate::registry_error::legible;

/// Where exports go on the server, and where its web server has them.
///
/// Source: the `Alias` of pulp_docker 0.2 and 1.0, whose folder and URL are the defaults. From 2.0 on, the folder is
/// `/var/www/pub/docker/v1/web` and the path `/pulp/docker/v1`.
#[derive(Debug, Clone)]
pub struct ExportPlaces {
    /// The folder on the server.
    pub folder: String,
    /// The URL of the folder, without a slash at the end.
    pub url: String,
    /// Whether the server is asked without TLS.
    plain: bool,
}

/// A tar of Docker v1 images that the server sends.
pub struct Pulp2Export {
    /// Its URL, for messages.
    pub name: String,
    /// Its bytes.
    pub stream: Box<dyn Read + Send>,
    /// Its length, if the server says it.
    pub length: Option<u64>,
}

impl ExportPlaces {
    pub(super) fn of(settings: &PulpSettings) -> Self {
        let folder = settings.export_path.as_deref().unwrap_or("/var/www/pub/docker/web");
        let url = settings.export_url.clone().unwrap_or_else(|| format!("{}/pulp/docker", settings.url));
        let plain = settings.url.starts_with("http://");
        Self { folder: folder.trim_end_matches('/').to_owned(), url, plain }
    }
}

impl Pulp2Repository {
    /// Lets the server export the repository, and begins to read the tar. `patience` bounds the waiting for another host
    /// that serves it.
    ///
    /// # Errors
    /// The server does not export it, or does not serve the file.
    pub fn export(&self, patience: Patience) -> Result<Pulp2Export, Failure> {
        let distributor = self.distributor(EXPORT)?;
        if let Some(url) = distributor.config.get("redirect-url").and_then(Value::as_str) {
            let url = legible(&raas_base::redact::url(url));
            self.server.say.line(&format!("The documents of {} redirect to {url}", self.id));
        }
        let places = &self.server.places;
        let file = format!("{}/{}.tar", places.folder, self.id);
        let what = format!("the export of {}", self.id);
        let served = Served::at(places, self, patience)?;
        let before = served.version()?;
        self.publish(&distributor.id, json!({"export_file": file}), &what)?;
        served.download(&file, before.as_deref())
    }
}

/// The file where the server's web server has an export.
struct Served<'a> {
    repository: &'a Pulp2Repository,
    connection: Arc<Connection>,
    url: String,
    path: String,
}

impl<'a> Served<'a> {
    fn at(
        places: &ExportPlaces,
        repository: &'a Pulp2Repository,
        patience: Patience,
    ) -> Result<Self, RegistryError> {
        let server = &repository.server;
        let url = format!("{}/{}.tar", places.url, repository.id);
        let (host, path) = url.split_once("://").map_or((url.as_str(), ""), |(_, rest)| {
            rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash))
        });
        let is_plain = url.starts_with("http://");
        let connection = if host == server.host() && is_plain == places.plain {
            server.connection.clone()
        } else {
            // Another host gets no login.
            let options = RemoteOptions {
                transport: if is_plain { Transport::Plain } else { Transport::Tls },
                login: LoginSource::None("let that web server serve the exports to everybody".into()),
                patience,
                say: server.say.clone(),
                ..RemoteOptions::default()
            };
            Arc::new(Connection::new(host, false, &api_name(), options)?)
        };
        let path = path.to_owned();
        Ok(Self { repository, connection, url, path })
    }

    /// The version of the file, if the server says one: it differs from that of a file of another export.
    fn version(&self) -> Result<Option<String>, RegistryError> {
        let request = Request { method: &Method::HEAD, ..Request::get(&self.path, "*/*", &self.url) };
        Ok(self.connection.stream(&request)?.as_ref().and_then(version_of))
    }

    /// Begins to read the file. `before` is the version of the file before the export.
    fn download(&self, file: &str, before: Option<&str>) -> Result<Pulp2Export, Failure> {
        const HINT: &str = "set `export_path` in [pulpserver] to a folder that the server's httpd serves, and `export_url` to \
                            its URL; from pulp_docker 2.0 on: /var/www/pub/docker/v1/web and https://HOST/pulp/docker/v1";
        let id = &self.repository.id;
        let url = &self.url;
        let request = Request::get(&self.path, "*/*", url);
        let Some(answer) = self.connection.stream(&request)? else {
            let message = format!("Pulp has exported {id} into {file}, and {url} is not there");
            return Err(Failure::new(Kind::Environment, message).hint(HINT));
        };
        if before.is_some() && before == version_of(&answer).as_deref() {
            let message = format!(
                "Pulp has exported {id} into {file}, and {url} is still the file of an earlier export"
            );
            return Err(Failure::new(Kind::Environment, message).hint(HINT));
        }
        let length = answer.content_length();
        Ok(Pulp2Export { name: url.clone(), stream: Box::new(answer.into_body()), length })
    }
}

fn version_of(answer: &Response) -> Option<String> {
    let header = |name: &str| answer.header(name).map(str::to_owned);
    header("etag").or_else(|| header("last-modified"))
}

impl std::fmt::Debug for Pulp2Export {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pulp2Export").field("name", &self.name).field("length", &self.length).finish()
    }
}
