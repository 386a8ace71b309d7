//! A login at OpenShift's OAuth server with user and password, as `oc login` does it.
//!
//! Source: OpenShift, "OAuth token request flows and responses": the challenging client, which answers with a token in the
//! fragment of a redirect.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use raas_base::Secret;
use raas_base::failure::{Failure, Kind};
use raas_http::http::Uri;
use raas_http::{Agent, AgentOptions, ClientOptions, ForwardProxies, Response, Trust as HttpTrust};
use serde::Deserialize;

/// The most redirects between the parts of the OAuth server.
const REDIRECTS: usize = 5;

/// How long the OAuth server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest answer that is read, in bytes.
const MAX_SIZE: u64 = 256 * 1024;

/// Whose certificates are trusted.
pub(crate) struct Trust {
    pub(crate) insecure: bool,
    /// The authorities of the API server, in DER.
    pub(crate) authorities: Option<Vec<Vec<u8>>>,
}

/// What the API server says about its OAuth server.
#[derive(Deserialize)]
struct Endpoints {
    authorization_endpoint: String,
}

/// Gets a token.
///
/// # Errors
/// The cluster has no OAuth server of its own, or it refuses the password.
pub(crate) fn token(server: &str, user: &str, password: &Secret, trust: &Trust) -> Result<Secret, Failure> {
    let agents = trust.agents()?;
    // The API server has a certificate of the configured authority.
    let well_known = format!("{server}/.well-known/oauth-authorization-server");
    let answer = first(agents.iter().rev(), |agent| agent.get(&well_known).call())
        .map_err(|error| failed(server).caused_by(error))?;
    if answer.status().as_u16() == 404 {
        return Err(failed(server)
            .caused_by("the cluster has no OAuth server of its own (404), so it takes no password")
            .hint("set `auth_token` in [openshift] in place of `username` and `password`"));
    }
    let endpoints: Endpoints = read(answer)
        .ok_or_else(|| failed(server).caused_by("the API server does not say where its OAuth server is"))?;
    let begin = endpoints.authorization_endpoint;
    let is_plain = |url: &str| !url.starts_with("https://");
    if is_plain(&begin) && !is_plain(server) {
        return Err(failed(server).caused_by("the OAuth server has no TLS, and gets no password from raas"));
    }
    let separator = if begin.contains('?') { '&' } else { '?' };
    let begin = format!("{begin}{separator}client_id=openshift-challenging-client&response_type=token");
    challenge(&agents, server, &begin, user, password)
}

fn challenge(
    agents: &[Agent],
    server: &str,
    begin: &str,
    user: &str,
    password: &Secret,
) -> Result<Secret, Failure> {
    let basic = format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())));
    let home = origin(begin);
    let mut url = begin.to_owned();
    let mut with_password = false;
    for _ in 0..=REDIRECTS + 1 {
        let ask = |agent: &Agent| {
            let request = agent.get(&url).header("X-CSRF-Token", "1");
            match with_password {
                true => request.header("Authorization", &basic).call(),
                false => request.call(),
            }
        };
        // The OAuth server has the router's certificate, and not the API server's.
        let answer = first(agents.iter(), ask).map_err(|error| failed(server).caused_by(error))?;
        match answer.status().as_u16() {
            401 if with_password => {
                return Err(failed(server)
                    .caused_by(format!("the OAuth server refuses the password of {user}"))
                    .hint("correct `username` and `password` in [openshift]"));
            }
            401 if answer.header("www-authenticate").is_some_and(is_basic) => with_password = true,
            302 | 303 | 307 => {
                let location = answer.header("location").unwrap_or_default().to_owned();
                if let Some(result) = outcome(&location) {
                    return result.map_err(|why| failed(server).caused_by(why));
                }
                let location = match (&home, location.starts_with('/')) {
                    (Some((scheme, authority)), true) => format!("{scheme}://{authority}{location}"),
                    _ => location,
                };
                if origin(&location) != home {
                    return Err(failed(server)
                        .caused_by(
                            "the OAuth server sends on to another server, which gets no password from raas",
                        )
                        .hint("set `auth_token` in [openshift], which `oc whoami --show-token` prints"));
                }
                url = location;
            }
            code => {
                let text = answer.into_body().read_all(MAX_SIZE).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                let text: String =
                    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
                return Err(failed(server)
                    .caused_by(format!("the OAuth server answered {code}: {text}"))
                    .hint("set `auth_token` in [openshift], which `oc whoami --show-token` prints"));
            }
        }
    }
    Err(failed(server).caused_by("the OAuth server redirects in a circle"))
}

/// What a redirect says in its fragment or its query: a token, or an error. Nothing for any other redirect.
fn outcome(location: &str) -> Option<Result<Secret, String>> {
    let (before, fragment) = location.split_once('#').unwrap_or((location, ""));
    let query = before.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let mut pairs = url::form_urlencoded::parse(text.as_bytes());
        pairs.find(|(name, _)| name == key).map(|(_, value)| value.into_owned())
    };
    if let Some(token) = value(fragment, "access_token").filter(|token| !token.is_empty()) {
        return Some(Ok(Secret::new(token)));
    }
    let error = value(query, "error").or_else(|| value(fragment, "error"))?;
    let more = value(query, "error_description").map(|text| format!(": {text}")).unwrap_or_default();
    Some(Err(format!("the OAuth server says {error}{more}")))
}

fn is_basic(challenge: &str) -> bool {
    challenge.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
}

/// Scheme and authority.
fn origin(url: &str) -> Option<(String, String)> {
    let url: Uri = url.split('#').next()?.parse().ok()?;
    Some((url.scheme_str()?.to_owned(), url.authority()?.as_str().to_owned()))
}

impl Trust {
    /// The machine's authorities first, then the configured ones.
    fn agents(&self) -> Result<Vec<Agent>, Failure> {
        let proxies = ForwardProxies::from_environment()
            .map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
        let proxies = std::sync::Arc::new(proxies);
        let agent = |trust: HttpTrust| {
            let client = ClientOptions {
                answer: PATIENCE,
                proxies: proxies.clone(),
                trust,
                ..ClientOptions::default()
            };
            Agent::new(AgentOptions { client, silence: PATIENCE, redirects: 0 })
        };
        if self.insecure {
            // The operator has set `verify_ssl = no`.
            return Ok(vec![agent(HttpTrust::AnyCertificate)]);
        }
        let mut agents = vec![agent(HttpTrust::System)];
        if let Some(authorities) = &self.authorities {
            let authorities = authorities.iter().map(|der| der.clone().into()).collect();
            agents.push(agent(HttpTrust::Authorities(authorities)));
        }
        Ok(agents)
    }
}

/// The first answer of several agents.
fn first<'a>(
    agents: impl Iterator<Item = &'a Agent>,
    ask: impl Fn(&'a Agent) -> Result<Response, raas_http::ClientError>,
) -> Result<Response, raas_http::ClientError> {
    let mut last = None;
    for agent in agents {
        match ask(agent) {
            Ok(answer) => return Ok(answer),
            Err(error) => last = Some(error),
        }
    }
    Err(last.expect("there is at least one agent"))
}

fn read<T: for<'a> Deserialize<'a>>(answer: Response) -> Option<T> {
    let body = answer.into_body().read_all(MAX_SIZE).ok()?;
    serde_json::from_slice(&body).ok()
}

fn failed(server: &str) -> Failure {
    Failure::new(Kind::Environment, format!("cannot log in to {server}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use raas_testkit::http::{Reply, Server};
    use raas_testkit::kubernetes::Exchange;

    use super::*;

    /// An OAuth server that answers the request with a password like this, and the trace of the requests.
    fn login(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (Result<Secret, Failure>, Server) {
        let url = Arc::new(OnceLock::<String>::new());
        let known = url.clone();
        let server = Server::scripted(move |asked| {
            let base = known.get().unwrap();
            let challenged = asked.headers.contains_key("x-csrf-token");
            match asked.target.as_str() {
                "/.well-known/oauth-authorization-server" => Reply::new(
                    200,
                    format!(r#"{{"issuer":"{base}","authorization_endpoint":"{base}/oauth/authorize"}}"#),
                ),
                _ if !challenged => Reply::new(401, "no challenge without the header"),
                _ => match asked.headers.get("authorization") {
                    None => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"openshift\""),
                    // user:hunter2
                    Some(basic) if basic == "Basic dXNlcjpodW50ZXIy" => answer(base),
                    Some(_) => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"openshift\""),
                },
            }
        });
        url.set(server.url("")).unwrap();
        let trust = Trust { insecure: false, authorities: None };
        (token(&server.url(""), "user", &Secret::new("hunter2"), &trust), server)
    }

    fn redirect(to: &str) -> Reply {
        Reply::new(302, "").with("Location", to)
    }

    #[test]
    fn a_password_becomes_a_token() {
        let (token, server) = login(|base| {
            redirect(&format!("{base}/oauth/token/implicit#access_token=sha256~abc%2Bd&expires_in=86400"))
        });
        assert_eq!(token.unwrap().expose(), "sha256~abc+d");
        assert_eq!(server.count("GET", "/oauth/authorize"), 2);
    }

    #[test]
    fn each_refusal_of_a_login_says_what_to_do() {
        let (denied, _) = login(|base| {
            redirect(&format!("{base}/x?error=access_denied&error_description=The+user+is+locked"))
        });
        let text = denied.unwrap_err().to_string();
        assert!(text.contains("access_denied: The user is locked"), "{text}");
        let (circle, server) = login(|base| redirect(&format!("{base}/oauth/authorize?again")));
        assert!(circle.unwrap_err().to_string().contains("in a circle"));
        assert!(server.count("GET", "/oauth/authorize") <= REDIRECTS + 2);
        let (elsewhere, _) = login(|_| redirect("http://127.0.0.2:1/login"));
        assert!(elsewhere.unwrap_err().to_string().contains("gets no password"));
        let (page, _) = login(|_| Reply::new(200, "<p>visit  /oauth/token/request"));
        let text = page.unwrap_err().to_string();
        assert!(text.contains("<p>visit /oauth/token/request") && text.contains("auth_token"), "{text}");
    }

    #[test]
    fn a_wrong_password_is_not_sent_again_and_never_shown() {
        let server = Server::scripted(|asked| match asked.target.as_str() {
            "/.well-known/oauth-authorization-server" => {
                let host = &asked.headers["host"];
                Reply::new(200, format!(r#"{{"authorization_endpoint":"http://{host}/oauth/authorize"}}"#))
            }
            _ => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=\"openshift\""),
        });
        let trust = Trust { insecure: false, authorities: None };
        let failure = token(&server.url(""), "user", &Secret::new("hunter2"), &trust).unwrap_err();
        assert!(failure.to_string().contains("refuses the password of user"), "{failure}");
        assert!(!format!("{failure:?}{failure}").contains("hunter2"));
        assert_eq!(server.count("GET", "/oauth/authorize"), 2);
    }

    #[test]
    fn a_cluster_without_oauth_needs_a_token() {
        let recorded = Exchange::recorded("10-no-oauth");
        let server = Server::scripted(move |asked| {
            assert_eq!(asked.target, recorded.target);
            recorded.reply.clone()
        });
        let trust = Trust { insecure: false, authorities: None };
        let failure = token(&server.url(""), "user", &Secret::new("hunter2"), &trust).unwrap_err();
        assert!(failure.hints()[0].contains("set `auth_token`"), "{failure}");
    }
}
