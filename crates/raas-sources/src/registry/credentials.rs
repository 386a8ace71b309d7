//! Finds the login that docker and podman would use for a repository.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use raas_base::Secret;

/// A login at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A user name and a password.
    Password {
        /// The user name.
        name: String,
        /// The password.
        password: Secret,
    },
    /// A token that the registry's token server exchanges for others, as `docker login` keeps it for some registries.
    IdentityToken(Secret),
}

impl Login {
    /// The name and the password; `None` for an identity token.
    pub fn into_password(self) -> Option<(String, Secret)> {
        match self {
            Login::Password { name, password } => Some((name, password)),
            Login::IdentityToken(_) => None,
        }
    }
}

/// A file that `docker login` or `podman login` writes.
#[derive(Deserialize, Default)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

/// The name under which docker stores the credentials of a host.
pub fn host_key(host: &str) -> &str {
    match host {
        "registry-1.docker.io" | "docker.io" => "index.docker.io",
        other => other,
    }
}

/// Searches the files of docker and podman. The first file with credentials for the host counts. In a file, an entry for
/// the repository or a namespace of it comes before the entry of the host, as podman keeps them.
///
/// # Errors
/// A file cannot be read, or a credential helper fails. The error is a message for people.
pub fn find_login(host: &str, repository: &str) -> Result<Option<Login>, String> {
    for file in files(&|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)) {
        if let Some(found) = read(&file, host, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn files(environment: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let docker = environment("DOCKER_CONFIG").or_else(|| Some(environment("HOME")?.join(".docker")));
    let podman = environment("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    let docker = docker.map(|folder| folder.join("config.json"));
    environment("REGISTRY_AUTH_FILE").into_iter().chain(docker).chain(podman).collect()
}

/// The keys under which a login of the repository may be, the most specific first.
fn keys(host: &str, repository: &str) -> Vec<String> {
    // docker and podman have different names for Docker Hub.
    let hosts = match host_key(host) {
        "index.docker.io" => vec!["index.docker.io", "docker.io"],
        host => vec![host],
    };
    let mut keys = Vec::new();
    let mut path = repository;
    while !path.is_empty() {
        keys.extend(hosts.iter().map(|host| format!("{host}/{path}")));
        path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
    keys.extend(hosts.into_iter().map(str::to_owned));
    keys
}

/// The part of a key that names a host, or a host and a namespace. docker writes whole URLs of the API for some hosts.
fn normal(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key)
}

fn lookup<'a, T>(entries: &'a BTreeMap<String, T>, wanted: &str) -> Option<(&'a str, &'a T)> {
    entries.iter().find(|(key, _)| normal(key) == wanted).map(|(key, entry)| (key.as_str(), entry))
}

fn read(file: &Path, host: &str, repository: &str) -> Result<Option<Login>, String> {
    let shown = file.display();
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {shown}: {error}")),
    };
    // The error of the parser is left out, since it may quote a secret.
    let file: AuthFile = serde_json::from_slice(&bytes)
        .map_err(|_| format!("cannot read {shown}: it is not JSON as docker writes it"))?;
    for key in keys(host, repository) {
        let entry = lookup(&file.auths, &key);
        if let Some((_, Entry { auth, identity_token })) = entry {
            if !identity_token.is_empty() {
                return Ok(Some(Login::IdentityToken(Secret::new(identity_token))));
            }
            if !auth.is_empty() {
                let login =
                    decode(auth).ok_or_else(|| format!("cannot read the entry for {key} in {shown}"))?;
                return Ok(Some(login));
            }
        }
        // With a credential store, an empty entry means that the store has the password.
        let helper = lookup(&file.helpers, &key).map(|(_, helper)| helper);
        if let Some(helper) = helper.or(file.store.as_ref().filter(|_| entry.is_some())) {
            return ask_helper(helper, entry.map_or(key.as_str(), |(key, _)| key)).map(Some);
        }
    }
    Ok(None)
}

fn decode(auth: &str) -> Option<Login> {
    let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some(Login::Password { name: name.to_owned(), password: Secret::new(password.trim_end_matches('\0')) })
}

/// Asks a credential helper.
///
/// Source: docker/docker-credential-helpers, "Development": `get` reads the address from standard input.
fn ask_helper(helper: &str, address: &str) -> Result<Login, String> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "Username")]
        name: String,
        #[serde(rename = "Secret")]
        secret: String,
    }
    let program = format!("docker-credential-{helper}");
    if !helper.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err("the name of the credential helper is not valid".into());
    }
    let failed = |why: &dyn std::fmt::Display| format!("cannot get the password from {program}: {why}");
    let child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| failed(&error))?;
    if let Some(mut input) = child.stdin.take() {
        // The exit code of a helper that does not read is checked below.
        drop(input.write_all(address.as_bytes()));
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&output.status));
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed(&"its answer is not JSON"))?;
    let secret = Secret::new(answer.secret);
    // A helper names the user `<token>` if it keeps an identity token.
    Ok(match answer.name.as_str() {
        "<token>" => Login::IdentityToken(secret),
        _ => Login::Password { name: answer.name, password: secret },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_docker_and_podman_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let auth = STANDARD.encode("user:pass:word");
        let text = format!(
            r#"{{"auths":{{"registry.x.org":{{"auth":"{auth}"}},"https://index.docker.io/v1/":{{"auth":"{auth}"}},
            "bad.org":{{"auth":"?"}},"kept.org":{{}}}},"credHelpers":{{"helped.org":"no such"}}}}"#
        );
        fs::write(&file, text).unwrap();
        let found = |host: &str| {
            let login = read(&file, host, "a/b").map(|found| found.and_then(Login::into_password));
            login.map(|found| found.map(|(name, secret)| (name, secret.expose().to_owned())))
        };
        let pair = Ok(Some(("user".to_owned(), "pass:word".to_owned())));
        assert_eq!(found("registry.x.org"), pair);
        assert_eq!(found("registry-1.docker.io"), pair);
        assert_eq!(found("x.org"), Ok(None));
        assert_eq!(found("kept.org"), Ok(None));
        assert!(found("bad.org").unwrap_err().contains("cannot read the entry for bad.org"));
        assert!(found("helped.org").unwrap_err().contains("helper"));
        fs::write(&file, "{hunter2").unwrap();
        assert!(!found("x.org").unwrap_err().contains("hunter2"));
        assert_eq!(read(&folder.path().join("none"), "x.org", "a").unwrap(), None);
    }

    #[test]
    fn the_most_specific_entry_of_a_file_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.json");
        let auth = |name: &str| STANDARD.encode(format!("{name}:x"));
        let text = format!(
            r#"{{"auths":{{"x.org":{{"auth":"{}"}},"x.org/team":{{"auth":"{}"}},"x.org/team/app":{{"auth":"{}"}},
            "y.org":{{"auth":"","identitytoken":"hunter2"}}}}}}"#,
            auth("host"),
            auth("team"),
            auth("app")
        );
        fs::write(&file, text).unwrap();
        let name = |repository: &str| {
            let found = read(&file, "x.org", repository).unwrap().and_then(Login::into_password);
            found.map(|(name, _)| name).unwrap()
        };
        assert_eq!([name("team/app"), name("team/other/x"), name("teams")], ["app", "team", "host"]);
        let podmans = format!(r#"{{"auths":{{"docker.io":{{"auth":"{}"}}}}}}"#, auth("hub"));
        let hub = folder.path().join("hub.json");
        fs::write(&hub, podmans).unwrap();
        let login =
            read(&hub, "registry-1.docker.io", "library/debian").unwrap().and_then(Login::into_password);
        assert_eq!(login.unwrap().0, "hub");
        let token = read(&file, "y.org", "a").unwrap();
        assert_eq!(token, Some(Login::IdentityToken(Secret::new("hunter2"))));
        assert!(!format!("{token:?}").contains("hunter2"));
    }

    #[test]
    fn podmans_own_variable_comes_first() {
        let environment = |name: &str| Some(PathBuf::from(format!("/{name}")));
        let found = files(&environment);
        assert_eq!(found[0], Path::new("/REGISTRY_AUTH_FILE"));
        assert_eq!(found[1], Path::new("/DOCKER_CONFIG/config.json"));
    }
}
