//! A client's session with the registry: the ping, the login, and requests with the resulting credentials.

use std::time::SystemTime;

use raas_types::Utc;
use raas_types::forwarding::is_refused;
use raas_types::url::{authority, host_of};
use serde::Deserialize;

use super::Options;
use super::connection;
use super::web::{Answer, NoAnswer, Web};
use crate::status::Check;
use raas_base::redact;
use raas_http::TlsFault;
use raas_sources::registry::{Challenge, RegistryError};

/// The difference of clocks from which the doctor warns, in seconds. Storage services refuse signatures from 15 minutes
/// on.
pub(super) const SKEW: u64 = 300;

pub(super) struct Session<'a> {
    pub(super) web: Web,
    base: String,
    pub(super) options: &'a Options,
    /// The value of `Authorization` for requests to the registry.
    pub(super) authorization: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(web: Web, base: &str, options: &'a Options) -> Self {
        Self { web, base: base.to_owned(), options, authorization: None }
    }

    /// A URL of the repository.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}/{path}", self.base, self.options.name)
    }

    /// The registry's host with its port.
    pub(super) fn host(&self) -> &str {
        authority(&self.base)
    }

    /// Sends a request with the credentials of the login.
    pub(super) fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, NoAnswer> {
        let mut headers = headers.to_vec();
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization));
        }
        self.web.ask(method, url, &headers)
    }

    /// Sends a request. If the registry asks for a login, logs in once and sends the request again.
    pub(super) fn ask_logged_in(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        checks: &mut Vec<Check>,
    ) -> Result<Answer, NoAnswer> {
        let answer = self.ask(method, url, headers)?;
        if answer.status != 401 || self.authorization.is_some() || !self.log_in(&answer, checks) {
            return Ok(answer);
        }
        self.ask(method, url, headers)
    }

    /// Checks that `/v2/` belongs to a registry, and logs in if the registry asks for it. Returns whether to go on.
    pub(super) fn ping(&mut self, checks: &mut Vec<Check>) -> bool {
        let answer = match self.web.ask("GET", &self.base, &[]) {
            Ok(answer) => answer,
            Err(_) if self.meets_tls() => return self.report_tls(checks),
            Err(error) => {
                let fix = fix_of_silence(&error, self.host());
                checks.push(Check::failed("ping", format!("{} does not answer: {error}", self.base), fix));
                return false;
            }
        };
        check_clock(&answer, checks);
        let found = format!("{} answers {}", self.base, answer.status);
        match answer.status {
            200 => checks.push(Check::ok("ping", found)),
            401 if answer.headers.contains_key("www-authenticate") => {
                checks.push(Check::ok("ping", format!("{found}, and asks for a login")));
                return self.log_in(&answer, checks);
            }
            401 => {
                let fix = "let the registry answer 401 with WWW-Authenticate; a proxy before it may have removed the header";
                checks.push(Check::failed("ping", format!("{found}, and does not say how to log in"), fix));
                return false;
            }
            301..=308 => {
                let to = redact::url(answer.header("location").unwrap_or_default());
                let fix = "use the registry's own name; docker does not always follow a redirect of the ping";
                checks.push(Check::failed("ping", format!("{found}, and redirects to {to}"), fix));
                return false;
            }
            400 if self.meets_tls() => return self.report_tls(checks),
            _ => {
                let found = format!("{found}{}", answer.said());
                let fix = format!(
                    "check the name and the port, or the proxy's rule for /v2/: {} is not a registry",
                    self.host()
                );
                checks.push(Check::failed("ping", found, fix));
                return false;
            }
        }
        true
    }

    /// Whether the requests have no TLS, but the port of the registry speaks it.
    fn meets_tls(&self) -> bool {
        self.base.starts_with("http://") && connection::speaks_tls(self.host())
    }

    fn report_tls(&self, checks: &mut Vec<Check>) -> bool {
        let found = format!("this port speaks TLS, and the request to {} had none", self.base);
        let fix = format!(
            "leave out --plain-http, and remove {} from docker's \"insecure-registries\" and podman's `insecure`",
            self.host()
        );
        checks.push(Check::failed("ping", found, fix));
        false
    }

    /// Logs in as the challenge asks. Returns whether there are credentials now.
    fn log_in(&mut self, refusal: &Answer, checks: &mut Vec<Check>) -> bool {
        let headers = refusal.headers.get_all("www-authenticate").iter();
        let challenge = headers.filter_map(|value| Challenge::parse(value.to_str().ok()?)).next();
        let basic = self.options.login.as_ref().map(|login| login.authorization().expose().to_owned());
        let login = format!("log in with `docker login {0}`, or give --username", self.options.host);
        match challenge {
            Some(Challenge::Basic) => match basic {
                Some(basic) => {
                    self.authorization = Some(basic);
                    checks.push(Check::ok("login", "a name and a password are sent with each request"));
                    true
                }
                None => {
                    checks.push(Check::failed(
                        "login",
                        "the registry asks for a name and a password, but there are none",
                        login,
                    ));
                    false
                }
            },
            Some(Challenge::Bearer { token_url, .. }) => {
                let scoped = match token_url.contains("scope=") {
                    true => token_url,
                    false => {
                        let separator = if token_url.contains('?') { '&' } else { '?' };
                        format!("{token_url}{separator}scope=repository:{}:pull", self.options.name)
                    }
                };
                match self.token(&scoped, basic.as_deref()) {
                    Ok(token) => {
                        let for_whom = if basic.is_some() { "for the user" } else { "for anybody" };
                        let issuer = authority(&scoped);
                        let found = format!("{issuer} gives a token {for_whom}");
                        checks.push(if is_refused(host_of(self.host()), host_of(issuer)) {
                            Check::warning(
                                "login",
                                format!(
                                    "{found}, but clients made with go-containerregistry refuse \
                                 a token server at a private address"
                                ),
                            )
                            .fix("set the realm to a host name")
                        } else {
                            Check::ok("login", found)
                        });
                        self.authorization = Some(format!("Bearer {token}"));
                        true
                    }
                    Err((found, fix)) => {
                        checks.push(Check::failed("login", found, if fix.is_empty() { login } else { fix }));
                        false
                    }
                }
            }
            None => {
                let fix =
                    "correct WWW-Authenticate: clients know Basic, and Bearer with a realm of http or https";
                checks.push(Check::failed("login", "clients do not know the registry's challenge", fix));
                false
            }
        }
    }

    /// Requests a token. An error has the problem and its fix. The fix is empty if a login is the fix.
    fn token(&self, url: &str, basic: Option<&str>) -> Result<String, (String, String)> {
        #[derive(Deserialize)]
        struct TokenAnswer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let shown = redact::url(url);
        let issuer = authority(url);
        if url.starts_with("http://") && self.base.starts_with("https://") {
            let found = format!("tokens come from {shown} without TLS, so others can read the passwords");
            return Err((found, "set a realm with https in the registry's configuration".into()));
        }
        let headers: Vec<(&str, &str)> = basic.map(|basic| ("authorization", basic)).into_iter().collect();
        let answer = self.web.ask("GET", url, &headers).map_err(|error| {
            (
                format!("{shown} does not answer: {error}"),
                format!("open {issuer} in the firewall: clients need it too"),
            )
        })?;
        match answer.status {
            200 => {}
            status @ (401 | 403) if basic.is_some() => {
                let said = answer.said();
                let host = &self.options.host;
                let fix = fix_of_ended_login(&said, host).unwrap_or_else(|| {
                    format!("correct the name and the password: log in with `docker login {host}`, or give --username")
                });
                return Err((format!("{shown} refuses the name and the password ({status}){said}"), fix));
            }
            status @ (401 | 403) => {
                let said = answer.said();
                return Err((
                    format!("{shown} gives no token without a password ({status}){said}"),
                    String::new(),
                ));
            }
            429 => {
                let wait =
                    answer.number("retry-after").map_or("a while".to_owned(), |wait| format!("{wait} s"));
                let found = format!("{shown} gives no token: it answers 429{}", answer.said());
                return Err((found, format!("wait for {wait}, and correct the password if it is wrong")));
            }
            status => {
                let found = format!("{shown} gives no token: it answers {status}{}", answer.said());
                return Err((found, format!("read the log of {issuer}")));
            }
        }
        let answer = answer
            .bytes(1024 * 1024)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<TokenAnswer>(&bytes).ok());
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        token.filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())).ok_or_else(
            || {
                let fix = "let it answer JSON with `token` or `access_token`".to_owned();
                (format!("{shown} answers without a token"), fix)
            },
        )
    }
}

/// What to do about a registry that does not answer. Behind a proxy, this is the first step that sees its certificate.
fn fix_of_silence(error: &NoAnswer, host: &str) -> String {
    match error.tls {
        Some(TlsFault::NoTls) => {
            "give --plain-http if the registry has no TLS, or correct the port".to_owned()
        }
        Some(fault) => RegistryError::Tls { host: host.to_owned(), fault, why: error.to_string() }.hint(),
        None => "read the registry's log, and check whether a proxy before it ends connections".to_owned(),
    }
}

/// What to do about a login that was right once, by the words of the server. `None` if they say nothing of that kind.
pub(super) fn fix_of_ended_login(said: &str, host: &str) -> Option<String> {
    let then =
        format!("log in with `docker login {host}`; `docker logout {host}` is enough for public images");
    let has = |word: &str| said.contains(word);
    if has("revoked") {
        Some(format!("ask the vendor for a new key, and {then}"))
    } else if has("expired") {
        Some(format!("ask the vendor to extend the key or for a new key, and {then}"))
    } else if has("replaced") {
        Some(format!("take the key's new password, and {then}"))
    } else {
        None
    }
}

/// The time of the server's clock, by its header `Date`.
pub(super) fn clock(answer: &Answer) -> Option<Utc> {
    httpdate::parse_http_date(answer.header("date")?).ok().map(Utc::of)
}

fn check_clock(answer: &Answer, checks: &mut Vec<Check>) {
    let Some(theirs) = clock(answer) else { return };
    let ours = Utc::of(SystemTime::now());
    let off = ours.distance(theirs);
    if off > SKEW {
        let found = format!("the registry's clock says {theirs}, this machine's clock {ours}: {off} s apart");
        let fix = "set both by NTP: certificates, tokens and signed URLs fail with a wrong clock";
        checks.push(Check::warning("clock", found).fix(fix));
    } else {
        checks
            .push(Check::ok("clock", format!("the registry's clock differs by {off} s from this machine's")));
    }
}
