//! What a vendor's customers set up so that their clients pull only images that the vendor has signed.

mod kubernetes;
mod notation;
mod podman;

use clap::ValueEnum;
use raas_signatures::{PublicKey, TrustedCertificate};
use raas_types::VendorName;

use crate::config::SignedName;

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
            Self::Podman => &[KeyKind::Cosign, KeyKind::OpenPgp],
            Self::RegistriesD | Self::Openshift | Self::PolicyController => &[KeyKind::Cosign],
            Self::Kyverno => &[KeyKind::Cosign, KeyKind::Certificates],
            Self::Notation | Self::NotationCertificates => &[KeyKind::Certificates],
        }
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
    /// The names that the signatures give to images, if these are not the names that customers pull.
    pub(crate) names: Vec<SignedName>,
    /// The registries that clients pull from instead, each with the path before the names of the images.
    pub(crate) mirrors: Vec<String>,
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

impl CustomerPolicy {
    /// Whether there are keys of a kind.
    fn has(&self, kind: KeyKind) -> bool {
        match kind {
            KeyKind::Cosign => !self.keys.is_empty(),
            KeyKind::OpenPgp => !self.open_pgp.is_empty(),
            KeyKind::Certificates => !self.certificates.is_empty(),
        }
    }

    /// The kind of keys that the document of a format has. `None` if no key is of a kind that the format knows.
    pub(crate) fn kind(&self, format: PolicyFormat) -> Option<KeyKind> {
        format.kinds().iter().copied().find(|kind| self.has(*kind))
    }

    /// Whether the document of a format leaves keys out that the format knows.
    pub(crate) fn leaves_out(&self, format: PolicyFormat) -> bool {
        format.kinds().iter().filter(|kind| self.has(**kind)).count() > 1
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
            _ => None,
        };
        Document { place, text, note }
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
            names: Vec::new(),
            mirrors: Vec::new(),
        }
    }

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
