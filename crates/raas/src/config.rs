//! `raas.cfg`: what the operator has set.

mod bucket;
mod crane;
mod delivery;
mod edit;
mod ini;
mod issuer;
mod repository;
mod sections;
mod source;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use raas_sources::federation::{FederationSettings, Workspace};
use raas_types::VendorName;

pub(crate) use crane::CraneConf;
pub(crate) use delivery::{Delivery, KeySource};
use ini::{Ini, IniError};
use raas_base::failure::{Failure, Kind};
use raas_base::redact;
use raas_publish::home::Home;
pub(crate) use repository::ReadFile;
pub(crate) use sections::{Aws, Openshift, Pulpserver, VendorSettings};
pub(crate) use source::{Asked, Source};

/// The configuration; everything has a default, so that no file is needed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// What the operator serves itself.
    pub(crate) redhat: FederationSettings,
    /// The platform that registries run on.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "checked when it is read; the one platform so far is this machine")
    )]
    pub(crate) openshift: Openshift,
    /// Overrides of the standard chain of AWS credentials.
    pub(crate) aws: Aws,
    /// Where images come from when `--from` says nothing.
    #[expect(dead_code, reason = "checked when it is read; images come from files and addresses so far")]
    pub(crate) pulpserver: Pulpserver,
    vendors: BTreeMap<VendorName, VendorSettings>,
    /// Where all this comes from.
    pub(crate) source: Source,
    /// How long one git command may wait for the network.
    pub(crate) patience: Duration,
    /// Everything that is set, for people's eyes.
    pub(crate) settings: Vec<Setting>,
}

/// A key of the file, as it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) section: String,
    pub(crate) key: String,
    /// The value, `***` for a secret.
    pub(crate) value: String,
}

impl Config {
    /// Finds and reads the configuration; the defaults where there is none.
    pub(crate) fn load(asked: &Asked, home: &dyn Fn() -> Result<Home, Failure>) -> Result<Self, Failure> {
        let source = Source::find(asked, home)?;
        let config = Self::parse(&source.read()?, &source)?;
        Ok(Self { source, patience: asked.patience, ..config })
    }

    /// The configuration with these settings of a vendor, as it would be once they are remembered.
    pub(crate) fn with_settings(
        self,
        vendor: &VendorName,
        settings: &[(&str, String)],
    ) -> Result<Self, Failure> {
        let text = String::from_utf8_lossy(&self.source.read()?).into_owned();
        match self.edited(&text, vendor, settings)? {
            None => Ok(self),
            Some(text) => {
                let config = Self::parse(text.as_bytes(), &self.source)?;
                Ok(Self { source: self.source, patience: self.patience, ..config })
            }
        }
    }

    /// Writes settings of a vendor to where the configuration comes from, for the next time; says whether it had to.
    pub(crate) fn remember(&self, vendor: &VendorName, settings: &[(&str, String)]) -> Result<bool, Failure> {
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
            Failure::new(Kind::Usage, format!("{}, {message}", self.source)).hint(
                "raas changes nothing that stands there; change it in the file, or leave the option out",
            )
        })
    }

    /// Whether a vendor's objects are in a bucket of a service, which other homes may publish to as well.
    pub(crate) fn is_shared(&self, vendor: &VendorName) -> bool {
        self.vendor(vendor).s3_bucket.is_some()
    }

    /// What is set for a vendor; the defaults where there is no section of that name.
    pub(crate) fn vendor(&self, name: &VendorName) -> VendorSettings {
        self.vendors.get(name).cloned().unwrap_or_default()
    }

    /// Reads the files that say who may come in to the vendors' registries.
    ///
    /// # Errors
    /// One cannot be read, or is not what it should be.
    pub(crate) fn check_doors(&self) -> Result<(), Failure> {
        for (vendor, settings) in &self.vendors {
            let wrong = |key: &str, error: String| {
                Failure::new(Kind::Usage, format!("`{key}` of [{vendor}] cannot be used")).caused_by(error)
            };
            if let Some(issuer) = &settings.token_issuer {
                issuer.check().map_err(|error| wrong("token_keys", error))?;
            }
            if let Some(file) = &settings.client_ca {
                raas_server::check_client_ca(file).map_err(|error| wrong("client_ca", error))?;
            }
        }
        Ok(())
    }

    /// Where federation sources are read with what is not kept.
    pub(crate) fn workspace(&self, home: &Home) -> Workspace {
        Workspace { private: home.config_clones(), spool: home.root().to_owned(), patience: self.patience }
    }

    /// Whether any vendor has a bucket.
    pub(crate) fn has_buckets(&self) -> bool {
        self.with_buckets().next().is_some()
    }

    /// The vendors that have a bucket, in order.
    pub(crate) fn with_buckets(&self) -> impl Iterator<Item = (&VendorName, &VendorSettings)> {
        self.vendors.iter().filter(|(_, settings)| settings.s3_bucket.is_some())
    }

    /// The same without a hold on where it came from: a private clone goes now, and not when the command ends.
    pub(crate) fn without_source(self) -> Self {
        Self { source: Source::None, ..self }
    }

    fn parse(bytes: &[u8], source: &Source) -> Result<Self, Failure> {
        let environment = |name: &str| std::env::var(name).ok();
        Self::read(bytes, &source.path(), &environment).map_err(|error| {
            Failure::new(Kind::Usage, format!("{source}, line {}: {}", error.line, error.message))
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
            redhat: sections::federation(&ini, folder)?,
            openshift: Openshift::read(&ini)?,
            aws: Aws::read(&ini)?,
            pulpserver: Pulpserver::read(&ini)?,
            vendors: VendorSettings::read_all(&ini, folder)?.into_iter().collect(),
            source: Source::None,
            patience: Duration::default(),
            settings: settings(&ini),
        })
    }
}

fn settings(ini: &Ini) -> Vec<Setting> {
    let of = |section: &str| {
        let shown = |key: &str, value: &ini::Value| {
            match &value.written {
                _ if sections::SECRETS.contains(&key) => "***".to_owned(),
                // What somebody keeps in the environment is theirs to show.
                written => redact::text(written.as_ref().unwrap_or(&value.text)),
            }
        };
        let entries = ini.section(section);
        let setting = |(key, value): (&str, &ini::Value)| Setting {
            section: section.to_owned(),
            key: key.to_owned(),
            value: shown(key, value),
        };
        entries.map(setting).collect::<Vec<_>>()
    };
    ini.sections().flat_map(|section| of(section.name)).collect()
}

#[cfg(test)]
mod tests {
    use raas_types::BucketAccess;

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
    fn an_issuer_of_tokens_is_named_as_a_whole() {
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
            parse("[acme]\ns3_bucket = bbb\ns3_prefix = /x/y/\ns3_path_style = yes\naccess = public\n")
                .unwrap();
        let acme = config.vendor(&"acme".parse().unwrap());
        assert_eq!((acme.s3_bucket.as_deref(), acme.s3_prefix.as_deref()), (Some("bbb"), Some("x/y")));
        assert_eq!((acme.s3_path_style, acme.access), (true, BucketAccess::Public));
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
            ("[acme]\naccess = cdn", "line 2: `access = cdn` needs `cdn_url`"),
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
            ("[openshift]\nauth_token = ${NOWHERE}", "line 2: the environment has no NOWHERE"),
        ];
        for (text, message) in table {
            let failure = parse(text).unwrap_err();
            assert!(failure.contains(message), "{text}: {failure}");
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let home = || Home::new(Some("/nonexistent".into()));
        let asked = Asked { file: Some("/nonexistent/raas.cfg".into()), ..Asked::default() };
        assert!(Config::load(&asked, &home).is_err());
    }

    #[test]
    fn what_is_shown_holds_no_secret() {
        let config = parse(
            "[openshift]\npassword = ${TOKEN}\napp_git_url = https://u:p@x.org/a\nusername = a-${TOKEN}\n",
        );
        let config = config.unwrap();
        let shown: Vec<&str> = config.settings.iter().map(|setting| setting.value.as_str()).collect();
        assert_eq!(shown, ["***", "https://x.org/a", "a-${TOKEN}"]);
        assert_eq!(config.openshift.username.as_deref(), Some("a-hunter2"));
    }

    #[test]
    fn the_template_and_the_reference_explain_every_key_and_the_template_loads() {
        let template = include_str!("../../../raas.cfg.template");
        let reference = include_str!("../../../docs/configuration.md");
        parse(template).unwrap();
        // Every key may be taken out of its comment and given its example.
        let all: String = template
            .lines()
            .map(|line| {
                let bare = line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#']));
                format!("{}\n", bare.unwrap_or(line))
            })
            .collect();
        let any = |_: &str| Some("x".to_owned());
        // A CDN is one or the other, and the template has both.
        for other in ["cdn_akamai_secret = ", "cdn_cloudfront_key"] {
            let text: String = all
                .lines()
                .filter(|line| !line.starts_with(other))
                .fold(String::new(), |text, line| text + line + "\n");
            Config::read(text.as_bytes(), Path::new("raas.cfg"), &any).unwrap();
        }
        let config =
            Config { settings: settings(&Ini::parse(all.as_bytes(), &any).unwrap()), ..Config::default() };
        for (section, keys) in sections::all() {
            for key in keys {
                let found = config.settings.iter().any(|s| s.section == section && s.key == **key);
                assert!(found, "the template has no `{key}` in [{section}]");
                assert!(
                    reference.contains(&format!("| `{key}` |")),
                    "the reference has no `{key}` of [{section}]"
                );
            }
        }
        assert_eq!(config.settings.len(), sections::all().iter().map(|(_, keys)| keys.len()).sum::<usize>());
    }
}
