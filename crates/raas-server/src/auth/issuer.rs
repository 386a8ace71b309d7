//! Tokens of another issuer, and what they grant.
//!
//! Source: CNCF distribution, "Token Authentication Specification" and "Token Authentication Implementation".

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use raas_types::Utc;
use serde::Deserialize;

use super::{Scope, TokenVerdict, Visitor, scope_and_error};
use crate::catalog::Catalog;
use crate::files::FollowedFile;
use crate::route::{Route, V2};

mod jwt;
mod keys;

use jwt::Jwt;
use keys::Keys;

/// The allowed difference between the issuer's clock and ours, in seconds.
const LEEWAY: u64 = 60;

/// The issuer of tokens for a registry, as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIssuer {
    realm: String,
    service: String,
    issuer: String,
    keys: PathBuf,
}

impl TokenIssuer {
    /// The URL where clients ask for tokens.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// `realm` is the URL where clients ask for tokens. `service` is the registry's name there, and the audience of its
    /// tokens. `issuer` is the `iss` claim. `keys` is a file: a JSON Web Key Set, or PEM with certificates and public
    /// keys.
    ///
    /// # Errors
    /// The realm is not an http or https URL, or a name is empty or has characters that a header cannot have.
    pub fn new(realm: &str, service: &str, issuer: &str, keys: &Path) -> Result<Self, String> {
        let fits = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\');
        let url = ["https://", "http://"].iter().find_map(|scheme| realm.strip_prefix(scheme));
        if url.is_none_or(str::is_empty) || !fits(realm) || realm.contains(' ') {
            return Err("the token realm is not an http or https URL".into());
        }
        for (what, text) in [("service", service), ("issuer", issuer)] {
            if text.is_empty() || !fits(text) {
                return Err(format!(
                    "the token {what} is empty, or has characters that a header cannot have"
                ));
            }
        }
        let (realm, service, issuer) = (realm.to_owned(), service.to_owned(), issuer.to_owned());
        Ok(Self { realm, service, issuer, keys: keys.to_owned() })
    }

    /// Checks that the file has a key.
    ///
    /// # Errors
    /// The file cannot be read, or has no key that can verify a token.
    pub fn check(&self) -> Result<(), String> {
        let bytes = std::fs::read(&self.keys).map_err(|error| format!("{}: {error}", self.keys.display()))?;
        Keys::parse(&bytes).map(drop).map_err(|error| format!("{}: {error}", self.keys.display()))
    }
}

/// An issuer with its keys, as the file is now.
#[derive(Debug)]
pub(crate) struct Issuer {
    config: TokenIssuer,
    keys: FollowedFile<Keys>,
}

/// What a token grants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grants {
    /// The repositories that may be pulled.
    pull: Vec<String>,
    /// Whether all repositories may be listed.
    catalog: bool,
}

impl Grants {
    /// Whether the token allows this request to see protected repositories. The granted name is compared with the
    /// repository that is served, which may be the one without `library/`.
    pub(crate) fn allow(&self, route: &Route<'_>, whole: &Catalog) -> bool {
        let Route::V2(route) = route else { return false };
        match route.name() {
            Some(name) => self.allow_repository(name, whole),
            None => *route == V2::Catalog && self.catalog,
        }
    }

    fn allow_repository(&self, name: &str, whole: &Catalog) -> bool {
        let found = whole.repository(name).map(|repository| repository.name.as_str());
        let found = found.or_else(|| whole.legacy(name).map(|repository| repository.name.as_str()));
        self.pull.iter().any(|granted| granted == found.unwrap_or(name))
    }
}

/// The claims that raas uses.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    exp: f64,
    nbf: Option<f64>,
    #[serde(default)]
    access: Option<Vec<Access>>,
}

/// Source: RFC 7519, section 4.1.3.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Access {
    r#type: String,
    name: String,
    #[serde(default, deserialize_with = "raas_types::null_as_default")]
    actions: Vec<String>,
}

impl Issuer {
    pub(crate) fn new(config: TokenIssuer) -> Self {
        let keys = FollowedFile::new(&config.keys, "token keys", Keys::parse);
        Self { config, keys }
    }

    pub(crate) fn config(&self) -> &TokenIssuer {
        &self.config
    }

    /// Reads the keys if the file has changed.
    pub(crate) fn poll(&self) {
        self.keys.poll();
    }

    /// Whether the file could not be read at the last poll.
    pub(super) fn is_unreadable(&self) -> bool {
        self.keys.is_unreadable()
    }

    /// The challenge that sends a client to the issuer. All values were checked when they were configured.
    pub(crate) fn challenge(&self, scope: Option<Scope<'_>>, error: Option<&str>) -> String {
        let TokenIssuer { realm, service, .. } = &self.config;
        let more = scope_and_error(scope, error);
        format!("Bearer realm=\"{realm}\",service=\"{service}\"{more}")
    }

    /// The verdict about a token. An expired token, a token for another service and a token of an unknown key do not
    /// count as guesses: after a change of keys, all clients send tokens of unknown keys.
    pub(super) fn check_token(&self, token: &str, now: SystemTime) -> TokenVerdict {
        let Some(jwt) = Jwt::parse(token) else { return TokenVerdict::Forged };
        let Some(keys) = self.keys.current() else { return TokenVerdict::Stale };
        let Some(key) = keys.choose(&jwt, now) else { return TokenVerdict::Stale };
        if !key.verifies(&jwt) {
            return TokenVerdict::Forged;
        }
        match serde_json::from_slice(&jwt.claims) {
            Ok(claims) if self.takes(&claims, Utc::of(now).unix()) => TokenVerdict::Valid(granted(claims)),
            _ => TokenVerdict::Stale,
        }
    }

    fn takes(&self, claims: &Claims, now: u64) -> bool {
        let service = &self.config.service;
        let for_us = match &claims.aud {
            Audience::One(one) => one == service,
            Audience::Several(several) => several.contains(service),
        };
        // Whole seconds fit into an `f64` exactly.
        let now = now as f64;
        let leeway = LEEWAY as f64;
        claims.iss == self.config.issuer
            && for_us
            && now < claims.exp + leeway
            && claims.nbf.is_none_or(|begin| begin <= now + leeway)
    }
}

fn granted(claims: Claims) -> Visitor {
    let mut granted = Grants { pull: Vec::new(), catalog: false };
    for access in claims.access.unwrap_or_default() {
        let allows = |action: &str| access.actions.iter().any(|one| one == action || one == "*");
        match access.r#type.as_str() {
            "repository" if allows("pull") => granted.pull.push(access.name),
            "registry" if access.name == "catalog" && allows("*") => granted.catalog = true,
            _ => {}
        }
    }
    Visitor::TokenBearer(Arc::new(granted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_in_a_challenge_are_rejected() {
        let new = |realm, service, issuer| TokenIssuer::new(realm, service, issuer, Path::new("keys"));
        assert!(new("https://auth.example.com/token?x=1", "registry", "auth").is_ok());
        for (realm, service, issuer) in [
            ("auth.example.com", "r", "i"),
            ("https://", "r", "i"),
            ("https://a\"b", "r", "i"),
            ("https://a b", "r", "i"),
            ("https://a", "", "i"),
            ("https://a", "r\"", "i"),
            ("https://a", "r", ""),
            ("https://a", "r", "i\n"),
        ] {
            assert!(new(realm, service, issuer).is_err(), "{realm} {service} {issuer}");
        }
    }
}
