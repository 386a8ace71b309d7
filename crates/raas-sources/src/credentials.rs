//! The logins of registries: one per host. So no registry ever gets the password of another registry.

mod auth_file;

pub(crate) use auth_file::{find_in_standard_files, host_key};

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_base::Secret;
use raas_base::failure::{Failure, Kind};
use raas_types::RepositoryName;

/// A login at a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// A user name and a password.
    Password(PasswordLogin),
    /// A token that the registry's token server exchanges for others, as `docker login` keeps it for some registries.
    IdentityToken(Secret),
}

impl From<PasswordLogin> for Login {
    fn from(login: PasswordLogin) -> Self {
        Self::Password(login)
    }
}

/// A user of a registry, and the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordLogin {
    /// The user name.
    pub user: String,
    /// The password, or a token in its place.
    pub password: Secret,
}

impl PasswordLogin {
    /// The value of `Authorization`, as in RFC 7617.
    pub fn authorization(&self) -> Secret {
        Secret::new(format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password.expose()))))
    }
}

/// The logins that a command may use: those that were named for a host, then those in files of docker and podman.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    named: BTreeMap<String, PasswordLogin>,
    files: AuthFiles,
}

#[derive(Debug, Clone, Default)]
enum AuthFiles {
    #[default]
    None,
    Standard,
    One(PathBuf),
}

impl Credentials {
    /// No login at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The logins in the files where docker and podman keep them. The files are read when a login is needed.
    pub fn of_standard_files() -> Self {
        Self { files: AuthFiles::Standard, ..Self::default() }
    }

    /// The logins in a file of docker or podman. The file is read when a login is needed.
    pub fn of_file(path: PathBuf) -> Self {
        Self { files: AuthFiles::One(path), ..Self::default() }
    }

    /// Adds the login of one host, which has its port if the port is not that of the scheme. It comes before a login in a
    /// file.
    #[must_use]
    pub fn with(mut self, host: &str, login: PasswordLogin) -> Self {
        self.named.insert(auth_file::host_key(host).to_owned(), login);
        self
    }

    /// The login for a repository of a host. A login in a file may be for some repositories of the host only.
    ///
    /// # Errors
    /// A file cannot be read or used, a credential helper fails, or the login is no password.
    pub fn find(&self, host: &str, repository: &RepositoryName) -> Result<Option<PasswordLogin>, Failure> {
        if let Some(login) = self.named.get(auth_file::host_key(host)) {
            return Ok(Some(login.clone()));
        }
        let found = match &self.files {
            AuthFiles::None => return Ok(None),
            AuthFiles::Standard => auth_file::find_in_standard_files(host, repository),
            // A file that was named must be there.
            AuthFiles::One(path) => auth_file::read(path, host, repository).and_then(|found| match found {
                None if !path.exists() => Err(format!("there is no file {}", path.display())),
                found => Ok(found),
            }),
        };
        let key = auth_file::host_key(host);
        let found = found.map_err(|message| {
            Failure::new(Kind::Environment, message).hint(format!("log in again: `podman login {key}`"))
        })?;
        match found {
            Some(Login::Password(login)) => Ok(Some(login)),
            Some(Login::IdentityToken(_)) => {
                let message =
                    format!("the login of {key} is an identity token, and a password is needed here");
                Err(Failure::new(Kind::Environment, message)
                    .hint(format!("log in with a password or an access token: `podman login {key}`")))
            }
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(user: &str) -> PasswordLogin {
        PasswordLogin { user: user.into(), password: Secret::new("hunter2") }
    }

    #[test]
    fn a_host_gets_its_own_login_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("auth.json");
        let entry = STANDARD.encode("filed:hunter2");
        std::fs::write(
            &file,
            format!(r#"{{"auths":{{"a.org":{{"auth":"{entry}"}},"b.org":{{"auth":"{entry}"}}}}}}"#),
        )
        .unwrap();
        let credentials =
            Credentials::of_file(file).with("a.org", login("named")).with("docker.io", login("hub"));
        let name: RepositoryName = "x".parse().unwrap();
        let user = |host: &str| credentials.find(host, &name).unwrap().map(|login| login.user);
        let table = [
            ("a.org", Some("named")),
            ("b.org", Some("filed")),
            ("registry-1.docker.io", Some("hub")),
            ("a.org:5000", None),
            ("x.a.org", None),
            ("org", None),
        ];
        for (host, expected) in table {
            assert_eq!(user(host).as_deref(), expected, "{host}");
        }
        assert_eq!(Credentials::none().find("a.org", &name).unwrap(), None);
        let missing = Credentials::of_file(folder.path().join("none"));
        assert!(missing.find("a.org", &name).unwrap_err().to_string().contains("there is no file"));
    }

    #[test]
    fn a_login_is_sent_and_not_shown() {
        assert_eq!(login("u").authorization().expose(), "Basic dTpodW50ZXIy");
        assert!(!format!("{:?} {:?}", login("u"), login("u").authorization()).contains("hunter2"));
    }
}
