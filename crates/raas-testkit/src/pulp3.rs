//! A Pulp 3 server with one repository: its registry, and as much of its REST API as finds the repository. The answers
//! have the form of pulpcore 3.123 and pulp_container 2.30.

mod exports;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_types::Digest;
use serde_json::{Value, json};

pub use exports::Exports;

use crate::http::{Asked, Reply};
use crate::registry::{Registry, error};

/// What the server is like.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The base path of the distribution.
    pub base_path: String,
    /// The domain of the distribution, if the server has domains.
    pub domain: Option<String>,
    /// Whether only some users may pull.
    pub private: bool,
    /// Whether the registry wants a token of Pulp's token server. Otherwise manifests and blobs are for anybody.
    pub token_server: bool,
    /// What the distribution says in place of its repository, merged into it.
    pub distribution: Value,
}

/// The user of the server, with the password `pw`.
pub const USER: &str = "admin";

/// A server on a free port of this machine. It ends when it is dropped.
pub struct Pulp {
    /// Its registry, to be filled.
    pub registry: Registry,
    facts: Arc<Mutex<Facts>>,
    exports: Arc<Mutex<Exports>>,
    signatures: Arc<Mutex<BTreeMap<Digest, Vec<String>>>>,
}

impl Pulp {
    /// A server with a repository under this base path.
    pub fn new(base_path: &str) -> Self {
        Self::of(Facts {
            base_path: base_path.to_owned(),
            domain: None,
            private: false,
            token_server: false,
            distribution: json!({}),
        })
    }

    /// A server like this.
    pub fn of(facts: Facts) -> Self {
        let name = match &facts.domain {
            Some(domain) => format!("{domain}/{}", facts.base_path),
            None => facts.base_path.clone(),
        };
        let registry = Registry::new(&name);
        let facts = Arc::new(Mutex::new(facts));
        let exports = Arc::new(Mutex::new(Exports::default()));
        let (shared, scripted, host) = (facts.clone(), exports.clone(), registry.host());
        let signatures: Arc<Mutex<BTreeMap<Digest, Vec<String>>>> = Arc::default();
        let (kept, lists) = (signatures.clone(), format!("/extensions/v2/{name}/signatures/"));
        registry.change(move |asked, _, reply| {
            if let Some(digest) = asked.target.strip_prefix(&lists) {
                return signatures_of(&locked(&kept), digest);
            }
            let facts = locked(&shared).clone();
            answer(&facts, &mut locked(&scripted), &host, asked, reply)
        });
        Self { registry, facts, exports, signatures }
    }

    /// Keeps an atomic signature of a manifest, in Base64.
    pub fn sign(&self, digest: &Digest, content: &str) {
        locked(&self.signatures).entry(*digest).or_default().push(content.to_owned());
    }

    /// How the server exports, to be looked at or changed.
    pub fn exports(&self) -> MutexGuard<'_, Exports> {
        locked(&self.exports)
    }

    /// Changes what the server is like.
    pub fn set(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut locked(&self.facts));
    }

    /// `[pulpserver]` for this server.
    pub fn section(&self) -> String {
        format!("[pulpserver]\nhost = http://{}\nusername = {USER}\npassword = pw\n", self.registry.host())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this")
}

fn signatures_of(signatures: &BTreeMap<Digest, Vec<String>>, digest: &str) -> Reply {
    let contents = digest.parse().ok().and_then(|digest: Digest| signatures.get(&digest));
    let list: Vec<Value> = contents
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(n, content)| {
            json!({"schemaVersion": 2, "type": "atomic", "name": format!("{digest}@{n:032x}"), "content": content})
        })
        .collect();
    json_reply(200, &json!({"signatures": list})).with("X-Registry-Supports-Signatures", "1")
}

fn answer(facts: &Facts, exports: &mut Exports, host: &str, asked: &Asked, reply: Reply) -> Reply {
    let path = asked.target.split('?').next().unwrap_or_default();
    let authorization = asked.headers.get("authorization").map(String::as_str).unwrap_or_default();
    let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:pw")));
    if path == "/pulp/api/v3/status/" {
        let versions = ["core", "container"].map(|name| json!({"component": name, "version": "3.123.1"}));
        return json_reply(
            200,
            &json!({
                "versions": versions, "online_workers": exports.workers(), "domain_enabled": facts.domain.is_some(),
            }),
        );
    }
    if path == "/token/" {
        return match authorization == basic || (authorization.is_empty() && !facts.private) {
            true => json_reply(200, &json!({"expires_in": 300, "token": "t", "access_token": "t"})),
            false => error(401, "UNAUTHORIZED"),
        };
    }
    let root = match &facts.domain {
        Some(domain) => format!("/pulp/{domain}/api/v3/"),
        None => "/pulp/api/v3/".to_owned(),
    };
    if let Some(resource) = path.strip_prefix(&root) {
        if authorization != basic {
            let detail = "Authentication credentials were not provided.";
            return json_reply(401, &json!({"detail": detail}))
                .with("WWW-Authenticate", "Basic realm=\"api\"");
        }
        return match resource {
            "distributions/container/container/" => distributions(facts, &root, asked),
            _ => exports.answer(&root, resource, asked),
        };
    }
    if path.starts_with("/v2/") && facts.token_server && authorization != "Bearer t" {
        let challenge = format!("Bearer realm=\"http://{host}/token/\",service=\"{host}\"");
        return error(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge);
    }
    reply
}

fn distributions(facts: &Facts, root: &str, asked: &Asked) -> Reply {
    let query = asked.target.split_once('?').map_or("", |(_, query)| query);
    let value = |key: &str| {
        query
            .split('&')
            .find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
            .map(|text| text.replace("%2F", "/"))
    };
    let exact = value("base_path").is_some_and(|wanted| wanted == facts.base_path);
    let similar = value("base_path__contains").is_some_and(|part| facts.base_path.contains(&part));
    let mut distribution = json!({
        "base_path": facts.base_path, "name": facts.base_path, "private": facts.private, "remote": null,
        "repository": format!("{root}repositories/container/container/01a2231a/"), "repository_version": null,
    });
    for (key, value) in facts.distribution.as_object().into_iter().flatten() {
        distribution[key] = value.clone();
    }
    let results = if exact || similar { vec![distribution] } else { Vec::new() };
    json_reply(200, &json!({"count": results.len(), "next": null, "previous": null, "results": results}))
}

fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::new(status, body.to_string()).with("Content-Type", "application/json")
}
