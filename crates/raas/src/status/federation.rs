//! The check that each layer that is served from elsewhere is at its location.

use std::collections::BTreeMap;

use raas_types::crane::{Content, Document};
use raas_types::{RepositoryName, V1File};

use super::{Check, Outcome, Status, documents, unreadable_checkout};
use raas_base::parallel;
use raas_publish::home::Vendor;
use raas_sources::http;
use raas_sources::registry::{Presence, ask};

/// The most locations that are asked at once.
const IN_FLIGHT: usize = 8;

/// Adds the check to a status.
pub(crate) fn add(status: &mut Status, vendor: &Vendor, image: Option<&RepositoryName>) {
    let check = match documents(vendor, None) {
        Ok(documents) => {
            let mut locations = BTreeMap::new();
            for document in documents.iter().filter_map(|document| Document::parse(&document.bytes).ok()) {
                if image.is_none_or(|image| *image == document.name) {
                    collect(document, &mut locations);
                }
            }
            check(locations)
        }
        Err(error) => unreadable_checkout("elsewhere", vendor, &error),
    };
    status.healthy &= check.outcome != Outcome::Failed;
    status.checks.push(check);
}

/// Collects the locations of a document, each with the published size in bytes, if there is one.
fn collect(document: Document, locations: &mut BTreeMap<String, Option<u64>>) {
    let base = document.url.trim_end_matches('/');
    let layer = |folder: &str| format!("{folder}/{}", V1File::Layer.name());
    match document.content {
        Content::V1(v1) => match v1.raas {
            Some(raas) => {
                let elsewhere =
                    raas.images.into_values().filter_map(|e| Some((layer(&e.location?), Some(e.size))));
                locations.extend(elsewhere);
            }
            // All images of an operator's document are at its URL.
            None => {
                for id in v1.images {
                    locations.entry(layer(&format!("{base}/{id}"))).or_insert(None);
                }
            }
        },
        Content::V2(v2) => {
            let blobs = v2.raas.unwrap_or_default().blobs.into_values();
            locations.extend(blobs.filter_map(|entry| Some((entry.location?, Some(entry.size)))));
        }
    }
}

fn check(locations: BTreeMap<String, Option<u64>>) -> Check {
    let agent = match http::agent() {
        Ok(agent) => agent,
        Err(failure) => return Check::unable("elsewhere", &failure),
    };
    let total = locations.len();
    let asked = parallel::each(IN_FLIGHT, locations.into_iter().collect(), |(url, expected)| {
        Ok(match (ask(&agent, &url), expected) {
            (Presence::There(Some(found)), Some(expected)) if found != expected => {
                Some(format!("{url}: has {found} bytes, {expected} bytes are published"))
            }
            (Presence::There(_), _) => None,
            (Presence::Refused(status), _) => {
                Some(format!("{url}: answers {status}, so clients cannot get the layer"))
            }
            (Presence::Missing(why), _) => Some(format!("{url}: {why}")),
        })
    });
    let wrong: Vec<String> = match asked {
        Ok(asked) => asked.into_iter().flatten().collect(),
        Err(failure) => return Check::unable("elsewhere", &failure),
    };
    if wrong.is_empty() {
        return Check::ok(
            "elsewhere",
            format!("all {total} layers that are served from elsewhere are at their locations"),
        );
    }
    let found =
        format!("{} of {total} layers are not at the locations that clients are sent to", wrong.len());
    Check::failed(
        "elsewhere",
        found,
        "tell the operator of that server, or push the images again without masking these layers",
    )
    .details(wrong)
}
