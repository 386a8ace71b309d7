//! Fetches from the locations of masked layers.

use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Response, Uri};
use raas_http::ClientError;

use super::{AllowedHosts, Buffering, HttpClient, fetch};

/// The maximal number of redirects: a registry redirects to its storage, and storage does not redirect.
const MAX_REDIRECTS: u32 = 3;

/// Why a location has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LocationError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the redirect of the location cannot be followed")]
    Redirect,
    #[error("the location redirects to {0}, which is not in the list of allowed hosts")]
    Forbidden(String),
    #[error("the location redirects too often")]
    Loop,
}

impl HttpClient {
    /// Fetches from a location, and follows its redirects. Every URL on the way must be at an allowed host, and every
    /// connection goes to an allowed address. The caller has checked the first URL.
    pub(crate) async fn fetch_location(
        &self,
        allowed: &AllowedHosts,
        method: &Method,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        buffering: Buffering,
    ) -> Result<Response<Incoming>, LocationError> {
        let client = self.for_locations(allowed, buffering);
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let answer = fetch(&client, method, &url, headers).await?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            url = to.and_then(|to| redirected(&url, to)).ok_or(LocationError::Redirect)?;
            if !allowed.allows_url(&url) {
                let host = url.parse::<Uri>().ok().and_then(|uri| Some(uri.authority()?.as_str().to_owned()));
                // A user name before the host may be a secret.
                let host = host.as_deref().and_then(|host| host.rsplit('@').next()).unwrap_or_default();
                return Err(LocationError::Forbidden(host.to_owned()));
            }
        }
        Err(LocationError::Loop)
    }
}

/// The target of a redirect from `from`. None if it is invalid or would leave TLS.
fn redirected(from: &str, to: &str) -> Option<String> {
    let uri: Uri = to.parse().ok()?;
    match uri.scheme_str() {
        Some("https") => Some(to.to_owned()),
        Some("http") if from.starts_with("http:") => Some(to.to_owned()),
        Some(_) => None,
        // A path on the same host. Source: RFC 9110, section 10.2.2.
        None if to.starts_with('/') && !to.starts_with("//") => {
            let path = from.find("://")? + 3;
            let end = from[path..].find(['/', '?']).map_or(from.len(), |at| path + at);
            Some(format!("{}{to}", &from[..end]))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_followed_to_urls_and_paths_and_never_out_of_tls() {
        let table = [
            ("https://a/x", "https://b/y", Some("https://b/y")),
            ("https://a/x", "http://b/y", None),
            ("http://a/x", "http://b/y", Some("http://b/y")),
            ("http://a:1/x/z?q", "/y", Some("http://a:1/y")),
            ("https://a", "/y", Some("https://a/y")),
            ("https://a/x", "//b/y", None),
            ("https://a/x", "y", None),
            ("https://a/x", "file:///etc/passwd", None),
        ];
        for (from, to, expected) in table {
            assert_eq!(redirected(from, to).as_deref(), expected, "{from} {to}");
        }
    }
}
