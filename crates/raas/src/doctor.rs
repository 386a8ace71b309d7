//! Does what docker, containerd and podman do when they pull, step by step, and reports the problems of each step.
//!
//! name → connection → TLS → ping → login → manifest → platforms → config and layers

mod blob;
mod connection;
mod manifest;
mod session;
mod signed;
#[cfg(test)]
mod tests;
mod web;

use std::collections::{BTreeMap, BTreeSet};

use raas_types::{Digest, Manifest, ManifestBody, Platform, Reference, RepositoryName};
use serde::Serialize;

use crate::status::{Check, Outcome};
use blob::Blob;
use connection::Transport;
use raas_base::failure::Failure;
use raas_base::parallel;
use raas_sources::credentials::PasswordLogin;
use session::Session;
use web::Web;

/// The image to examine, and how.
#[derive(Debug)]
pub(crate) struct Options {
    /// The host and port of the registry's API.
    pub(crate) host: String,
    pub(crate) name: RepositoryName,
    pub(crate) reference: Reference,
    /// Whether to speak without TLS to any host.
    pub(crate) plain_http: bool,
    pub(crate) login: Option<PasswordLogin>,
    pub(crate) all_platforms: bool,
    /// Whether to download and hash every byte.
    pub(crate) deep: bool,
}

/// The result of an examination.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Diagnosis {
    /// The reference of the image.
    pub(crate) reference: String,
    /// Whether no check failed. Warnings do not count.
    pub(crate) healthy: bool,
    pub(crate) checks: Vec<Check>,
}

/// A problem, and what to do about it.
#[derive(Debug)]
struct Problem {
    outcome: Outcome,
    found: String,
    fix: String,
}

impl Problem {
    fn failed(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, found: found.into(), fix: fix.into() }
    }

    fn warning(found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warning, found: found.into(), fix: fix.into() }
    }
}

/// Combines the problems of a subject into one check. The worst problem is the result, the others are its details.
/// Without problems, `success` is added to the subject.
fn check_of_problems(name: &'static str, subject: &str, success: &str, mut problems: Vec<Problem>) -> Check {
    problems.sort_by_key(|problem| problem.outcome != Outcome::Failed);
    let mut problems = problems.into_iter();
    let Some(Problem { outcome, found, fix }) = problems.next() else {
        return Check::ok(name, format!("{subject}{success}"));
    };
    let others = problems.map(|other| match other.fix == fix {
        true => other.found,
        false => format!("{}; fix: {}", other.found, other.fix),
    });
    let others = others.collect();
    let found = format!("{subject}: {found}");
    let check = match outcome {
        Outcome::Failed => Check::failed(name, found, fix),
        _ => Check::warning(name, found).fix(fix),
    };
    check.details(others)
}

/// The most blobs that are examined at once, as many as clients fetch.
const IN_FLIGHT: usize = 4;

/// Examines an image in a registry.
pub(crate) fn examine(options: &Options) -> Result<Diagnosis, Failure> {
    let mut checks = Vec::new();
    examine_into(options, &mut checks)?;
    let separator = if matches!(options.reference, Reference::Digest(_)) { '@' } else { ':' };
    Ok(Diagnosis {
        reference: format!("{}/{}{separator}{}", options.host, options.name, options.reference),
        healthy: checks.iter().all(|check| check.outcome != Outcome::Failed),
        checks,
    })
}

/// Adds the checks of each step. A step that fails ends the examination if later steps depend on it.
fn examine_into(options: &Options, checks: &mut Vec<Check>) -> Result<(), Failure> {
    let Some(transport) = connection::check(&options.host, options.plain_http, checks) else {
        return Ok(());
    };
    let scheme = if transport == Transport::Plain { "http" } else { "https" };
    let base = format!("{scheme}://{}/v2/", options.host);
    let mut session = Session::new(Web::new(&options.host, transport), &base, options);
    if !session.ping(checks) {
        return Ok(());
    }
    let Some((top, mut seen)) = manifest::check(&mut session, &options.reference, checks) else {
        return Ok(());
    };
    seen.extend(children(&mut session, &top, options.all_platforms, checks));
    let mut blobs: BTreeMap<Digest, Blob> = BTreeMap::new();
    for Manifest { body, .. } in &seen {
        if let ManifestBody::Image { config, layers } = body {
            blobs.insert(config.digest, Blob::new("config", config));
            for layer in layers {
                blobs.entry(layer.digest).or_insert_with(|| Blob::new("layer", layer));
            }
        }
    }
    let mut blobs: Vec<Blob> = blobs.into_values().collect();
    blobs.sort_by_key(|blob| (blob.kind, blob.digest));
    let session = &session;
    let found = parallel::each(IN_FLIGHT, blobs, |blob| Ok(blob::check(session, &blob, options.deep)))?;
    let mut warned = BTreeSet::new();
    checks.extend(found.into_iter().map(|found| found.check(&mut warned)));
    Ok(())
}

/// The image manifests of an index for the requested platforms.
fn children(session: &mut Session<'_>, top: &Manifest, all: bool, checks: &mut Vec<Check>) -> Vec<Manifest> {
    let listed = top.children();
    if listed.is_empty() {
        return Vec::new();
    }
    // Attestations have the platform `unknown/unknown`.
    let real = |platform: &Platform| platform.os != "unknown";
    let here = Platform {
        architecture: go_architecture().into(),
        os: "linux".into(),
        variant: None,
        os_version: None,
    };
    let amd64 = Platform { architecture: "amd64".into(), ..here.clone() };
    let wanted = if here == amd64 { vec![here] } else { vec![here, amd64] };
    let is = |found: &Platform, wanted: &Platform| {
        (&found.os, &found.architecture) == (&wanted.os, &wanted.architecture)
    };
    let platforms: Vec<&Platform> = listed.iter().filter_map(|child| child.platform.as_ref()).collect();
    if !all {
        let have: Vec<String> = platforms.iter().filter(|p| real(p)).map(|p| p.to_string()).collect();
        for missing in wanted.iter().filter(|wanted| !platforms.iter().any(|found| is(found, wanted))) {
            let found = format!("the index has no image for {missing}; it has {}", have.join(", "));
            checks.push(
                Check::warning("platform", found)
                    .fix(format!("publish the image for {missing} too, if any machines need it")),
            );
        }
    }
    let chosen = listed.iter().filter(|child| match &child.platform {
        Some(platform) if all => real(platform),
        Some(platform) => wanted.iter().any(|wanted| is(platform, wanted)),
        None => true,
    });
    chosen.filter_map(|child| manifest::check_child(session, child, checks)).collect()
}

/// Go's name for this machine's processor.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
