//! The login of `--src-creds`, from a file or from standard input. Every user of the machine could see a password in an
//! argument, by listing the processes.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;

use raas_base::Secret;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_sources::registry::{Login, PasswordLogin};

/// The value of `--src-creds`. Its `Debug` shows nothing: a user may have given the password itself.
#[derive(Clone)]
pub(crate) enum SourceLogin {
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl std::fmt::Debug for SourceLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SourceLogin")
    }
}

impl FromStr for SourceLogin {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "-" { SourceLogin::Stdin } else { SourceLogin::File(text.into()) })
    }
}

/// How many bytes raas reads of the file.
const MAX_LOGIN: u64 = 64 * 1024;

impl SourceLogin {
    /// Reads the login.
    ///
    /// # Errors
    /// The file cannot be read, or has no user name and password.
    pub(super) fn read(&self) -> Result<Login, Failure> {
        let mut text = String::new();
        match self {
            SourceLogin::Stdin => {
                let read = io::stdin().lock().take(MAX_LOGIN).read_to_string(&mut text);
                read.context(|| "cannot read the login of --src-creds from standard input".into())?;
            }
            SourceLogin::File(path) => {
                let file = File::open(path).and_then(|file| file.take(MAX_LOGIN).read_to_string(&mut text));
                file.map_err(|error| {
                    // The name is not shown: it may be the password that somebody gave in place of a file.
                    Failure::new(Kind::Usage, "cannot read the file of --src-creds").caused_by(error).hint(
                        "write USER:PASSWORD into a file that only you may read, and give the path of the file",
                    )
                })?;
            }
        }
        let line = text.lines().next().unwrap_or_default().trim_end();
        match line.split_once(':') {
            Some((name, password)) if !name.is_empty() && !password.is_empty() => {
                Ok(PasswordLogin { user: name.to_owned(), password: Secret::new(password) }.into())
            }
            _ => Err(Failure::new(Kind::Usage, "the first line of --src-creds is not USER:PASSWORD")
                .hint("write the user name, a colon and the password into the first line")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_read_from_the_first_line_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            let path = folder.path().join("login");
            std::fs::write(&path, text).unwrap();
            SourceLogin::File(path).read()
        };
        let login = Login::from(PasswordLogin { user: "user".into(), password: Secret::new("pass:word") });
        assert_eq!(read("user:pass:word\nmore\n").unwrap(), login);
        assert_eq!(read("user:pass:word").unwrap(), login);
        for bad in ["", "user", ":x", "user:"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_place_of_a_file_is_not_shown() {
        let argument: SourceLogin = "user:hunter2".parse().unwrap();
        let error = argument.read().unwrap_err();
        assert!(!format!("{error} {argument:?}").contains("hunter2"), "{error}");
    }
}
