//! Requests to one server, with login, redirects, pauses and bounds.

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use raas_base::Say;
use raas_http::http::{HeaderMap, Method};
use raas_http::{ClientIdentity, Response};
use raas_types::{Digest, RepositoryName};

use super::authorization::{Asking, Authorization, Header, LoginSource};
use super::hosts::{self, Hosts, Special};
use super::patience::{Patience, retry_after};
use super::url::{host_of, same_origin};
use crate::registry_error::{RegistryError, said};

/// Whether raas speaks TLS with a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// With TLS, unless the registry is on this machine and there are no certificates for it, as other clients do.
    Usual,
    /// Without TLS.
    Plain,
    /// With TLS.
    Tls,
}

/// How raas connects to a registry, and logs in.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// Whether to use TLS.
    pub transport: Transport,
    /// Whether to take any certificate of the registry's host.
    pub any_certificate: bool,
    /// The certificate to show to the registry's host.
    pub identity: Option<Arc<ClientIdentity>>,
    /// Where the login comes from.
    pub login: LoginSource,
    /// The folders with certificates for hosts; `None` for those of docker and podman.
    pub certificate_folders: Option<Vec<PathBuf>>,
    /// The files of the form of `registries.conf`; `None` for those of podman.
    pub registries_files: Option<Vec<PathBuf>>,
    /// The bounds of waiting.
    pub patience: Patience,
    /// Takes lines for the user.
    pub say: Say,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            transport: Transport::Usual,
            any_certificate: false,
            identity: None,
            login: LoginSource::Files,
            certificate_folders: None,
            registries_files: None,
            patience: Patience::default(),
            say: Say::nothing(),
        }
    }
}

/// A server that raas sends requests to, as to a registry.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Scheme, host and port, without a slash at the end.
    base: String,
    host: String,
    hosts: Hosts,
    authorization: Authorization,
    patience: Patience,
    say: Say,
    requests: AtomicU64,
}

/// A small answer, read to its end.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) media_type: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) location: Option<String>,
    pub(crate) links: Vec<String>,
    /// The length that the head of the answer says.
    pub(crate) length: Option<u64>,
    pub(crate) bytes: Vec<u8>,
    /// Whether the content is the one that the request names as known. Such an answer has no bytes.
    pub(crate) is_known: bool,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    /// The path and query.
    pub(crate) path: &'a str,
    pub(crate) accept: &'a str,
    /// The first byte that is wanted.
    pub(crate) offset: u64,
    /// The digest of the content that need not be sent again.
    pub(crate) known: Option<&'a Digest>,
    /// What messages call it.
    pub(crate) what: &'a str,
    /// The body of the request.
    pub(crate) payload: Option<Payload<'a>>,
}

/// The body of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) media_type: &'a str,
    pub(crate) bytes: &'a [u8],
    /// The value of `Content-Range`.
    pub(crate) range: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// A request for a whole document.
    pub(crate) fn get(path: &'a str, accept: &'a str, what: &'a str) -> Self {
        Self { method: &Method::GET, path, accept, offset: 0, known: None, what, payload: None }
    }

    /// A request that sends JSON, and gets JSON.
    pub(crate) fn json(method: &'a Method, path: &'a str, json: &'a [u8], what: &'a str) -> Self {
        let payload = Payload { media_type: JSON, bytes: json, range: None };
        Self { method, payload: Some(payload), ..Self::get(path, JSON, what) }
    }
}

/// The media type of the REST APIs.
pub(crate) const JSON: &str = "application/json";

/// Whether a request that is sent twice has the same effect as if it was sent once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It has the same effect.
    Safe,
    /// It may have another effect: raas sends it again only if the server says that it did not accept it.
    Unsafe,
}

/// A failed attempt.
pub(super) struct Failed {
    error: Box<RegistryError>,
    /// The pause that the registry asks for.
    pause: Option<Duration>,
    again: bool,
}

impl Failed {
    /// The failure of an answer that may pass by itself.
    pub(super) fn answered(error: RegistryError, headers: &HeaderMap) -> Self {
        let pause = headers.get("retry-after").and_then(|value| value.to_str().ok());
        let pause = pause.and_then(|text| retry_after(text, SystemTime::now()));
        Self { error: Box::new(error), pause, again: true }
    }
}

impl From<RegistryError> for Failed {
    fn from(error: RegistryError) -> Self {
        let again = error.may_pass();
        Self { error: Box::new(error), pause: None, again }
    }
}

/// The longest answer to a request that changes something.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// The longest body of an error that raas reads for the error's message.
const MAX_ERROR: u64 = 64 * 1024;

/// The most redirects in a row.
const MAX_REDIRECTS: usize = 10;

impl Connection {
    /// A connection that sends no request yet. `is_local` says whether the server is this machine, and `repository` is
    /// the repository that a token is for.
    ///
    /// # Errors
    /// A variable of the environment names an invalid proxy.
    pub(crate) fn new(
        host: &str,
        is_local: bool,
        repository: &RepositoryName,
        options: RemoteOptions,
    ) -> Result<Self, RegistryError> {
        let RemoteOptions {
            transport,
            any_certificate,
            identity,
            login,
            certificate_folders,
            registries_files: _,
            patience,
            say,
        } = options;
        let special = Special { host: host.to_owned(), any_certificate, identity };
        let hosts =
            Hosts::new(certificate_folders.unwrap_or_else(hosts::certificate_folders), patience, special)?;
        let plain = match transport {
            Transport::Usual => is_local && !hosts.has_certificates(host),
            Transport::Plain => true,
            Transport::Tls => false,
        };
        let base = format!("{}://{host}", if plain { "http" } else { "https" });
        let authorization = Authorization::new(host, repository.clone(), login);
        let (host, requests) = (host.to_owned(), AtomicU64::new(0));
        Ok(Self { base, host, hosts, authorization, patience, say, requests })
    }

    /// The host and port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Asks once whether the server answers, whatever it answers.
    pub(super) fn speaks(&self) -> Result<(), RegistryError> {
        let agent = self.hosts.agent(&self.host)?;
        let answer = agent.get(&format!("{}/v2/", self.base)).call();
        answer.map(drop).map_err(|error| RegistryError::of_client(&self.host, error))
    }

    /// The number of requests so far, with those of token servers and redirects left out.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// Reads an answer to its end. `None` if the registry does not have it.
    ///
    /// # Errors
    /// There is no good answer after all attempts, or it has more than `most` bytes.
    pub(crate) fn read(&self, request: &Request<'_>, most: u64) -> Result<Option<Document>, RegistryError> {
        self.retry(|| self.attempt(request, most))
    }

    /// Sends a request that changes something on the server.
    ///
    /// # Errors
    /// The server does not make the change. A 404 is an error too.
    pub(crate) fn change(&self, request: &Request<'_>, repeat: Repeat) -> Result<Document, RegistryError> {
        let done = self.retry(|| {
            self.attempt(request, MAX_ANSWER).map_err(|failed| {
                let untouched = matches!(*failed.error, RegistryError::Status { status: 429 | 503, .. });
                Failed { again: failed.again && (repeat == Repeat::Safe || untouched), ..failed }
            })
        })?;
        done.ok_or_else(|| RegistryError::NotFound { what: request.what.to_owned(), said: String::new() })
    }

    /// Begins to read an answer of any length. `None` if the server does not have it.
    ///
    /// # Errors
    /// There is no good answer after all attempts.
    pub(crate) fn stream(&self, request: &Request<'_>) -> Result<Option<Response>, RegistryError> {
        self.retry(|| {
            let response = self.send(request)?;
            match response.status().as_u16() {
                200..=299 => Ok(Some(response)),
                404 => Ok(None),
                401 | 403 => Err(self.denied(request.what).into()),
                status => Err(self.status(request, status, &[]).into()),
            }
        })
    }

    fn attempt(&self, request: &Request<'_>, most: u64) -> Result<Option<Document>, Failed> {
        let response = self.send(request)?;
        let status = response.status().as_u16();
        let header = |name: &str| response.header(name).map(str::to_owned);
        let media_type = header("content-type");
        let media_type = media_type.and_then(|text| Some(text.split(';').next()?.trim().to_owned()));
        let (digest, location) = (header("docker-content-digest"), header("location"));
        let links = response.headers().get_all("link").iter();
        let links = links.filter_map(|link| Some(link.to_str().ok()?.to_owned())).collect();
        let length = response.content_length();
        let is_head = request.method == Method::HEAD;
        if !is_head && status < 300 && length.is_some_and(|length| length > most) {
            return Err(self.content(request, format!("it has more than {most} bytes")).into());
        }
        let limit = if status < 300 { most } else { MAX_ERROR };
        let bytes = if is_head { Vec::new() } else { self.bytes(response, request, limit, status)? };
        // Only a registry that was told what is known may say that nothing else is there.
        let is_known = status == 304 && request.known.is_some();
        match status {
            200..=299 => Ok(Some(Document { media_type, digest, location, links, length, bytes, is_known })),
            304 if is_known => Ok(Some(Document {
                media_type,
                digest,
                location,
                links,
                length,
                bytes: Vec::new(),
                is_known,
            })),
            404 => Ok(None),
            401 | 403 => Err(self.authorization.error(request.what, &bytes).into()),
            _ => Err(self.status(request, status, &bytes).into()),
        }
    }

    fn bytes(
        &self,
        response: Response,
        request: &Request<'_>,
        limit: u64,
        status: u16,
    ) -> Result<Vec<u8>, RegistryError> {
        let length = response.content_length();
        let mut bytes = Vec::new();
        let read = response.into_body().take(limit + 1).read_to_end(&mut bytes);
        if status >= 300 {
            // The body only adds words to an error: a part of it, or none, is good enough.
            bytes.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            return Ok(bytes);
        }
        let cut = |why: String| RegistryError::Cut { what: request.what.to_owned(), why };
        read.map_err(|error| cut(error.to_string()))?;
        if bytes.len() as u64 > limit {
            return Err(self.content(request, format!("it has more than {limit} bytes")));
        }
        match length {
            Some(length) if length != bytes.len() as u64 => {
                Err(cut(format!("{} of {length} bytes have come", bytes.len())))
            }
            _ => Ok(bytes),
        }
    }

    pub(super) fn denied(&self, what: &str) -> RegistryError {
        self.authorization.error(what, &[])
    }

    pub(crate) fn content(&self, request: &Request<'_>, why: String) -> RegistryError {
        RegistryError::Content { what: request.what.to_owned(), why }
    }

    fn status(&self, request: &Request<'_>, status: u16, body: &[u8]) -> RegistryError {
        let (what, host) = (request.what.to_owned(), self.host.clone());
        RegistryError::Status { what, host, status, said: said(body) }
    }

    /// Tries until it succeeds, fails for good, or the attempts are used up.
    pub(super) fn retry<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Failed>,
    ) -> Result<T, RegistryError> {
        let mut number = 0;
        loop {
            number += 1;
            let Failed { error, pause, again } = match attempt() {
                Ok(found) => return Ok(found),
                Err(failed) => failed,
            };
            match self.patience.pause_after(number, pause).filter(|_| again) {
                Some(pause) => thread::sleep(pause),
                None => return Err(*error),
            }
        }
    }

    /// Sends a request once, with the login that the registry asks for, and follows redirects. An answer that may be
    /// different a moment later, such as a 503, is an error; every other status is returned.
    pub(super) fn send(&self, request: &Request<'_>) -> Result<Response, Failed> {
        let asking = Asking { hosts: &self.hosts, base: &self.base, say: &self.say };
        let mut header = self.authorization.current(&asking)?;
        let mut renewed = false;
        loop {
            let Followed { response, elsewhere } = self.follow(request, header.as_ref())?;
            let status = response.status().as_u16();
            if status == 401 && elsewhere.is_none() && !renewed {
                let challenges = response.headers().get_all("www-authenticate").iter();
                let challenges: Vec<&str> = challenges.filter_map(|value| value.to_str().ok()).collect();
                header = Some(self.authorization.renew(header.as_ref(), &challenges, &asking)?);
                renewed = true;
                continue;
            }
            let host = elsewhere.as_deref().unwrap_or(&self.host);
            // A signed URL that is rejected may have been signed too long ago: the next attempt gets another one.
            let stale = elsewhere.is_some() && matches!(status, 401 | 403 | 404);
            if stale || matches!(status, 408 | 429 | 500 | 502 | 503 | 504) {
                let (host, headers) = (host.to_owned(), response.headers().clone());
                let body = self.bytes(response, request, MAX_ERROR, status)?;
                let what = request.what.to_owned();
                let error = RegistryError::Status { what, host, status, said: said(&body) };
                return Err(Failed::answered(error, &headers));
            }
            return Ok(response);
        }
    }

    fn follow(&self, request: &Request<'_>, header: Option<&Header>) -> Result<Followed, RegistryError> {
        let mut url = format!("{}{}", self.base, request.path);
        let mut header = header;
        let mut elsewhere = None;
        self.requests.fetch_add(1, Ordering::Relaxed);
        for _ in 0..=MAX_REDIRECTS {
            let host = host_of(&url);
            let agent = self.hosts.agent(&host)?;
            let mut builder = agent.request(request.method.clone(), &url);
            builder = builder.header("accept", request.accept).header("accept-encoding", "identity");
            if request.offset > 0 {
                builder = builder.header("range", &format!("bytes={}-", request.offset));
            }
            if let Some(known) = request.known {
                // Registries use the digest as the tag of an entity.
                builder = builder.header("if-none-match", &format!("\"{known}\""));
            }
            if let Some(header) = header {
                builder = builder.header("authorization", header.expose());
            }
            if let Some(Payload { media_type, bytes, range }) = request.payload {
                builder = builder.header("content-type", media_type).body(bytes.to_vec());
                if let Some(range) = range {
                    builder = builder.header("content-range", range);
                }
            }
            let response = builder.call().map_err(|error| RegistryError::of_client(&host, error))?;
            let next = response.redirect().map_err(|error| self.content(request, error.to_string()))?;
            let Some(next) = next else { return Ok(Followed { response, elsewhere }) };
            url = next.to_string();
            if !same_origin(&self.base, &url) {
                if request.payload.is_some() {
                    return Err(self.content(request, "raas sends no content to another host".into()));
                }
                // No login from here on, even if a later redirect leads back to the registry.
                header = None;
                elsewhere = Some(host_of(&url));
            }
        }
        Err(self.content(request, format!("more than {MAX_REDIRECTS} redirects")))
    }
}

struct Followed {
    response: Response,
    /// The host that answered, if it is not the registry.
    elsewhere: Option<String>,
}
