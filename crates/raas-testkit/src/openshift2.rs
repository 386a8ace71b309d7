//! The broker of OpenShift 2: one domain, one application in it, environment variables and restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::http::{Asked, Reply, Server};

/// A broker. It ends when it is dropped.
pub struct Broker {
    server: Server,
    state: Arc<Mutex<State>>,
}

struct State {
    authorization: String,
    domains: Vec<String>,
    git_url: String,
    app_url: String,
    created: Option<Value>,
    variables: BTreeMap<String, String>,
    restarts: usize,
}

impl Broker {
    /// A broker that takes this token and has this domain. A new application has this repository and this URL.
    pub fn new(token: &str, domain: &str, git_url: &str, app_url: &str) -> Self {
        let state = Arc::new(Mutex::new(State {
            authorization: format!("Bearer {token}"),
            domains: vec![domain.to_owned()],
            git_url: git_url.to_owned(),
            app_url: app_url.to_owned(),
            created: None,
            variables: BTreeMap::new(),
            restarts: 0,
        }));
        let shared = Arc::clone(&state);
        let server = Server::scripted(move |asked| locked(&shared).answer(asked));
        Self { server, state }
    }

    /// The URL of the server.
    pub fn url(&self) -> String {
        self.server.url("")
    }

    /// What the application was made of.
    pub fn created(&self) -> Option<Value> {
        locked(&self.state).created.clone()
    }

    /// The value of an environment variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        locked(&self.state).variables.get(name).cloned()
    }

    /// Sets an environment variable as somebody else does.
    pub fn set_variable(&self, name: &str, value: &str) {
        locked(&self.state).variables.insert(name.to_owned(), value.to_owned());
    }

    /// How many times the application was restarted.
    pub fn restarts(&self) -> usize {
        locked(&self.state).restarts
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no thread panics while it holds this")
}

fn reply(status: u16, data: &Value) -> Reply {
    let body = json!({ "api_version": 1.7, "status": "ok", "data": data, "messages": [] });
    Reply::new(status, body.to_string()).with("Content-Type", "application/json")
}

fn refuse(status: u16, text: &str) -> Reply {
    let message = json!({ "exit_code": 127, "severity": "error", "text": text });
    let body = json!({ "api_version": 1.7, "status": "not_found", "data": null, "messages": [message] });
    Reply::new(status, body.to_string()).with("Content-Type", "application/json")
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Reply {
        if asked.headers.get("authorization") != Some(&self.authorization) {
            return refuse(401, "Unauthorized");
        }
        let Some(path) = asked.target.strip_prefix("/broker/rest/") else {
            return Reply::new(404, "not the broker");
        };
        let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("POST", ["domains"]) if text("name") == "taken" => {
                refuse(422, "Namespace 'taken' is already in use. Please choose another.")
            }
            ("POST", ["domains"]) => {
                self.domains.push(text("name"));
                reply(201, &json!({ "name": text("name") }))
            }
            (_, ["domain", domain, ..]) if !self.domains.iter().any(|known| known == domain) => {
                refuse(404, &format!("Domain '{domain}' not found."))
            }
            ("GET", ["domain", domain]) => reply(200, &json!({ "name": domain })),
            ("POST", ["domain", _, "applications"]) => {
                self.created = Some(body);
                reply(201, &self.application())
            }
            (_, ["domain", _, "application", name, ..]) if self.created.is_none() => {
                refuse(404, &format!("Application '{name}' not found."))
            }
            ("GET", ["domain", _, "application", _]) => reply(200, &self.application()),
            ("DELETE", ["domain", _, "application", _]) => {
                self.created = None;
                self.variables.clear();
                reply(200, &Value::Null)
            }
            ("GET", [.., "environment-variables"]) => {
                let variable = |(name, value): (&String, &String)| json!({ "name": name, "value": value });
                reply(200, &self.variables.iter().map(variable).collect::<Vec<_>>().into())
            }
            ("POST", [.., "environment-variables"]) => {
                self.variables.insert(text("name"), text("value"));
                reply(201, &body)
            }
            ("PUT", [.., "environment-variable", name]) => {
                self.variables.insert((*name).to_owned(), text("value"));
                reply(200, &body)
            }
            ("POST", [.., "events"]) if text("event") == "restart" => {
                self.restarts += 1;
                reply(200, &self.application())
            }
            _ => refuse(404, "no such resource"),
        }
    }

    fn application(&self) -> Value {
        json!({ "name": "registry", "git_url": self.git_url, "app_url": self.app_url })
    }
}
