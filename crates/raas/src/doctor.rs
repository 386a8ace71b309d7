//! What docker, containerd and podman do when they pull, step by step, and what is wrong with each.
//!
//! name → connection → TLS → ping → login → manifest → platforms → config and layers

mod blob;
mod connection;
mod credentials;
mod manifest;
mod session;
mod signed;
#[cfg(test)]
mod tests;
mod web;

use std::collections::BTreeMap;

use raas_types::{Digest, Manifest, ManifestBody, Platform, Reference, RepositoryName};
use serde::Serialize;

use crate::status::{Check, Outcome};
use blob::Blob;
pub(crate) use credentials::{find as find_credentials, host_key};
use raas_base::Secret;
use raas_base::failure::Failure;
use raas_base::parallel;
use session::Session;
use web::Web;

/// What is looked at.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Host and port of the registry's API.
    pub(crate) host: String,
    pub(crate) name: RepositoryName,
    pub(crate) reference: Reference,
    /// Without TLS, whatever the host is.
    pub(crate) plain_http: bool,
    pub(crate) credentials: Option<(String, Secret)>,
    pub(crate) all_platforms: bool,
    /// Whether every byte is downloaded and hashed.
    pub(crate) deep: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    /// What was looked at.
    pub(crate) reference: String,
    /// Whether all holds; warnings do not count.
    pub(crate) healthy: bool,
    pub(crate) checks: Vec<Check>,
}

/// Something that is not as it should be.
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

/// One check of several problems: the worst is told, the others are its details.
fn judged(name: &'static str, subject: &str, good: &str, mut problems: Vec<Problem>) -> Check {
    problems.sort_by_key(|problem| problem.outcome != Outcome::Failed);
    let mut problems = problems.into_iter();
    let Some(Problem { outcome, found, fix }) = problems.next() else {
        return Check::ok(name, format!("{subject}{good}"));
    };
    let others = problems.map(|other| format!("{}; fix: {}", other.found, other.fix)).collect();
    let found = format!("{subject}: {found}");
    let check = match outcome {
        Outcome::Failed => Check::failed(name, found, fix),
        _ => Check::warning(name, found).fix(fix),
    };
    check.details(others)
}

/// Blobs that are looked at at once, as clients do.
const IN_FLIGHT: usize = 4;

/// Does what clients do.
pub(crate) fn examine(asked: &Asked) -> Result<Diagnosis, Failure> {
    let mut checks = Vec::new();
    examine_into(asked, &mut checks)?;
    let separator = if matches!(asked.reference, Reference::Digest(_)) { '@' } else { ':' };
    Ok(Diagnosis {
        reference: format!("{}/{}{separator}{}", asked.host, asked.name, asked.reference),
        healthy: checks.iter().all(|check| check.outcome != Outcome::Failed),
        checks,
    })
}

/// Goes on as long as there is something to go on with.
fn examine_into(asked: &Asked, checks: &mut Vec<Check>) -> Result<(), Failure> {
    let Some(plain) = connection::check(&asked.host, asked.plain_http, checks) else {
        return Ok(());
    };
    let scheme = if plain { "http" } else { "https" };
    let base = format!("{scheme}://{}/v2/", asked.host);
    let mut session = Session::new(Web::new(&asked.host), &base, asked);
    if !session.ping(checks) {
        return Ok(());
    }
    let Some((top, mut seen)) = manifest::check(&mut session, &asked.reference, checks) else {
        return Ok(());
    };
    seen.extend(children(&mut session, &top, asked.all_platforms, checks));
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
    blobs.sort_by_key(|blob| (blob.what, blob.digest));
    let session = &session;
    checks.extend(parallel::each(IN_FLIGHT, blobs, |blob| Ok(blob::check(session, &blob, asked.deep)))?);
    Ok(())
}

/// The manifests of an index for the platforms that are asked for.
fn children(session: &mut Session<'_>, top: &Manifest, all: bool, checks: &mut Vec<Check>) -> Vec<Manifest> {
    let listed = top.children();
    if listed.is_empty() {
        return Vec::new();
    }
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
            let found = format!("the index has nothing for {missing}; it has {}", have.join(", "));
            checks.push(
                Check::warning("platform", found).fix(format!(
                    "machines of {missing} cannot run it; publish it for them, if there are any"
                )),
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

/// This machine's processor, in Go's words.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
