//! What traces say of a slow reading of a bucket's metadata.

use std::sync::Arc;
use std::time::Duration;

use raas_types::VendorName;

use super::SnapshotReader;
use super::refusal::Refusal;
use crate::catalog::Catalog;
use crate::traces::{AttributeValue, SlowWork, Traces};

/// Tells the traces of a reading that took long, whether there was something new or not.
#[cold]
pub(super) fn tell(
    traces: &Traces,
    vendor: &VendorName,
    reader: &SnapshotReader,
    polled: &Result<Option<Arc<Catalog>>, Refusal>,
    duration: Duration,
) {
    let mut work = SlowWork {
        name: "read metadata".to_owned(),
        is_request: false,
        duration,
        traceparent: None,
        attributes: Vec::new(),
        error: None,
    };
    work.set("raas.vendor", Some(vendor.as_str()));
    work.set("raas.bucket", Some(reader.remote.origin.display_name()));
    match polled {
        Ok(catalog) => {
            work.attributes.push(("raas.changed", AttributeValue::Truth(catalog.is_some())));
            // The served publication: a failed reading does not know the one that it was about.
            if let Some(pointer) = &reader.pointer {
                work.set("raas.commit", Some(pointer.revision.as_str()));
                work.attributes.push(("raas.sequence", AttributeValue::Number(pointer.sequence)));
                work.attributes.push(("raas.parts", AttributeValue::Number(pointer.parts.len() as u64)));
            }
        }
        Err(refusal) => work.error = Some(refusal.to_string()),
    }
    traces.take(work);
}
