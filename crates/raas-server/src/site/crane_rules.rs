//! What a legacy Crane's configuration says of a site: redirects that are rewritten and signed, or files instead.

use std::path::PathBuf;
use std::time::SystemTime;

use hyper::header::HeaderValue;

use crate::files::{ConfinedFile, Links};
use crate::origin::AkamaiToken;

/// The rules of a site that stands in for a Crane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CraneRules {
    /// `[cdn] url_match` and `url_replace`: a text and what every occurrence of it becomes in a URL that clients are
    /// sent to. Visible ASCII, both.
    pub rewrite: Option<(String, String)>,
    /// `[cdn] url_auth_…`: what makes a token for each of these URLs.
    pub token: Option<AkamaiToken>,
    /// `[serve_content]`: folders whose files are sent instead of redirects.
    pub content: Option<ContentFolders>,
    /// `[general] endpoint`: what `X-Docker-Endpoints` says; the host that a client asked without one.
    pub endpoint: Option<String>,
}

/// Where the content lies that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentFolders {
    /// `<repository id>/<image id>/<file>`
    pub v1: PathBuf,
    /// `<repository id>/{blobs,manifests,tags}/…`
    pub v2: PathBuf,
}

impl CraneRules {
    /// A URL that a document names, as a client is sent to it.
    pub(crate) fn location(&self, url: String, size: u64) -> String {
        let mut url = match &self.rewrite {
            Some((from, to)) => url.replace(from, to),
            None => url,
        };
        if let Some(token) = &self.token {
            token.append(&mut url, size, SystemTime::now());
        }
        url
    }

    /// The endpoint as a header.
    pub(crate) fn endpoint(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.endpoint.as_deref()?).ok()
    }
}

impl ContentFolders {
    /// A file of a repository's folder for Docker v1 clients.
    pub(crate) fn v1(&self, repository: &str, rest: &str) -> ConfinedFile {
        file(&self.v1, repository, rest)
    }

    /// The same for today's.
    pub(crate) fn v2(&self, repository: &str, rest: &str) -> ConfinedFile {
        file(&self.v2, repository, rest)
    }
}

/// Pulp's folders consist of links, which Crane follows; the id must be one part of a path all the same.
fn file(folder: &std::path::Path, repository: &str, rest: &str) -> ConfinedFile {
    // No file has such a name.
    let repository = if repository.contains('/') { "" } else { repository };
    ConfinedFile {
        folder: folder.to_owned(),
        path: format!("{repository}/{rest}"),
        links: Links::FollowedMetadata,
    }
}
