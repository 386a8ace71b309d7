//! A credential as clients read it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use raas_base::Secret;
use raas_base::failure::{Failure, Kind};
use raas_types::access::{CustomerName, KeyName};
use raas_types::{Utc, VendorName};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::output;

/// The form of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CredentialFormat {
    /// User name and password, each in a line
    Plain,
    /// Docker's `config.json`
    DockerConfig,
    /// A manifest of a Kubernetes secret for `imagePullSecrets`
    K8sSecret,
    /// The `auth.json` of podman, skopeo and buildah
    Podman,
    /// One JSON object with all parts
    Json,
}

/// A customer's new credential.
pub(crate) struct Credential<'a> {
    pub(crate) vendor: &'a VendorName,
    pub(crate) customer: &'a CustomerName,
    pub(crate) key: &'a KeyName,
    pub(crate) secret: &'a Secret,
    pub(crate) expires: Option<Utc>,
    /// The hosts that the customer pulls from.
    pub(crate) hosts: &'a [String],
}

/// The credential as one JSON object. The password is here and nowhere else.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CredentialReport<'a> {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: &'a VendorName,
    #[cfg_attr(test, schemars(with = "String"))]
    customer: &'a CustomerName,
    #[cfg_attr(test, schemars(with = "String"))]
    key: &'a KeyName,
    username: &'a str,
    password: &'a str,
    /// `null` if the key never expires.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    expires: Option<Utc>,
    /// The hosts that the customer pulls from, as far as they are known.
    registry_hosts: &'a [String],
}

impl CredentialFormat {
    /// Checks that the hosts are known if the format needs them.
    ///
    /// # Errors
    /// The format needs a host, and there is none.
    pub(crate) fn check_hosts(self, vendor: &VendorName, hosts: &[String]) -> Result<(), Failure> {
        if !hosts.is_empty() || matches!(self, Self::Plain | Self::Json) {
            return Ok(());
        }
        Err(Failure::new(Kind::Usage, "this format names the registry's host, and the host is not known")
            .hint(format!("give `--host HOST`, or set `registry_host` in section [{vendor}] of raas.cfg")))
    }
}

impl Credential<'_> {
    /// Prints the credential to standard output.
    pub(crate) fn print(&self, format: CredentialFormat) {
        match format {
            CredentialFormat::Plain => {
                output::line(&format!("username: {}", self.customer));
                output::line(&format!("password: {}", self.secret.expose()));
            }
            CredentialFormat::DockerConfig | CredentialFormat::Podman => output::json(&self.auths()),
            CredentialFormat::K8sSecret => output::line(self.k8s_secret().trim_end()),
            CredentialFormat::Json => output::json(&CredentialReport {
                vendor: self.vendor,
                customer: self.customer,
                key: self.key,
                username: self.customer.as_str(),
                password: self.secret.expose(),
                expires: self.expires,
                registry_hosts: self.hosts,
            }),
        }
        output::note("The password is shown only once: raas keeps no more than its hash");
    }

    /// Source: docker's `config.json`, and containers-auth.json(5).
    fn auths(&self) -> Value {
        let auth = STANDARD.encode(format!("{}:{}", self.customer, self.secret.expose()));
        let entry = |host: &String| (host.clone(), json!({ "auth": auth }));
        json!({ "auths": self.hosts.iter().map(entry).collect::<Map<String, Value>>() })
    }

    /// Source: Kubernetes, "Pull an Image from a Private Registry", `kubernetes.io/dockerconfigjson`.
    fn k8s_secret(&self) -> String {
        // A name of Kubernetes has no `_`, and its dots stand between letters and digits.
        let name = format!("{}-{}-{}", self.vendor, self.customer, self.key).replace(['_', '.'], "-");
        let config = STANDARD.encode(self.auths().to_string());
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\ntype: kubernetes.io/dockerconfigjson\n\
             data:\n  .dockerconfigjson: {config}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_read_the_credential() {
        let (vendor, customer, key) =
            ("acme".parse().unwrap(), "big_.bank".parse().unwrap(), "ci".parse().unwrap());
        let (secret, hosts) = (Secret::new("s3cret"), ["r.example".to_owned()]);
        let credential = Credential {
            vendor: &vendor,
            customer: &customer,
            key: &key,
            secret: &secret,
            expires: None,
            hosts: &hosts,
        };
        let auth = STANDARD.encode("big_.bank:s3cret");
        assert_eq!(credential.auths(), json!({"auths": {"r.example": {"auth": auth}}}));
        let manifest = credential.k8s_secret();
        assert!(manifest.contains("name: acme-big--bank-ci\n"), "{manifest}");
        let config = manifest.lines().last().unwrap().strip_prefix("  .dockerconfigjson: ").unwrap();
        assert_eq!(STANDARD.decode(config).unwrap(), credential.auths().to_string().into_bytes());
        CredentialFormat::DockerConfig.check_hosts(&vendor, &[]).unwrap_err();
        CredentialFormat::Plain.check_hosts(&vendor, &[]).unwrap();
    }
}
