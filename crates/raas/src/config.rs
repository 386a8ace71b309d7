//! `raas.cfg`: what the operator has set.

mod ini;
mod masks;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Failure, Kind};
use ini::{Ini, Value};
pub(crate) use masks::Masks;

/// The file in the current folder that is read when none is named.
const DEFAULT_FILE: &str = "raas.cfg";

/// The configuration; everything has a default, so that no file is needed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    /// What the operator serves itself.
    pub(crate) redhat: Redhat,
}

/// `[redhat]`: the layers that are not stored, and where they are served from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redhat {
    /// `mask_layers`: image ids and digests.
    mask_layers: Vec<masks::MaskedName>,
    /// `layer_url`: the base URL that they are served from, without a slash at the end.
    layer_url: Option<String>,
    /// `metadata`: the operator's own documents, which name their layers and where they are: a file, or a folder.
    metadata: Option<PathBuf>,
}

const REDHAT_KEYS: [&str; 3] = ["mask_layers", "layer_url", "metadata"];

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

    fn parse(bytes: &[u8], path: &Path) -> Result<Self, Failure> {
        let failed = |error: ini::IniError| {
            Failure::new(Kind::Usage, format!("{}, line {}: {}", path.display(), error.line, error.message))
        };
        let ini = Ini::parse(bytes).map_err(failed)?;
        // Paths in the file are meant from the file's own folder.
        let folder = path.parent().unwrap_or(Path::new(""));
        let redhat = Redhat::read(&ini, folder).map_err(failed)?;
        Ok(Self { redhat })
    }
}

impl Redhat {
    fn read(ini: &Ini, folder: &Path) -> Result<Self, ini::IniError> {
        let mut redhat = Redhat::default();
        for (key, value) in ini.section("redhat") {
            match key {
                "mask_layers" => redhat.mask_layers = masked_names(value)?,
                "layer_url" => redhat.layer_url = Some(base_url(value)?),
                "metadata" => redhat.metadata = Some(folder.join(&value.text)),
                _ => {
                    return Err(value
                        .error(format!("[redhat] has no key `{key}`; it has {}", REDHAT_KEYS.join(", "))));
                }
            }
        }
        Ok(redhat)
    }
}

/// Comma-, space- or line-separated.
fn masked_names(value: &Value) -> Result<Vec<masks::MaskedName>, ini::IniError> {
    let words = value.text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    words.map(|word| word.parse().map_err(|message: String| value.error(message))).collect()
}

fn base_url(value: &Value) -> Result<String, ini::IniError> {
    let url = value.text.trim_end_matches('/');
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}?#".contains(c);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(plain) => Ok(url.to_owned()),
        _ => Err(value.error(format!(
            "`{}` is no base URL: expected http://… or https://…, without a query",
            value.text
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, Failure> {
        Config::parse(text.as_bytes(), Path::new("conf/raas.cfg"))
    }

    #[test]
    fn the_briefs_example_loads_unchanged() {
        let config = parse(include_str!("../../../fixtures/raas.cfg")).unwrap();
        assert_eq!(config.redhat.mask_layers.len(), 4);
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
            ("[redhat]\nmask_layer = x", "conf/raas.cfg, line 2: [redhat] has no key `mask_layer`"),
            ("[redhat]\n\nmask_layers = nope", "line 3: `nope`"),
            ("[redhat]\nlayer_url = cdn.example.com", "line 2: `cdn.example.com`"),
            ("[redhat]\nlayer_url = https://x?y", "line 2"),
            ("mask_layers = x", "line 1"),
        ];
        for (text, message) in table {
            let failure = parse(text).unwrap_err().to_string();
            assert!(failure.contains(message), "{text}: {failure}");
        }
    }

    #[test]
    fn no_file_is_needed_and_a_named_one_is() {
        assert!(Config::load(Some(Path::new("/nonexistent/raas.cfg"))).is_err());
    }
}
