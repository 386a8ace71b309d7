//! Talking to the registry as a client does: the ping, the login, and requests with what that gave.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_types::Utc;
use serde::Deserialize;

use super::Asked;
use super::web::{Answer, Web, authority};
use crate::status::Check;
use raas_base::redact;
use raas_sources::registry::Challenge;

/// A clock that is wrong by more than this many seconds is told of; storage services refuse what is signed 15 min off.
pub(super) const SKEW: u64 = 300;

pub(super) struct Session<'a> {
    pub(super) web: Web,
    base: String,
    pub(super) asked: &'a Asked,
    /// What is sent as `Authorization`.
    pub(super) authorization: Option<String>,
}

impl<'a> Session<'a> {
    pub(super) fn new(web: Web, base: &str, asked: &'a Asked) -> Self {
        Self { web, base: base.to_owned(), asked, authorization: None }
    }

    /// The URL of something of the repository.
    pub(super) fn url(&self, what: &str) -> String {
        format!("{}{}/{what}", self.base, self.asked.name)
    }

    /// The registry's host with its port.
    pub(super) fn host(&self) -> &str {
        authority(&self.base)
    }

    /// Asks with what the login gave.
    pub(super) fn ask(&self, method: &str, url: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        let mut headers = headers.to_vec();
        if let Some(authorization) = &self.authorization {
            headers.push(("authorization", authorization));
        }
        self.web.ask(method, url, &headers)
    }

    /// Asks; where the registry wants a login first, that is done, once.
    pub(super) fn ask_logged_in(
        &mut self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        checks: &mut Vec<Check>,
    ) -> Result<Answer, String> {
        let answer = self.ask(method, url, headers)?;
        if answer.status != 401 || self.authorization.is_some() || !self.log_in(&answer, checks) {
            return Ok(answer);
        }
        self.ask(method, url, headers)
    }

    /// Whether `/v2/` is that of a registry. What it asks for is done.
    pub(super) fn ping(&mut self, checks: &mut Vec<Check>) -> bool {
        let answer = match self.web.ask("GET", &self.base, &[]) {
            Ok(answer) => answer,
            Err(error) => {
                let fix =
                    "look into the registry's log, and whether a proxy before it breaks connections off";
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
                let fix =
                    "let it answer 401 with WWW-Authenticate; a proxy before it may have taken that away";
                checks.push(Check::failed("ping", format!("{found}, and does not say how to log in"), fix));
                return false;
            }
            301..=308 => {
                let to = redact::url(answer.header("location").unwrap_or_default());
                let fix =
                    "give the registry's own name; docker does not follow the ping's redirect everywhere";
                checks.push(Check::failed("ping", format!("{found}, and leads to {to}"), fix));
                return false;
            }
            400 if self.base.starts_with("http://") => {
                let fix = "if that port speaks TLS, use the name that is in its certificate";
                checks.push(Check::failed("ping", found, fix));
                return false;
            }
            _ => {
                let fix = format!(
                    "{} is no registry: check the name and the port, or the proxy's rule for /v2/",
                    self.host()
                );
                checks.push(Check::failed("ping", found, fix));
                return false;
            }
        }
        true
    }

    /// Does what a challenge asks for; whether there is something to send now.
    fn log_in(&mut self, refusal: &Answer, checks: &mut Vec<Check>) -> bool {
        let headers = refusal.headers.get_all("www-authenticate").iter();
        let challenge = headers.filter_map(|value| Challenge::parse(value.to_str().ok()?)).next();
        let basic = self.asked.credentials.as_ref().map(|(name, password)| {
            format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose())))
        });
        let login = format!("log in (docker login {0}), or give --username", self.asked.host);
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
                        "it wants a name and a password, and there are none",
                        login,
                    ));
                    false
                }
            },
            Some(Challenge::Bearer { token_url }) => {
                let scoped = match token_url.contains("scope=") {
                    true => token_url,
                    false => {
                        let separator = if token_url.contains('?') { '&' } else { '?' };
                        format!("{token_url}{separator}scope=repository:{}:pull", self.asked.name)
                    }
                };
                match self.token(&scoped, basic.as_deref()) {
                    Ok(token) => {
                        let whose = if basic.is_some() { "for the user" } else { "for anybody" };
                        let issuer = authority(&scoped);
                        checks.push(Check::ok("login", format!("{issuer} gives a token {whose}")));
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
                    "clients know Basic and Bearer with a realm of http or https: correct WWW-Authenticate";
                checks.push(Check::failed("login", "its challenge is none that clients know", fix));
                false
            }
        }
    }

    /// A token, or what is wrong and its fix; no fix where a login is one.
    fn token(&self, url: &str, basic: Option<&str>) -> Result<String, (String, String)> {
        #[derive(Deserialize)]
        struct Given {
            token: Option<String>,
            access_token: Option<String>,
        }
        let shown = redact::url(url);
        let issuer = authority(url);
        if url.starts_with("http://") && self.base.starts_with("https://") {
            let found = format!(
                "the token is to be had from {shown}, without TLS, where passwords are read by anybody"
            );
            return Err((found, "name the realm with https in the registry's configuration".into()));
        }
        let headers: Vec<(&str, &str)> = basic.map(|basic| ("authorization", basic)).into_iter().collect();
        let answer = self.web.ask("GET", url, &headers).map_err(|error| {
            (
                format!("{shown} does not answer: {error}"),
                format!("clients need {issuer} too: open it in the firewall"),
            )
        })?;
        match answer.status {
            200 => {}
            401 | 403 if basic.is_some() => {
                return Err((
                    format!("{shown} refuses the name and the password ({})", answer.status),
                    String::new(),
                ));
            }
            401 | 403 => {
                return Err((
                    format!("{shown} gives no token without a password ({})", answer.status),
                    String::new(),
                ));
            }
            status => {
                let found = format!("{shown} gives no token: it answers {status}");
                return Err((found, format!("look into the log of {issuer}")));
            }
        }
        let given =
            answer.bytes(1024 * 1024).ok().and_then(|bytes| serde_json::from_slice::<Given>(&bytes).ok());
        let token = given.and_then(|given| given.token.or(given.access_token));
        token.filter(|token| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())).ok_or_else(
            || {
                let fix = "it must answer JSON with `token` or `access_token`".to_owned();
                (format!("{shown} answers without a token"), fix)
            },
        )
    }
}

/// When a server says it is.
pub(super) fn clock(answer: &Answer) -> Option<Utc> {
    httpdate::parse_http_date(answer.header("date")?).ok().map(Utc::of)
}

fn check_clock(answer: &Answer, checks: &mut Vec<Check>) {
    let Some(theirs) = clock(answer) else { return };
    let ours = Utc::of(SystemTime::now());
    let off = ours.distance(theirs);
    if off > SKEW {
        let found = format!("the registry's clock says {theirs}, this machine's {ours}: {off} s apart");
        let fix = "set both by NTP: certificates, tokens and signed URLs are refused by a wrong clock";
        checks.push(Check::warning("clock", found).fix(fix));
    } else {
        checks.push(Check::ok("clock", format!("the registry's is {off} s off this machine's")));
    }
}
