//! The configuration of a legacy Crane, `/etc/crane.conf`.
//!
//! Source: pulp/crane, `crane/data/default_config.conf` and README. Values may be `${NAME}` as in `raas.cfg`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raas_server::{AkamaiToken, ContentFolders, CraneRules, TokenAlgorithm};

use crate::ini::{Ini, IniError, Value};
use crate::values::{seconds, token_algorithm, yes_or_no};
use raas_base::failure::{Failure, Kind};

/// What a `crane.conf` sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CraneConf {
    /// `[general] data_dir`: the folder of the documents.
    pub data_dir: PathBuf,
    /// `[general] data_dir_polling_interval`: how often the server looks for changed documents.
    pub every: Duration,
    /// How the server serves the documents.
    pub rules: CraneRules,
    /// Notes for people about keys without an effect here.
    pub notes: Vec<String>,
}

/// Every section and its keys.
const KEYS: [(&str, &[&str]); 5] = [
    ("general", &["debug", "data_dir", "data_dir_polling_interval", "endpoint"]),
    (
        "cdn",
        &["url_match", "url_replace", "url_auth_secret", "url_auth_param", "url_auth_ttl", "url_auth_algo"],
    ),
    ("serve_content", &["enable", "content_dir_v1", "content_dir_v2", "use_x_sendfile"]),
    ("gsa", &["url"]),
    ("solr", &["url"]),
];

/// The values read so far that have an effect only together with other values.
struct JoinedValues {
    url_match: String,
    url_replace: String,
    secret: Option<(String, usize)>,
    parameter: String,
    lifetime: Duration,
    algorithm: TokenAlgorithm,
    serves_content: bool,
    folders: ContentFolders,
}

impl CraneConf {
    /// Reads the file.
    ///
    /// # Errors
    /// The file cannot be read, or has a key or value that no Crane knows. The error names the line.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        let bytes = fs::read(file).map_err(|error| {
            Failure::new(Kind::Usage, format!("cannot read Crane's configuration {}", file.display()))
                .caused_by(error)
        })?;
        Self::read(&bytes, &|name| std::env::var(name).ok()).map_err(|error| {
            Failure::new(Kind::Usage, format!("{}, line {}: {}", file.display(), error.line, error.message))
        })
    }

    fn read(bytes: &[u8], environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, IniError> {
        let ini = Ini::parse(bytes, environment)?;
        let mut conf = Self {
            data_dir: "/var/lib/crane/metadata/".into(),
            every: Duration::from_secs(60),
            rules: CraneRules::default(),
            notes: Vec::new(),
        };
        let mut draft = JoinedValues {
            url_match: String::new(),
            url_replace: String::new(),
            secret: None,
            parameter: "_auth_".into(),
            lifetime: Duration::from_secs(300),
            algorithm: TokenAlgorithm::Sha256,
            serves_content: false,
            folders: ContentFolders {
                v1: "/var/www/pub/docker/v1/web/".into(),
                v2: "/var/www/pub/docker/v2/web/".into(),
            },
        };
        for section in ini.sections() {
            let Some((name, keys)) = KEYS.iter().find(|(name, _)| *name == section.name) else {
                let known: Vec<&str> = KEYS.iter().map(|(name, _)| *name).collect();
                let message =
                    format!("Crane has no section [{}]; it has [{}]", section.name, known.join("], ["));
                return Err(IniError { line: section.line, message });
            };
            for (key, value) in ini.section(section.name) {
                if !keys.contains(&key) {
                    return Err(
                        value.error(format!("[{name}] has no key `{key}`; it has {}", keys.join(", ")))
                    );
                }
                if value.text.contains("%(") {
                    return Err(value.error("`%(name)s` is not supported: write the value itself".into()));
                }
                // A key without a value counts as not set: the file that Crane ships has such keys.
                if !value.text.is_empty() {
                    conf.take(name, key, value, &mut draft)?;
                }
            }
        }
        conf.finish(draft)
    }

    fn take(
        &mut self,
        section: &str,
        key: &str,
        value: &Value,
        draft: &mut JoinedValues,
    ) -> Result<(), IniError> {
        match (section, key) {
            ("general", "data_dir") => self.data_dir = value.text.clone().into(),
            ("general", "data_dir_polling_interval") => self.every = seconds(value)?,
            ("general", "endpoint") => self.rules.endpoint = Some(visible(value)?),
            ("general", _) => {
                if yes_or_no(value)? {
                    self.notes.push("[general] debug has no effect here".into());
                }
            }
            ("cdn", "url_match") => draft.url_match = visible(value)?,
            ("cdn", "url_replace") => draft.url_replace = visible(value)?,
            ("cdn", "url_auth_secret") => draft.secret = Some((value.text.clone(), value.line())),
            ("cdn", "url_auth_param") => draft.parameter = visible(value)?,
            ("cdn", "url_auth_ttl") => draft.lifetime = seconds(value)?,
            ("cdn", _) => draft.algorithm = token_algorithm(value)?,
            ("serve_content", "enable") => draft.serves_content = yes_or_no(value)?,
            ("serve_content", "content_dir_v1") => draft.folders.v1 = value.text.clone().into(),
            ("serve_content", "content_dir_v2") => draft.folders.v2 = value.text.clone().into(),
            ("serve_content", _) => {
                if yes_or_no(value)? {
                    self.notes
                        .push("[serve_content] use_x_sendfile has no effect: raas sends files itself".into());
                }
            }
            (search, _) => {
                self.notes
                    .push(format!("[{search}] url has no effect: raas answers searches from the documents"));
            }
        }
        Ok(())
    }

    fn finish(mut self, draft: JoinedValues) -> Result<Self, IniError> {
        match (draft.url_match.is_empty(), draft.url_replace.is_empty()) {
            (false, false) => self.rules.rewrite = Some((draft.url_match, draft.url_replace)),
            (true, true) => {}
            _ => {
                self.notes.push("[cdn] url_match and url_replace have an effect only together".into());
            }
        }
        if let Some((secret, line)) = draft.secret {
            let token = AkamaiToken::new(&secret, &draft.parameter, draft.lifetime, draft.algorithm);
            self.rules.token = Some(token.map_err(|error| IniError { line, message: error.to_string() })?);
        }
        self.rules.content = draft.serves_content.then_some(draft.folders);
        Ok(self)
    }
}

/// A text that may stand in URLs and headers.
fn visible(value: &Value) -> Result<String, IniError> {
    if value.text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(value.text.clone())
    } else {
        Err(value.error("expected visible ASCII without spaces".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<CraneConf, String> {
        let environment = |name: &str| (name == "SECRET").then(|| "abc123".to_owned());
        CraneConf::read(text.as_bytes(), &environment).map_err(|e| format!("line {}: {}", e.line, e.message))
    }

    /// The defaults as Crane ships them.
    const DEFAULTS: &str = "[general]\ndebug: false\ndata_dir: /var/lib/crane/metadata/\ndata_dir_polling_interval: 60\n\
                            endpoint:\n[cdn]\nurl_match:\nurl_replace:\nurl_auth_secret:\nurl_auth_ttl: 300\n\
                            url_auth_param: _auth_\nurl_auth_algo: sha256\n[serve_content]\nenable: false\n\
                            content_dir_v1: /var/www/pub/docker/v1/web/\ncontent_dir_v2: /var/www/pub/docker/v2/web/\n\
                            use_x_sendfile: true\n[gsa]\nurl:\n[solr]\nurl:\n";

    #[test]
    fn the_defaults_are_those_of_crane() {
        let nothing = read("").unwrap();
        let shipped = read(DEFAULTS).unwrap();
        assert_eq!(shipped.notes, ["[serve_content] use_x_sendfile has no effect: raas sends files itself"]);
        assert_eq!(CraneConf { notes: Vec::new(), ..shipped }, nothing);
        assert_eq!(nothing.data_dir, Path::new("/var/lib/crane/metadata"));
        assert_eq!((nothing.every, nothing.rules), (Duration::from_secs(60), CraneRules::default()));
    }

    #[test]
    fn every_key_has_its_effect() {
        let conf = read(
            "[general]\ndebug = yes\ndata_dir = /srv/d\ndata_dir_polling_interval = 5\nendpoint = r.example.com:5000\n\
             [cdn]\nurl_match = a.example\nurl_replace = b.example/x\nurl_auth_secret = ${SECRET}\nurl_auth_algo = SHA1\n\
             url_auth_ttl = 60\nurl_auth_param = t\n[serve_content]\nenable = 1\ncontent_dir_v2 = /srv/v2\n\
             [solr]\nurl = https://s/x?{0}\n",
        )
        .unwrap();
        assert_eq!((conf.data_dir.as_path(), conf.every), (Path::new("/srv/d"), Duration::from_secs(5)));
        let token = AkamaiToken::new("abc123", "t", Duration::from_secs(60), TokenAlgorithm::Sha1).unwrap();
        assert_eq!(
            conf.rules,
            CraneRules {
                rewrite: Some(("a.example".into(), "b.example/x".into())),
                token: Some(token),
                content: Some(ContentFolders {
                    v1: "/var/www/pub/docker/v1/web/".into(),
                    v2: "/srv/v2".into()
                }),
                endpoint: Some("r.example.com:5000".into()),
            }
        );
        assert_eq!(conf.notes.len(), 2, "{:?}", conf.notes);
        assert!(!format!("{conf:?}").contains("abc123"));
    }

    #[test]
    fn an_unknown_key_is_reported_with_its_line() {
        let table = [
            ("[general]\ndata = x", "line 2: [general] has no key `data`; it has debug, data_dir"),
            ("[serve]\nenable = true", "line 1: Crane has no section [serve]; it has [general], [cdn]"),
            ("[cdn]\nurl_auth_secret = xyz", "line 2: the secret of the CDN"),
            ("[cdn]\n\nurl_auth_algo = sha512", "line 3: `sha512` is no algorithm"),
            ("[cdn]\nurl_auth_ttl = 0", "line 2: `0` is no number of seconds"),
            ("[cdn]\nurl_replace = a b", "line 2: expected visible ASCII"),
            ("[general]\ndata_dir = %(home)s/x", "line 2: `%(name)s` is not supported"),
            ("[serve_content]\nenable = perhaps", "line 2: `perhaps` is neither yes nor no"),
        ];
        for (text, message) in table {
            let failure = read(text).unwrap_err();
            assert!(failure.starts_with(message), "{text}: {failure}");
        }
        assert_eq!(read("[cdn]\nurl_match = x").unwrap().notes.len(), 1);
    }
}
