//! Liveness, readiness, revision and metrics.

use std::sync::atomic::Ordering;

use hyper::{Method, Request, StatusCode};

use super::reply::{fail, only_read, reply, text, without_bytes};
use crate::catalog::Catalog;
use crate::error::{ApiError, ApiErrorCode};
use crate::exposition;
use crate::response::Response;
use crate::route::Api;
use crate::site::{Site, Snapshot};
use crate::state::ServerState;

/// Answers a request on the operators' port.
pub(crate) fn answer_operator<B>(state: &ServerState, request: &Request<B>) -> Response {
    let api = Api::Plain;
    let snapshot = state.current.load();
    let mut response = match request.uri().path() {
        "/metrics" => only_read(request, api, || {
            reply(
                StatusCode::OK,
                "text/plain; version=0.0.4; charset=utf-8",
                exposition::render(state, &snapshot),
            )
        }),
        "/-/healthz" => only_read(request, api, || text(StatusCode::OK, "ok\n")),
        "/-/readyz" => only_read(request, api, || ready(state, &snapshot, Audience::Operators)),
        "/-/sites" => only_read(request, api, || sites(&snapshot)),
        _ => fail(api, &ApiError::new(ApiErrorCode::NotFound, "there is nothing at this path")),
    };
    if request.method() == Method::HEAD {
        without_bytes(&mut response);
    }
    response
}

/// The commit of the metadata that a site serves.
pub(super) fn revision(catalog: &Catalog) -> Response {
    reply(StatusCode::OK, "text/plain; charset=utf-8", catalog.revision.clone())
}

/// The commit of the metadata that a site serves, and why nothing newer is served.
pub(super) fn metadata(site: &Site) -> Response {
    let revision = site.catalog.as_ref().map(|catalog| catalog.whole().revision.clone()).unwrap_or_default();
    let revision = String::from_utf8_lossy(&revision);
    let body = serde_json::json!({"revision": revision, "problem": site.stats.problem()});
    reply(StatusCode::OK, "application/json", body.to_string())
}

/// What each site serves, for operators: the answer names every vendor.
fn sites(snapshot: &Snapshot) -> Response {
    let of = |site: &Site| {
        let revision = site.catalog.as_ref().map(|catalog| catalog.whole().revision.clone());
        let revision = revision.map(|revision| String::from_utf8_lossy(&revision).into_owned());
        let is_empty = site.health.as_ref().is_some_and(|health| health.lacks_pointer());
        serde_json::json!({
            "vendor": site.vendor.as_str(),
            "revision": revision,
            "published": site.catalog.is_some() && !is_empty,
            "problem": site.stats.problem(),
        })
    };
    let sites: Vec<_> = snapshot.sites.iter().map(of).collect();
    reply(StatusCode::OK, "application/json", serde_json::json!({ "sites": sites }).to_string())
}

/// Who gets an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Everybody who reaches the registry. Nobody learns the name of a vendor.
    Everybody,
    Operators,
}

/// Whether at least one site has metadata. The answer counts sites, and names them only to operators.
///
/// A site whose bucket has no pointer is not ready: the publications may go to another bucket, or below another prefix.
///
/// A site whose new metadata is refused serves its last good metadata, and counts as ready: clients are better served
/// with that than with nothing.
///
/// A server that stops is not ready, although it still answers.
pub(super) fn ready(state: &ServerState, snapshot: &Snapshot, audience: Audience) -> Response {
    if state.is_stopping.load(Ordering::Relaxed) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    if !state.is_started.load(Ordering::Relaxed) {
        return text(StatusCode::SERVICE_UNAVAILABLE, "starting\n");
    }
    let sites = snapshot.sites.len();
    let loaded = snapshot.sites.iter().filter(|site| site.catalog.is_some()).count();
    let healths = || snapshot.sites.iter().filter_map(|site| site.health.as_ref());
    let behind = snapshot.sites.iter().filter(|site| !site.is_current()).count();
    let refusals: u64 = healths().map(|health| health.refusals()).sum();
    let without_pointer = healths().filter(|health| health.lacks_pointer()).count();
    let (status, word) = if sites > 0 && loaded.saturating_sub(without_pointer) == 0 {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    } else {
        (StatusCode::OK, "ok")
    };
    let unreadable: usize = snapshot.sites.iter().map(|site| site.access.unreadable_files()).sum();
    let refused = snapshot.refused.len();
    let is_whole = behind == 0 && loaded == sites && refusals == 0 && without_pointer == 0;
    if is_whole && unreadable == 0 && refused == 0 && !snapshot.is_list_unreadable {
        return text(status, format!("{word}\n"));
    }
    let mut lines = format!(
        "{word}\n{loaded} of {sites} sites loaded, {behind} behind their bucket or folder, {refusals} snapshots refused\n"
    );
    if without_pointer > 0 {
        lines.push_str(&format!(
            "{without_pointer} without `_metadata/current`: nothing is published there yet, or the publications have \
             another `s3_prefix`\n"
        ));
    }
    if unreadable > 0 {
        lines.push_str(&format!(
            "{unreadable} files of users, token keys or authorities cannot be read; the log says why\n"
        ));
    }
    if refused > 0 {
        lines.push_str(&format!(
            "{refused} configured vendors cannot be served as they are configured; the log says why\n"
        ));
    }
    if snapshot.is_list_unreadable {
        lines.push_str("the configuration cannot be read, and the last one is served; the log says why\n");
    }
    if audience == Audience::Operators {
        lines.push_str(&named(snapshot));
    }
    text(status, lines)
}

/// Which vendors are not served as they should be, for operators.
fn named(snapshot: &Snapshot) -> String {
    let mut lines = String::new();
    for site in &snapshot.sites {
        let state = match (&site.catalog, site.is_current()) {
            (None, _) => "not loaded",
            (Some(_), false) => "behind",
            (Some(_), true) => continue,
        };
        let reason = site.stats.problem().map(|problem| format!(" ({problem})")).unwrap_or_default();
        lines.push_str(&format!("{}: {state}{reason}\n", site.vendor));
    }
    for (vendor, reason) in &snapshot.refused {
        lines.push_str(&format!("{vendor}: refused ({reason})\n"));
    }
    lines
}
