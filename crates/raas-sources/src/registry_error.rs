//! Why a registry does not give what is asked for.

use raas_base::failure::{Failure, Kind};
use raas_http::{ClientError, TlsFault};
use serde_json::Value;

/// Why a registry does not give what is asked for. No text holds a login, or the query of a URL.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RegistryError {
    /// There is no connection or no answer.
    #[error("cannot ask {host}: {why}")]
    Unreachable {
        /// The host and port.
        host: String,
        /// The reason.
        why: String,
    },
    /// There is no TLS connection.
    #[error("cannot ask {host}: {why}")]
    Tls {
        /// The host and port.
        host: String,
        /// The kind of the fault.
        fault: TlsFault,
        /// The reason.
        why: String,
    },
    /// The registry wants a login, and there is none.
    #[error("{host} requires a login for {what}{said}")]
    LoginMissing {
        /// The host that requires the login.
        host: String,
        /// What was asked for.
        what: String,
        /// The registry's own words.
        said: String,
        /// Where a login comes from, as an advice.
        advice: String,
    },
    /// The registry does not accept the login, or it gives no right to what was asked for.
    #[error("{host} does not accept the login for {what}{said}")]
    LoginRejected {
        /// The host that rejects the login.
        host: String,
        /// What was asked for.
        what: String,
        /// The registry's own words.
        said: String,
        /// Where a login comes from, as an advice.
        advice: String,
    },
    /// A file of logins or certificates, or a variable of the environment, cannot be used.
    #[error("{0}")]
    Setup(String),
    /// The registry does not have it.
    #[error("{what} is not there{said}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The registry's own words.
        said: String,
    },
    /// The registry answers with another status, also after several attempts.
    #[error("{what}: {host} answers {status}{said}")]
    Status {
        /// What was asked for.
        what: String,
        /// The host that answers.
        host: String,
        /// The status.
        status: u16,
        /// The registry's own words.
        said: String,
    },
    /// The answer is not what a registry may send.
    #[error("{what} cannot be used: {why}")]
    Content {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The answer broke off, also after several attempts.
    #[error("{what} breaks off: {why}")]
    Cut {
        /// What was asked for.
        what: String,
        /// The reason.
        why: String,
    },
}

impl RegistryError {
    /// The error for a request without an answer.
    pub(crate) fn of_client(host: &str, error: ClientError) -> Self {
        let host = host.to_owned();
        match error {
            ClientError::Tls { fault, why } => Self::Tls { host, fault, why },
            error => Self::Unreachable { host, why: error.to_string() },
        }
    }

    /// What the user can do, beginning with a verb.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { .. } => "check the name of the host, and the network with `curl -v`".into(),
            Self::Tls { host, fault, .. } => tls_hint(host, *fault),
            Self::LoginMissing { advice, .. } => advice.clone(),
            Self::LoginRejected { advice, .. } => {
                format!("ask for the right to pull, or give another login: {advice}")
            }
            Self::Setup(_) => "correct the file, or log in again".into(),
            Self::NotFound { .. } => "check the name and the tag, for example with `skopeo list-tags`".into(),
            Self::Status { status: 429, .. } => {
                "wait, or log in: registries allow more requests to users; nothing was published".into()
            }
            Self::Status { .. } | Self::Cut { .. } => {
                "run the command again when the registry is well: it goes on where it stopped".into()
            }
            Self::Content { .. } => "tell the registry's operator; nothing was published".into(),
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Cut { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Unreachable { .. } | Self::Tls { .. } | Self::Status { .. } | Self::Cut { .. } => {
                Kind::Environment
            }
            Self::LoginMissing { .. } | Self::LoginRejected { .. } | Self::Setup(_) => Kind::Usage,
            Self::NotFound { .. } | Self::Content { .. } => Kind::Refused,
        }
    }
}

fn tls_hint(host: &str, fault: TlsFault) -> String {
    match fault {
        TlsFault::UnknownAuthority => format!(
            "put the certificate of the authority that signed {host}'s certificate into \
             /etc/containers/certs.d/{host}/ca.crt, or let this machine trust it"
        ),
        TlsFault::OtherName => format!("ask {host} by a name that its certificate has"),
        TlsFault::OutOfTime => "renew the server's certificate, and check this machine's clock".into(),
        TlsFault::NoTls => {
            "give --src-plain-http if the registry speaks http without TLS, or correct the port".into()
        }
        TlsFault::ClientCertificate => format!(
            "put the client's certificate and key into /etc/containers/certs.d/{host}/client.cert and client.key, or for \
             Pulp, set `client_certificate` and `client_key` in [pulpserver]"
        ),
        TlsFault::Other => format!("look at it with `openssl s_client -connect {host}`"),
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Failure::new(error.kind(), error.to_string()).hint(error.hint())
    }
}

/// The server's own words about an error, ready to stand behind a message: `: it says CODE, message`. Empty if the body has
/// none.
///
/// Source: OCI distribution-spec 1.1, "Error Codes"; for Pulp's REST API, the answers of pulpcore 3.123.
pub fn said(body: &[u8]) -> String {
    let words = serde_json::from_slice(body).map_or_else(|_| Vec::new(), |body| words(&body));
    if words.is_empty() { String::new() } else { format!(": it says {}", legible(&words.join(", "))) }
}

/// The words in `{"errors": [{"code", "message"}]}`, `{"errors": [text]}`, `{"detail": text}`, `{"details": text}` of Docker Hub's
/// token server, `{"error_message": text}` of Pulp 2, `{field: [text]}` and `[text]`.
fn words(body: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let first = |list: &Value| list.as_array().and_then(|list| list.first()).cloned();
    match body {
        Value::Array(_) => first(body).as_ref().and_then(text).into_iter().collect(),
        Value::Object(keys) => match keys.get("errors").and_then(first) {
            Some(Value::Object(error)) => {
                ["code", "message"].iter().filter_map(|key| text(error.get(*key)?)).collect()
            }
            Some(other) => text(&other).into_iter().collect(),
            None => match ["detail", "details", "error_message"].iter().find_map(|key| text(keys.get(*key)?))
            {
                Some(detail) => vec![detail],
                None => keys
                    .iter()
                    .filter_map(|(key, value)| Some(format!("{key}: {}", text(&first(value)?)?)))
                    .take(3)
                    .collect(),
            },
        },
        _ => Vec::new(),
    }
}

/// Text of the registry for a message: short, and without control characters, which a terminal would obey.
pub(crate) fn legible(text: &str) -> String {
    const MOST: usize = 200;
    let mut shown: String = text
        .chars()
        .take(MOST)
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_registry_are_short_and_harmless() {
        assert_eq!(
            said(br#"{"errors":[{"code":"DENIED","message":"no \u001b[31m right","detail":{}}]}"#),
            ": it says DENIED, no \\u{1b}[31m right"
        );
        assert_eq!(said(b"<html>"), "");
        assert_eq!(said(br#"{"errors":[{"code":1}]}"#), "");
        for (body, words) in [
            (r#"{"detail":"Not found."}"#, ": it says Not found."),
            (r#"{"details":"incorrect password"}"#, ": it says incorrect password"),
            (r#"{"errors":["Invalid Filter: 'nmae'"]}"#, ": it says Invalid Filter: 'nmae'"),
            (r#"{"name":["This field must be unique."]}"#, ": it says name: This field must be unique."),
            (
                r#"{"http_status":404,"error_message":"Missing resource(s): repo","error":{"code":"PLP0009"}}"#,
                ": it says Missing resource(s): repo",
            ),
            (r#"["Already exists"]"#, ": it says Already exists"),
        ] {
            assert_eq!(said(body.as_bytes()), words);
        }
        let long = format!(r#"{{"errors":[{{"code":"{}"}}]}}"#, "x".repeat(5000));
        assert!(said(long.as_bytes()).len() < 300);
    }
}
