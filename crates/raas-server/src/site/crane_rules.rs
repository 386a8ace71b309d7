//! The configuration of a legacy Crane that a site replaces.

use std::path::PathBuf;
use std::time::SystemTime;

use hyper::header::HeaderValue;

use crate::files::{ConfinedFile, Links};
use crate::origin::AkamaiToken;

/// The rules of a site that replaces a Crane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CraneRules {
    /// `[cdn] url_match` and `url_replace`: in redirect URLs every occurrence of the first text becomes the second.
    /// Both must be visible ASCII.
    pub rewrite: Option<(String, String)>,
    /// `[cdn] url_auth_…`: adds a token to redirect URLs.
    pub token: Option<AkamaiToken>,
    /// `[serve_content]`: folders whose files are sent instead of redirects.
    pub content: Option<ContentFolders>,
    /// `[general] endpoint`: the value of `X-Docker-Endpoints`. Default: the host of the request.
    pub endpoint: Option<String>,
}

/// The folders of the content that is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentFolders {
    /// `<repository id>/<image id>/<file>`
    pub v1: PathBuf,
    /// `<repository id>/{blobs,manifests,tags}/…`
    pub v2: PathBuf,
}

impl CraneRules {
    /// The redirect target for a URL of a document.
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
    /// A file of the v1 API.
    pub(crate) fn v1(&self, repository: &str, rest: &str) -> ConfinedFile {
        file(&self.v1, repository, rest)
    }

    /// A file of the v2 API.
    pub(crate) fn v2(&self, repository: &str, rest: &str) -> ConfinedFile {
        file(&self.v2, repository, rest)
    }
}

/// Pulp's folders consist of links, so links are followed. The repository id must still be a single folder name.
fn file(folder: &std::path::Path, repository: &str, rest: &str) -> ConfinedFile {
    // No file has this path.
    let repository = if repository.contains('/') { "" } else { repository };
    ConfinedFile { folder: folder.to_owned(), path: format!("{repository}/{rest}"), links: Links::Followed }
}
