//! Documents of clusters.
//!
//! Source: OpenShift's `config.openshift.io/v1` ClusterImagePolicy; policy-controller's `policy.sigstore.dev/v1beta1`
//! ClusterImagePolicy; Kyverno's `kyverno.io/v1` ClusterPolicy, `verifyImages`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_signatures::PublicKey;

use super::{CustomerPolicy, Identity, KeyKind, KeylessPolicy, PolicyFormat};
use crate::config::IdentityPattern;

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
    let trust = match (policy.keys.first(), &policy.keyless) {
        (None, Some(keyless)) => openshift_keyless(keyless),
        (key, _) => {
            let key = key.map(|key| STANDARD.encode(key.to_pem())).unwrap_or_default();
            format!("PublicKey\n      publicKey:\n        keyData: {key}\n")
        }
    };
    text.push_str(&format!(
        "  policy:\n    rootOfTrust:\n      policyType: {trust}    signedIdentity:\n      matchPolicy: {identity}"
    ));
    text
}

/// One signer with an e-mail address, its authorities and its log.
fn openshift_keyless(keyless: &KeylessPolicy) -> String {
    let (email, issuer) = keyless.address().unwrap_or_default();
    let log = keyless.log_keys.first().map(|key| STANDARD.encode(key)).unwrap_or_default();
    format!(
        "FulcioCAWithRekor\n      fulcioCAWithRekor:\n        fulcioCAData: {}\n        rekorKeyData: {log}\n        \
         fulcioSubject:\n          oidcIssuer: {}\n          signedEmail: {}\n",
        STANDARD.encode(&keyless.authorities),
        quoted(issuer),
        quoted(email)
    )
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
    if let (Some(KeyKind::Keyless), Some(keyless)) =
        (policy.kind(PolicyFormat::PolicyController), &policy.keyless)
    {
        text.push_str(&controller_keyless(policy, keyless));
    }
    text
}

/// One authority with all signers. The controller knows the public Sigstore, and a private one by the name of a TrustRoot.
fn controller_keyless(policy: &CustomerPolicy, keyless: &KeylessPolicy) -> String {
    let root = match keyless.is_private {
        true => format!("      trustRootRef: {}-sigstore\n", policy.vendor),
        false => String::new(),
    };
    let mut text = format!(
        "  - name: keyless\n    keyless:\n      url: {}\n{root}      identities:\n",
        quoted(&keyless.authority_url)
    );
    for signer in &keyless.signers {
        let subject = match &signer.identity {
            IdentityPattern::Email(text) | IdentityPattern::Uri(text) => format!("subject: {}", quoted(text)),
            IdentityPattern::EmailsOf(domain) => {
                format!("subjectRegExp: {}", quoted(&format!("^[^@]+@{}$", escaped(domain))))
            }
            IdentityPattern::UrisFrom(begin) => {
                format!("subjectRegExp: {}", quoted(&format!("^{}.+$", escaped(begin))))
            }
        };
        text.push_str(&format!("      - issuer: {}\n        {subject}\n", quoted(&signer.issuer)));
    }
    text.push_str(&format!("    ctlog:\n      url: {}\n{root}", quoted(&keyless.log_url)));
    text
}

/// A text in which no character of a regular expression has a meaning.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// A text as YAML and JSON have it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A ClusterPolicy of Kyverno, for signatures of cosign, or else of Notation. A signature with a key has no entry in a log of
/// Sigstore's, so none is looked for.
pub(super) fn kyverno(policy: &CustomerPolicy) -> String {
    let mut text = head("kyverno.io/v1", "ClusterPolicy", policy);
    text.push_str(
        "spec:\n  validationFailureAction: Enforce\n  background: false\n  rules:\n  - name: signed\n    match:\n      any:\n      \
         - resources:\n          kinds:\n          - Pod\n    verifyImages:\n",
    );
    let kind = policy.kind(PolicyFormat::Kyverno);
    text.push_str(match kind {
        Some(KeyKind::Certificates) => "    - type: Notary\n      imageReferences:\n",
        _ => "    - imageReferences:\n",
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
    if let (Some(KeyKind::Keyless), Some(keyless)) = (kind, &policy.keyless) {
        text.push_str(&kyverno_keyless(keyless));
    }
    if kind == Some(KeyKind::Certificates) {
        for certificate in &policy.certificates {
            text.push_str("        - certificates:\n            cert: |\n");
            text.push_str(&block(&certificate.to_pem(), 14));
        }
    }
    text
}

/// An entry for each signer. Kyverno knows the public Sigstore.
fn kyverno_keyless(keyless: &KeylessPolicy) -> String {
    let mut text = String::new();
    for signer in &keyless.signers {
        text.push_str(&format!(
            "        - keyless:\n            issuer: {}\n            subject: {}\n",
            quoted(&signer.issuer),
            quoted(&signer.identity.to_string())
        ));
        if keyless.is_private {
            text.push_str("            roots: |\n");
            text.push_str(&block(&keyless.authorities, 14));
        }
        text.push_str(&format!("            rekor:\n              url: {}\n", quoted(&keyless.log_url)));
        if let (true, Some(log), Some(certificates)) =
            (keyless.is_private, keyless.log_keys.first(), keyless.certificate_log_keys.first())
        {
            text.push_str("              pubkey: |\n");
            text.push_str(&block(log, 16));
            text.push_str("            ctlog:\n              pubkey: |\n");
            text.push_str(&block(certificates, 16));
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
