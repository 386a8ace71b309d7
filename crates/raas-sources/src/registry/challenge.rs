//! The `WWW-Authenticate` header of a 401: which credentials a registry requires.

use std::collections::BTreeMap;

/// The credentials that a registry requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A user name and a password.
    Basic,
    /// A token from a token server.
    Bearer {
        /// The URL of the token: the realm with service and scope.
        token_url: String,
        /// The URL of the token server.
        realm: String,
        /// The name that the token server knows the registry by.
        service: Option<String>,
        /// What the token is for.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads a header. `None` for a scheme that raas does not know.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let realm = parameters.get("realm")?;
        if !realm.starts_with("https://") && !realm.starts_with("http://") {
            return None;
        }
        let query: Vec<String> = ["service", "scope"]
            .into_iter()
            .filter_map(|key| Some(format!("{key}={}", escaped(parameters.get(key)?))))
            .collect();
        let separator = match (query.is_empty(), realm.contains('?')) {
            (true, _) => "",
            (false, true) => "&",
            (false, false) => "?",
        };
        Some(Challenge::Bearer {
            token_url: format!("{realm}{separator}{}", query.join("&")),
            realm: realm.clone(),
            service: parameters.get("service").cloned(),
            scope: parameters.get("scope").cloned(),
        })
    }
}

/// Reads `key="value", key=value`. A quoted value may hold a comma.
fn parameters(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text.trim();
    while let Some((key, behind)) = rest.split_once('=') {
        let (value, after) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => behind.split_once(',').unwrap_or((behind, "")),
        };
        found.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        rest = after.trim_start_matches([',', ' ']);
    }
    found
}

/// A value for the query of a URL or for a form.
pub(crate) fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/,".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |url: &str| Some(url.to_owned());
        let table = [
            ("Basic realm=\"x\"", Some("Basic".to_owned())),
            (
                "Bearer realm=\"https://a.org/token\",service=\"r e\",scope=\"repository:a/b:pull,push\"",
                bearer("https://a.org/token?service=r%20e&scope=repository:a/b:pull,push"),
            ),
            ("bearer Realm=https://a.org/t?x=1, service=s", bearer("https://a.org/t?x=1&service=s")),
            ("Bearer realm=\"https://a.org/t\"", bearer("https://a.org/t")),
            ("Bearer realm=\"file:///etc/passwd\"", None),
            ("Negotiate", None),
        ];
        for (header, expected) in table {
            let found = Challenge::parse(header).map(|challenge| match challenge {
                Challenge::Basic => "Basic".to_owned(),
                Challenge::Bearer { token_url, .. } => token_url,
            });
            assert_eq!(found, expected, "{header}");
        }
    }
}
