//! The whole configuration, as the other crates use it.

mod environment;
#[cfg(feature = "kubernetes")]
mod excerpt;
mod warnings;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use raas_base::failure::{Failure, Kind};
use raas_base::redact;
use raas_publish::home::Home;
use raas_sources::federation::{FederationSettings, Workspace};
use raas_types::VendorName;

use crate::delivery::KeySource;
use crate::ini::{self, Ini, IniError};
use crate::key::COMMON_SECTIONS;
use crate::sections::{self, Aws, Openshift, Pulpserver, VendorSection, VendorSections, VendorSettings};
use crate::source::{ConfigRequest, ConfigSource};
use crate::sync_rule::SyncRule;
use crate::variables::Variables;
use crate::{edit, separation};
#[cfg(feature = "kubernetes")]
pub use excerpt::Excerpt;

/// The configuration. Everything has a default, so no file is needed.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// What the operator serves.
    pub redhat: FederationSettings,
    /// The platform that registries run on.
    pub openshift: Openshift,
    /// Overrides of the standard chain of AWS credentials.
    pub aws: Aws,
    /// The Pulp server.
    pub pulpserver: Pulpserver,
    vendors: BTreeMap<VendorName, VendorSettings>,
    /// The sections that cannot be used, with the reason. `vendors` does not contain them, as if they were missing.
    refused: BTreeMap<String, IniError>,
    /// Where the configuration comes from.
    pub source: ConfigSource,
    /// The name of the source for messages, with the whole path of a file.
    /// [`without_source`](Self::without_source) keeps it.
    pub origin: String,
    /// How long one git command may wait for the network.
    pub git_timeout: Duration,
    /// Every key that is set, as it may be shown.
    pub settings: Vec<Setting>,
    /// Every key that is set, as it is used.
    #[cfg(feature = "kubernetes")]
    values: Vec<excerpt::Entry>,
}

/// A key that is set, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The name of the section.
    pub section: String,
    /// The name of the key.
    pub key: String,
    /// The value, `***` for a secret.
    pub value: String,
    /// Whether a secret is written in the file, and not the name of a variable or of a file.
    pub has_secret: bool,
}

/// The sections of vendors that must be right for a command. The common sections always must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeededSections<'a> {
    /// All, for a command about all vendors.
    All,
    /// The section of one vendor, for a command about that vendor.
    Of(&'a VendorName),
    /// None, for a server: it serves the vendors whose section is right, and reports the others.
    Servable,
}

impl Config {
    /// Finds and reads the configuration. Without one, all settings have their defaults. `home` is asked for only if
    /// the configuration is in a repository, which is cloned there.
    ///
    /// # Errors
    /// The configuration cannot be read, or a needed part of it cannot be used.
    pub fn load(
        request: &ConfigRequest,
        home: &dyn Fn() -> Result<Home, Failure>,
        needed: NeededSections<'_>,
    ) -> Result<Self, Failure> {
        let source = ConfigSource::find(request, home)?;
        let config = Self::parse(&source.read()?, &source, needed)?;
        let origin = source.whole_name();
        Ok(Self { source, origin, git_timeout: request.git_timeout, ..config })
    }

    /// The configuration as [`remember`](Self::remember) would leave it. No file changes.
    ///
    /// # Errors
    /// A setting has another value in the configuration, or the result cannot be used.
    pub fn with_settings(self, vendor: &VendorName, settings: &[(&str, String)]) -> Result<Self, Failure> {
        let text = String::from_utf8_lossy(&self.source.read()?).into_owned();
        match self.edited(&text, vendor, settings)? {
            None => Ok(self),
            Some(text) => {
                let config = Self::parse(text.as_bytes(), &self.source, NeededSections::Of(vendor))?;
                Ok(Self { source: self.source, origin: self.origin, git_timeout: self.git_timeout, ..config })
            }
        }
    }

    /// Adds settings of a vendor to the configuration's file. Returns whether the file changed.
    ///
    /// # Errors
    /// A setting has another value in the file, or the file cannot be written.
    pub fn remember(&self, vendor: &VendorName, settings: &[(&str, String)]) -> Result<bool, Failure> {
        let message = format!("Set up {vendor}");
        self.source.edit(&message, &|text| self.edited(text, vendor, settings))
    }

    fn edited(
        &self,
        text: &str,
        vendor: &VendorName,
        settings: &[(&str, String)],
    ) -> Result<Option<String>, Failure> {
        edit::with_settings(text, vendor.as_str(), settings).map_err(|message| {
            Failure::new(Kind::Usage, format!("{}, {message}", self.source))
                .hint("change the key in the file, or leave the option out: raas changes no key that is set")
        })
    }

    /// Whether a section that cannot be used names a bucket, as the sections do that a server of buckets serves.
    pub fn refused_with_bucket(&self, section: &str) -> bool {
        self.settings.iter().any(|setting| setting.section == section && setting.key.starts_with("s3_"))
    }

    /// Whether the vendor has a shared bucket: other homes may publish to it too.
    pub fn is_shared(&self, vendor: &VendorName) -> bool {
        self.vendor(vendor).s3_bucket.is_some()
    }

    /// The settings of a vendor. Without a section of that name, all have their defaults.
    pub fn vendor(&self, name: &VendorName) -> VendorSettings {
        self.vendors.get(name).cloned().unwrap_or_default()
    }

    /// The sections that cannot be used, by name, with the reason.
    pub fn refused(&self) -> BTreeMap<String, String> {
        let reason = |error: &IniError| self::reason(&self.origin, error);
        self.refused.iter().map(|(section, error)| (section.clone(), reason(error))).collect()
    }

    /// Why the section of a vendor cannot be used.
    pub fn refusal(&self, vendor: &VendorName) -> Option<String> {
        self.refused.get(vendor.as_str()).map(|error| reason(&self.origin, error))
    }

    /// The vendors that have a section, in the order of their names.
    pub fn vendors(&self) -> impl Iterator<Item = &VendorName> {
        self.vendors.keys()
    }

    /// Whether the vendor has a section.
    pub fn names(&self, vendor: &VendorName) -> bool {
        self.vendors.contains_key(vendor)
    }

    /// Reads the files that the vendors' access policies need: keys of token issuers, authorities of client
    /// certificates, users. Only their errors matter here.
    ///
    /// # Errors
    /// A file cannot be read or used.
    pub fn check_access_policies(&self) -> Result<(), Failure> {
        for (vendor, settings) in &self.vendors {
            let wrong = |key: &str, error: String| {
                Failure::new(Kind::Usage, format!("`{key}` of [{vendor}] cannot be used")).caused_by(error)
            };
            if let Some(issuer) = &settings.token_issuer {
                issuer.check().map_err(|error| wrong("token_keys", error))?;
            }
            if let Some(file) = &settings.htpasswd {
                let opened = File::open(file).map_err(|error| format!("{}: {error}", file.display()));
                opened.map_err(|error| wrong("htpasswd", error))?;
            }
            if let Some(file) = &settings.client_ca {
                raas_server::check_client_ca(file).map_err(|error| wrong("client_ca", error))?;
            }
        }
        Ok(())
    }

    /// The folders that federation sources are read into, and the limit on each of their git commands.
    pub fn workspace(&self, home: &Home) -> Workspace {
        Workspace {
            private: home.config_clones(),
            spool: home.root().to_owned(),
            git_timeout: self.git_timeout,
        }
    }

    /// Refuses a vendor's section that describes a bucket without its name: the vendor would be set up in the home.
    ///
    /// # Errors
    /// The section has such keys.
    pub fn check_bucket_is_named(&self, vendor: &VendorName) -> Result<(), Failure> {
        let Some(key) = self.key_of_unnamed_bucket(vendor) else { return Ok(()) };
        let message = format!("[{vendor}] of {} has `{key}`, but no `s3_bucket`", self.origin);
        Err(Failure::new(Kind::Usage, message)
            .hint(format!("name the bucket: set `s3_bucket`, or run `raas setup {vendor} --s3bucket NAME`"))
            .hint(format!("remove `{key}` to keep the objects of {vendor} in the home")))
    }

    /// A key about a vendor's bucket, if the section does not name the bucket.
    fn key_of_unnamed_bucket(&self, vendor: &VendorName) -> Option<&str> {
        let of_bucket =
            |setting: &&Setting| setting.section == vendor.as_str() && setting.key.starts_with("s3_");
        let setting = self.settings.iter().find(of_bucket)?;
        (!self.is_shared(vendor)).then_some(&setting.key)
    }

    /// Whether any vendor has a bucket.
    pub fn has_buckets(&self) -> bool {
        self.with_buckets().next().is_some()
    }

    /// The vendors with a bucket, in the order of their names.
    pub fn with_buckets(&self) -> impl Iterator<Item = (&VendorName, &VendorSettings)> {
        self.vendors.iter().filter(|(_, settings)| settings.s3_bucket.is_some())
    }

    /// The images that are kept like their sources, by vendors.
    pub fn sync_rules(&self) -> impl Iterator<Item = (&VendorName, &SyncRule)> {
        self.vendors
            .iter()
            .flat_map(|(vendor, settings)| settings.sync.iter().map(move |rule| (vendor, rule)))
    }

    /// The configuration without its source. A private clone is removed now and not when the command ends.
    pub fn without_source(self) -> Self {
        Self { source: ConfigSource::None, ..self }
    }

    fn parse(bytes: &[u8], source: &ConfigSource, needed: NeededSections<'_>) -> Result<Self, Failure> {
        let environment = Variables::of_process();
        let read = Self::read_by_section(bytes, &source.path(), &environment);
        let read = read.and_then(|config| config.with_sections(needed));
        let mut config =
            read.map_err(|error| Failure::new(Kind::Usage, reason(&source.to_string(), &error)))?;
        config.add_standard_variables(&|name| std::env::var(name).ok());
        Ok(config)
    }

    /// The configuration, if the needed sections can be used.
    fn with_sections(self, needed: NeededSections<'_>) -> Result<Self, IniError> {
        let fault = match needed {
            NeededSections::All => self.refused.values().min_by_key(|error| error.line),
            NeededSections::Of(vendor) => self.refused.get(vendor.as_str()),
            NeededSections::Servable => None,
        };
        match fault {
            Some(error) => Err(error.clone()),
            None => Ok(self),
        }
    }

    /// Whether all of a text is a configuration, for a file at `path`. `variable` gives the environment variables that keys
    /// with secrets name.
    ///
    /// # Errors
    /// A section cannot be used. The error says in which line, and why.
    pub fn read_text(
        text: &str,
        path: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        let read = Self::read(text.as_bytes(), path, &Variables::new(variable, None));
        read.map(drop).map_err(|error| format!("line {}: {}", error.line, error.message))
    }

    /// The configuration, if all of it can be used.
    fn read(bytes: &[u8], path: &Path, variables: &Variables<'_>) -> Result<Self, IniError> {
        Self::read_by_section(bytes, path, variables)?.with_sections(NeededSections::All)
    }

    /// Reads the configuration. The section of a vendor that cannot be used is [`refused`](Self::refused).
    ///
    /// # Errors
    /// The file or a common section cannot be used.
    fn read_by_section(bytes: &[u8], path: &Path, variables: &Variables<'_>) -> Result<Self, IniError> {
        let ini = Ini::parse_by_section(bytes, &|section, key, name| variables.value(section, key, name))?;
        if let Some(fault) = COMMON_SECTIONS.iter().find_map(|section| ini.fault(section)) {
            return Err(fault.clone());
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut sections = VendorSections::read(&ini, folder)?;
        separation::check(&ini, &mut sections.sections);
        let (mut vendors, mut refused) = (BTreeMap::new(), BTreeMap::from_iter(sections.unnamed));
        for VendorSection { vendor, settings, refusal } in sections.sections {
            match refusal {
                Some(refusal) => drop(refused.insert(vendor.to_string(), refusal)),
                None => drop(vendors.insert(vendor, settings)),
            }
        }
        Ok(Self {
            redhat: sections::federation(&ini, folder)?,
            openshift: Openshift::read(&ini, folder)?,
            aws: Aws::read(&ini)?,
            pulpserver: Pulpserver::read(&ini, folder)?,
            vendors,
            refused,
            source: ConfigSource::None,
            origin: ConfigSource::None.whole_name(),
            git_timeout: Duration::default(),
            settings: settings(&ini),
            #[cfg(feature = "kubernetes")]
            values: excerpt::values(&ini),
        })
    }
}

/// What an error says about the configuration with this name.
fn reason(configuration: &str, error: &IniError) -> String {
    format!("{configuration}, line {}: {}", error.line, error.message)
}

/// Every key of the file, as it may be shown.
fn settings(ini: &Ini) -> Vec<Setting> {
    let shown = |section: &str, key: &str, value: &ini::Value| {
        if sections::is_secret(section, key) {
            return "***".to_owned();
        }
        // A value from the environment is shown as the file has it: with the name of the variable.
        redact::text(value.written.as_ref().unwrap_or(&value.text))
    };
    let is_file = |key: &str, text: &str| {
        key == "cdn_cloudfront_key" && matches!(KeySource::new(text, Path::new("")), KeySource::File(_))
    };
    let of_section = |section: &str| {
        let setting = |(key, value): (&str, &ini::Value)| Setting {
            section: section.to_owned(),
            key: key.to_owned(),
            value: shown(section, key, value),
            has_secret: sections::is_secret(section, key)
                && value.written.is_none()
                && !is_file(key, &value.text),
        };
        ini.section(section).map(setting).collect::<Vec<_>>()
    };
    ini.sections().flat_map(|section| of_section(section.name)).collect()
}

#[cfg(test)]
mod tests {
    use raas_types::{BucketAccess, ChecksumPolicy};

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        parse_with(text, None)
    }

    fn parse_with(text: &str, allowed: Option<&str>) -> Result<Config, String> {
        let get = |name: &str| (name == "TOKEN").then(|| "hunter2".to_owned());
        let variables = Variables::new(&get, allowed);
        let read = Config::read(text.as_bytes(), Path::new("conf/raas.cfg"), &variables);
        read.map_err(|error| format!("line {}: {}", error.line, error.message))
    }

    #[test]
    fn the_example_of_the_original_tool_loads_unchanged() {
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
    fn a_token_issuer_needs_all_four_keys() {
        let whole = "[acme]\ntoken_realm = https://auth.example.com/token\ntoken_service = acme\ntoken_issuer = auth\n\
                     token_keys = keys.json\n";
        let acme = parse(whole).unwrap().vendor(&"acme".parse().unwrap());
        let keys = Path::new("conf/keys.json");
        let issuer = raas_server::TokenIssuer::new("https://auth.example.com/token", "acme", "auth", keys);
        assert_eq!(acme.token_issuer, issuer.ok());
        let error = parse("[acme]\ns3_bucket = b\ntoken_service = acme\n").unwrap_err();
        assert!(error.starts_with("line 3: token_realm, token_service"), "{error}");
        assert!(parse(&whole.replace("https", "ftp")).unwrap_err().starts_with("line 2: "));
    }

    #[test]
    fn a_vendor_has_a_section_of_its_own() {
        let config =
            parse("[acme]\ns3_bucket = bbb\ns3_prefix = /x/y/\ns3_path_style = yes\naccess = public\ns3_checksums = off\n")
                .unwrap();
        let acme = config.vendor(&"acme".parse().unwrap());
        assert_eq!((acme.s3_bucket.as_deref(), acme.s3_prefix.as_deref()), (Some("bbb"), Some("x/y")));
        assert_eq!((acme.s3_path_style, acme.access), (true, BucketAccess::Public));
        assert_eq!(acme.s3_checksums, ChecksumPolicy::Off);
        let other = config.vendor(&"other".parse().unwrap());
        assert_eq!((other.s3_bucket, other.s3_checksums), (None, ChecksumPolicy::Auto));
    }

    #[test]
    fn masked_layers_are_separated_by_commas_spaces_or_lines() {
        let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
        let config = parse(&format!("[redhat]\nmask_layers = {a}, sha256:{b}\n  {c} {a}\n")).unwrap();
        assert_eq!(config.redhat.mask_layers.len(), 4);
    }

    #[test]
    fn an_error_names_the_line_and_the_reason() {
        let table = [
            (
                "[redhat]\nmask_layer = x",
                "line 2: [redhat] has no key `mask_layer`; did you mean `mask_layers`?",
            ),
            (
                "[redhta]\nmask_layers = x",
                "line 2: [redhta] has no key `mask_layers`; did you mean the section [redhat]?",
            ),
            ("[acme]\ncolour = red", "line 2: [acme] has no key `colour`; it has s3_bucket"),
            ("[redhat]\nmask_images = ubi9", "line 2: `ubi9` is not an image in a registry"),
            ("[redhat]\nmetadata_relpath = a/../b", "line 2: expected a folder"),
            ("[redhat]\n\nmask_layers = nope", "line 3: `nope`"),
            ("[redhat]\nlayer_url = cdn.example.com", "line 2: expected a base URL"),
            ("[redhat]\nlayer_url = https://x?y", "line 2"),
            ("mask_layers = x", "line 1"),
            ("[Acme]", "line 1: [Acme] is neither one of [redhat], [openshift], [aws], [pulpserver] nor"),
            (
                "[acme]\naccess = open",
                "line 2: `open` is no access: expected presigned, public, cdn or proxy",
            ),
            ("[acme]\ns3_checksums = yes", "line 2: `yes` is no setting of checksums"),
            ("[acme]\naccess = cdn", "line 2: `access = cdn` needs `cdn_url`"),
            ("[acme]\nclient_entitlements = yes", "line 2: `client_entitlements = yes` needs `client_ca`"),
            ("[acme]\ns3_bucket =", "line 2: the value is empty"),
            ("[acme]\ncdn_akamai_algo = rot13", "line 2: `rot13` is no algorithm"),
            ("[acme]\ncdn_akamai_ttl = soon", "line 2: `soon` is no number of seconds"),
            (
                "[acme]\naccess = cdn\ncdn_url = https://c\ncdn_cloudfront_key = k.pem",
                "line 4: `cdn_cloudfront_key`: it needs `cdn_cloudfront_key_id`",
            ),
            (
                "[acme]\ncdn_akamai_secret = ab\ncdn_cloudfront_key_id = K2",
                "line 2: `cdn_akamai_secret`: a CDN is Akamai or CloudFront",
            ),
            (
                "[acme]\nproxy_repositories = app, Tools",
                "line 2: `Tools` is neither the name of a repository",
            ),
            ("[acme]\ns3_bucket = bbb\nproxy_hosts = cdn.example.com", "line 3: `proxy_hosts`: it needs"),
            (
                "[acme]\nregistry_host = https://a.example",
                "line 2: `https://a.example` is not the name of a host",
            ),
            ("[acme]\nregistry_host = acme.localhost", "line 2: `acme.localhost` is below `localhost`"),
            (
                "[acme]\nregistry_host = r.a, R.b.\n[other]\ns3_bucket = bbb\nregistry_host = r.b:443",
                "line 5: r.b is the `registry_host` of [acme] already",
            ),
            ("[acme]\ns3_path_style = perhaps", "line 2: `perhaps`"),
            ("[pulpserver]\nhost = https://u:p@pulp.x/", "line 2: expected a host such as pulp.example.com"),
            ("[pulpserver]\nhost = pulp.x/path", "line 2: expected a host such as pulp.example.com"),
            (
                "[pulpserver]\nhost = a.x\nurl = https://b.x",
                "line 3: `host` and `url` name different servers",
            ),
            ("[pulpserver]\nusername = a", "line 2: `username` needs `host`"),
            ("[pulpserver]\nhost = a.x\nusername = a", "line 3: `username` needs `password`"),
            ("[pulpserver]\nhost = a.x\nbase_path = {isv}", "line 3: `{isv}` is not a base path"),
            ("[pulpserver]\nhost = a.x\ndomain = a/b", "line 3: `a/b` is not the name of a domain"),
            ("[openshift]\nauth_token = ${NOWHERE}", "line 2: the environment has no NOWHERE"),
        ];
        for (text, message) in table {
            let failure = parse(text).unwrap_err();
            assert!(failure.contains(message), "{text}: {failure}");
        }
    }

    #[test]
    fn a_named_file_must_exist() {
        let home = || Home::new(Some("/nonexistent".into()));
        let request =
            ConfigRequest { file: Some("/nonexistent/raas.cfg".into()), ..ConfigRequest::default() };
        assert!(Config::load(&request, &home, NeededSections::All).is_err());
    }

    #[test]
    fn settings_are_shown_without_secrets() {
        let config = parse_with(
            "[openshift]\npassword = ${TOKEN}\napp_git_url = https://u:p@x.org/a\nusername = a-${TOKEN}\n",
            Some("TOKEN"),
        );
        let config = config.unwrap();
        let shown: Vec<&str> = config.settings.iter().map(|setting| setting.value.as_str()).collect();
        assert_eq!(shown, ["***", "https://x.org/a", "a-${TOKEN}"]);
        assert_eq!(config.openshift.username.as_deref(), Some("a-hunter2"));
    }
}
