//! Documents of podman, CRI-O, skopeo and buildah.
//!
//! Source: containers-policy.json(5), containers-registries.d(5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::{CustomerPolicy, Identity, KeyKind, PolicyFormat};

/// `policy.json`. It rejects everything but the vendor's signed images. A customer with other registries adds their rules.
pub(super) fn policy(policy: &CustomerPolicy) -> String {
    let keys: Vec<String> = policy.keys.iter().map(|key| STANDARD.encode(key.to_pem())).collect();
    let kind = policy.kind(PolicyFormat::Podman);
    let rule = |host: &String| {
        let identity = match policy.identity() {
            // A signature of cosign has no tag, and an atomic signature has one that another tag may follow: so the
            // repository alone can be compared.
            Identity::Pulled => json!({"type": "matchRepository"}),
            Identity::Below(prefix) => {
                json!({"type": "remapIdentity", "prefix": host, "signedPrefix": prefix})
            }
        };
        let mut rule = json!({"type": "sigstoreSigned", "signedIdentity": identity});
        match keys.as_slice() {
            [] if kind == Some(KeyKind::Keyless) => keyless(policy, &mut rule),
            [] => {
                rule["type"] = "signedBy".into();
                rule["keyType"] = "GPGKeys".into();
                rule["keyData"] = STANDARD.encode(&policy.open_pgp).into();
            }
            [one] => rule["keyData"] = one.as_str().into(),
            // podman 5.3 and later.
            several => rule["keyDatas"] = json!(several),
        }
        (host.clone(), json!([rule]))
    };
    let hosts: Map<String, Value> = policy.hosts.iter().map(rule).collect();
    let policy = json!({"default": [{"type": "reject"}], "transports": {"docker": hosts}});
    serde_json::to_string_pretty(&policy).expect("all keys are strings") + "\n"
}

/// Adds the keyless signer, its authorities and its log. A rule has one signer.
fn keyless(policy: &CustomerPolicy, rule: &mut Value) {
    let Some(keyless) = &policy.keyless else { return };
    let Some((email, issuer)) = keyless.address() else { return };
    rule["fulcio"] = json!({
        "caData": STANDARD.encode(&keyless.authorities), "oidcIssuer": issuer, "subjectEmail": email,
    });
    let keys: Vec<String> = keyless.log_keys.iter().map(|key| STANDARD.encode(key)).collect();
    match keys.as_slice() {
        [one] => rule["rekorPublicKeyData"] = one.as_str().into(),
        // podman 5.3 and later.
        several => rule["rekorPublicKeyDatas"] = json!(several),
    }
}

/// A file for `registries.d`. Without it, podman looks for no signatures of cosign.
pub(super) fn registries_d(policy: &CustomerPolicy) -> String {
    let mut text = "docker:\n".to_owned();
    // A client that pulls from a mirror looks for the signatures there, and nowhere else.
    for registry in policy.hosts.iter().chain(&policy.mirrors) {
        text.push_str(&format!("  \"{registry}\":\n    use-sigstore-attachments: true\n"));
    }
    text
}
