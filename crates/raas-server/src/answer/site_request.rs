//! What the answers of a site need of a request.

use std::cell::Cell;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Uri};
use raas_types::RepositoryName;

use super::reply::{checked, fail};
use crate::auth::Visitor;
use crate::catalog::Catalog;
use crate::error::ApiError;
use crate::fetched::{Fetched, FetchedItem};
use crate::http::host;
use crate::http::range::{self, RequestedRange};
use crate::metrics::RedirectTarget;
use crate::response::Response;
use crate::route::Api;
use crate::site::Site;

/// Which requests are tracked, with what they were for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracked {
    /// Those that can change what is counted.
    Counted,
    /// All, for the access log.
    All,
}

/// What the answers of a site need of a request.
pub(super) struct SiteRequest<'a> {
    pub(super) site: &'a Site,
    pub(super) catalog: &'a Catalog,
    pub(super) secure: bool,
    pub(super) visitor: &'a Visitor,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) tracked: Tracked,
    /// What it turns out to be for.
    pub(super) fetched: &'a Cell<Option<Fetched>>,
}

impl<'a> SiteRequest<'a> {
    /// The host that the client names.
    pub(super) fn host(&self) -> Option<&'a str> {
        host::from_parts(self.uri, self.headers)
    }

    /// A URL that a document names and that was checked when it was loaded, as the client is sent to it.
    pub(super) fn location(&self, url: String, size: u64) -> HeaderValue {
        match &self.site.crane {
            // The rules' texts were checked when they were read, and are no part of a header by themselves.
            Some(rules) => checked(rules.location(url, size)),
            None => checked(url),
        }
    }

    /// Whether somebody asks who may be a user, and has not said so; what is wrong if so, in the words of RFC 6750.
    pub(super) fn challenge_reason(&self) -> Option<Option<&'static str>> {
        match self.visitor {
            Visitor::Anonymous | Visitor::Uncertified(_) if self.site.access.reads_authorization() => {
                Some(None)
            }
            // Tokens of others are for what they name: there may be another one for this.
            Visitor::TokenBearer(_) => Some(Some("insufficient_scope")),
            _ => None,
        }
    }

    /// The answer that asks who is there.
    pub(super) fn challenge(
        &self,
        api: Api,
        failure: &ApiError,
        scope: Option<&str>,
        error: Option<&str>,
    ) -> Response {
        let mut response = fail(api, failure);
        let host = self.host().unwrap_or("localhost");
        let value = self.site.access.challenge(host, scope, self.secure, error);
        response.headers.insert(header::WWW_AUTHENTICATE, value);
        response
    }

    /// Notes what the request is for, for the access log and for what is counted.
    pub(super) fn set_fetched(&self, repository: &RepositoryName, item: FetchedItem) {
        if self.tracked == Tracked::Counted && !item.is_countable() {
            return;
        }
        let (vendor, repository) = (self.site.vendor.clone(), repository.clone());
        self.fetched.set(Some(Fetched { vendor, repository, item }));
    }

    /// Counts that the client is sent for an object of this size, or for the part of it that it asks for.
    pub(super) fn count_redirect(&self, target: RedirectTarget, size: u64) {
        let range = self.headers.get(header::RANGE);
        let bytes = match range::parse(range.map(HeaderValue::as_bytes), size) {
            RequestedRange::Whole => size,
            RequestedRange::Part { length, .. } => length,
            RequestedRange::Unsatisfiable => 0,
        };
        self.site.redirected.add(target, bytes);
    }
}
