//! The `Authorization` header that raas sends to a registry: the credentials that the registry's challenges ask for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use raas_base::Secret;
use raas_types::RepositoryName;
use serde::Deserialize;

use super::challenge::{Challenge, escaped};
use super::connection::Failed;
use super::hosts::Hosts;
use super::url::{drops_tls, host_of, shown};
use crate::credentials::{Login, find_in_standard_files, host_key};
use crate::registry_error::{RegistryError, said};

/// Where the login of a registry comes from.
#[derive(Debug, Clone)]
pub enum LoginSource {
    /// The files of docker and podman.
    Files,
    /// This login, with the advice for a user whose login is missing or not accepted.
    Given(Login, String),
    /// No login, with the advice for a user who needs one.
    None(String),
}

/// The longest answer of a token server.
const MAX_TOKEN: u64 = 1024 * 1024;

/// How long a token without a stated lifetime is valid, in seconds. Source: Docker's token authentication
/// specification.
const DEFAULT_LIFETIME: u64 = 60;

/// A token is not used in the last seconds of its life.
const MARGIN: Duration = Duration::from_secs(10);

/// The authorization for one repository. Threads share it: the first thread whose request gets a 401 obtains a token
/// for all.
#[derive(Debug)]
pub(super) struct Authorization {
    host: String,
    repository: RepositoryName,
    source: LoginSource,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    login: Option<Option<Login>>,
    challenge: Option<Challenge>,
    header: Option<Header>,
    /// Whether the user was told that the login goes to another host.
    told: bool,
}

/// An `Authorization` header.
#[derive(Debug, Clone)]
pub(super) struct Header {
    value: Arc<Secret>,
    until: Option<Instant>,
}

impl Header {
    fn new(value: Secret, lifetime: Option<u64>) -> Self {
        let until = lifetime.map(|seconds| Instant::now() + Duration::from_secs(seconds.min(24 * 60 * 60)));
        Self { value: Arc::new(value), until }
    }

    pub(super) fn expose(&self) -> &str {
        self.value.expose()
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() + MARGIN >= until)
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.value, &other.value)
    }
}

/// What a request for a token needs.
pub(super) struct Asking<'a> {
    pub(super) hosts: &'a Hosts,
    /// The URL of the registry.
    pub(super) base: &'a str,
    /// Takes a line for the user.
    pub(super) say: &'a raas_base::Say,
}

impl Authorization {
    pub(super) fn new(host: &str, repository: RepositoryName, source: LoginSource) -> Self {
        let host = host.to_owned();
        Self { host, repository, source, state: Mutex::default() }
    }

    /// The header for the next request; none before the first challenge.
    pub(super) fn current(&self, asking: &Asking<'_>) -> Result<Option<Header>, Failed> {
        let mut state = self.lock();
        match (&state.header, &state.challenge) {
            (Some(header), Some(challenge)) if header.is_over() => {
                let challenge = challenge.clone();
                self.obtain(&mut state, challenge, asking).map(Some)
            }
            (header, _) => Ok(header.clone()),
        }
    }

    /// A header in place of the one that the registry did not accept. `challenges` are the values of its
    /// `WWW-Authenticate`.
    pub(super) fn renew(
        &self,
        used: Option<&Header>,
        challenges: &[&str],
        asking: &Asking<'_>,
    ) -> Result<Header, Failed> {
        let mut state = self.lock();
        if let Some(header) = &state.header
            && !used.is_some_and(|used| used.is(header))
        {
            // Another thread was faster.
            return Ok(header.clone());
        }
        let challenge = challenges.iter().find_map(|text| Challenge::parse(text));
        // Pulp 2 answers 401 without a word about the kind of login. The user has named this host for the password.
        let is_given = matches!(self.source, LoginSource::Given(Login::Password(_), _));
        let challenge = challenge.or((challenges.is_empty() && is_given).then_some(Challenge::Basic));
        let challenge = challenge.ok_or_else(|| RegistryError::Content {
            what: format!("the answer 401 of {}", self.host),
            why: "it asks for an authentication that raas does not know".into(),
        })?;
        self.obtain(&mut state, challenge, asking)
    }

    /// The error for a registry that requires a login, or does not accept this user's login.
    pub(super) fn error(&self, what: &str, body: &[u8]) -> RegistryError {
        let has_login = matches!(self.lock().login, Some(Some(_)));
        self.refused(&self.host, what, said(body), has_login)
    }

    fn refused(&self, host: &str, what: &str, said: String, has_login: bool) -> RegistryError {
        let (host, what) = (host.to_owned(), what.to_owned());
        let advice = match &self.source {
            LoginSource::Files => {
                let key = host_key(&self.host);
                format!("log in with `podman login {key}` or `docker login {key}`, or give --src-creds FILE")
            }
            LoginSource::Given(_, advice) | LoginSource::None(advice) => advice.clone(),
        };
        match has_login {
            true => RegistryError::LoginRejected { host, what, said, advice },
            false => RegistryError::LoginMissing { host, what, said, advice },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn login(&self, state: &mut State) -> Result<Option<Login>, RegistryError> {
        if state.login.is_none() {
            state.login = Some(match &self.source {
                LoginSource::Files => {
                    find_in_standard_files(&self.host, &self.repository).map_err(RegistryError::Setup)?
                }
                LoginSource::Given(login, _) => Some(login.clone()),
                LoginSource::None(_) => None,
            });
        }
        Ok(state.login.clone().flatten())
    }

    fn obtain(&self, state: &mut State, challenge: Challenge, asking: &Asking<'_>) -> Result<Header, Failed> {
        let login = self.login(state)?;
        let header = match &challenge {
            Challenge::Basic => match &login {
                Some(Login::Password(login)) => Header::new(login.authorization(), None),
                Some(Login::IdentityToken(_)) | None => {
                    let refused = self.refused(&self.host, self.repository.as_str(), String::new(), false);
                    return Err(refused.into());
                }
            },
            Challenge::Bearer { realm, service, scope, .. } => {
                let request = TokenRequest {
                    realm,
                    service: service.as_deref(),
                    scope: scope.clone().unwrap_or_else(|| format!("repository:{}:pull", self.repository)),
                };
                self.token(state, &request, login.as_ref(), asking)?
            }
        };
        state.challenge = Some(challenge);
        state.header = Some(header.clone());
        Ok(header)
    }

    fn token(
        &self,
        state: &mut State,
        request: &TokenRequest<'_>,
        login: Option<&Login>,
        asking: &Asking<'_>,
    ) -> Result<Header, Failed> {
        let realm = shown(request.realm);
        let host = host_of(request.realm);
        let unusable =
            |why: &str| RegistryError::Content { what: format!("the answer of {realm}"), why: why.into() };
        if login.is_some() {
            if drops_tls(asking.base, request.realm) {
                return Err(
                    unusable("it is a token server without TLS, which raas sends no password to").into()
                );
            }
            if host != self.host && !state.told {
                state.told = true;
                asking.say.line(&format!(
                    "Note: {} has its token server at {host}: the login goes there",
                    self.host
                ));
            }
        }
        let agent = asking.hosts.agent(&host)?;
        let call = match login {
            Some(Login::IdentityToken(token)) => {
                let builder = agent.request(raas_http::http::Method::POST, request.realm);
                let builder = builder.header("content-type", "application/x-www-form-urlencoded");
                builder.body(request.form(token)).call()
            }
            Some(Login::Password(login)) => {
                agent.get(&request.url()).header("authorization", login.authorization().expose()).call()
            }
            None => agent.get(&request.url()).call(),
        };
        let answer = call.map_err(|error| RegistryError::of_client(&host, error))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.into_body().read_all(MAX_TOKEN);
        let body =
            body.map_err(|error| RegistryError::Cut { what: realm.clone(), why: error.to_string() })?;
        match status {
            200..=299 => {}
            401 | 403 => {
                let refused = self.refused(&host, self.repository.as_str(), said(&body), login.is_some());
                return Err(refused.into());
            }
            _ => {
                let error = RegistryError::Status { what: "a token".into(), host, status, said: said(&body) };
                return Err(match error.may_pass() {
                    true => Failed::answered(error, &headers),
                    false => error.into(),
                });
            }
        }
        let token: Token = serde_json::from_slice(&body).map_err(|_| unusable("it is no token"))?;
        let text = token.token.or(token.access_token).filter(|text| !text.is_empty());
        let text = text.filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
        let text = text.ok_or_else(|| unusable("it is no token"))?;
        let lifetime = token.expires_in.and_then(|seconds| seconds.as_u64()).unwrap_or(DEFAULT_LIFETIME);
        Ok(Header::new(Secret::new(format!("Bearer {text}")), Some(lifetime)))
    }
}

/// The answer of a token server.
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
    /// Seconds. Some servers send other things here, and their tokens are good all the same.
    expires_in: Option<serde_json::Value>,
}

struct TokenRequest<'a> {
    realm: &'a str,
    service: Option<&'a str>,
    scope: String,
}

impl TokenRequest<'_> {
    fn query(&self) -> String {
        let service = self.service.map(|service| format!("service={}&", escaped(service)));
        format!("{}scope={}", service.unwrap_or_default(), escaped(&self.scope))
    }

    fn url(&self) -> String {
        let separator = if self.realm.contains('?') { '&' } else { '?' };
        format!("{}{separator}{}", self.realm, self.query())
    }

    /// Source: Docker's OAuth2 token authentication, "Refresh token".
    fn form(&self, token: &Secret) -> String {
        let token = escaped(token.expose());
        format!("grant_type=refresh_token&client_id=raas&{}&refresh_token={token}", self.query())
    }
}
