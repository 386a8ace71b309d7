//! Documents of Notation.
//!
//! Source: Notary Project, trust-store-trust-policy.md.

use serde_json::json;

use super::CustomerPolicy;

/// `trustpolicy.json`. The trust store with the vendor's name has the certificates.
pub(super) fn trust_policy(policy: &CustomerPolicy) -> String {
    let vendor = &policy.vendor;
    let statement = json!({
        "name": format!("{vendor}-images"),
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": [format!("ca:{vendor}")],
        "trustedIdentities": ["*"],
    });
    let policy = json!({"version": "1.0", "trustPolicies": [statement]});
    serde_json::to_string_pretty(&policy).expect("all keys are strings") + "\n"
}

/// The certificates for the trust store.
pub(super) fn certificates(policy: &CustomerPolicy) -> String {
    policy.certificates.iter().map(|certificate| certificate.to_pem()).collect()
}
