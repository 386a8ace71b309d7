//! A request to a site, as the answers of all APIs need it.

use std::cell::Cell;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Uri};
use raas_types::RepositoryName;

use super::reply::{checked, fail};
use crate::auth::{Scope, Visitor};
use crate::catalog::Catalog;
use crate::error::ApiError;
use crate::fetched::{Fetched, FetchedItem, UsedKey};
use crate::http::host;
use crate::http::range::{self, RequestedRange};
use crate::http_client::AllowedHosts;
use crate::metrics::RedirectTarget;
use crate::response::Response;
use crate::route::Api;
use crate::site::Site;

/// The requests that report what they were for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracked {
    /// Requests that may change a counter.
    Counted,
    /// All requests, for the access log.
    All,
}

/// A request to a site that is loaded.
pub(super) struct SiteRequest<'a> {
    pub(super) site: &'a Site,
    pub(super) catalog: &'a Catalog,
    /// Whether clients reach the server by TLS.
    pub(super) secure: bool,
    /// The host of the configured public URL, if the server has this site only.
    pub(super) public_host: Option<&'a str>,
    pub(super) visitor: &'a Visitor,
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    pub(super) tracked: Tracked,
    pub(super) notes: &'a Notes,
}

/// What becomes known of a request while it is answered.
#[derive(Default)]
pub(super) struct Notes {
    /// What the request was for.
    pub(super) fetched: Cell<Option<Fetched>>,
    /// Where it is redirected to, and how many bytes were counted for that.
    pub(super) redirected: Cell<Option<(RedirectTarget, u64)>>,
}

impl<'a> SiteRequest<'a> {
    /// The host that the client named.
    pub(super) fn host(&self) -> Option<&'a str> {
        host::from_parts(self.uri, self.headers)
    }

    /// The redirect target for a URL of a document. The URL was checked when the document was loaded.
    pub(super) fn location(&self, url: String, size: u64) -> HeaderValue {
        match &self.site.crane {
            // The texts of the rules were checked when the configuration was read.
            Some(rules) => checked(rules.location(url, size)),
            None => checked(url),
        }
    }

    /// The hosts that the server may fetch this location of a repository from. None if it does not fetch it.
    pub(super) fn hosts_for(&self, repository: &RepositoryName, location: &str) -> Option<AllowedHosts> {
        let rules = self.site.proxy_rules_for(repository)?;
        rules.allows_url(location).then(|| rules.hosts.clone())
    }

    /// Whether an answer that hides a repository should be a challenge, because other credentials may reveal it. The
    /// inner value is the `error` of RFC 6750, if the request had credentials.
    pub(super) fn challenge_reason(&self) -> Option<Option<&'static str>> {
        match self.visitor {
            Visitor::Anonymous | Visitor::Uncertified(_) | Visitor::Entitled(_)
                if self.site.access.reads_authorization() =>
            {
                Some(None)
            }
            // A token of another issuer grants only the repositories that it names. Another token may grant this one. A
            // guest may log in as a user.
            Visitor::TokenBearer(_) | Visitor::Guest => Some(Some("insufficient_scope")),
            // So may another token of the customer, if the client did not ask for this repository.
            Visitor::Customer(visit) if visit.has_token() => Some(Some("insufficient_scope")),
            _ => None,
        }
    }

    /// As [`challenge_reason`](Self::challenge_reason), for a request to a repository.
    pub(super) fn challenge_reason_for(&self, name: Option<&str>) -> Option<Option<&'static str>> {
        match (self.visitor, name) {
            // The client has asked for just this repository, and the customer may not see it: it does not exist.
            (Visitor::Customer(visit), Some(name)) if visit.asked_for(name) => None,
            _ => self.challenge_reason(),
        }
    }

    /// Whether the visitor's list of repositories is what it has asked for: a guest's list is the public one, and the list
    /// of an entitlement has what the certificate grants.
    pub(super) fn sees_whole_catalog(&self) -> bool {
        if let Visitor::Customer(visit) = self.visitor {
            return visit.lists_catalog();
        }
        let whole = self.site.catalog.as_ref().map(|catalog| catalog.whole());
        matches!(self.visitor, Visitor::Guest | Visitor::Entitled(_))
            || whole.is_some_and(|whole| std::ptr::eq(whole, self.catalog))
    }

    /// An error that tells the client where to get a token.
    pub(super) fn challenge(
        &self,
        api: Api,
        failure: &ApiError,
        scope: Option<Scope<'_>>,
        error: Option<&str>,
    ) -> Response {
        let mut response = fail(api, failure);
        let host = self.public_host.or_else(|| self.host()).unwrap_or("localhost");
        let value = self.site.access.challenge(host, scope, self.secure, error);
        response.headers.insert(header::WWW_AUTHENTICATE, value);
        response
    }

    /// Reports what the request was for, to the access log and the counters.
    pub(super) fn set_fetched(&self, repository: &RepositoryName, item: FetchedItem) {
        if self.tracked == Tracked::Counted && !item.is_countable() {
            return;
        }
        let (vendor, repository) = (self.site.vendor.clone(), repository.clone());
        let key = match self.visitor {
            Visitor::Customer(visit) => {
                Some(UsedKey { customer: visit.customer.name.clone(), name: visit.key.clone() })
            }
            _ => None,
        };
        self.notes.fetched.set(Some(Fetched { vendor, repository, item, key }));
    }

    /// Counts the bytes of a redirect: `size`, or the length of the range that the request names.
    pub(super) fn count_redirect(&self, target: RedirectTarget, size: u64) {
        let range = self.headers.get(header::RANGE);
        let bytes = match range::parse(range.map(HeaderValue::as_bytes), size) {
            RequestedRange::Whole => size,
            RequestedRange::Part { length, .. } => length,
            RequestedRange::Unsatisfiable => 0,
        };
        self.site.redirected.add(target, bytes);
        self.notes.redirected.set(Some((target, bytes)));
    }
}
