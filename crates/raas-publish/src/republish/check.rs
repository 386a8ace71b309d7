//! Whether the bucket still has what an earlier publication needs.

use std::collections::BTreeMap;

use raas_types::{ObjectKey, RepositoryName, V1File};

use crate::publication::Current;
use crate::storage::Storage;
use raas_base::failure::{Failure, Kind};

/// How many missing objects an error names. It counts the others.
const MOST_NAMED: usize = 10;

/// Checks that every blob and every Docker v1 file of the publication is in the bucket, if the bucket serves it.
pub(super) fn content(storage: &dyn Storage, name: &RepositoryName, then: &Current) -> Result<(), Failure> {
    let mut expected: BTreeMap<String, Option<u64>> = BTreeMap::new();
    for (digest, entry) in then.v2.iter().flat_map(|v2| &v2.blobs) {
        if entry.location.is_none() {
            expected.insert(ObjectKey::Blob(name.clone(), *digest).to_string(), Some(entry.size));
        }
    }
    for (id, entry) in then.v1.iter().filter_map(|v1| v1.raas.as_ref()).flat_map(|raas| &raas.images) {
        if entry.location.is_some() {
            continue;
        }
        for file in V1File::ALL {
            let size = (file == V1File::Layer).then_some(entry.size);
            expected.insert(ObjectKey::V1(name.clone(), *id, file).to_string(), size);
        }
    }
    let mut wrong = Vec::new();
    // One listing instead of a request for each object.
    let prefix = if then.v1.is_some() { ObjectKey::v1_prefix(name) } else { ObjectKey::v2_prefix(name) };
    storage.list(&prefix, &mut |listed| match expected.remove(&listed.key) {
        Some(Some(size)) if size != listed.size => {
            wrong.push(format!("{} has {} bytes, not {size}", listed.key, listed.size));
        }
        _ => {}
    })?;
    wrong.extend(expected.into_keys().map(|key| format!("{key} is missing")));
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.sort();
    let more = wrong.len().saturating_sub(MOST_NAMED);
    wrong.truncate(MOST_NAMED);
    if more > 0 {
        wrong.push(format!("and {more} more"));
    }
    let message = format!("the bucket does not have all of that publication any more: {}", wrong.join(", "));
    Err(Failure::new(Kind::Refused, message)
        .hint("push the image again from its source; the registry is unchanged"))
}
