//! Documents of clusters.
//!
//! Source: OpenShift's `config.openshift.io/v1` ClusterImagePolicy; policy-controller's `policy.sigstore.dev/v1beta1`
//! ClusterImagePolicy; Kyverno's `kyverno.io/v1` ClusterPolicy, `verifyImages`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_signatures::PublicKey;

use super::{CustomerPolicy, Identity};

/// A ClusterImagePolicy of OpenShift. It has one key: with several, it has the first. It replaces one host only, so several
/// hosts then have a policy each.
pub(super) fn openshift(policy: &CustomerPolicy) -> String {
    let mut text = OPENSHIFT_VERSIONS.to_owned();
    match policy.identity() {
        Identity::Below(prefix) => {
            for (n, host) in policy.hosts.iter().enumerate() {
                let identity = format!(
                    "RemapIdentity\n      remapIdentity:\n        prefix: \"{host}\"\n        signedPrefix: \"{prefix}\"\n"
                );
                let (separator, number) = match n {
                    0 => ("", String::new()),
                    _ => ("---\n", format!("-{}", n + 1)),
                };
                text.push_str(separator);
                text.push_str(&openshift_policy(policy, &number, std::slice::from_ref(host), &identity));
            }
        }
        Identity::Pulled => {
            text.push_str(&openshift_policy(policy, "", &policy.hosts, "MatchRepository\n"));
        }
    }
    text
}

/// Which OpenShift has which version of the API.
const OPENSHIFT_VERSIONS: &str =
    "# OpenShift 4.20 and later. Before, the API is a Technology Preview: config.openshift.io/v1alpha1.\n";

fn openshift_policy(policy: &CustomerPolicy, number: &str, hosts: &[String], identity: &str) -> String {
    let vendor = &policy.vendor;
    let mut text = format!(
        "apiVersion: config.openshift.io/v1\nkind: ClusterImagePolicy\nmetadata:\n  name: {vendor}-images{number}\nspec:\n  \
         scopes:\n"
    );
    for host in hosts {
        text.push_str(&format!("  - \"{host}\"\n"));
    }
    let key = policy.keys.first().map(|key| STANDARD.encode(key.to_pem())).unwrap_or_default();
    text.push_str(&format!(
        "  policy:\n    rootOfTrust:\n      policyType: PublicKey\n      publicKey:\n        keyData: {key}\n    signedIdentity:\n      \
         matchPolicy: {identity}"
    ));
    text
}

/// A ClusterImagePolicy of policy-controller. It applies to namespaces with the label `policy.sigstore.dev/include=true`.
pub(super) fn policy_controller(policy: &CustomerPolicy) -> String {
    let mut text = head("policy.sigstore.dev/v1beta1", "ClusterImagePolicy", policy);
    text.push_str("spec:\n  images:\n");
    for host in &policy.hosts {
        text.push_str(&format!("  - glob: \"{host}/**\"\n"));
    }
    text.push_str("  authorities:\n");
    for (n, key) in policy.keys.iter().enumerate() {
        text.push_str(&format!(
            "  - name: key-{}\n    key:\n      hashAlgorithm: sha256\n      data: |\n",
            n + 1
        ));
        text.push_str(&indented(key, 8));
    }
    text
}

/// A ClusterPolicy of Kyverno, for signatures of cosign, or else of Notation. A signature with a key has no entry in a log of
/// Sigstore's, so none is looked for.
pub(super) fn kyverno(policy: &CustomerPolicy) -> String {
    let mut text = head("kyverno.io/v1", "ClusterPolicy", policy);
    text.push_str(
        "spec:\n  validationFailureAction: Enforce\n  background: false\n  rules:\n  - name: signed\n    match:\n      any:\n      \
         - resources:\n          kinds:\n          - Pod\n    verifyImages:\n",
    );
    text.push_str(match policy.keys.is_empty() {
        true => "    - type: Notary\n      imageReferences:\n",
        false => "    - imageReferences:\n",
    });
    for host in &policy.hosts {
        text.push_str(&format!("      - \"{host}/*\"\n"));
    }
    text.push_str("      required: true\n      mutateDigest: true\n      verifyDigest: true\n      attestors:\n      - count: 1\n        entries:\n");
    for key in &policy.keys {
        text.push_str("        - keys:\n            publicKeys: |\n");
        text.push_str(&indented(key, 14));
        text.push_str("            rekor:\n              ignoreTlog: true\n            ctlog:\n              ignoreSCT: true\n");
    }
    if policy.keys.is_empty() {
        for certificate in &policy.certificates {
            text.push_str("        - certificates:\n            cert: |\n");
            text.push_str(&block(&certificate.to_pem(), 14));
        }
    }
    text
}

fn head(version: &str, kind: &str, policy: &CustomerPolicy) -> String {
    format!("apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {}-images\n", policy.vendor)
}

/// The key in PEM, as the lines of a block in YAML.
fn indented(key: &PublicKey, spaces: usize) -> String {
    block(&key.to_pem(), spaces)
}

fn block(pem: &str, spaces: usize) -> String {
    pem.lines().map(|line| format!("{:spaces$}{line}\n", "")).collect()
}
