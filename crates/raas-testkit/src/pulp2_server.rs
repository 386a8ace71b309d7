//! A Pulp 2 server that speaks as much of its REST API as raas uses: repositories, publish, tasks, uploads. The answers have
//! the form of Pulp 2.21 with pulp_docker 3.2.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::{Asked, Reply, Server};

/// The user of the server, with the password `pw`.
pub const USER: &str = "admin";

/// The folder that the server's httpd serves below `/pulp/docker/`.
pub const SERVED: &str = "/var/www/pub/docker/web/";

/// A server on a free port of this machine. It ends when it is dropped.
pub struct Pulp2Server {
    server: Server,
    state: Arc<Mutex<State>>,
}

/// What the server is like, and what was done to it.
#[derive(Debug, Default)]
pub struct State {
    /// The tar that an export writes, for each repository. A repository without an entry is not there.
    pub exports: BTreeMap<String, Vec<u8>>,
    /// The types of the distributors that repositories lack.
    pub without_distributors: Vec<String>,
    /// Whether a worker is there.
    pub has_worker: bool,
    /// The words with which tasks fail.
    pub failure: Option<String>,
    /// The types of repositories, where they are not of docker.
    pub types: BTreeMap<String, String>,
    /// The files that exports have written, by their paths, each with the number of its export.
    pub files: BTreeMap<String, (usize, Vec<u8>)>,
    /// What was uploaded, by the id of the upload.
    pub uploads: BTreeMap<String, Vec<u8>>,
    /// Requests to import, with the bytes of their uploads.
    pub imports: Vec<(Value, Vec<u8>)>,
    /// The bodies of requests to publish.
    pub published: Vec<Value>,
    /// The bodies of requests for new repositories.
    pub made: Vec<Value>,
    /// The requests, as `GET /pulp/…`.
    pub log: Vec<String>,
    /// The answers that each task has given.
    tasks: BTreeMap<String, usize>,
    /// The canceled tasks.
    pub canceled: Vec<String>,
}

impl Pulp2Server {
    /// A server with these repositories, by their ids, and the tars that their exports give.
    pub fn new(exports: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let exports = exports.into_iter().collect();
        let state = Arc::new(Mutex::new(State { exports, has_worker: true, ..State::default() }));
        let shared = state.clone();
        Self { server: Server::scripted(move |asked| locked(&shared).answer(asked)), state }
    }

    /// What the server is like, to be looked at or changed.
    pub fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// `[pulpserver]` for this server.
    pub fn section(&self) -> String {
        format!("[pulpserver]\nhost = http://{}\nusername = {USER}\npassword = pw\n", self.server.address())
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Reply {
        self.log.push(format!("{} {}", asked.method, asked.target));
        let path = asked.target.split('?').next().unwrap_or_default().to_owned();
        if let Some(name) = path.strip_prefix("/pulp/docker/") {
            return match self.files.get(&format!("{SERVED}{name}")) {
                Some((number, tar)) => Reply::new(200, tar.clone())
                    .with("Content-Type", "application/x-tar")
                    .with("ETag", format!("\"{number}\"")),
                None => Reply::new(404, "<html>Not Found</html>").with("Content-Type", "text/html"),
            };
        }
        let Some(resource) = path.strip_prefix("/pulp/api/v2/") else {
            return Reply::new(404, "<html>Not Found</html>").with("Content-Type", "text/html");
        };
        if resource == "status/" {
            let names: &[&str] = match self.has_worker {
                true => &["resource_manager@x", "reserved_resource_worker-0@x"],
                false => &["resource_manager@x"],
            };
            let workers: Vec<Value> = names
                .iter()
                .map(|name| json!({"_id": name, "_ns": "workers", "last_heartbeat": "…"}))
                .collect();
            return reply(200, &json!({"known_workers": workers, "api_version": "2"}));
        }
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:pw")));
        if asked.headers.get("authorization") != Some(&basic) {
            // Pulp 2 says nothing about the kind of login.
            return failure(401, "PLP0024", "Authentication with username and password failed");
        }
        let parts: Vec<&str> = resource.trim_end_matches('/').split('/').collect();
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["repositories", id]) => self.repository(id),
            ("POST", ["repositories"]) => self.make(body),
            ("POST", ["repositories", id, "actions", "publish"]) => self.publish(id, body),
            ("POST", ["repositories", _, "actions", "import_upload"]) => {
                let id = body["upload_id"].as_str().unwrap_or_default();
                let bytes = self.uploads.get(id).cloned().unwrap_or_default();
                self.imports.push((body, bytes));
                self.begin()
            }
            ("GET", ["tasks", id]) => self.task(id),
            ("DELETE", ["tasks", id]) => {
                self.canceled.push((*id).to_owned());
                reply(200, &Value::Null)
            }
            ("POST", ["content", "uploads"]) => {
                let id = format!("upload-{}", self.uploads.len());
                self.uploads.insert(id.clone(), Vec::new());
                reply(201, &json!({"upload_id": id, "_href": format!("/pulp/api/v2/content/uploads/{id}/")}))
            }
            ("PUT", ["content", "uploads", id, offset]) => self.take(id, offset, &asked.body),
            ("DELETE", ["content", "uploads", id]) => {
                self.uploads.remove(*id);
                reply(200, &Value::Null)
            }
            _ => failure(404, "PLP0009", "Missing resource(s)"),
        }
    }

    fn repository(&self, id: &str) -> Reply {
        if !self.exports.contains_key(id) {
            return failure(404, "PLP0009", &format!("Missing resource(s): repo_id={id}"));
        }
        let kinds = [
            ("docker_distributor_web", "docker_web_distributor_name_cli"),
            ("docker_distributor_export", "docker_export_distributor_name_cli"),
        ];
        let distributors: Vec<Value> = kinds
            .iter()
            .filter(|(kind, _)| !self.without_distributors.iter().any(|missing| missing == kind))
            .map(|(kind, id)| {
                json!({"id": id, "distributor_type_id": kind, "auto_publish": false, "config": {"redirect-url": "https://cdn.example.com/x/"}})
            })
            .collect();
        let kind = self.types.get(id).map_or("docker-repo", String::as_str);
        reply(
            200,
            &json!({"id": id, "display_name": id, "notes": {"_repo-type": kind}, "distributors": distributors}),
        )
    }

    fn make(&mut self, body: Value) -> Reply {
        let id = body["id"].as_str().unwrap_or_default().to_owned();
        self.exports.insert(id.clone(), Vec::new());
        self.made.push(body);
        reply(201, &json!({"id": id, "_href": format!("/pulp/api/v2/repositories/{id}/")}))
    }

    fn publish(&mut self, id: &str, body: Value) -> Reply {
        if let (Some(file), None) = (body["override_config"]["export_file"].as_str(), &self.failure) {
            let tar = self.exports.get(id).cloned().unwrap_or_default();
            self.files.insert(file.to_owned(), (self.published.len(), tar));
        }
        self.published.push(body);
        self.begin()
    }

    fn begin(&mut self) -> Reply {
        let id = format!("task-{}", self.tasks.len());
        self.tasks.insert(id.clone(), 0);
        let spawned = json!([{"_href": format!("/pulp/api/v2/tasks/{id}/"), "task_id": id}]);
        reply(202, &json!({"result": null, "error": null, "spawned_tasks": spawned}))
    }

    fn task(&mut self, id: &str) -> Reply {
        let Some(asked) = self.tasks.get_mut(id) else {
            return failure(404, "PLP0009", "Missing resource(s)");
        };
        *asked += 1;
        let state = match (*asked, self.has_worker, &self.failure) {
            (_, false, _) | (1, ..) => "waiting",
            (2, ..) => "running",
            (_, _, Some(_)) => "error",
            _ => "finished",
        };
        let error = self
            .failure
            .as_ref()
            .filter(|_| state == "error")
            .map(|words| json!({"code": "PLP0000", "description": words, "data": {}, "sub_errors": []}));
        reply(
            200,
            &json!({"task_id": id, "state": state, "error": error, "spawned_tasks": [], "progress_report": {}}),
        )
    }

    fn take(&mut self, id: &str, offset: &str, bytes: &[u8]) -> Reply {
        match (self.uploads.get_mut(id), offset.parse::<usize>()) {
            (Some(upload), Ok(offset)) if offset <= upload.len() => {
                upload.truncate(offset);
                upload.extend(bytes);
                reply(200, &Value::Null)
            }
            _ => failure(400, "PLP0000", "no such upload, or a hole in it"),
        }
    }
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply::new(status, body.to_string()).with("Content-Type", "application/json; charset=utf-8")
}

fn failure(status: u16, code: &str, message: &str) -> Reply {
    reply(
        status,
        &json!({
            "http_status": status, "error_message": message, "http_request_method": "GET", "exception": null,
            "traceback": null, "_href": "/pulp/api/v2/",
            "error": {"code": code, "description": message, "data": {}, "sub_errors": []},
        }),
    )
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this")
}
