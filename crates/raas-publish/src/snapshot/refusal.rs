//! Buckets that nothing is published to, since something else is there.

use raas_types::{ObjectKey, Pointer, PointerError, VendorName};

use crate::storage::Storage;
use raas_base::failure::{Failure, Kind};

/// What makes the registry in a bucket this home's.
const GIVE_UP: &str = "remove `_metadata/current` and all of `_record/` there and run `raas setup ISV`: then the registry \
                       is what this home has published, and nothing else";

/// For a bucket whose metadata is of a record that has nothing in common with this one.
pub fn another_record(storage: &dyn Storage, standing: &Pointer) -> Failure {
    let message = format!(
        "{} holds the metadata of another registry, published as commit {} at {}",
        storage.place(),
        standing.revision,
        standing.published
    );
    let failure = Failure::new(Kind::Environment, message);
    if standing.history.is_empty() {
        return failure.hint(
            "if it is this one, an older raas has published it: run `raas setup ISV` with this one in the home that did",
        );
    }
    failure.hint(format!("publish from a home that knows that registry; or, if it is given up, {GIVE_UP}"))
}

/// For a pointer that was written after the turn was over.
pub(super) fn too_late(storage: &dyn Storage, failure: Failure) -> Failure {
    failure
        .preceded_by(&format!("what another home has published to {} may have been replaced", storage.place()))
        .hint("push again here, and then run `raas log ISV` in the other homes: they say which of their images to push again")
}

/// For a bucket of another vendor.
pub fn another_vendor(storage: &dyn Storage, vendor: &VendorName, standing: &VendorName) -> Failure {
    let message = format!("{} holds the registry of {standing}, and not of {vendor}", storage.place());
    Failure::new(Kind::Usage, message).hint(format!(
        "correct `s3_bucket` or `s3_prefix` in [{vendor}] of raas.cfg: each vendor has a place of its own"
    ))
}

/// For a bucket that holds history with several ends, and no pointer that could be read: what is published is not known.
pub fn without_pointer(storage: &dyn Storage, damage: Option<PointerError>) -> Failure {
    let (pointer, place) = (ObjectKey::Pointer, storage.place());
    let failure = match damage {
        Some(error) => {
            Failure::new(Kind::Environment, format!("{pointer} of {place} is damaged")).caused_by(error)
        }
        None => Failure::new(
            Kind::Environment,
            format!("{place} holds the history of a registry, and no {pointer}"),
        ),
    };
    failure.hint(format!(
        "put it back from a version or a backup of the bucket; or, if the registry is lost, {GIVE_UP}"
    ))
}
