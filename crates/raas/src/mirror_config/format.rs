//! The forms of the configuration.
//!
//! Sources: OpenShift's API `config.openshift.io/v1`, ImageDigestMirrorSet and ImageTagMirrorSet;
//! containers-registries.conf(5) version 2; containerd's docs/hosts.md; dockerd(8).

use super::mirror::Transport;
use super::{ClientFile, Plan};

/// The program that reads the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// OpenShift's ImageDigestMirrorSet, for images that are pulled by digest
    Idms,
    /// OpenShift's ImageTagMirrorSet, for images that are pulled by tag
    Itms,
    /// registries.conf of podman, skopeo, buildah and CRI-O
    #[value(name = "registries.conf")]
    RegistriesConf,
    /// hosts.toml of containerd
    Containerd,
    /// A script for docker, which has mirrors of docker.io only
    Docker,
}

impl Format {
    /// Whether the files name images, and not only registries.
    pub(super) fn names_images(self) -> bool {
        self == Format::Docker
    }

    /// The files.
    pub(super) fn files(self, plan: &Plan<'_>) -> Vec<ClientFile> {
        match self {
            Format::Idms => vec![mirror_set(plan, "ImageDigestMirrorSet", "imageDigestMirrors")],
            Format::Itms => vec![mirror_set(plan, "ImageTagMirrorSet", "imageTagMirrors")],
            Format::RegistriesConf => vec![registries_conf(plan)],
            Format::Containerd => plan.sources.iter().map(|source| hosts_toml(plan, source)).collect(),
            Format::Docker => vec![docker_script(plan)],
        }
    }

    /// What a person should know besides.
    pub(super) fn notes(self, plan: &Plan<'_>) -> Vec<String> {
        let mut notes = self.notes_of_format(plan);
        let hidden = plan.images.hidden_repositories;
        if plan.customer.is_some() && !self.names_images() {
            notes.push("--customer has no effect: this format names registries, and no images".to_owned());
        }
        if plan.customer.is_none() && hidden > 0 {
            notes.push(format!(
                "protected repositories that are left out: {hidden}; --customer adds those that are granted to a customer"
            ));
        }
        notes
    }

    fn notes_of_format(self, plan: &Plan<'_>) -> Vec<String> {
        let transport = plan.mirror.transport;
        let host = plan.mirror.host();
        match self {
            Format::Idms | Format::Itms if transport != Transport::Verified => vec![format!(
                "a mirror set cannot say that {host} is not verified: add it to \
                 `spec.registrySources.insecureRegistries` of image.config.openshift.io/cluster"
            )],
            Format::Docker => {
                let mut notes = vec![
                    "docker has mirrors of docker.io only: the script pulls each image by the mirror's name, and gives it \
                     the vendor's name"
                        .to_owned(),
                ];
                if plan.only_mirror {
                    notes.push(
                        "--only-mirror has no effect: docker never asks the vendor's registry here"
                            .to_owned(),
                    );
                }
                notes
            }
            _ => Vec::new(),
        }
    }
}

fn mirror_set(plan: &Plan<'_>, kind: &str, list: &str) -> ClientFile {
    let Plan { vendor, sources, mirror, only_mirror, .. } = plan;
    let mut content = format!(
        "# Run: oc apply -f FILE\napiVersion: config.openshift.io/v1\nkind: {kind}\nmetadata:\n  name: raas-{vendor}\nspec:\n  \
         {list}:\n"
    );
    let policy = if *only_mirror { "NeverContactSource" } else { "AllowContactingSource" };
    for source in sources {
        content.push_str(&format!(
            "  - source: \"{source}\"\n    mirrors:\n    - \"{}\"\n    mirrorSourcePolicy: {policy}\n",
            mirror.shown()
        ));
    }
    ClientFile { file: None, content }
}

fn registries_conf(plan: &Plan<'_>) -> ClientFile {
    let Plan { vendor, sources, mirror, only_mirror, .. } = plan;
    let path = format!("/etc/containers/registries.conf.d/raas-{vendor}.conf");
    let mut content = format!("# {path}\n");
    for source in sources {
        content.push_str(&format!("\n[[registry]]\nlocation = \"{source}\"\n"));
        if *only_mirror {
            content.push_str("# Only the mirror is asked.\nblocked = true\n");
        }
        content.push_str(&format!("\n[[registry.mirror]]\nlocation = \"{}\"\n", mirror.shown()));
        if mirror.transport != Transport::Verified {
            content.push_str("insecure = true\n");
        }
    }
    ClientFile { file: Some(path), content }
}

fn hosts_toml(plan: &Plan<'_>, source: &str) -> ClientFile {
    let path = format!("/etc/containerd/certs.d/{source}/hosts.toml");
    let (url, has_api) = plan.mirror.api_url();
    let mut own = String::new();
    if has_api {
        own.push_str("override_path = true\n");
    }
    if plan.mirror.transport == Transport::AnyCertificate {
        own.push_str("skip_verify = true\n");
    }
    let mut content = format!(
        "# {path}\n# containerd reads it if `config_path` of its registry settings is /etc/containerd/certs.d\n"
    );
    if plan.only_mirror {
        content.push_str(&format!("# Only the mirror is asked.\nserver = \"{url}\"\n{own}"));
    } else {
        content.push_str(&format!("server = \"https://{source}\"\n"));
    }
    content.push_str(&format!("\n[host.\"{url}\"]\ncapabilities = [\"pull\", \"resolve\"]\n{own}"));
    ClientFile { file: Some(path), content }
}

/// A script of `docker pull` and `docker tag`, which goes on after an image that the mirror lacks. Names and tags need no quotes
/// in a shell.
fn docker_script(plan: &Plan<'_>) -> ClientFile {
    let Plan { sources, mirror, images, .. } = plan;
    let mut content = format!(
        "#!/bin/sh\n# docker has mirrors of docker.io only. This pulls each image by the mirror's name, and gives it the name \
         in\n# {}.\n",
        sources.join(" and ")
    );
    if mirror.transport != Transport::Verified {
        let daemon = serde_json::json!({ "insecure-registries": [mirror.host()] });
        content.push_str(&format!("# /etc/docker/daemon.json needs: {daemon}\n"));
    }
    content.push_str("# Images that cannot be pulled are named at the end.\nset -u\nfailed=\n\npull() {\n");
    content.push_str(&format!("    docker pull \"{}/$1\"", mirror.shown()));
    for source in sources {
        content.push_str(&format!(" &&\n        docker tag \"{}/$1\" \"{source}/$1\"", mirror.shown()));
    }
    content.push_str(" ||\n        failed=\"$failed $1\"\n}\n\n");
    for (repository, tag) in &images.visible {
        content.push_str(&format!("pull {repository}:{tag}\n"));
    }
    content.push_str(
        "\nif [ -n \"$failed\" ]; then\n    echo \"These images were not pulled:$failed\" >&2\n    exit 1\nfi\n",
    );
    ClientFile { file: None, content }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror_config::{Images, Mirror};

    fn content(format: Format, only_mirror: bool, to: &str, transport: Transport) -> String {
        let mirror = to.parse::<Mirror>().unwrap().reached(transport);
        let plan = Plan {
            vendor: &"acme".parse().unwrap(),
            sources: vec!["registry.acme.com".into(), "r.acme.com:5000".into()],
            mirror: &mirror,
            only_mirror,
            customer: None,
            images: Images {
                visible: vec![("app".parse().unwrap(), "1.0".parse().unwrap())],
                hidden_repositories: 0,
            },
        };
        let files = format.files(&plan).into_iter();
        files.map(|file| file.content).collect::<Vec<_>>().join("---\n")
    }

    #[test]
    fn a_mirror_set_has_the_form_of_openshift() {
        let expected = r#"# Run: oc apply -f FILE
apiVersion: config.openshift.io/v1
kind: ImageDigestMirrorSet
metadata:
  name: raas-acme
spec:
  imageDigestMirrors:
  - source: "registry.acme.com"
    mirrors:
    - "r.lan/acme"
    mirrorSourcePolicy: AllowContactingSource
  - source: "r.acme.com:5000"
    mirrors:
    - "r.lan/acme"
    mirrorSourcePolicy: AllowContactingSource
"#;
        assert_eq!(content(Format::Idms, false, "r.lan/acme", Transport::Verified), expected);
        let by_tag = expected
            .replace("ImageDigestMirrorSet", "ImageTagMirrorSet")
            .replace("imageDigestMirrors", "imageTagMirrors")
            .replace("AllowContactingSource", "NeverContactSource");
        assert_eq!(content(Format::Itms, true, "r.lan/acme", Transport::Verified), by_tag);
    }

    #[test]
    fn registries_conf_has_the_form_of_version_2() {
        let expected = r#"# /etc/containers/registries.conf.d/raas-acme.conf

[[registry]]
location = "registry.acme.com"
# Only the mirror is asked.
blocked = true

[[registry.mirror]]
location = "r.lan:5000"
insecure = true

[[registry]]
location = "r.acme.com:5000"
# Only the mirror is asked.
blocked = true

[[registry.mirror]]
location = "r.lan:5000"
insecure = true
"#;
        assert_eq!(content(Format::RegistriesConf, true, "r.lan:5000", Transport::Plain), expected);
        let verified = expected
            .replace("insecure = true\n", "")
            .replace("# Only the mirror is asked.\nblocked = true\n", "");
        assert_eq!(content(Format::RegistriesConf, false, "r.lan:5000", Transport::Verified), verified);
    }

    #[test]
    fn hosts_toml_has_the_form_of_containerd() {
        let expected = r#"# /etc/containerd/certs.d/registry.acme.com/hosts.toml
# containerd reads it if `config_path` of its registry settings is /etc/containerd/certs.d
server = "https://registry.acme.com"

[host."https://r.lan/v2/acme"]
capabilities = ["pull", "resolve"]
override_path = true
skip_verify = true
---
# /etc/containerd/certs.d/r.acme.com:5000/hosts.toml
# containerd reads it if `config_path` of its registry settings is /etc/containerd/certs.d
server = "https://r.acme.com:5000"

[host."https://r.lan/v2/acme"]
capabilities = ["pull", "resolve"]
override_path = true
skip_verify = true
"#;
        assert_eq!(content(Format::Containerd, false, "r.lan/acme", Transport::AnyCertificate), expected);
        let only = content(Format::Containerd, true, "r.lan", Transport::Plain);
        assert!(only.contains("server = \"http://r.lan\"\n\n[host.\"http://r.lan\"]\n"), "{only}");
    }

    #[test]
    fn docker_gets_a_script() {
        let expected = r#"#!/bin/sh
# docker has mirrors of docker.io only. This pulls each image by the mirror's name, and gives it the name in
# registry.acme.com and r.acme.com:5000.
# /etc/docker/daemon.json needs: {"insecure-registries":["r.lan:5000"]}
# Images that cannot be pulled are named at the end.
set -u
failed=

pull() {
    docker pull "r.lan:5000/$1" &&
        docker tag "r.lan:5000/$1" "registry.acme.com/$1" &&
        docker tag "r.lan:5000/$1" "r.acme.com:5000/$1" ||
        failed="$failed $1"
}

pull app:1.0

if [ -n "$failed" ]; then
    echo "These images were not pulled:$failed" >&2
    exit 1
fi
"#;
        assert_eq!(content(Format::Docker, false, "r.lan:5000", Transport::Plain), expected);
    }
}
