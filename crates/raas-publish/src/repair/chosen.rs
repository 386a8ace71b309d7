//! The last publication of a bucket without a pointer, as a person chooses it.

use super::Report;
use crate::publication::acquire_lease;
use crate::reading::Reading;
use crate::registry::Registry;
use crate::snapshot::{self, SnapshotCheck, SnapshotPublisher};
use raas_base::failure::{Failure, Kind};
use raas_git::CommitId;

/// Goes on from one end of the history in a shared bucket that has lost its pointer. `text` is the commit's id, or its
/// beginning. The other ends are set aside: they stay in the record and in the bucket, and are never an end again.
///
/// # Errors
/// The bucket has a pointer, or the commit is no end of its history. Then nothing is changed.
pub fn accept_history(registry: &Registry<'_>, text: &str) -> Result<Report, Failure> {
    let Registry { vendor, storage, say, .. } = *registry;
    let name = vendor.name();
    if registry.shared_storage().is_none() {
        return Err(Failure::new(
            Kind::Usage,
            format!("{name} has no bucket that other homes may publish to"),
        )
        .hint("leave out --accept-history: the record of this home is the only one"));
    }
    let _lock = vendor.lock(say)?;
    let record = vendor.record();
    // Nobody publishes while this home holds the lease.
    let mut lease = acquire_lease(registry, None)?;
    if let Reading::There(pointer) = snapshot::read_pointer(storage)? {
        lease.release()?;
        if is_named(text, &pointer.revision) {
            return Ok(Report::default());
        }
        let message = format!(
            "{} has a pointer, to commit {}: its history has one end",
            storage.display_name(),
            pointer.revision
        );
        return Err(
            Failure::new(Kind::Usage, message).hint("leave out --accept-history; nothing was changed")
        );
    }
    let ends = snapshot::history_ends(vendor, &record, storage)?;
    let named: Vec<&CommitId> = ends.iter().filter(|end| is_named(text, end.as_str())).collect();
    let [chosen] = named[..] else {
        lease.release()?;
        let all: Vec<String> = ends.iter().map(|end| snapshot::described(&record, end)).collect();
        let message = format!("`{text}` is no end of the history in {}", storage.display_name());
        return Err(Failure::new(Kind::Usage, message)
            .hint(format!("choose one of: {}; nothing was changed", all.join(", "))));
    };
    record.check_tree(chosen, &storage.display_name())?;
    let mut report = Report::default();
    report.mended.push(format!("The registry goes on from {}", snapshot::described(&record, chosen)));
    for other in ends.iter().filter(|end| *end != chosen) {
        let kept = record.set_aside(other)?;
        let lost = record.subjects(chosen, other)?;
        report.mended.push(format!(
            "Commit {} is set aside as {kept}. Do again what is not published: {}",
            other.short(),
            lost.join("; ")
        ));
    }
    record.take_back(chosen)?;
    let ours = record.head()?;
    if ours.as_ref() != Some(chosen) {
        record.advance(ours.as_ref(), chosen)?;
    }
    vendor.checkout().repair(&record, chosen)?;
    let publisher = SnapshotPublisher { vendor: name, record: &record, storage, spool: vendor.folder() };
    publisher.publish(SnapshotCheck::Full, Some(&mut lease))?;
    record.mark_unconfirmed(None)?;
    lease.release()?;
    Ok(report)
}

/// Whether a text is a commit's id, or its beginning.
fn is_named(text: &str, commit: &str) -> bool {
    text.len() >= 4 && commit.starts_with(&text.to_ascii_lowercase())
}
