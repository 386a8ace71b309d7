//! An export that Pulp 3 makes on request, read from a folder that both machines see.

use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use raas_base::Say;
use raas_base::failure::{Failure, Kind};
use raas_base::interrupt::CleanUp;
use raas_http::http::Method;
use serde::Deserialize;
use serde_json::json;

use super::PulpSettings;
use super::api::{Api, Distribution};
use super::task::{self, TaskStarted, follow};
use crate::registry::RegistryError;

/// The files of an export. Dropping this value removes the files and the exporter.
#[derive(Debug)]
pub struct Export {
    /// The table of contents.
    pub file: PathBuf,
    /// The name of the repository in the export.
    pub repository: String,
    /// Whether only some users may pull it.
    pub private: bool,
    exporter: Exporter,
}

impl Export {
    /// The server, for messages.
    pub fn host(&self) -> &str {
        self.exporter.api.host()
    }
}

/// An exporter of this run alone, so that two runs do not disturb each other.
struct Exporter {
    api: Arc<Api>,
    href: String,
    /// The folder of its files, as this machine sees it.
    folder: PathBuf,
    say: Say,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").field("href", &self.href).field("folder", &self.folder).finish()
    }
}

#[derive(Deserialize)]
struct Resource {
    pulp_href: String,
}

#[derive(Deserialize)]
struct Repository {
    name: String,
}

#[derive(Deserialize)]
struct Made {
    #[serde(default)]
    toc_info: Option<TocInfo>,
}

#[derive(Deserialize)]
struct TocInfo {
    file: String,
}

impl Export {
    pub(super) fn make(
        api: Arc<Api>,
        settings: &PulpSettings,
        name: &str,
        distribution: &Distribution,
        private: bool,
        say: Say,
    ) -> Result<Self, Failure> {
        let Some(path) = &settings.export_path else {
            return Err(Failure::new(Kind::Usage, "--via export needs `export_path` in [pulpserver]").hint(
                "set `export_path` to a folder of the server's ALLOWED_EXPORT_PATHS that this machine sees too, \
                 or leave --via out",
            ));
        };
        if distribution.remote.is_some() {
            let message = format!(
                "the distribution {} passes on what another registry has, and Pulp exports repositories only",
                distribution.base_path
            );
            return Err(Failure::new(Kind::Refused, message).hint("leave --via out"));
        }
        let what = format!("the export of {}", distribution.base_path);
        // A task without a worker waits for ever.
        if !api.has_worker()? {
            return Err(task::no_worker(&api, &what, " cannot begin"));
        }
        let version = distribution.repository_version.as_deref();
        let of_version =
            version.and_then(|version| Some(format!("{}/", version.split_once("/versions/")?.0)));
        let repository = distribution.repository.clone().or(of_version).unwrap_or_default();
        // A user may see the distribution of a repository without the right to see the repository.
        let named: Repository = api
            .get(&repository, "the repository of the distribution")
            .map_err(|error| refused(error, path))?;
        // The folder is this run's alone, so it can be removed as a whole.
        let own = format!("{name}-{:016x}", fastrand::u64(..));
        let server_folder = format!("{}/{own}", path.trim_end_matches('/'));
        let mount = settings.export_mount.clone().unwrap_or_else(|| PathBuf::from(path));
        let body = json!({"name": own, "path": server_folder, "repositories": [repository]});
        let exporters = api.path("exporters/core/pulp/");
        let exporter: Resource = api
            .send(&Method::POST, &exporters, &body, "a new exporter")
            .map_err(|error| refused(error, path))?;
        let folder = mount.join(&own);
        let exporter = Exporter { api: api.clone(), href: exporter.pulp_href, folder, say: say.clone() };
        let body = match version {
            Some(version) => json!({"full": true, "versions": [version]}),
            None => json!({"full": true}),
        };
        let begun: TaskStarted = api
            .send(&Method::POST, &format!("{}exports/", exporter.href), &body, &what)
            .map_err(|error| refused(error, path))?;
        say.line(&format!("Pulp exports {}", distribution.base_path));
        let (canceler, href, own) = (api.clone(), begun.task.clone(), exporter.href.clone());
        let interrupted = CleanUp::new(move || {
            let canceled = task::cancel(&canceler, &href);
            let removed = canceler.delete(&own, "the exporter of this run");
            canceled.and(removed).ok().map(|()| "the export at the Pulp server is canceled".into())
        });
        let done = follow(&api, &begun.task, &what, &say)?;
        drop(interrupted);
        let made = done.created_resources.into_iter().flatten().next();
        let made = made.ok_or_else(|| RegistryError::Content {
            what: what.clone(),
            why: "its task has ended, and names no export that it made".into(),
        })?;
        let made: Made = api.get(&made, &what)?;
        let toc = made.toc_info.map(|toc| toc.file).unwrap_or_default();
        let file = seen(&toc, &server_folder, &exporter.folder).ok_or_else(|| RegistryError::Content {
            what,
            why: "its table of contents is not in the folder of the exporter".into(),
        })?;
        if let Err(error) = fs::File::open(&file) {
            let message = format!("cannot read {}, which the Pulp server has written", file.display());
            return Err(Failure::new(Kind::Environment, message).caused_by(error).hint(
                "mount the server's export folder on this machine and set `export_mount` to it, or leave --via out",
            ));
        }
        Ok(Self { file, repository: named.name, private, exporter })
    }
}

/// Where this machine sees a file of the server. The name comes from the server, and must not lead out of the folder.
fn seen(file: &str, server_folder: &str, folder: &Path) -> Option<PathBuf> {
    let rest = Path::new(file.strip_prefix(server_folder)?.strip_prefix('/')?);
    rest.components().all(|part| matches!(part, Component::Normal(_))).then(|| folder.join(rest))
}

/// The failure for a step of an export that Pulp does not do.
fn refused(error: RegistryError, path: &str) -> Failure {
    let hint = match &error {
        RegistryError::LoginRejected { .. } => {
            "give the user of [pulpserver] the right to export (the role `core.pulpexporter_creator`, and \
             `container.containerrepository_owner`), or leave --via out"
                .to_owned()
        }
        RegistryError::Status { status: 400, .. } => format!(
            "add {path} to ALLOWED_EXPORT_PATHS of the server, or correct `export_path` in [pulpserver]"
        ),
        other => other.hint(),
    };
    Failure::new(Kind::Environment, error.to_string()).hint(hint)
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if self.api.delete(&self.href, "the exporter of this run").is_err() {
            self.say.line(&format!(
                "Note: the Pulp server {} keeps the exporter {}",
                self.api.host(),
                self.href
            ));
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                self.say
                    .line(&format!("Note: the files in {} are not removed: {error}", self.folder.display()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_server_is_seen_below_the_own_folder_only() {
        let seen = |file: &str| seen(file, "/srv/x/raas-1", Path::new("/mnt/raas-1"));
        assert_eq!(seen("/srv/x/raas-1/a-toc.json"), Some("/mnt/raas-1/a-toc.json".into()));
        for file in ["/srv/x/raas-12/a", "/srv/x/raas-1/../a", "/etc/passwd", "/srv/x/raas-1//etc/passwd", ""]
        {
            assert_eq!(seen(file), None, "{file}");
        }
    }
}
