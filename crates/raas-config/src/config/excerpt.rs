//! The part of the configuration that a cluster's servers of some vendors need, with the files that it names.

use std::collections::BTreeMap;
use std::path::Path;

use raas_base::Secret;
use raas_base::failure::{Failure, Kind};
use raas_types::VendorName;

use super::Config;
use crate::ini::{self, Ini};
use crate::sections;

/// A key that is set. Its value may be a password.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) value: Secret,
}

impl Entry {
    pub(super) fn new(section: &str, key: &str, value: &str) -> Self {
        Self { section: section.to_owned(), key: key.to_owned(), value: Secret::new(value) }
    }
}

/// Every key of the file, as it is used.
pub(super) fn values(ini: &Ini) -> Vec<Entry> {
    let of_section = |section: &str| {
        let entry = |(key, value): (&str, &ini::Value)| Entry::new(section, key, &value.text);
        ini.section(section).map(entry).collect::<Vec<_>>()
    };
    ini.sections().flat_map(|section| of_section(section.name)).collect()
}

/// The folder of these files where the servers run.
const SERVER_FOLDER: &str = "/etc/raas";

/// Stands in place of each secret in a manifest that people get to read.
const PLACEHOLDER: &str = "REPLACE-ME";

/// The keys of a vendor's section that name files for its servers.
const FILES: [&str; 4] = ["htpasswd", "token_keys", "client_ca", "cdn_cloudfront_key"];

/// The keys that only the machine of the operator needs.
const NOT_FOR_SERVERS: [&str; 10] = [
    "openshift_domain",
    "tls_certificate",
    "tls_key",
    "profile",
    "git_url",
    "git_branch",
    "require_certified",
    "require_signature",
    "signature_identity",
    "sigstore_root",
];

/// The most bytes of all files together: they go into one secret of Kubernetes, which holds 1 MiB.
const MAX_SIZE: usize = 700_000;

/// `raas.cfg` for the servers of some vendors, and the files that it names.
#[derive(Debug)]
pub struct Excerpt {
    /// The files by name.
    pub files: BTreeMap<String, Secret>,
}

impl Config {
    /// The configuration for servers of these vendors. With `placeholders`, it holds no secret.
    ///
    /// # Errors
    /// A file cannot be read, or all together are too large.
    pub fn excerpt(&self, vendors: &[VendorName], placeholders: bool) -> Result<Excerpt, Failure> {
        let mut excerpt = Excerpt { files: BTreeMap::new() };
        let mut text = self.section("aws", "", placeholders, &mut excerpt)?;
        for vendor in vendors {
            // A single vendor's files need no name of the vendor.
            let prefix = if vendors.len() == 1 { String::new() } else { format!("{vendor}.") };
            text.push_str(&self.section(vendor.as_str(), &prefix, placeholders, &mut excerpt)?);
        }
        excerpt.files.insert("raas.cfg".to_owned(), Secret::new(text));
        let size: usize = excerpt.files.values().map(|file| file.expose().len()).sum();
        if size > MAX_SIZE {
            let names: Vec<&str> = vendors.iter().map(VendorName::as_str).collect();
            let message =
                format!("the configuration and the files of {} have {size} bytes", names.join(", "));
            return Err(Failure::new(Kind::Usage, message)
                .caused_by(format!("a secret of the cluster holds {MAX_SIZE} bytes"))
                .hint("shorten the `htpasswd` file, or let another issuer give tokens"));
        }
        Ok(excerpt)
    }

    /// The text of a section for servers. The files that it names are added, with this prefix of their names.
    fn section(
        &self,
        section: &str,
        prefix: &str,
        placeholders: bool,
        excerpt: &mut Excerpt,
    ) -> Result<String, Failure> {
        let folder = self.source.path();
        let folder = folder.parent().unwrap_or(Path::new(""));
        let entries = self.values.iter().filter(|entry| entry.section == section);
        let mut lines = String::new();
        for Entry { key, value, .. } in entries.filter(|entry| !NOT_FOR_SERVERS.contains(&entry.key.as_str()))
        {
            let mut value = value.expose().to_owned();
            let names_a_file = FILES.contains(&key.as_str()) && !value.starts_with("-----BEGIN");
            if names_a_file {
                let content = match placeholders {
                    true => PLACEHOLDER.to_owned(),
                    false => read(key, &folder.join(&value))?,
                };
                let name = format!("{prefix}{key}");
                value = format!("{SERVER_FOLDER}/{name}");
                excerpt.files.insert(name, Secret::new(content));
            } else if placeholders && sections::is_secret(section, key) {
                PLACEHOLDER.clone_into(&mut value);
            }
            lines.push_str(&format!("{key} = {}\n", written(&value)));
        }
        Ok(if lines.is_empty() { lines } else { format!("[{section}]\n{lines}") })
    }
}

/// A value as raas.cfg has it: `${` is escaped, so that it starts no variable, and further lines are indented.
fn written(value: &str) -> String {
    value.replace("${", "$${").replace('\n', "\n    ")
}

fn read(key: &str, file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::new(Kind::Usage, format!("cannot read {}, the `{key}` of the vendor", file.display()))
            .caused_by(error)
            .hint("correct the key in raas.cfg, or make the file readable")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConfigRequest, NeededSections};
    use raas_publish::home::Home;

    fn load(text: &str, more: &[(&str, &str)]) -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("raas.cfg");
        std::fs::write(&file, text).unwrap();
        for (name, content) in more {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let request = ConfigRequest { file: Some(file), ..ConfigRequest::default() };
        let config =
            Config::load(&request, &|| Home::new(Some(folder.path().join("home"))), NeededSections::All)
                .unwrap();
        (folder, config)
    }

    const TEXT: &str = "[aws]\naws_access_key_id = AKIA\naws_secret_access_key = hun$${ter2\n\
         [acme]\ns3_bucket = bbb\nhtpasswd = users\nopenshift_domain = d\nproxy_repositories = a\n  b\n\
         cdn_akamai_secret = abcd\n[other]\ns3_bucket = ooo\n";

    #[test]
    fn the_servers_read_their_own_part_and_the_same_settings_come_out() {
        let (_folder, config) = load(TEXT, &[("users", "u:$2y$05$hash\n")]);
        let excerpt = config.excerpt(&["acme".parse().unwrap()], false).unwrap();
        let text = excerpt.files["raas.cfg"].expose();
        assert!(!text.contains("ooo") && !text.contains("openshift_domain"), "{text}");
        assert!(text.contains("htpasswd = /etc/raas/htpasswd\n"), "{text}");
        assert_eq!(excerpt.files["htpasswd"].expose(), "u:$2y$05$hash\n");
        let (_folder, read) = load(text, &[]);
        assert_eq!(read.aws.secret_access_key.as_ref().unwrap().expose(), "hun${ter2");
        let vendor = |config: &Config| config.vendor(&"acme".parse().unwrap()).delivery;
        assert_eq!(vendor(&read), vendor(&config));
    }

    #[test]
    fn the_servers_of_a_fleet_read_the_parts_of_all_vendors() {
        let (_folder, config) =
            load(&format!("{TEXT}htpasswd = others\n"), &[("users", "u"), ("others", "o")]);
        let excerpt = config.excerpt(&["acme".parse().unwrap(), "other".parse().unwrap()], false).unwrap();
        let text = excerpt.files["raas.cfg"].expose();
        assert!(text.contains("[other]\ns3_bucket = ooo\nhtpasswd = /etc/raas/other.htpasswd\n"), "{text}");
        let file = |name: &str| excerpt.files[name].expose();
        assert_eq!((file("acme.htpasswd"), file("other.htpasswd")), ("u", "o"));
    }

    #[test]
    fn placeholders_stand_for_every_secret() {
        // The file of users is not even read.
        let (_folder, config) = load(TEXT, &[]);
        let excerpt = config.excerpt(&["acme".parse().unwrap()], true).unwrap();
        let all: String = excerpt.files.values().map(Secret::expose).collect();
        assert!(!all.contains("hun") && !all.contains("abcd"), "{all}");
        assert_eq!(all.matches(PLACEHOLDER).count(), 3, "{all}");
    }

    #[test]
    fn what_does_not_fit_into_a_secret_is_refused() {
        let (_folder, config) = load(TEXT, &[("users", &"u".repeat(MAX_SIZE))]);
        let failure = config.excerpt(&["acme".parse().unwrap()], false).unwrap_err();
        assert!(failure.message().contains("have 700"), "{failure}");
        let (_folder, config) = load(TEXT, &[]);
        let failure = config.excerpt(&["acme".parse().unwrap()], false).unwrap_err();
        assert!(failure.message().contains("`htpasswd`"), "{failure}");
    }
}
