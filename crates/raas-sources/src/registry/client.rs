//! Reading manifests and configs from a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use raas_http::{Agent, Response};
use raas_types::{Digest, Manifest, Reference, media_type};
use serde::Deserialize;

use super::ImageReference;
use super::challenge::Challenge;
use super::url::drops_tls;
use crate::credentials::{Credentials, PasswordLogin};
use crate::http;
use raas_base::Secret;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::redact;

/// A client of registries. A registry that asks for a login gets the login of its own host.
pub struct Client {
    agent: Agent,
    credentials: Credentials,
    /// `Authorization` headers that were accepted, by the repository's URL.
    accepted: Mutex<BTreeMap<String, String>>,
    /// Which passwords went to a host other than the registry's, for people.
    notes: Mutex<BTreeSet<String>>,
}

/// What to do about a login that is missing or refused.
const LOGIN_HINT: &str = "log in with `podman login HOST`, or set `registry_host`, `registry_username` and \
                          `registry_password` in [redhat]";

/// The longest config that is read.
const MAX_CONFIG: u64 = 8 * 1024 * 1024;

impl Client {
    /// A client with these credentials.
    pub fn new(credentials: Credentials) -> Result<Self, Failure> {
        let (accepted, notes) = (Mutex::default(), Mutex::default());
        Ok(Self { agent: http::agent()?, credentials, accepted, notes })
    }

    /// Which passwords went to a host other than the registry's, one sentence for each, for people.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A manifest of the image's repository. If the reference is a digest, the digest is checked.
    pub fn manifest(&self, image: &ImageReference, reference: &Reference) -> Result<Manifest, Failure> {
        const ACCEPT: [&str; 4] = [
            media_type::OCI_INDEX,
            media_type::OCI_MANIFEST,
            media_type::DOCKER_LIST,
            media_type::DOCKER_MANIFEST,
        ];
        let url = image.manifest_url(reference);
        let (content_type, bytes) = self.get(image, &url, &ACCEPT.join(", "), Manifest::MAX_SIZE)?;
        check_digest(&url, reference, &bytes)?;
        // Parameters such as a charset are no part of the type. A server of plain files has a type of its own.
        let content_type = content_type.as_deref().and_then(|text| text.split(';').next()).map(str::trim);
        let is_manifests = |text: &&str| media_type::is_index(text) || media_type::is_image_manifest(text);
        let content_type = content_type.filter(is_manifests);
        Manifest::parse(&bytes, content_type).map_err(|error| {
            Failure::new(Kind::Refused, format!("what {url} answers cannot be used")).caused_by(error)
        })
    }

    /// A config of the image's repository.
    pub fn config(&self, image: &ImageReference, digest: &Digest) -> Result<Vec<u8>, Failure> {
        let url = format!("{}/{digest}", image.blobs_url());
        let (_, bytes) = self.get(image, &url, "*/*", MAX_CONFIG)?;
        check_digest(&url, &Reference::Digest(*digest), &bytes)?;
        Ok(bytes)
    }

    fn get(
        &self,
        image: &ImageReference,
        url: &str,
        accept: &str,
        most: u64,
    ) -> Result<(Option<String>, Vec<u8>), Failure> {
        let scope = image.blobs_url();
        let known = self.accepted.lock().unwrap_or_else(PoisonError::into_inner).get(&scope).cloned();
        let mut response = self.ask(url, accept, known.as_deref())?;
        if response.status() == 401 {
            let authorization = self.authorization(image, url, &response)?;
            response = self.ask(url, accept, Some(&authorization))?;
            if response.status().is_success() {
                self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(scope, authorization);
            }
        }
        let status = response.status();
        if !status.is_success() {
            let message = format!("{url} answers {status}");
            let hint = match status.as_u16() {
                401 | 403 => LOGIN_HINT,
                404 => "check the name and the tag in `mask_images`",
                _ => "run the command again when the registry is well",
            };
            return Err(Failure::new(Kind::Environment, message).hint(hint));
        }
        let content_type = response.header("content-type");
        let content_type = content_type.map(str::to_owned);
        let body = response.into_body().read_all(most);
        Ok((content_type, body.context(|| format!("cannot read {url}"))?))
    }

    fn ask(&self, url: &str, accept: &str, authorization: Option<&str>) -> Result<Response, Failure> {
        let mut request = self.agent.get(url).header("accept", accept);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        request.call().map_err(|error| {
            Failure::new(Kind::Environment, format!("cannot ask {}", redact::url(url)))
                .caused_by(error)
                .hint("check the name in `mask_images` and the network")
        })
    }

    /// What to send with the request, as the registry has asked for.
    fn authorization(
        &self,
        image: &ImageReference,
        url: &str,
        refusal: &Response,
    ) -> Result<String, Failure> {
        let headers = refusal.headers().get_all("www-authenticate").iter();
        let challenge = headers.filter_map(|value| Challenge::parse(value.to_str().ok()?)).next();
        let login = || self.credentials.find(image.api_host(), &image.name);
        match challenge {
            Some(Challenge::Basic) => match login()? {
                Some(login) => Ok(login.authorization().expose().to_owned()),
                None => Err(Failure::new(Kind::Usage, format!("{url} asks for a name and a password"))
                    .hint(LOGIN_HINT)),
            },
            Some(Challenge::Bearer { token_url, .. }) => {
                let login = if drops_tls(&image.base_url(), &token_url) { None } else { login()? };
                if let Some(login) = &login {
                    self.note_issuer(image, &token_url, login);
                }
                self.token(&token_url, login.map(|login| login.authorization()).as_ref())
            }
            None => Err(Failure::new(
                Kind::Environment,
                format!("{url} wants an authentication that raas does not know"),
            )),
        }
    }

    /// Notes a password that goes to another host: the registry alone says that this is its token server.
    fn note_issuer(&self, image: &ImageReference, token_url: &str, login: &PasswordLogin) {
        let authority = token_url.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
        let issuer = authority.map_or("", |text| text.rsplit('@').next().unwrap_or_default());
        if issuer.eq_ignore_ascii_case(image.api_host()) {
            return;
        }
        let note = format!(
            "the password of `{}` for {} is sent to {issuer}, which that registry names as its token server",
            login.user,
            image.api_host()
        );
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).insert(note);
    }

    fn token(&self, url: &str, basic: Option<&Secret>) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let shown = redact::url(url);
        let response = self.ask(url, "application/json", basic.map(Secret::expose))?;
        if !response.status().is_success() {
            let message = format!("{shown} gives no token: it answers {}", response.status());
            return Err(Failure::new(Kind::Environment, message).hint(LOGIN_HINT));
        }
        let body = response.into_body().read_all(1024 * 1024);
        let answer: Answer = serde_json::from_slice(&body.context(|| format!("cannot read {shown}"))?)
            .map_err(|_| Failure::new(Kind::Environment, format!("{shown} gives no token")))?;
        let token = answer.token.or(answer.access_token);
        let token = token.filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
        let token =
            token.ok_or_else(|| Failure::new(Kind::Environment, format!("{shown} gives no token")))?;
        Ok(format!("Bearer {token}"))
    }
}

fn check_digest(url: &str, reference: &Reference, bytes: &[u8]) -> Result<(), Failure> {
    match reference {
        Reference::Digest(expected) if Digest::of(bytes) != *expected => Err(Failure::new(
            Kind::Refused,
            format!("what {url} answers has the digest {}", Digest::of(bytes)),
        )),
        _ => Ok(()),
    }
}
