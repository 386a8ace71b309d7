//! User name and password of an http address. git gets them in its environment: its arguments are in the process list,
//! which every user of the machine can read.

use std::process::Command;

/// An address without user name and password, and these two apart from it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) address: String,
    user: Option<(String, String)>,
}

const USER: &str = "RAAS_GIT_USER";
const PASSWORD: &str = "RAAS_GIT_PASSWORD";

/// A credential helper for git. Its text holds no secret.
const HELPER: &str = concat!(
    "!f() { test \"$1\" = get && ",
    "printf 'username=%s\\npassword=%s\\n' \"$RAAS_GIT_USER\" \"$RAAS_GIT_PASSWORD\"; }; f"
);

impl Login {
    /// Splits an http or https address. Other addresses stay whole: those of ssh hold no password.
    pub(crate) fn of(address: &str) -> Self {
        let web = address.split_once("://").filter(|(scheme, _)| {
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
        });
        let split = web.and_then(|(scheme, rest)| Some((scheme, split(rest)?)));
        let Some((scheme, (login, rest))) = split else {
            return Self { address: address.to_owned(), user: None };
        };
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        Self { address: format!("{scheme}://{rest}"), user: Some((decode(user), decode(password))) }
    }

    /// Adds the credential helper to a git command, before its verb, and the login to its environment.
    pub(crate) fn apply(&self, command: &mut Command) {
        if let Some((user, password)) = &self.user {
            // The empty helper removes the user's own helpers, which must not store this login. Ours is for this host
            // only: the host may redirect git to another one.
            let host = self.address.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            let helper = format!("credential.{host}.helper={HELPER}");
            command.args(["-c", "credential.helper=", "-c", &helper]).env(USER, user).env(PASSWORD, password);
        }
    }
}

/// Splits an address after its scheme into login and rest. `None` without a login.
fn split(rest: &str) -> Option<(&str, &str)> {
    let authority = &rest[..rest.find('/').unwrap_or(rest.len())];
    if let Some(at) = authority.rfind('@') {
        return Some((&rest[..at], &rest[at + 1..]));
    }
    // A password may hold a slash, although it should be encoded. Then the text after `:` is no port.
    let (_, port) = authority.split_once(':')?;
    if port.bytes().all(|b| b.is_ascii_digit()) { None } else { rest.rsplit_once('@') }
}

/// Decodes percent-encoding. Everything else stays as it is.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let encoded = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        let decoded = encoded.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(decoded.unwrap_or(bytes[at]));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_address_is_split_from_its_login() {
        let of = |address: &str| {
            let login = Login::of(address);
            (login.address, login.user)
        };
        let some = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(of("https://jane:s%40c@h/x.git"), ("https://h/x.git".into(), some("jane", "s@c")));
        assert_eq!(of("http://token@h/x"), ("http://h/x".into(), some("token", "")));
        assert_eq!(of("https://u:a/b@h/x"), ("https://h/x".into(), some("u", "a/b")));
        assert_eq!(of("https://u:p@h/team@x.git"), ("https://h/team@x.git".into(), some("u", "p")));
        for other in [
            "https://h/user@team/x.git",
            "http://h:8080/a@b.git",
            "https://h/x.git",
            "git@h:x.git",
            "ssh://git@h/x",
            "file:///a@b",
        ] {
            assert_eq!(of(other), (other.to_owned(), None));
        }
    }

    #[test]
    fn the_password_is_in_the_environment_and_in_no_argument() {
        let mut command = Command::new("git");
        Login::of("https://jane:hunter2@h/x").apply(&mut command);
        assert!(command.get_args().all(|argument| !argument.to_string_lossy().contains("hunter2")));
        assert!(command.get_envs().any(|(_, value)| value.is_some_and(|value| value == "hunter2")));
    }
}
