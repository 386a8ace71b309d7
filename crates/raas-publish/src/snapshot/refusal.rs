//! Failures for a bucket that holds something else than this home's registry.

use raas_types::{ObjectKey, Pointer, PointerError, VendorName};

use crate::history;
use crate::reading::Reading;
use crate::record::Record;
use crate::registry::Registry;
use crate::storage::Storage;
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

/// The failure for a bucket whose metadata has no commit in common with this home's record.
pub fn another_record(storage: &dyn Storage, pointer: &Pointer) -> Failure {
    let message = format!(
        "{} holds the metadata of another registry, published as commit {} at {}",
        storage.display_name(),
        pointer.revision,
        pointer.published
    );
    let failure = Failure::new(Kind::Environment, message);
    if pointer.history.is_empty() {
        return failure
            .hint("if it is the same registry, an older raas published it without its history")
            .hint("then run `raas setup ISV` with this raas in the home that published it: this stores the history");
    }
    failure
        .hint("publish from a home that has that commit, if there is one; nothing was changed")
        .hint(
            "run `raas setup ISV --repair --without-history` here if the registry is this one and no home has the commit: it \
             publishes the images again",
        )
}

/// The failure of a pointer that was written after the lease was lost.
pub(super) fn too_late(storage: &dyn Storage, failure: Failure) -> Failure {
    failure
        .preceded_by(&format!("what another home has published to {} may have been replaced", storage.display_name()))
        .hint("push again here; then run `raas log ISV` in the other homes, which names the images to push again there")
}

/// The failure for a bucket of another vendor.
pub fn another_vendor(storage: &dyn Storage, vendor: &VendorName, found: &VendorName) -> Failure {
    let message = format!("{} holds the registry of {found}, and not of {vendor}", storage.display_name());
    Failure::new(Kind::Usage, message).hint(format!(
        "correct `s3_bucket` or `s3_prefix` in [{vendor}] of raas.cfg: each vendor needs a bucket or a prefix of its own"
    ))
}

/// The failure for a pointer of a newer raas.
pub(super) fn newer_format(storage: &dyn Storage, error: PointerError) -> Failure {
    let message = format!("{} of {} was written by a newer raas", ObjectKey::Pointer, storage.display_name());
    Failure::new(Kind::Environment, message).caused_by(error).hint("upgrade this raas; nothing was written")
}

/// A pointer that cannot be read.
pub(super) fn damaged(storage: &dyn Storage, error: PointerError) -> Reading<Pointer> {
    let message = format!("{} of {} is damaged", ObjectKey::Pointer, storage.display_name());
    Reading::Unreadable(Failure::new(Kind::Environment, message).caused_by(error))
}

/// The failure for a command that needs the pointer, and must not guess what it said.
pub fn unreadable_pointer(failure: Failure) -> Failure {
    failure.hint(
        "run the command again, in case the service answered with something else once; then run `raas setup ISV --repair`, \
         which finds the last publication by the history in the bucket and writes the pointer; nothing was changed",
    )
}

/// The failure for a bucket without a readable pointer whose history has several ends: nobody can know what is published.
pub fn without_pointer(
    registry: &Registry<'_>,
    record: &Record,
    ends: &[CommitId],
    damage: Option<Failure>,
) -> Failure {
    let (pointer, storage, vendor) =
        (ObjectKey::Pointer, registry.storage.display_name(), registry.vendor.name());
    let failure = damage.unwrap_or_else(|| {
        Failure::new(
            Kind::Environment,
            format!("{storage} holds the history of a registry, and no {pointer}"),
        )
    });
    let ends: Vec<String> = ends.iter().map(|end| described(record, end)).collect();
    failure.hint("restore the pointer from a version or a backup of the bucket, if there is one").hint(format!(
        "choose which publication was the last one: the history has {} ends, {}; then run `raas setup {vendor} --repair \
         --accept-history COMMIT`, which goes on from that commit and sets the others aside; nothing was changed",
        ends.len(),
        ends.join(", and ")
    ))
}

/// A commit that may be the last publication, for a person who must choose.
pub fn described(record: &Record, commit: &CommitId) -> String {
    let is_ours = record.head().is_ok_and(|head| head.as_ref() == Some(commit));
    let ours = if is_ours { ", the last publication of this home" } else { "" };
    match history::entry(record, commit) {
        Ok(Some(entry)) => {
            format!("commit {commit} (\"{}\" by {} at {}{ours})", entry.subject, entry.who, entry.time)
        }
        // The id alone suffices for the choice.
        Ok(None) | Err(_) => format!("commit {commit}"),
    }
}
