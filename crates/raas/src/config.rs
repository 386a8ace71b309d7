//! `raas.cfg`: what the operator has set.

mod ini;
mod masks;
mod secret;
mod sections;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use raas_types::VendorName;

use crate::failure::{Failure, Kind};
use ini::{Ini, IniError};
pub(crate) use masks::Masks;
#[cfg(test)]
pub(crate) use secret::Secret;
pub(crate) use sections::{Access, Aws, Openshift, Pulpserver, Redhat, VendorSettings};

/// The file in the current folder that is read when none is named.
const DEFAULT_FILE: &str = "raas.cfg";

/// The configuration; everything has a default, so that no file is needed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// What the operator serves itself.
    pub(crate) redhat: Redhat,
    /// The platform that registries run on.
    pub(crate) openshift: Openshift,
    /// Overrides of the standard chain of AWS credentials.
    pub(crate) aws: Aws,
    /// Where images come from when `--from` says nothing.
    pub(crate) pulpserver: Pulpserver,
    vendors: BTreeMap<VendorName, VendorSettings>,
}

impl Config {
    /// Reads the named file, or `raas.cfg` in the current folder if there is one.
    pub(crate) fn load(named: Option<&Path>) -> Result<Self, Failure> {
        let path = named.unwrap_or(Path::new(DEFAULT_FILE));
        match fs::read(path) {
            Ok(bytes) => Self::parse(&bytes, path),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                Err(Failure::new(Kind::Usage, format!("cannot read the configuration {}", path.display()))
                    .caused_by(error))
            }
        }
    }

    /// What is set for a vendor; the defaults where there is no section of that name.
    pub(crate) fn vendor(&self, name: &VendorName) -> VendorSettings {
        self.vendors.get(name).cloned().unwrap_or_default()
    }

    /// Whether any vendor has a bucket.
    pub(crate) fn has_buckets(&self) -> bool {
        self.vendors.values().any(|vendor| vendor.s3_bucket.is_some())
    }

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, Failure> {
        let environment = |name: &str| std::env::var(name).ok();
        Self::read(bytes, path, &environment).map_err(|error| {
            Failure::new(Kind::Usage, format!("{}, line {}: {}", path.display(), error.line, error.message))
        })
    }

    fn read(
        bytes: &[u8],
        path: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, IniError> {
        let ini = Ini::parse(bytes, environment)?;
        // Paths in the file are meant from the file's own folder.
        let folder = path.parent().unwrap_or(Path::new(""));
        Ok(Self {
            redhat: Redhat::read(&ini, folder)?,
            openshift: Openshift::read(&ini)?,
            aws: Aws::read(&ini)?,
            pulpserver: Pulpserver::read(&ini)?,
            vendors: VendorSettings::read_all(&ini)?.into_iter().collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let environment = |name: &str| (name == "TOKEN").then(|| "hunter2".to_owned());
        let read = Config::read(text.as_bytes(), Path::new("conf/raas.cfg"), &environment);
        read.map_err(|error| format!("line {}: {}", error.line, error.message))
    }

    #[test]
    fn the_briefs_example_loads_unchanged() {
        let config = parse(include_str!("../../../fixtures/raas.cfg")).unwrap();
        assert_eq!(config.redhat.mask_layers.len(), 4);
        assert_eq!(config.openshift.server_url.as_deref(), Some("https://openshift.redhat.com"));
        assert_eq!(config.openshift.cartridge.as_deref(), Some("python-2.7"));
    }

    #[test]
    fn secrets_come_from_the_environment_and_are_not_shown() {
        let config = parse("[openshift]\nauth_token = ${TOKEN}\npassword = a${TOKEN}b$${x}\n").unwrap();
        assert_eq!(config.openshift.auth_token.as_ref().unwrap().expose(), "hunter2");
        assert_eq!(config.openshift.password.as_ref().unwrap().expose(), "ahunter2b${x}");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_vendor_has_a_section_of_its_own() {
        let config =
            parse("[acme]\ns3_bucket = b\ns3_prefix = /x/y/\ns3_path_style = yes\naccess = public\n")
                .unwrap();
        let acme = config.vendor(&"acme".parse().unwrap());
        assert_eq!((acme.s3_bucket.as_deref(), acme.s3_prefix.as_deref()), (Some("b"), Some("x/y")));
        assert_eq!((acme.s3_path_style, acme.access), (true, Access::Public));
        assert_eq!(config.vendor(&"other".parse().unwrap()).s3_bucket, None);
    }

    #[test]
    fn ids_are_separated_by_commas_spaces_or_lines() {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let config = parse(&format!("[redhat]\nmask_layers = {a}, sha256:{b}\n  {c} {a}\n")).unwrap();
        assert_eq!(config.redhat.mask_layers.len(), 4);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        let table = [
            ("[redhat]\nmask_layer = x", "line 2: [redhat] has no key `mask_layer`"),
            ("[redhat]\n\nmask_layers = nope", "line 3: `nope`"),
            ("[redhat]\nlayer_url = cdn.example.com", "line 2: expected a base URL"),
            ("[redhat]\nlayer_url = https://x?y", "line 2"),
            ("mask_layers = x", "line 1"),
            ("[Acme]", "line 1: [Acme] is neither one of [redhat], [openshift], [aws], [pulpserver] nor"),
            (
                "[acme]\naccess = open",
                "line 2: `open` is no access: expected presigned, public, cdn or proxy",
            ),
            ("[acme]\naccess = cdn", "line 2: `access = cdn` needs `cdn_url`"),
            ("[acme]\ns3_bucket =", "line 2: the value is empty"),
            ("[acme]\ns3_path_style = perhaps", "line 2: `perhaps`"),
            ("[openshift]\nauth_token = ${NOWHERE}", "line 2: the environment has no NOWHERE"),
        ];
        for (text, message) in table {
            let failure = parse(text).unwrap_err();
            assert!(failure.contains(message), "{text}: {failure}");
        }
    }

    #[test]
    fn no_file_is_needed_and_a_named_one_is() {
        assert!(Config::load(Some(Path::new("/nonexistent/raas.cfg"))).is_err());
    }
}
