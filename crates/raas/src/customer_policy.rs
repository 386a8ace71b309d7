//! What a vendor's customers set up so that their clients pull only images that the vendor has signed.

mod kubernetes;
mod notation;
mod podman;

use clap::ValueEnum;
use raas_signatures::{PublicKey, TrustedCertificate};
use raas_types::VendorName;

use crate::config::{IdentityPattern, KeylessSigner, SignedName};

/// What a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyFormat {
    /// policy.json of podman, CRI-O, skopeo and buildah
    Podman,
    /// The file for registries.d, with which podman and the others look for cosign's signatures
    RegistriesD,
    /// A ClusterImagePolicy of OpenShift
    Openshift,
    /// A ClusterImagePolicy of sigstore's policy-controller
    PolicyController,
    /// A ClusterPolicy of Kyverno
    Kyverno,
    /// trustpolicy.json of Notation
    Notation,
    /// The trusted certificates of Notation
    NotationCertificates,
}

/// A kind of trusted keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// Public keys of cosign.
    Cosign,
    /// Keys of OpenPGP.
    OpenPgp,
    /// Signers without a key, by the authorities of a Sigstore.
    Keyless,
    /// Certificates of Notation.
    Certificates,
}

impl PolicyFormat {
    /// All formats, in the order of the output.
    pub(crate) const ALL: [Self; 7] = [
        Self::Podman,
        Self::RegistriesD,
        Self::Openshift,
        Self::PolicyController,
        Self::Kyverno,
        Self::Notation,
        Self::NotationCertificates,
    ];

    /// The kinds of keys that a document of this format may have. It has keys of one kind: the first of them that is known.
    /// Every client demands all that its policy lists, and raas demands a signature by any of the keys.
    pub(crate) fn kinds(self) -> &'static [KeyKind] {
        match self {
            Self::Podman => &[KeyKind::Cosign, KeyKind::OpenPgp, KeyKind::Keyless],
            Self::RegistriesD | Self::Openshift | Self::PolicyController => {
                &[KeyKind::Cosign, KeyKind::Keyless]
            }
            Self::Kyverno => &[KeyKind::Cosign, KeyKind::Keyless, KeyKind::Certificates],
            Self::Notation | Self::NotationCertificates => &[KeyKind::Certificates],
        }
    }

    /// Whether a document can name one keyless signer only, by an e-mail address. Source: containers-policy.json(5), `fulcio`;
    /// OpenShift's `fulcioSubject`.
    pub(crate) fn knows_one_address(self) -> bool {
        matches!(self, Self::Podman | Self::RegistriesD | Self::Openshift)
    }

    /// The name as the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Podman => "podman",
            Self::RegistriesD => "registries-d",
            Self::Openshift => "openshift",
            Self::PolicyController => "policy-controller",
            Self::Kyverno => "kyverno",
            Self::Notation => "notation",
            Self::NotationCertificates => "notation-certificates",
        }
    }
}

/// Whose images, under which names, signed with which keys.
#[derive(Debug, Clone)]
pub(crate) struct CustomerPolicy {
    pub(crate) vendor: VendorName,
    /// The hosts that customers pull from, each with its port if it is not the default.
    pub(crate) hosts: Vec<String>,
    /// The keys of cosign. A signature by any of them is enough.
    pub(crate) keys: Vec<PublicKey>,
    /// The keys of OpenPGP as one file. Empty if there is none.
    pub(crate) open_pgp: Vec<u8>,
    /// The certificates of Notation.
    pub(crate) certificates: Vec<TrustedCertificate>,
    /// The keyless signers. `None` if there are none.
    pub(crate) keyless: Option<KeylessPolicy>,
    /// The names that the signatures give to images, if these are not the names that customers pull.
    pub(crate) names: Vec<SignedName>,
    /// The registries that clients pull from instead, each with the path before the names of the images.
    pub(crate) mirrors: Vec<String>,
}

/// Keyless signers, and what vouches for them.
#[derive(Debug, Clone)]
pub(crate) struct KeylessPolicy {
    /// The signers. A signature by any of them is enough.
    pub(crate) signers: Vec<KeylessSigner>,
    /// Whether clients have to be told of the Sigstore: it is not the public one.
    pub(crate) is_private: bool,
    /// The certificates of the authorities as a PEM file.
    pub(crate) authorities: String,
    /// The URL of the authority.
    pub(crate) authority_url: String,
    /// The URL of the log of signatures.
    pub(crate) log_url: String,
    /// The ECDSA keys of the logs of signatures, each as a PEM file.
    pub(crate) log_keys: Vec<String>,
    /// The keys of the logs of certificates, each as a PEM file.
    pub(crate) certificate_log_keys: Vec<String>,
}

impl KeylessPolicy {
    /// The first signer with one e-mail address, and its issuer.
    pub(crate) fn address(&self) -> Option<(&str, &str)> {
        self.signers.iter().find_map(|signer| match &signer.identity {
            IdentityPattern::Email(email) => Some((email.as_str(), signer.issuer.as_str())),
            _ => None,
        })
    }
}

/// A document, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// The path of the file, or the command that takes the document.
    pub(crate) place: String,
    pub(crate) text: String,
    /// What a person should know besides. `None` if there is nothing.
    pub(crate) note: Option<&'static str>,
}

/// The policy of podman has a default.
const REJECTS: &str =
    "it rejects all images of other registries, so add the rules of those that clients need";

/// The scopes of Notation are names of repositories, and raas cannot know all that a customer pulls.
const EVERYWHERE: &str = "it is for the images of all registries: put the names of the vendor's repositories, HOST/IMAGE, into \
                          `registryScopes` if clients need other registries";

/// A policy of policy-controller names a private Sigstore, and does not describe it.
const TRUST_ROOT: &str = "it names a TrustRoot of policy-controller: make one of that name with the keys and certificates of \
                          `sigstore_root`";

impl CustomerPolicy {
    /// Whether there are keys of a kind that a document of the format may have.
    fn has(&self, format: PolicyFormat, kind: KeyKind) -> bool {
        match kind {
            KeyKind::Cosign => !self.keys.is_empty(),
            KeyKind::OpenPgp => !self.open_pgp.is_empty(),
            KeyKind::Keyless => self
                .keyless
                .as_ref()
                .is_some_and(|keyless| !format.knows_one_address() || keyless.address().is_some()),
            KeyKind::Certificates => !self.certificates.is_empty(),
        }
    }

    /// The kind of keys that the document of a format has. `None` if no key is of a kind that the format knows.
    pub(crate) fn kind(&self, format: PolicyFormat) -> Option<KeyKind> {
        format.kinds().iter().copied().find(|kind| self.has(format, *kind))
    }

    /// Whether the document of a format leaves keys out that the format knows.
    pub(crate) fn leaves_out(&self, format: PolicyFormat) -> bool {
        format.kinds().iter().filter(|kind| self.has(format, **kind)).count() > 1
    }

    /// The document of a format.
    pub(crate) fn document(&self, format: PolicyFormat) -> Document {
        let apply = |program: &str| format!("{program} apply -f -");
        let (place, text) = match format {
            PolicyFormat::Podman => ("/etc/containers/policy.json".into(), podman::policy(self)),
            PolicyFormat::RegistriesD => {
                (format!("/etc/containers/registries.d/{}.yaml", self.vendor), podman::registries_d(self))
            }
            PolicyFormat::Openshift => (apply("oc"), kubernetes::openshift(self)),
            PolicyFormat::PolicyController => (apply("kubectl"), kubernetes::policy_controller(self)),
            PolicyFormat::Kyverno => (apply("kubectl"), kubernetes::kyverno(self)),
            PolicyFormat::Notation => {
                ("~/.config/notation/trustpolicy.json".into(), notation::trust_policy(self))
            }
            PolicyFormat::NotationCertificates => {
                let vendor = &self.vendor;
                let command = format!("notation certificate add --type ca --store {vendor} {vendor}.pem");
                (command, notation::certificates(self))
            }
        };
        let note = match format {
            PolicyFormat::Podman => Some(REJECTS),
            PolicyFormat::Notation => Some(EVERYWHERE),
            PolicyFormat::PolicyController if self.names_trust_root() => Some(TRUST_ROOT),
            _ => None,
        };
        Document { place, text, note }
    }

    /// Whether the document for policy-controller names a Sigstore that customers do not know.
    fn names_trust_root(&self) -> bool {
        self.kind(PolicyFormat::PolicyController) == Some(KeyKind::Keyless)
            && self.keyless.as_ref().is_some_and(|keyless| keyless.is_private)
    }

    /// How the name in a signature relates to the name that customers pull.
    fn identity(&self) -> Identity<'_> {
        match self.names.as_slice() {
            [SignedName::Below(prefix)] if !self.hosts.contains(prefix) => Identity::Below(prefix),
            _ => Identity::Pulled,
        }
    }
}

/// The name in a signature.
enum Identity<'a> {
    /// It is the name that customers pull, without the tag.
    Pulled,
    /// It begins with this in the place of the host.
    Below(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the tests: the same each time.
    const KEY: &[u8] = include_bytes!("../../raas-signatures/tests/data/plain.pub");

    fn policy() -> CustomerPolicy {
        CustomerPolicy {
            vendor: "acme".parse().unwrap(),
            hosts: vec!["registry.acme.example".into()],
            keys: PublicKey::read_all(KEY).unwrap(),
            open_pgp: Vec::new(),
            certificates: Vec::new(),
            keyless: None,
            names: Vec::new(),
            mirrors: Vec::new(),
        }
    }

    /// A policy of these keyless signers alone.
    fn keyless(signers: &[&str], is_private: bool) -> CustomerPolicy {
        let keyless = KeylessPolicy {
            signers: signers.iter().map(|signer| signer.parse().unwrap()).collect(),
            is_private,
            authorities: "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into(),
            authority_url: "https://fulcio.sigstore.dev".into(),
            log_url: "https://rekor.sigstore.dev".into(),
            log_keys: vec!["-----BEGIN PUBLIC KEY-----\nAQ==\n-----END PUBLIC KEY-----\n".into()],
            certificate_log_keys: vec!["-----BEGIN PUBLIC KEY-----\nAg==\n-----END PUBLIC KEY-----\n".into()],
        };
        CustomerPolicy { keys: Vec::new(), keyless: Some(keyless), ..policy() }
    }

    const ADDRESS: &str = "release@acme.example from https://accounts.google.com";
    const WORKFLOWS: &str = "https://github.com/acme/app/.github/workflows/release.yml@refs/tags/* from \
                             https://token.actions.githubusercontent.com";

    /// Compares with the file of the snapshot, and writes it with `UPDATE=1`.
    fn check(format: PolicyFormat, policy: &CustomerPolicy, name: &str) -> String {
        let text = policy.document(format).text;
        let path = format!("crates/raas/tests/data/trust/{name}");
        raas_testkit::generated::check(&path, "--lib customer_policy", |_| text.clone());
        text
    }

    fn yaml(text: &str) -> serde_json::Value {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn the_policy_of_podman_rejects_all_but_the_vendors_signed_images() {
        let text = check(PolicyFormat::Podman, &policy(), "policy.json");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["default"][0]["type"], "reject");
        let rule = &json["transports"]["docker"]["registry.acme.example"][0];
        assert_eq!(
            (&rule["type"], &rule["signedIdentity"]["type"]),
            (&"sigstoreSigned".into(), &"matchRepository".into())
        );
    }

    #[test]
    fn several_keys_and_hosts_and_another_name_stand_in_the_policy_of_podman() {
        let other =
            PublicKey::read_all(rcgen::KeyPair::generate().unwrap().public_key_pem().as_bytes()).unwrap();
        let keys = [policy().keys, other].concat();
        let hosts = vec!["r.acme.example".to_owned(), "r.acme.example:5000".to_owned()];
        let names = vec!["quay.io/acme/*".parse().unwrap()];
        let policy = CustomerPolicy { keys, hosts, names, ..policy() };
        let json: serde_json::Value =
            serde_json::from_str(&policy.document(PolicyFormat::Podman).text).unwrap();
        for host in &policy.hosts {
            let rule = &json["transports"]["docker"][host][0];
            assert_eq!(rule["keyDatas"].as_array().unwrap().len(), 2);
            assert_eq!(rule["signedIdentity"]["type"], "remapIdentity");
            assert_eq!(
                (&rule["signedIdentity"]["prefix"], &rule["signedIdentity"]["signedPrefix"]),
                (&host.as_str().into(), &"quay.io/acme".into())
            );
        }
        let registries = yaml(&policy.document(PolicyFormat::RegistriesD).text);
        assert_eq!(registries["docker"].as_object().unwrap().len(), 2);
        for format in [PolicyFormat::PolicyController, PolicyFormat::Kyverno] {
            let text = policy.document(format).text;
            assert_eq!(text.matches("BEGIN PUBLIC KEY").count(), 2, "{text}");
        }
        let openshift = policy.document(PolicyFormat::Openshift).text;
        let documents: Vec<serde_json::Value> =
            openshift.split("---\n").filter(|one| !one.trim().is_empty()).map(yaml).collect();
        // A policy replaces one host.
        assert_eq!(documents.len(), 2);
        for (n, document) in documents.iter().enumerate() {
            let identity = &document["spec"]["policy"]["signedIdentity"];
            assert_eq!(identity["matchPolicy"], "RemapIdentity");
            assert_eq!(identity["remapIdentity"]["prefix"], policy.hosts[n].as_str());
            assert_eq!(document["spec"]["scopes"], serde_json::json!([policy.hosts[n]]));
        }
        assert_ne!(documents[0]["metadata"]["name"], documents[1]["metadata"]["name"]);
    }

    #[test]
    fn keys_of_open_pgp_stand_in_the_policy_of_podman_alone() {
        let policy = CustomerPolicy { keys: Vec::new(), open_pgp: b"keys".to_vec(), ..policy() };
        let text = check(PolicyFormat::Podman, &policy, "policy-gpg.json");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rule = &json["transports"]["docker"]["registry.acme.example"][0];
        assert_eq!((&rule["type"], &rule["keyType"]), (&"signedBy".into(), &"GPGKeys".into()));
        assert_eq!(rule["keyData"], "a2V5cw==");
        assert_eq!(rule["signedIdentity"]["type"], "matchRepository");
        let formats: Vec<_> =
            PolicyFormat::ALL.into_iter().filter(|format| policy.kind(*format).is_some()).collect();
        assert_eq!(formats, [PolicyFormat::Podman]);
    }

    #[test]
    fn certificates_stand_in_the_policies_of_notation_and_kyverno() {
        let certificate = include_bytes!("../../raas-signatures/tests/data/notation/es256.pem");
        let certificates = TrustedCertificate::read_all(certificate).unwrap();
        let only = CustomerPolicy { keys: Vec::new(), certificates: certificates.clone(), ..policy() };
        let json: serde_json::Value =
            serde_json::from_str(&check(PolicyFormat::Notation, &only, "trustpolicy.json")).unwrap();
        assert_eq!(json["trustPolicies"][0]["trustStores"], serde_json::json!(["ca:acme"]));
        let pem = String::from_utf8(certificate.to_vec()).unwrap();
        assert_eq!(only.document(PolicyFormat::NotationCertificates).text, pem);
        let kyverno = yaml(&check(PolicyFormat::Kyverno, &only, "kyverno-notation.yaml"));
        let verify = &kyverno["spec"]["rules"][0]["verifyImages"][0];
        assert_eq!(verify["type"], "Notary");
        assert_eq!(verify["attestors"][0]["entries"][0]["certificates"]["cert"], pem.as_str());
        // A client would demand a signature of each kind.
        let both = CustomerPolicy { certificates, ..policy() };
        assert_eq!(both.kind(PolicyFormat::Kyverno), Some(KeyKind::Cosign));
        assert!(both.leaves_out(PolicyFormat::Kyverno) && !both.leaves_out(PolicyFormat::Podman));
        assert!(!both.document(PolicyFormat::Kyverno).text.contains("CERTIFICATE"));
    }

    #[test]
    fn a_keyless_address_stands_in_every_policy_that_knows_one() {
        let policy = keyless(&[ADDRESS], false);
        let formats: Vec<_> =
            PolicyFormat::ALL.into_iter().filter(|format| policy.kind(*format).is_some()).collect();
        assert_eq!(
            formats,
            [
                PolicyFormat::Podman,
                PolicyFormat::RegistriesD,
                PolicyFormat::Openshift,
                PolicyFormat::PolicyController,
                PolicyFormat::Kyverno
            ]
        );
        let text = check(PolicyFormat::Podman, &policy, "policy-keyless.json");
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let rule = &json["transports"]["docker"]["registry.acme.example"][0];
        assert_eq!(rule["type"], "sigstoreSigned");
        assert_eq!(
            (&rule["fulcio"]["subjectEmail"], &rule["fulcio"]["oidcIssuer"]),
            (&"release@acme.example".into(), &"https://accounts.google.com".into())
        );
        assert!(rule["fulcio"]["caData"].is_string() && rule["rekorPublicKeyData"].is_string(), "{text}");
        assert!(rule.get("keyData").is_none(), "{text}");
        let openshift = yaml(&check(PolicyFormat::Openshift, &policy, "openshift-keyless.yaml"));
        let trust = &openshift["spec"]["policy"]["rootOfTrust"];
        assert_eq!(trust["policyType"], "FulcioCAWithRekor");
        assert_eq!(trust["fulcioCAWithRekor"]["fulcioSubject"]["signedEmail"], "release@acme.example");
    }

    #[test]
    fn keyless_workflows_stand_in_the_policies_of_kubernetes_alone() {
        let policy = keyless(&[WORKFLOWS, ADDRESS, "*@acme.example from https://id.example"], false);
        let only_workflows = keyless(&[WORKFLOWS], false);
        assert_eq!(only_workflows.kind(PolicyFormat::Podman), None);
        assert_eq!(only_workflows.kind(PolicyFormat::Openshift), None);
        let controller =
            yaml(&check(PolicyFormat::PolicyController, &policy, "policy-controller-keyless.yaml"));
        let authority = &controller["spec"]["authorities"][0];
        assert_eq!(authority["keyless"]["url"], "https://fulcio.sigstore.dev");
        let identities = &authority["keyless"]["identities"];
        assert_eq!(
            identities[0]["subjectRegExp"],
            r"^https://github\.com/acme/app/\.github/workflows/release\.yml@refs/tags/.+$"
        );
        assert_eq!(identities[1]["subject"], "release@acme.example");
        assert_eq!(identities[2]["subjectRegExp"], r"^[^@]+@acme\.example$");
        let kyverno = yaml(&check(PolicyFormat::Kyverno, &policy, "kyverno-keyless.yaml"));
        let entries = &kyverno["spec"]["rules"][0]["verifyImages"][0]["attestors"][0]["entries"];
        assert_eq!(entries.as_array().unwrap().len(), 3);
        assert_eq!(entries[2]["keyless"]["subject"], "*@acme.example");
        assert_eq!(entries[0]["keyless"]["rekor"]["url"], "https://rekor.sigstore.dev");
    }

    #[test]
    fn a_private_sigstore_is_described_or_named() {
        let policy = keyless(&[WORKFLOWS], true);
        let document = policy.document(PolicyFormat::PolicyController);
        assert!(document.note.unwrap().contains("TrustRoot"), "{document:?}");
        let authority = &yaml(&document.text)["spec"]["authorities"][0];
        assert_eq!(authority["keyless"]["trustRootRef"], "acme-sigstore");
        assert_eq!(authority["ctlog"]["trustRootRef"], "acme-sigstore");
        let kyverno = yaml(&policy.document(PolicyFormat::Kyverno).text);
        let entry = &kyverno["spec"]["rules"][0]["verifyImages"][0]["attestors"][0]["entries"][0]["keyless"];
        assert!(entry["roots"].as_str().unwrap().contains("BEGIN CERTIFICATE"), "{entry}");
        assert!(entry["ctlog"]["pubkey"].as_str().unwrap().contains("BEGIN PUBLIC KEY"), "{entry}");
    }

    #[test]
    fn clients_look_for_signatures_at_a_mirror_too() {
        let policy = CustomerPolicy { mirrors: vec!["r.lan:5000/acme".into()], ..policy() };
        let registries = yaml(&policy.document(PolicyFormat::RegistriesD).text);
        for registry in ["registry.acme.example", "r.lan:5000/acme"] {
            assert_eq!(registries["docker"][registry]["use-sigstore-attachments"], true);
        }
        let policy: serde_json::Value =
            serde_json::from_str(&policy.document(PolicyFormat::Podman).text).unwrap();
        assert_eq!(policy["transports"]["docker"].as_object().unwrap().len(), 1);
    }

    #[test]
    fn the_other_documents_are_valid_yaml() {
        let registries = yaml(&check(PolicyFormat::RegistriesD, &policy(), "acme.yaml"));
        assert_eq!(registries["docker"]["registry.acme.example"]["use-sigstore-attachments"], true);
        let pem = String::from_utf8(KEY.to_vec()).unwrap();

        let openshift = yaml(&check(PolicyFormat::Openshift, &policy(), "openshift.yaml"));
        assert_eq!(openshift["spec"]["scopes"][0], "registry.acme.example");
        let controller = yaml(&check(PolicyFormat::PolicyController, &policy(), "policy-controller.yaml"));
        assert_eq!(controller["spec"]["images"][0]["glob"], "registry.acme.example/**");
        assert_eq!(controller["spec"]["authorities"][0]["key"]["data"], pem.as_str());
        let kyverno = yaml(&check(PolicyFormat::Kyverno, &policy(), "kyverno.yaml"));
        let verify = &kyverno["spec"]["rules"][0]["verifyImages"][0];
        assert_eq!(verify["imageReferences"][0], "registry.acme.example/*");
        assert_eq!(verify["attestors"][0]["entries"][0]["keys"]["publicKeys"], pem.as_str());
    }
}
