//! `[openshift]`: the platform that registries run on.

use std::path::{Path, PathBuf};

use raas_base::Secret;

use crate::ini::{Ini, IniError, Value};
use crate::key::{Key, Section, SectionText};
use crate::values::{secret, text, url, word_list, yes_or_no};

/// What registries run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PlatformName {
    /// This machine.
    #[default]
    Local,
    /// Kubernetes, OpenShift 3 and later included.
    Kubernetes,
    /// Any platform that deploys from a git repository.
    Git,
    /// OpenShift 2, with its broker.
    OpenShift2,
}

/// The platform that registries run on.
#[derive(Debug, Clone, Default)]
pub struct Openshift {
    /// The base URL of the cluster's API server.
    pub server_url: Option<String>,
    /// The git repository that a new application of OpenShift 2 starts from.
    pub app_git_url: Option<String>,
    /// A token for the API server, or for the broker of OpenShift 2.
    pub auth_token: Option<Secret>,
    /// The user name for a login in place of the token.
    pub username: Option<String>,
    /// The password of `username`.
    pub password: Option<Secret>,
    /// The domain or project of vendors whose section has no `openshift_domain`.
    pub domain: Option<String>,
    /// The image of raas that the cluster runs; on OpenShift 2, the cartridge of the gear.
    pub cartridge: Option<String>,
    /// What registries run on.
    pub platform: PlatformName,
    /// Whether the certificate of `server_url` is not verified.
    pub insecure: bool,
    /// The file of the authorities that sign that certificate.
    pub ca_file: Option<PathBuf>,
    /// The context of the kubeconfig.
    pub context: Option<String>,
    /// How many servers run, such as `2` or `2-5`.
    pub servers: Option<String>,
    /// How much memory a server may take, in MiB.
    pub server_memory: Option<u32>,
    /// Whether one deployment serves all vendors.
    pub fleet: bool,
    /// Secrets of the project with which the cluster pulls the image.
    pub pull_secrets: Vec<String>,
    /// A secret of the project whose keys become environment variables of the servers.
    pub server_secret: Option<String>,
    /// A service account of the project for the servers.
    pub service_account: Option<String>,
    /// The class of an ingress controller.
    pub ingress_class: Option<String>,
    /// A gateway, `NAMESPACE/NAME` or `NAME`.
    pub gateway: Option<String>,
    /// The namespace of the pods of the ingress controller or gateway.
    pub ingress_namespace: Option<String>,
}

impl Openshift {
    /// Reads the section. Relative paths start at `folder`.
    pub(crate) fn read(ini: &Ini, folder: &Path) -> Result<Self, IniError> {
        let mut openshift = Self::default();
        SECTION.read(ini, SECTION.name, folder, &mut openshift)?;
        Ok(openshift)
    }
}

/// What registries run on.
fn platform(value: &Value) -> Result<PlatformName, IniError> {
    match value.text.to_ascii_lowercase().as_str() {
        "local" => Ok(PlatformName::Local),
        "kubernetes" | "openshift" => Ok(PlatformName::Kubernetes),
        "git" => Ok(PlatformName::Git),
        "openshift2" => Ok(PlatformName::OpenShift2),
        other => {
            Err(value
                .error(format!("`{other}` is no platform: expected local, kubernetes, git or openshift2")))
        }
    }
}

pub(super) static SECTION: Section<Openshift> = Section {
    name: "openshift",
    text: SectionText {
        heading: "[openshift]: the platform",
        comment: "The platform that registries run on.",
    },
    keys: &[
        Key::<Openshift>::new(
            "platform",
            "what registry servers run on: `local`, which is this machine; `kubernetes`, which includes OpenShift; \
             `git`, which is any system that deploys from a git repository; or `openshift2`",
            "kubernetes",
            |openshift, value, _| {
                openshift.platform = platform(value)?;
                Ok(())
            },
        )
        .default("`local`"),
        Key::<Openshift>::new(
            "server_url",
            "the cluster's API server",
            "https://api.openshift.example.com:6443",
            |openshift, value, _| {
                openshift.server_url = Some(url(value)?);
                Ok(())
            },
        )
        .default("the cluster of the kubeconfig"),
        Key::<Openshift>::new(
            "app_git_url",
            "the git repository from which a new application of OpenShift 2 starts, and with which raas fills a \
             `git_url` without commits",
            "https://github.com/aweiteka/crane",
            |openshift, value, _| {
                openshift.app_git_url = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "auth_token",
            "a token for the cluster's API server, or for the broker of OpenShift 2",
            "${OPENSHIFT_TOKEN}",
            |openshift, value, _| {
                openshift.auth_token = Some(secret(value)?);
                Ok(())
            },
        )
        .secret(),
        Key::<Openshift>::new(
            "username",
            "the user name for a login at OpenShift's OAuth server, in place of a token",
            "operator",
            |openshift, value, _| {
                openshift.username = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "password",
            "the password of `username`",
            "${OPENSHIFT_PASSWORD}",
            |openshift, value, _| {
                openshift.password = Some(secret(value)?);
                Ok(())
            },
        )
        .secret(),
        Key::<Openshift>::new(
            "domain",
            "the OpenShift domain or project of the vendors whose section has no `openshift_domain`",
            "mydomain",
            |openshift, value, _| {
                openshift.domain = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "cartridge",
            "the image of raas that the cluster runs, best named by its digest, because a cluster's mirrors apply to \
             digests only; on OpenShift 2, the cartridge of the gear",
            "registry.example.com/raas@sha256:dd3ba91ae52eb5a99b1cbcd70b06c4ee2b1c84ffdca4e5b7d9e6df7e5d4b1a7f",
            |openshift, value, _| {
                openshift.cartridge = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "verify_ssl",
            "whether the certificate of `server_url` is verified: yes or no",
            "yes",
            |openshift, value, _| {
                openshift.insecure = !yes_or_no(value)?;
                Ok(())
            },
        )
        .default("yes"),
        Key::<Openshift>::new(
            "ca_file",
            "the PEM file of the authorities that may have signed the certificate of `server_url`",
            "/etc/raas/cluster-ca.pem",
            |openshift, value, folder| {
                openshift.ca_file = Some(folder.join(text(value)?));
                Ok(())
            },
        )
        .default("the authorities that this machine trusts"),
        Key::<Openshift>::new(
            "context",
            "the context of the kubeconfig that raas uses if there is no `server_url`",
            "operator@production",
            |openshift, value, _| {
                openshift.context = Some(text(value)?);
                Ok(())
            },
        )
        .default("its current context"),
        Key::<Openshift>::new(
            "servers",
            "how many servers each vendor has: a number, or a range to scale by load",
            "2-5",
            |openshift, value, _| {
                openshift.servers = Some(text(value)?);
                Ok(())
            },
        )
        .default("2"),
        Key::<Openshift>::new(
            "server_memory",
            "how much memory a server may take, in MiB",
            "1024",
            |openshift, value, _| {
                let memory = value.text.parse().ok().filter(|memory| (128..=1_048_576).contains(memory));
                let wrong = || value.error("expected a number of MiB from 128 to 1048576".into());
                openshift.server_memory = Some(memory.ok_or_else(wrong)?);
                Ok(())
            },
        )
        .default("512; 2048 for a fleet"),
        Key::<Openshift>::new(
            "fleet",
            "whether one deployment serves all vendors that have a bucket: yes or no; `raas setup --fleet` makes it",
            "no",
            |openshift, value, _| {
                openshift.fleet = yes_or_no(value)?;
                Ok(())
            },
        )
        .default("no: each vendor has servers of its own"),
        Key::<Openshift>::new(
            "pull_secrets",
            "the secrets of the project with which the cluster pulls the image",
            "registry-pull",
            |openshift, value, _| {
                openshift.pull_secrets = word_list(value);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "server_secret",
            "a secret of the project whose keys become environment variables of the servers, such as \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            "raas-bucket-keys",
            |openshift, value, _| {
                openshift.server_secret = Some(text(value)?);
                Ok(())
            },
        )
        .default("the keys of `[aws]`"),
        Key::<Openshift>::new(
            "service_account",
            "the service account of the project that the servers run as, such as an account with an identity of the \
             cloud",
            "raas-bucket-reader",
            |openshift, value, _| {
                openshift.service_account = Some(text(value)?);
                Ok(())
            },
        )
        .default("one without permissions, which raas makes"),
        Key::<Openshift>::new(
            "ingress_class",
            "the class of the ingress controller that clients come through",
            "nginx",
            |openshift, value, _| {
                openshift.ingress_class = Some(text(value)?);
                Ok(())
            },
        )
        .default("a Route on OpenShift, else the cluster's default class"),
        Key::<Openshift>::new(
            "gateway",
            "the gateway (Gateway API) that clients come through, `NAMESPACE/NAME` or `NAME`",
            "infra/public",
            |openshift, value, _| {
                openshift.gateway = Some(text(value)?);
                Ok(())
            },
        ),
        Key::<Openshift>::new(
            "ingress_namespace",
            "the namespace of the pods of the ingress controller or gateway: no other pods may then connect to the servers; \
             a Route needs none",
            "ingress-nginx",
            |openshift, value, _| {
                openshift.ingress_namespace = Some(text(value)?);
                Ok(())
            },
        )
        .default("every pod of the cluster may connect"),
    ],
};
