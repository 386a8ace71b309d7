//! Exporters, exports and tasks of a Pulp 3 server.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::json_reply;
use crate::http::{Asked, Reply};

/// How the server exports, and what was asked of it.
#[derive(Debug, Default)]
pub struct Exports {
    /// The folder of ALLOWED_EXPORT_PATHS.
    pub allowed: PathBuf,
    /// The files that an export writes; the table of contents is the one that ends with `-toc.json`.
    pub files: Vec<PathBuf>,
    /// The name of the repository.
    pub repository: String,
    /// Whether no worker is there.
    pub without_worker: bool,
    /// Whether the workers leave as soon as an export is asked for.
    pub workers_leave: bool,
    /// The words with which exports fail.
    pub failure: Option<String>,
    /// Whether tasks end well and name nothing that they made.
    pub names_nothing: bool,
    /// Whether the user may not see the repository.
    pub hidden: bool,
    /// Whether the user may not export.
    pub forbidden: bool,
    /// The requests that changed something, with their bodies.
    pub log: Vec<(String, Value)>,
    exporter: Option<(String, PathBuf)>,
    polls: usize,
    state: String,
}

const TASK: &str = "tasks/01a22320-965c-7b51-851a-5ac4721a1bff/";
const EXPORTER: &str = "exporters/core/pulp/01a22320-63a0-777f-8f45-659bafa4b55d/";
const EXPORT: &str =
    "exporters/core/pulp/01a22320-63a0-777f-8f45-659bafa4b55d/exports/01a22320-9998-76fb-a08a-2ca084f1574e/";

impl Exports {
    pub(super) fn workers(&self) -> Value {
        if self.without_worker {
            json!([])
        } else {
            json!([{"name": "1@x", "last_heartbeat": "2026-11-28T17:00:00Z"}])
        }
    }

    pub(super) fn answer(&mut self, root: &str, resource: &str, asked: &Asked) -> Reply {
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        if asked.method != "GET" {
            self.log.push((format!("{} {resource}", asked.method), body.clone()));
        }
        let forbidden =
            || json_reply(403, &json!({"detail": "You do not have permission to perform this action."}));
        match (asked.method.as_str(), resource) {
            ("GET", "repositories/container/container/01a2231a/") if self.hidden => forbidden(),
            ("GET", "repositories/container/container/01a2231a/") => {
                json_reply(200, &json!({"name": self.repository, "pulp_href": format!("{root}{resource}")}))
            }
            ("POST", "exporters/core/pulp/") if self.forbidden => forbidden(),
            ("POST", "exporters/core/pulp/") => self.make(root, &body),
            ("POST", _) if resource == format!("{EXPORTER}exports/") => {
                self.write();
                (self.polls, self.state) = (0, "waiting".into());
                self.without_worker |= self.workers_leave;
                json_reply(202, &json!({"task": format!("{root}{TASK}")}))
            }
            ("GET", TASK) => self.task(root),
            ("PATCH", TASK) => {
                self.state = "canceling".into();
                self.task(root)
            }
            ("GET", EXPORT) => self.export(),
            ("DELETE", EXPORTER) => json_reply(202, &json!({"task": format!("{root}{TASK}")})),
            _ => json_reply(404, &json!({"detail": "Not found."})),
        }
    }

    fn make(&mut self, root: &str, body: &Value) -> Reply {
        let path = body["path"].as_str().unwrap_or_default();
        if !Path::new(path).starts_with(&self.allowed) {
            return json_reply(
                400,
                &json!({"path": [format!("Path '{path}' is not an allowed export path")]}),
            );
        }
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        self.exporter = Some((name, path.into()));
        json_reply(201, &json!({"pulp_href": format!("{root}{EXPORTER}"), "path": path, "last_export": null}))
    }

    fn write(&self) {
        let Some((_, folder)) = self.exporter.as_ref().filter(|_| self.failure.is_none()) else { return };
        fs::create_dir_all(folder).expect("the folder of exports is there");
        for file in &self.files {
            let name = file.file_name().expect("a file has a name");
            fs::copy(file, folder.join(name)).expect("a file can be copied");
        }
    }

    fn task(&mut self, root: &str) -> Reply {
        self.polls += 1;
        let state = match (self.state.as_str(), self.polls) {
            ("canceling", _) => "canceling",
            _ if self.without_worker => "waiting",
            (_, 1) => "waiting",
            (_, 2) => "running",
            _ if self.failure.is_some() => "failed",
            _ => "completed",
        };
        let error = self.failure.as_ref().filter(|_| state == "failed");
        let error = error.map(|words| json!({"traceback": "  File …", "description": words}));
        let reports = json!([{
            "message": "Exporting Artifacts", "code": "export.artifacts", "state": "running", "total": 4, "done": 3,
            "suffix": null,
        }]);
        let has_made = state == "completed" && !self.names_nothing;
        let created = if has_made { json!([format!("{root}{EXPORT}")]) } else { json!([]) };
        json_reply(
            200,
            &json!({
                "pulp_href": format!("{root}{TASK}"), "state": state, "error": error,
                "progress_reports": if state == "running" { reports } else { json!([]) },
                "created_resources": created,
            }),
        )
    }

    fn export(&self) -> Reply {
        let folder = self.exporter.as_ref().map(|(_, folder)| folder.clone()).unwrap_or_default();
        let name = |file: &PathBuf| Some(folder.join(file.file_name()?));
        let toc =
            self.files.iter().filter_map(name).find(|file| file.to_string_lossy().ends_with("-toc.json"));
        let files: Vec<PathBuf> = self.files.iter().filter_map(name).collect();
        let info: serde_json::Map<String, Value> =
            files.iter().map(|file| (file.display().to_string(), json!("0"))).collect();
        json_reply(
            200,
            &json!({"output_file_info": info, "toc_info": {"file": toc, "meta": {}, "sha256": "0"}}),
        )
    }
}
