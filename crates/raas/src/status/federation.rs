//! Whether everything that is served from elsewhere is there: each masked location is asked.

use std::collections::BTreeMap;

use raas_types::crane::{Content, Document};
use raas_types::{RepositoryName, V1File};

use super::{Check, Outcome, Status, documents};
use raas_base::parallel;
use raas_publish::home::Vendor;
use raas_sources::http;
use raas_sources::registry::{Presence, ask};

/// Locations that are asked at once.
const IN_FLIGHT: usize = 8;

/// Adds the check to those that were made.
pub(crate) fn add(status: &mut Status, vendor: &Vendor, image: Option<&RepositoryName>) {
    let check = match documents(vendor, None) {
        Ok(documents) => {
            let mut locations = BTreeMap::new();
            for document in documents.iter().filter_map(|found| Document::parse(&found.bytes).ok()) {
                if image.is_none_or(|image| *image == document.name) {
                    collect(document, &mut locations);
                }
            }
            check(locations)
        }
        Err(error) => Check::failed(
            "elsewhere",
            format!("cannot read {}: {error}", vendor.checkout().folder().display()),
            "give the user of raas access to that folder",
        ),
    };
    status.healthy &= check.outcome != Outcome::Failed;
    status.checks.push(check);
}

/// Where a document sends clients, with the length that it promises.
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
            // The operator's own document: all its images are there.
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
    let agent = http::tolerant_agent();
    let total = locations.len();
    let asked = parallel::each(IN_FLIGHT, locations.into_iter().collect(), |(url, expected)| {
        Ok(match (ask(&agent, &url), expected) {
            (Presence::There(Some(found)), Some(expected)) if found != expected => {
                Some(format!("{url}: {found} bytes, {expected} are published"))
            }
            (Presence::There(_), _) => None,
            (Presence::Refused(status), _) => {
                Some(format!("{url}: it answers {status}, so clients are refused"))
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
            format!("{total} layers are there where they are served from elsewhere"),
        );
    }
    let found = format!("{} of {total} layers are not where clients are sent for them", wrong.len());
    Check::failed(
        "elsewhere",
        found,
        "tell whoever runs that server; or push the images again without masking these layers",
    )
    .details(wrong)
}
