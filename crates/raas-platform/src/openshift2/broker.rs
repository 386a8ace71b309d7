//! The broker of OpenShift 2.
//!
//! Source: OpenShift Enterprise 2, "REST API Guide": domains, applications, environment variables, events.

use std::collections::BTreeMap;
use std::time::Duration;

use raas_base::Secret;
use raas_base::failure::{Failure, Kind};
use raas_http::http::Method;
use raas_http::{Agent, AgentOptions, ClientOptions};
use raas_types::null_as_default;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long the broker may take. Making a gear takes minutes.
const PATIENCE: Duration = Duration::from_secs(300);

/// The longest answer, in bytes.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// The version of the API that raas speaks.
const ACCEPT: &str = "application/json; version=1.7";

/// A login at the broker.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// A token: `rhc authorization list`.
    Token(Secret),
    /// A user and the password.
    Password(String, Secret),
}

/// A client of the broker.
#[derive(Debug)]
pub(super) struct Broker {
    agent: Agent,
    base: String,
    credentials: Credentials,
}

/// An application.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Application {
    /// Where pushes go to.
    pub(super) git_url: String,
    /// Where clients come to.
    #[serde(rename = "app_url")]
    pub(super) url: String,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    value: String,
}

/// What every answer holds.
#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

/// The reasons of a refusal.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Messages {
    #[serde(deserialize_with = "null_as_default")]
    messages: Vec<Message>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Message {
    #[serde(deserialize_with = "null_as_default")]
    severity: String,
    #[serde(deserialize_with = "null_as_default")]
    text: String,
}

impl Broker {
    pub(super) fn new(server_url: &str, credentials: Credentials) -> Self {
        let client = ClientOptions { answer: PATIENCE, ..ClientOptions::default() };
        let agent = Agent::new(AgentOptions { client, silence: PATIENCE, redirects: 0 });
        Self { agent, base: format!("{}/broker/rest", server_url.trim_end_matches('/')), credentials }
    }

    pub(super) fn has_domain(&self, domain: &str) -> Result<bool, Failure> {
        let what = format!("read domain {domain}");
        Ok(self.find::<Value>(&what, &format!("/domain/{domain}"))?.is_some())
    }

    pub(super) fn create_domain(&self, domain: &str) -> Result<(), Failure> {
        let what = format!("create domain {domain}");
        self.send(&what, Method::POST, "/domains", Some(&json!({ "name": domain }))).map(drop)
    }

    pub(super) fn application(&self, domain: &str, name: &str) -> Result<Option<Application>, Failure> {
        self.find(
            &format!("read app {name} of domain {domain}"),
            &format!("/domain/{domain}/application/{name}"),
        )
    }

    pub(super) fn create_application(
        &self,
        domain: &str,
        name: &str,
        cartridge: &str,
        from: Option<&str>,
    ) -> Result<Application, Failure> {
        let what = format!("create app {name} of domain {domain}");
        let mut body = json!({ "name": name, "cartridge": cartridge });
        if let Some(from) = from {
            body["initial_git_url"] = from.into();
        }
        let answer =
            self.send(&what, Method::POST, &format!("/domain/{domain}/applications"), Some(&body))?;
        read(&what, &answer.1)
    }

    pub(super) fn variables(&self, domain: &str, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let what = format!("read the environment of app {name} of domain {domain}");
        let path = format!("/domain/{domain}/application/{name}/environment-variables");
        let found: Option<Vec<Variable>> = self.find(&what, &path)?;
        Ok(found.into_iter().flatten().map(|variable| (variable.name, variable.value)).collect())
    }

    pub(super) fn set_variable(
        &self,
        domain: &str,
        application: &str,
        name: &str,
        value: &str,
        exists: bool,
    ) -> Result<(), Failure> {
        let what = format!("set the environment variable {name} of app {application}");
        let path = format!("/domain/{domain}/application/{application}/environment-variable");
        match exists {
            true => {
                self.send(&what, Method::PUT, &format!("{path}/{name}"), Some(&json!({ "value": value })))
            }
            false => self.send(
                &what,
                Method::POST,
                &format!("{path}s"),
                Some(&json!({ "name": name, "value": value })),
            ),
        }
        .map(drop)
    }

    pub(super) fn restart(&self, domain: &str, name: &str) -> Result<(), Failure> {
        let path = format!("/domain/{domain}/application/{name}/events");
        self.send(&format!("restart app {name}"), Method::POST, &path, Some(&json!({ "event": "restart" })))
            .map(drop)
    }

    pub(super) fn remove(&self, domain: &str, name: &str) -> Result<(), Failure> {
        let path = format!("/domain/{domain}/application/{name}");
        self.send(&format!("remove app {name}"), Method::DELETE, &path, None).map(drop)
    }

    fn find<T: DeserializeOwned>(&self, what: &str, path: &str) -> Result<Option<T>, Failure> {
        match self.send(what, Method::GET, path, None)? {
            (404, _) => Ok(None),
            (_, body) => read(what, &body).map(Some),
        }
    }

    /// The status and the body. A 404 is no failure for a GET.
    fn send(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Vec<u8>), Failure> {
        let failed = || Failure::new(Kind::Environment, format!("cannot {what}"));
        let is_get = method == Method::GET;
        let authorization = match &self.credentials {
            Credentials::Token(token) => format!("Bearer {}", token.expose()),
            Credentials::Password(user, password) => {
                use base64::Engine as _;
                let pair = format!("{user}:{}", password.expose());
                format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
            }
        };
        let url = format!("{}{path}", self.base);
        let mut request =
            self.agent.request(method, &url).header("Authorization", &authorization).header("Accept", ACCEPT);
        if let Some(body) = body {
            request = request.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = request.call().map_err(|error| {
            failed().caused_by(error).hint("check `server_url` in [openshift], and that the broker answers")
        })?;
        let status = answer.status().as_u16();
        let body = answer.into_body().read_all(MAX_SIZE).map_err(|error| failed().caused_by(error))?;
        match status {
            200..=299 => Ok((status, body)),
            404 if is_get => Ok((status, body)),
            401 => Err(failed()
                .caused_by("the broker does not know the credentials (401)")
                .hint("set `auth_token` in [openshift], which `rhc authorization list` prints, or `username` and `password`")),
            _ => {
                let messages: Messages = serde_json::from_slice(&body).unwrap_or_default();
                let texts = messages.messages.into_iter().filter(|message| message.severity != "info");
                let texts: Vec<String> = texts.map(|message| message.text).collect();
                Err(failed()
                    .caused_by(format!("the broker answered {status}: {}", texts.join("; ")))
                    .hint("correct [openshift] in raas.cfg, or ask the administrator of the broker"))
            }
        }
    }
}

fn read<T: DeserializeOwned>(what: &str, body: &[u8]) -> Result<T, Failure> {
    let answer: Result<Answer<T>, _> = serde_json::from_slice(body);
    answer.map(|answer| answer.data).map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot {what}: the answer is not the broker's"))
            .caused_by(error)
            .hint("check `server_url` in [openshift]; OpenShift 3 and later is `platform = kubernetes`")
    })
}
