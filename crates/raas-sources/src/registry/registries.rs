//! `registries.conf`, in which podman and skopeo find mirrors, other locations, and registries that are insecure or blocked.
//!
//! Source: containers-registries.conf(5), version 2, and containers-registries.conf.d(5). Short names and aliases are not
//! read: an address names its host.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::address::RegistryAddress;
use crate::registry_error::{RegistryError, legible};

/// The registries of all files.
#[derive(Debug, Default)]
pub(super) struct Registries {
    known: Vec<Registry>,
}

#[derive(Deserialize, Default)]
struct ConfigFile {
    #[serde(default)]
    registry: Vec<Registry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: Option<String>,
}

/// Where a repository can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: RegistryAddress,
    /// Whether any certificate is taken, and http without TLS.
    pub(super) insecure: bool,
}

/// The longest file that is read.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The files in their order: a later file counts for a registry that an earlier file has too.
///
/// Source: containers-registries.conf.d(5): the folders come after the main file, the user's after the system's.
pub(super) fn usual_files() -> Vec<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME").map(|home| home.join(".config/containers"));
    let system = PathBuf::from("/etc/containers");
    let of_user = home.as_ref().map(|home| home.join("registries.conf")).filter(|file| file.is_file());
    let main = variable("CONTAINERS_REGISTRIES_CONF").or(of_user).unwrap_or(system.join("registries.conf"));
    let mut files = vec![main];
    for folder in [Some(system), home].into_iter().flatten() {
        let entries = fs::read_dir(folder.join("registries.conf.d")).into_iter().flatten().flatten();
        let mut parts: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        parts.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
        parts.sort();
        files.extend(parts);
    }
    files
}

impl Registries {
    /// Reads these files. A file that is not there has no registries.
    ///
    /// # Errors
    /// A file cannot be read or is not of this format.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self, RegistryError> {
        let mut registries = Self::default();
        for path in files {
            let Some(text) = content(path)? else { continue };
            let file: ConfigFile = toml::from_str(&text).map_err(|error| wrong(path, error.message()))?;
            for mut registry in file.registry {
                if registry.prefix.is_empty() {
                    registry.prefix.clone_from(&registry.location);
                }
                registries.known.retain(|known| known.prefix != registry.prefix);
                registries.known.push(registry);
            }
        }
        Ok(registries)
    }

    /// The locations of a repository, the mirrors first and its own location last. `None` if no file says anything
    /// about it.
    ///
    /// # Errors
    /// The registry is blocked, or a location is invalid.
    pub(super) fn endpoints(
        &self,
        address: &RegistryAddress,
    ) -> Result<Option<Vec<Endpoint>>, RegistryError> {
        let whole = format!("{}/{}", address.host, address.name);
        let matching = self.known.iter().filter(|registry| matches(&registry.prefix, &whole));
        let Some(registry) = matching.max_by_key(|registry| registry.prefix.len()) else { return Ok(None) };
        if registry.blocked {
            let message =
                format!("{whole} is blocked by `blocked = true` for {} in registries.conf", registry.prefix);
            return Err(RegistryError::Setup(message));
        }
        let wildcard = registry.prefix.starts_with("*.");
        let place = |location: &str, insecure: bool| {
            let name = match (location.is_empty(), wildcard) {
                (true, _) => whole.clone(),
                // A wildcard stands for the host.
                (false, true) => format!("{location}/{}", address.name),
                (false, false) => format!("{location}{}", &whole[registry.prefix.len()..]),
            };
            let mut place: RegistryAddress = format!("docker://{name}").parse().map_err(|_| {
                RegistryError::Setup(format!(
                    "registries.conf names `{}`, which makes no address of a repository",
                    legible(location)
                ))
            })?;
            place.tag.clone_from(&address.tag);
            place.digest = address.digest;
            Ok::<_, RegistryError>(Endpoint { address: place, insecure })
        };
        let mut places = Vec::new();
        for mirror in registry.mirror.iter().filter(|mirror| mirror.serves(address, registry)) {
            places.push(place(&mirror.location, mirror.insecure)?);
        }
        places.push(place(&registry.location, registry.insecure)?);
        Ok(Some(places))
    }
}

impl Mirror {
    /// Whether images of this address are read from the mirror. A list of tags never is: a mirror may lack some.
    fn serves(&self, address: &RegistryAddress, registry: &Registry) -> bool {
        let (by_digest, by_tag) = (address.digest.is_some(), address.tag.is_some());
        match self.pull_from_mirror.as_deref() {
            _ if registry.mirror_by_digest_only => by_digest,
            Some("digest-only") => by_digest,
            Some("tag-only") => by_tag && !by_digest,
            _ => by_digest || by_tag,
        }
    }
}

/// Whether a prefix is for a repository: it is the host, the host with the first parts of the name, or `*.` with a domain.
fn matches(prefix: &str, whole: &str) -> bool {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = whole.split('/').next().unwrap_or_default();
        let bare = host.split(':').next().unwrap_or_default();
        return domain.starts_with('.') && (host.ends_with(domain) || bare.ends_with(domain));
    }
    !prefix.is_empty()
        && whole.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn content(path: &Path) -> Result<Option<String>, RegistryError> {
    let read = || {
        if fs::metadata(path)?.len() > MAX_FILE {
            return Err(io::Error::other(format!("it has more than {MAX_FILE} bytes")));
        }
        fs::read_to_string(path)
    };
    match read() {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(path, &error.to_string())),
    }
}

fn wrong(path: &Path, why: &str) -> RegistryError {
    RegistryError::Setup(format!("cannot use {}: {}", path.display(), legible(why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
unqualified-search-registries = ["docker.io"]
short-name-mode = "enforcing"
[aliases]
"debian" = "docker.io/library/debian"

[[registry]]
location = "x.org"
insecure = true

[[registry]]
prefix = "x.org/team"
location = "inner.org:5000/mirrors/team"
[[registry.mirror]]
location = "one.org/team"
insecure = true
[[registry.mirror]]
location = "two.org"
pull-from-mirror = "digest-only"

[[registry]]
prefix = "*.example.com"
location = "proxy.org/example"

[[registry]]
prefix = "bad.org"
blocked = true
"#;

    fn registries(texts: &[&str]) -> Registries {
        let folder = tempfile::tempdir().unwrap();
        let write = |(n, text): (usize, &&str)| {
            let path = folder.path().join(format!("{n}.conf"));
            fs::write(&path, text).unwrap();
            path
        };
        let files: Vec<PathBuf> = texts.iter().enumerate().map(write).collect();
        Registries::read(&files).unwrap()
    }

    fn places(registries: &Registries, address: &str) -> Vec<String> {
        let found = registries.endpoints(&address.parse().unwrap()).unwrap();
        let shown =
            |place: &Endpoint| format!("{}{}", place.address, if place.insecure { " insecure" } else { "" });
        found.iter().flatten().map(shown).collect()
    }

    #[test]
    fn the_longest_prefix_names_the_mirrors_and_the_location() {
        let registries = registries(&[TEXT]);
        let digest = raas_types::Digest::of(b"");
        let pinned = format!("docker://x.org/team/app@{digest}");
        let table: [(&str, &[&str]); 7] = [
            ("docker://y.org/team/app", &[]),
            ("docker://x.org/teams/app", &["docker://x.org/teams/app insecure"]),
            ("docker://x.org/team/app", &["docker://inner.org:5000/mirrors/team/app"]),
            (
                "docker://x.org/team/app:1",
                &["docker://one.org/team/app:1 insecure", "docker://inner.org:5000/mirrors/team/app:1"],
            ),
            ("docker://a.example.com/app", &["docker://proxy.org/example/app"]),
            ("docker://a.b.example.com:5000/x/app:1", &["docker://proxy.org/example/x/app:1"]),
            ("docker://example.com/app", &[]),
        ];
        for (address, expected) in table {
            assert_eq!(places(&registries, address), expected, "{address}");
        }
        assert_eq!(places(&registries, &pinned).len(), 3);
        let error = registries.endpoints(&"docker://bad.org/app".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("bad.org/app is blocked"), "{error}");
    }

    #[test]
    fn a_later_file_counts_and_a_damaged_file_is_named() {
        let later = "[[registry]]\nlocation = \"x.org\"\n";
        assert_eq!(places(&registries(&[TEXT, later]), "docker://x.org/app"), ["docker://x.org/app"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("registries.conf");
        assert!(Registries::read(std::slice::from_ref(&path)).unwrap().known.is_empty());
        for text in ["[[registry]", "[[registry]]\nlocation = 1", "[[registry]]\n[[registry.mirror]]\n"] {
            fs::write(&path, text).unwrap();
            let error = Registries::read(std::slice::from_ref(&path)).unwrap_err().to_string();
            assert!(error.contains("cannot use") && error.contains("registries.conf"), "{error}");
        }
    }
}
