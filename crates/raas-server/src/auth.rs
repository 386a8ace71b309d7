//! Who makes a request, and whether it may read protected repositories.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue};

mod client_ca;
mod customers;
mod entitlements;
mod issuer;
mod password_queue;
mod policy;
mod throttle;
mod token_key;
mod users;
mod verified_tokens;
mod view;

use client_ca::Certified;
pub use client_ca::check_client_ca;
pub(crate) use client_ca::{ClientCa, PresentedCertificates};
pub(crate) use customers::{CustomerKeys, CustomerVisit, RequestedScope};
pub(crate) use entitlements::Entitlements;
pub use issuer::TokenIssuer;
pub(crate) use issuer::{Grants, Issuer};
pub(crate) use policy::{AccessConfig, AccessPolicy, ClientCaConfig};
pub use throttle::GuessLimit;
pub(crate) use throttle::Throttle;
pub use token_key::TokenKey;
pub(crate) use users::Users;
use verified_tokens::{Claims, Holder, VerifiedTokens};
pub(crate) use view::View;

/// How long a token is valid. A client asks for one at the beginning of a pull and uses it until the last layer has
/// begun.
pub(crate) const TOKEN_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How far the clocks of servers with the same token key may differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Visitor {
    /// No credentials.
    Anonymous,
    /// A client certificate that the site does not accept, with the reason.
    Uncertified(String),
    /// A client certificate that lists the paths that its holder may see.
    Entitled(Arc<Entitlements>),
    /// A client with a token of this server that it got without a password.
    Guest,
    /// A user, and how the user has logged in. Users may read all protected repositories.
    User(Login),
    /// A token of another issuer. It grants access to the repositories that it names.
    TokenBearer(Arc<Grants>),
    /// A customer, with a key or with a token for it.
    Customer(CustomerVisit),
    /// A customer's key that is not valid any longer, or a token for it, with the reason.
    RefusedKey(String),
    /// A wrong password, or a token that is invalid or has expired.
    BadCredentials,
    /// An address that has sent too many wrong passwords or tokens, and the time until it may try again.
    Throttled(Duration),
}

impl Visitor {
    /// Whether the visitor may see protected repositories.
    pub(crate) fn sees_protected(&self) -> bool {
        matches!(
            self,
            Visitor::User(_) | Visitor::TokenBearer(_) | Visitor::Customer(_) | Visitor::Entitled(_)
        )
    }
}

/// How a user has logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Login {
    /// With a password. Only a password gives a token. Otherwise a client could get a new token for each old one for
    /// ever, and a token for a certificate would work without the certificate.
    Password,
    /// With a token of this server.
    Token,
    /// With a client certificate.
    Certificate,
}

/// The verdict about a token.
#[derive(Debug, PartialEq, Eq)]
enum TokenVerdict {
    Valid(Visitor),
    /// Signed by a trusted key once, but expired, revoked or for another service. It does not count as a guess.
    Stale,
    Forged,
}

/// What the connection tells about a client.
pub(crate) struct Peer<'a> {
    /// The client's address.
    pub(crate) address: IpAddr,
    /// The certificates that the client presented.
    pub(crate) certificates: Option<&'a PresentedCertificates>,
    /// Whether a trusted proxy says that the client has used TLS.
    pub(crate) is_forwarded_tls: bool,
    /// The number of requests in flight on the client's connection, this one included.
    pub(crate) in_flight: u64,
}

/// The content of the `Authorization` header.
enum RequestCredentials<'a> {
    Missing,
    Basic(String, String),
    Bearer(&'a str),
    Malformed,
}

/// Identifies the visitor if that needs no wait and nothing is wrong. The fast path answers such requests.
pub(crate) fn identify_at_once(
    access: &AccessPolicy,
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<Visitor> {
    if access.client_ca.is_some() {
        return None;
    }
    if !access.reads_authorization() {
        return Some(Visitor::Anonymous);
    }
    match request_credentials(headers) {
        RequestCredentials::Missing => Some(Visitor::Anonymous),
        RequestCredentials::Malformed => None,
        RequestCredentials::Bearer(token) => match access.check_token(token, now) {
            TokenVerdict::Valid(visitor) => Some(visitor),
            TokenVerdict::Stale | TokenVerdict::Forged => None,
        },
        RequestCredentials::Basic(name, password) => {
            match access.customers.as_ref()?.login(&name, &password, now) {
                customers::Login::Valid(visitor) | customers::Login::Refused(visitor) => Some(visitor),
                customers::Login::Unknown => None,
            }
        }
    }
}

/// Identifies the visitor. An accepted client certificate is enough, unless the site reads entitlements: then a login of
/// the request comes before the certificate, which may grant less. Only checking a password takes long.
///
/// A valid token is accepted from a throttled address too, because nobody can guess one. A password is not checked
/// while its address is throttled, right or wrong: the difference would reveal it.
pub(crate) async fn identify(
    access: &AccessPolicy,
    throttle: &Throttle,
    peer: &Peer<'_>,
    headers: &HeaderMap,
) -> Visitor {
    let from = peer.address;
    let mut without_login = Visitor::Anonymous;
    if let (Some(ca), Some(certificates)) = (&access.client_ca, peer.certificates) {
        match certificates.verify(ca) {
            Ok(Certified::Everything) => return Visitor::User(Login::Certificate),
            Ok(Certified::Paths(entitlements)) => without_login = Visitor::Entitled(entitlements),
            Err(reason) => without_login = Visitor::Uncertified(reason),
        }
    }
    if !access.reads_authorization() {
        return without_login;
    }
    let wrong = || {
        let now = Instant::now();
        if let Err(wait) = throttle.check(from, now) {
            return Visitor::Throttled(wait);
        }
        throttle.wrong(from, now);
        Visitor::BadCredentials
    };
    match request_credentials(headers) {
        RequestCredentials::Missing => without_login,
        RequestCredentials::Malformed => Visitor::BadCredentials,
        RequestCredentials::Bearer(token) => match access.check_token(token, SystemTime::now()) {
            // A guest's token is no login.
            TokenVerdict::Valid(Visitor::Guest) if matches!(without_login, Visitor::Entitled(_)) => {
                without_login
            }
            TokenVerdict::Valid(visitor) => visitor,
            TokenVerdict::Stale => Visitor::BadCredentials,
            TokenVerdict::Forged => wrong(),
        },
        RequestCredentials::Basic(name, password) => {
            let login = access.customers.as_ref().map(|keys| keys.login(&name, &password, SystemTime::now()));
            match login {
                Some(customers::Login::Valid(visitor) | customers::Login::Refused(visitor)) => {
                    return visitor;
                }
                Some(customers::Login::Unknown) if access.users.is_none() => return wrong(),
                Some(customers::Login::Unknown) | None => {}
            }
            // Without users no password is right, and there is nothing to guess.
            let Some(users) = &access.users else { return Visitor::BadCredentials };
            let has_guessed = throttle.has_guessed(from, Instant::now());
            let check = || throttle.check(from, Instant::now());
            match users.verify(from, has_guessed, name, password, check).await {
                Ok(true) => Visitor::User(Login::Password),
                Ok(false) => wrong(),
                Err(wait) => Visitor::Throttled(wait),
            }
        }
    }
}

/// Source: RFC 7617 (Basic) and RFC 6750, section 2.1 (Bearer).
fn request_credentials(headers: &HeaderMap) -> RequestCredentials<'_> {
    let Some(value) = headers.get(AUTHORIZATION) else { return RequestCredentials::Missing };
    let Some((scheme, rest)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else {
        return RequestCredentials::Malformed;
    };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return RequestCredentials::Bearer(rest);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return RequestCredentials::Malformed;
    }
    let text = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match text.as_deref().and_then(|text| text.split_once(':')) {
        Some((name, password)) => RequestCredentials::Basic(name.to_owned(), password.to_owned()),
        None => RequestCredentials::Malformed,
    }
}

/// What a client is told to get a token for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope<'a> {
    /// To pull from the repository.
    Repository(&'a str),
    /// To list all repositories.
    Catalog,
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Repository(name) => write!(f, "repository:{name}:pull"),
            Scope::Catalog => f.write_str("registry:catalog:*"),
        }
    }
}

/// The parameters `scope` and `error` of a challenge.
fn scope_and_error(scope: Option<Scope<'_>>, error: Option<&str>) -> String {
    let scope = scope.map(|scope| format!(",scope=\"{scope}\"")).unwrap_or_default();
    let error = error.map(|error| format!(",error=\"{error}\"")).unwrap_or_default();
    scope + &error
}

/// The challenge that sends a client to `/token`, for a token with or without a password.
///
/// The realm must be an absolute URL. Only the client knows the host and the scheme that it used, so the host comes
/// from the request.
///
/// Source: CNCF distribution, "Token Authentication Specification".
fn challenge(host: &str, scope: Option<Scope<'_>>, secure: bool, error: Option<&str>) -> HeaderValue {
    let name = if host.starts_with('[') {
        host.split(']').next().unwrap_or(host).trim_start_matches('[')
    } else {
        host.split(':').next().unwrap_or(host)
    };
    // Clients use plain HTTP for their own machine only, unless configured otherwise. For any other host the realm is
    // https, so that no password crosses a network in the clear.
    let own = name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let scheme = if own && !secure { "http" } else { "https" };
    // The host is inside a quoted string.
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(*c)).collect();
    let more = scope_and_error(scope, error);
    let text = format!("Bearer realm=\"{scheme}://{host}/token\",service=\"{host}\"{more}");
    HeaderValue::try_from(text).expect("hosts and names of repositories are visible ASCII")
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_realm_is_plain_http_only_on_the_clients_own_machine() {
        let table = [
            ("registry.example.com", "https://registry.example.com/token"),
            ("registry.example.com:5000", "https://registry.example.com:5000/token"),
            ("acme.localhost:5000", "http://acme.localhost:5000/token"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000/token"),
            ("[::1]:5000", "http://[::1]:5000/token"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000/token"),
            ("a\"b", "https://ab/token"),
        ];
        for (host, realm) in table {
            let challenge = challenge(host, Some(Scope::Repository("tools/app")), false, None);
            let text = challenge.to_str().unwrap();
            assert!(text.starts_with(&format!("Bearer realm=\"{realm}\",service=")), "{text}");
            assert!(text.ends_with(",scope=\"repository:tools/app:pull\""), "{text}");
        }
    }
}
