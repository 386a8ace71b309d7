//! The check that everybody may read the objects of a vendor with `access = public`, since servers redirect clients there.

use raas_publish::home::Vendor;
use raas_publish::inventory;
use raas_publish::storage::{Storage, escaped};
use raas_sources::http;
use raas_sources::registry::{Presence, ask};
use raas_types::crane::Document;
use raas_types::{BucketAccess, ObjectKey};

use super::Check;
use crate::config::VendorSettings;

/// Asks for a published object as a client does. `None` if no client is sent to the bucket without a signature, or if
/// nothing is published.
pub(super) fn check(
    vendor: &Vendor,
    settings: &VendorSettings,
    storage: &dyn Storage,
    documents: impl Iterator<Item = Document>,
) -> Option<Check> {
    match refusal(settings, storage, documents)? {
        Ok(None) => {
            Some(Check::ok("public", format!("everybody may read the images in {}", storage.display_name())))
        }
        Ok(Some(found)) => Some(Check::failed("public", found, fix(vendor))),
        Err(found) => Some(Check::warning("public", found)),
    }
}

/// What is wrong for clients, with what to do about it. `None` if nothing is known to be wrong.
pub(super) fn warning(
    vendor: &Vendor,
    settings: &VendorSettings,
    storage: &dyn Storage,
    documents: impl Iterator<Item = Document>,
) -> Option<String> {
    match refusal(settings, storage, documents)? {
        Ok(found) => found.map(|found| format!("{found}; {}", fix(vendor))),
        Err(found) => Some(found),
    }
}

fn fix(vendor: &Vendor) -> String {
    format!(
        "run `raas setup {} --create`, which lets everybody read the images, or set `access = presigned`",
        vendor.name()
    )
}

/// The service's refusal to give everybody an object, if it refuses. An error says why nobody can tell.
fn refusal(
    settings: &VendorSettings,
    storage: &dyn Storage,
    documents: impl Iterator<Item = Document>,
) -> Option<Result<Option<String>, String>> {
    if settings.s3_bucket.is_none() || settings.access != BucketAccess::Public {
        return None;
    }
    let url = format!("{}/{}", storage.base_url(), escaped(smallest(documents)?.to_string().as_bytes()));
    let agent = match http::impatient_agent() {
        Ok(agent) => agent,
        Err(failure) => return Some(Err(failure.to_string())),
    };
    Some(match ask(&agent, &url) {
        Presence::There(_) => Ok(None),
        Presence::Refused(status) => Ok(Some(format!(
            "`access = public` sends clients to {}, where {url} answers everybody with {status}",
            storage.display_name()
        ))),
        Presence::Missing(why) => Err(format!("cannot tell whether everybody may read {url}: {why}")),
    })
}

/// The smallest object of the documents.
fn smallest(documents: impl Iterator<Item = Document>) -> Option<ObjectKey> {
    let mut smallest: Option<(u64, ObjectKey)> = None;
    for document in documents {
        inventory::objects(&document, &mut |key, object| {
            if let (ObjectKey::Blob(..), Some(size)) = (&key, object.size)
                && smallest.as_ref().is_none_or(|(known, _)| size < *known)
            {
                smallest = Some((size, key));
            }
        });
    }
    smallest.map(|(_, key)| key)
}
