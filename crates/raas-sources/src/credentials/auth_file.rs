//! The files in which docker and podman keep logins.
//!
//! Sources: docker, `config.json`; containers-auth.json(5).

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_base::Secret;
use raas_types::{RepositoryName, null_as_default};
use serde::Deserialize;

use super::{Login, PasswordLogin};

/// A file that `docker login` or `podman login` writes.
#[derive(Deserialize, Default)]
struct AuthFile {
    #[serde(default, deserialize_with = "null_as_default")]
    auths: BTreeMap<String, Option<Entry>>,
    #[serde(default, deserialize_with = "null_as_default", rename = "credHelpers")]
    helpers: BTreeMap<String, Option<String>>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default, deserialize_with = "null_as_default")]
    auth: String,
    #[serde(default, deserialize_with = "null_as_default", rename = "identitytoken")]
    identity_token: String,
}

/// The name under which docker stores the credentials of a host.
pub(crate) fn host_key(host: &str) -> &str {
    match host {
        "registry-1.docker.io" | "docker.io" => "index.docker.io",
        other => other,
    }
}

/// Searches the files of docker and podman. The first file with a login counts.
///
/// # Errors
/// A file cannot be read, or a credential helper fails. The error is a message for people.
pub(crate) fn find_in_standard_files(
    host: &str,
    repository: &RepositoryName,
) -> Result<Option<Login>, String> {
    for file in files(&|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)) {
        if let Some(found) = read(&file, host, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn files(environment: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let at_home = |folder: &str| environment("HOME").map(|home| home.join(folder));
    let docker = environment("DOCKER_CONFIG").or_else(|| at_home(".docker"));
    let podman = environment("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json"));
    let kept = environment("XDG_CONFIG_HOME").or_else(|| at_home(".config"));
    let docker = docker.map(|folder| folder.join("config.json"));
    let kept = kept.map(|folder| folder.join("containers/auth.json"));
    environment("REGISTRY_AUTH_FILE").into_iter().chain(docker).chain(podman).chain(kept).collect()
}

/// The login in one file, if the file is there and has one.
pub(super) fn read(file: &Path, host: &str, repository: &RepositoryName) -> Result<Option<Login>, String> {
    let shown = file.display();
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {shown}: {error}")),
    };
    // The error of the parser is left out, since it may quote a secret.
    let file: AuthFile = serde_json::from_slice(&bytes)
        .map_err(|_| format!("cannot read {shown}: it is not JSON as docker writes it"))?;
    // The longest key is for the fewest repositories.
    let of_repository = |key: &&String| specificity(key, host, repository);
    let entry = file.auths.iter().filter(|(key, _)| of_repository(key).is_some());
    let entry = entry.max_by_key(|(key, _)| of_repository(key));
    let helper = file.helpers.iter().find(|(key, _)| of_repository(key).is_some());
    let helper = helper.and_then(|(_, helper)| helper.as_ref());
    // As docker does: a helper for the host has the current password, and an entry beside it may be an old one.
    let address = entry.map_or(host_key(host), |(key, _)| key);
    if let Some(helper) = helper {
        return ask_helper(helper, address);
    }
    if let Some((_, Some(Entry { identity_token, .. }))) = entry
        && !identity_token.is_empty()
    {
        return Ok(Some(Login::IdentityToken(Secret::new(identity_token))));
    }
    if let Some((_, Some(Entry { auth, .. }))) = entry
        && !auth.is_empty()
    {
        let decoded = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or_else(|| format!("cannot read the entry for {host} in {shown}"))?;
        let password = Secret::new(password.trim_end_matches('\0'));
        return Ok(Some(PasswordLogin { user: user.to_owned(), password }.into()));
    }
    // With a credential store, an empty entry means that the store has the password.
    match file.store.as_ref().filter(|_| entry.is_some()) {
        Some(helper) => ask_helper(helper, address),
        None => Ok(None),
    }
}

/// How many parts of a repository's name a key has. None if the key is for others.
fn specificity(key: &str, host: &str, repository: &RepositoryName) -> Option<usize> {
    let without_scheme = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (key_host, path) = match without_scheme.unwrap_or(key).split_once('/') {
        // A URL, as docker writes it, is for the whole host, whatever its path.
        Some((key_host, path)) if without_scheme.is_none() => (key_host, path),
        Some((key_host, _)) => (key_host, ""),
        None => (without_scheme.unwrap_or(key), ""),
    };
    if host_key(key_host) != host_key(host) {
        return None;
    }
    if path.is_empty() {
        return Some(0);
    }
    let rest = repository.as_str().strip_prefix(path)?;
    (rest.is_empty() || rest.starts_with('/')).then(|| path.split('/').count())
}

/// What a helper prints if it has no login for the address. Source: docker/docker-credential-helpers, `credentials/error.go`.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Asks a credential helper. `None` if it has no login for the address.
///
/// Source: docker/docker-credential-helpers, "Development": `get` reads the address from standard input.
fn ask_helper(helper: &str, address: &str) -> Result<Option<Login>, String> {
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
        let is_missing = output.stdout.trim_ascii() == NOT_FOUND.as_bytes();
        return if is_missing { Ok(None) } else { Err(failed(&output.status)) };
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed(&"its answer is not JSON"))?;
    let secret = Secret::new(answer.secret);
    // A helper names the user `<token>` if it keeps an identity token.
    Ok(Some(match answer.name.as_str() {
        "<token>" => Login::IdentityToken(secret),
        _ => PasswordLogin { user: answer.name, password: secret }.into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_docker_and_podman_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let auth = STANDARD.encode("user:pass:word");
        let own = STANDARD.encode("own:secret");
        let text = format!(
            r#"{{"auths":{{"registry.x.org":{{"auth":"{auth}"}},"https://index.docker.io/v1/":{{"auth":"{auth}"}},
            "bad.org":{{"auth":"?"}},"kept.org":{{}},"token.org":{{"identitytoken":"hunter2"}},"shared.org/a":{{"auth":"{auth}"}},
            "shared.org/a/b":{{"auth":"{own}"}}}},"credHelpers":{{"helped.org":"no such"}}}}"#
        );
        fs::write(&file, text).unwrap();
        let of = |host: &str, name: &str| {
            let found = read(&file, host, &name.parse().unwrap());
            let pair = |login| match login {
                Login::Password(login) => (login.user, login.password.expose().to_owned()),
                Login::IdentityToken(token) => ("<token>".to_owned(), token.expose().to_owned()),
            };
            found.map(|found| found.map(pair))
        };
        let found = |host: &str| of(host, "tools/backup");
        let pair = Ok(Some(("user".to_owned(), "pass:word".to_owned())));
        assert_eq!(found("registry.x.org"), pair);
        assert_eq!(found("registry-1.docker.io"), pair);
        assert_eq!(found("token.org"), Ok(Some(("<token>".into(), "hunter2".into()))));
        assert!(!format!("{:?}", read(&file, "token.org", &"a".parse().unwrap())).contains("hunter2"));
        assert_eq!(found("x.org"), Ok(None));
        assert_eq!(found("registry.x.org:5000"), Ok(None));
        assert_eq!(found("shared.org"), Ok(None));
        assert_eq!(of("shared.org", "ab"), Ok(None));
        assert_eq!(of("shared.org", "a/c"), pair);
        assert_eq!(of("shared.org", "a/b/c"), Ok(Some(("own".into(), "secret".into()))));
        assert_eq!(found("kept.org"), Ok(None));
        assert!(found("bad.org").unwrap_err().contains("cannot read the entry for bad.org"));
        assert!(found("helped.org").unwrap_err().contains("helper"));
        fs::write(&file, "{hunter2").unwrap();
        assert!(!found("x.org").unwrap_err().contains("hunter2"));
        assert_eq!(read(&folder.path().join("none"), "x.org", &"a".parse().unwrap()).unwrap(), None);
    }

    #[test]
    fn what_go_writes_as_null_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let of = |text: &str| {
            fs::write(&file, text).unwrap();
            read(&file, "x.org", &"a".parse().unwrap()).map(|login| login.is_some())
        };
        for text in [
            r#"{"auths":null,"credHelpers":null,"credsStore":null}"#,
            r#"{"auths":{"x.org":null},"credHelpers":{"x.org":null}}"#,
            r#"{"auths":{"x.org":{"auth":null,"identitytoken":null}}}"#,
        ] {
            assert_eq!(of(text), Ok(false), "{text}");
        }
        assert_eq!(of(r#"{"auths":{"o.org":null,"x.org":{"auth":"YTpi","identitytoken":null}}}"#), Ok(true));
    }

    #[test]
    fn podmans_own_variable_comes_first() {
        let environment = |name: &str| Some(PathBuf::from(format!("/{name}")));
        let found = files(&environment);
        assert_eq!(found[0], Path::new("/REGISTRY_AUTH_FILE"));
        assert_eq!(found[1], Path::new("/DOCKER_CONFIG/config.json"));
    }
}
