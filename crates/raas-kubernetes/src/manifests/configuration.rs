//! What the servers know: a service account without a token, a secret with files, a config map with environment variables.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::labels;
use crate::object::{Kind, Object};
use crate::plan::{Instance, Plan};

/// How long a server that stops still accepts connections, in seconds. Balancers learn from `/-/readyz` meanwhile.
pub(super) const DRAIN_DELAY: u32 = 10;

/// The folder of the files in the pods.
pub(super) const FOLDER: &str = "/etc/raas";

/// The file of the key that servers sign tokens with.
const TOKEN_KEY: &str = "token-key";

/// A service account that may do nothing and gets no token, unless the plan names one.
pub(super) fn service_account(plan: &Plan) -> Option<Object> {
    if plan.service_account.is_some() {
        return None;
    }
    let content = json!({ "automountServiceAccountToken": false });
    Some(Object::new(Kind::ServiceAccount, &plan.name(), &labels(plan), content))
}

/// The secret with the files that the servers read.
pub(super) fn files(plan: &Plan) -> Object {
    let data: Map<String, Value> =
        plan.files.iter().map(|(name, text)| (name.clone(), STANDARD.encode(text.expose()).into())).collect();
    Object::new(Kind::Secret, &plan.name(), &labels(plan), json!({ "type": "Opaque", "data": data }))
}

/// The config map with the servers' environment variables.
pub(super) fn environment(plan: &Plan) -> Object {
    // In MiB. What is left is for everything else, and in a fleet for the other vendors.
    let site_memory = match plan.instance {
        Instance::Vendor(_) => plan.memory / 4 * 3,
        Instance::Fleet => plan.memory / 4,
    };
    let mut data = json!({
        "RAAS_DRAIN_DELAY": DRAIN_DELAY.to_string(),
        "RAAS_FROM_CONFIG": "true",
        "RAAS_SITE_MEMORY": site_memory.to_string(),
        // Clients reach the pods through a router, and the addresses within a cluster are private.
        "RAAS_TRUSTED_PROXIES": "10.0.0.0/8,100.64.0.0/10,172.16.0.0/12,192.168.0.0/16,fc00::/7",
    });
    // A token that one server gives opens the others too.
    if plan.files.contains_key(TOKEN_KEY) {
        data["RAAS_TOKEN_KEY"] = format!("{FOLDER}/{TOKEN_KEY}").into();
    }
    Object::new(Kind::ConfigMap, &plan.name(), &labels(plan), json!({ "data": data }))
}

/// The hash of what the servers read when they start. If it changes, the cluster replaces the servers.
pub(super) fn version(plan: &Plan) -> String {
    let mut text = String::new();
    for object in [files(plan), environment(plan)] {
        text.push_str(&object.body.to_string());
    }
    crate::hash(text.as_bytes())
}
