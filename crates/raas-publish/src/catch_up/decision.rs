//! What a home does about the bucket's pointer, decided from facts alone.

use crate::lease::Lease;

/// What is known before the decision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// Whether this home holds the publish lease.
    pub(super) lease: Lease,
    /// What the bucket's pointer says.
    pub(super) pointed: Pointed,
    /// The last commit of this home's record.
    pub(super) last_commit: LastCommit,
}

/// What the bucket's pointer says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pointed {
    /// There is no pointer.
    Nothing,
    /// The pointer cannot be read.
    Unreadable,
    /// The pointer is of another vendor.
    OtherVendor,
    /// The pointer names a commit.
    Commit {
        /// How that commit relates to this home's last commit.
        relation: Relation,
        /// Whether the pointer names history. A pointer of an older version may name none.
        has_history: bool,
    },
}

/// How the pointer's commit relates to this home's last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// The record does not have the pointer's commit.
    NotInRecord,
    /// They are the same commit.
    Same,
    /// The pointer's commit is an ancestor of this home's.
    Older,
    /// This home's last commit, if it has any, is an ancestor of the pointer's.
    Newer,
    /// Neither is an ancestor of the other, and both have a common ancestor.
    Diverged,
    /// The two commits have no common ancestor.
    Unrelated,
}

/// The last commit of this home's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastCommit {
    /// The record has no commit.
    None,
    /// The bucket may have had the commit.
    Confirmed,
    /// The commit is a first publication that the bucket is not known to have.
    Unconfirmed,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: nobody has published yet, or another home is making the first publication at this moment.
    NothingPublished,
    /// Fail: the pointer cannot be read, and only a home with the lease may replace it.
    RefuseUnreadable,
    /// Find the last commit by the history in the bucket.
    FollowHistory,
    /// Nothing: the record has everything.
    UpToDate,
    /// Read the history that leads to the pointer's commit, and decide again.
    FetchHistory,
    /// Move the record to the pointer's commit.
    Advance {
        /// Whether this home's last commit would be lost, and is set aside first.
        set_aside: bool,
    },
    /// Fail: the bucket is another vendor's.
    RefuseOtherVendor,
    /// Fail: the bucket holds a registry that has nothing in common with this home's.
    RefuseOtherRecord,
}

/// Decides what to do.
pub(super) fn decide(facts: &Facts) -> Step {
    let (relation, has_history) = match facts.pointed {
        // Without the lease, another home may be at its first publication.
        Pointed::Nothing if facts.lease == Lease::NotHeld => return Step::NothingPublished,
        // Without the lease, the end of the history may be a commit that its home has not published yet.
        Pointed::Unreadable if facts.lease == Lease::NotHeld => return Step::RefuseUnreadable,
        Pointed::Nothing | Pointed::Unreadable => return Step::FollowHistory,
        Pointed::OtherVendor => return Step::RefuseOtherVendor,
        Pointed::Commit { relation, has_history } => (relation, has_history),
    };
    match relation {
        Relation::Same | Relation::Older => Step::UpToDate,
        Relation::Newer => Step::Advance { set_aside: false },
        Relation::Diverged => Step::Advance { set_aside: true },
        // A first publication that was never finished has nothing in common with the first one of another home.
        Relation::Unrelated if facts.last_commit == LastCommit::Unconfirmed => {
            Step::Advance { set_aside: true }
        }
        Relation::Unrelated => Step::RefuseOtherRecord,
        Relation::NotInRecord if facts.last_commit == LastCommit::Confirmed && !has_history => {
            Step::RefuseOtherRecord
        }
        Relation::NotInRecord => Step::FetchHistory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_bucket_and_record_has_its_step() {
        use Lease::{Held, NotHeld};
        use Relation::{Diverged, Newer, NotInRecord, Older, Same, Unrelated};
        struct Row {
            name: &'static str,
            lease: Lease,
            pointed: Pointed,
            last_commit: LastCommit,
            step: Step,
        }
        let row = |name, lease, pointed, last_commit, step| Row { name, lease, pointed, last_commit, step };
        let at = |relation| Pointed::Commit { relation, has_history: true };
        let without_history = |relation| Pointed::Commit { relation, has_history: false };
        let (none, ours, unconfirmed) = (LastCommit::None, LastCommit::Confirmed, LastCommit::Unconfirmed);
        let (advance, set_aside) = (Step::Advance { set_aside: false }, Step::Advance { set_aside: true });
        let table = [
            row("nobody has published", NotHeld, Pointed::Nothing, none, Step::NothingPublished),
            row("nobody has published, with the lease", Held, Pointed::Nothing, none, Step::FollowHistory),
            row("the pointer was removed", Held, Pointed::Nothing, ours, Step::FollowHistory),
            row("the pointer is damaged", NotHeld, Pointed::Unreadable, ours, Step::RefuseUnreadable),
            row(
                "the pointer is damaged, with the lease",
                Held,
                Pointed::Unreadable,
                ours,
                Step::FollowHistory,
            ),
            row("another vendor", NotHeld, Pointed::OtherVendor, ours, Step::RefuseOtherVendor),
            row("the same commit", NotHeld, at(Same), ours, Step::UpToDate),
            row("the same commit, without history", Held, without_history(Same), ours, Step::UpToDate),
            row("a killed run has not moved the pointer", Held, at(Older), ours, Step::UpToDate),
            row("a new home", NotHeld, at(NotInRecord), none, Step::FetchHistory),
            row(
                "a new home, without history",
                NotHeld,
                without_history(NotInRecord),
                none,
                Step::FetchHistory,
            ),
            row("a new home that has the history", NotHeld, at(Newer), none, advance),
            row("another home has published", Held, at(NotInRecord), ours, Step::FetchHistory),
            row("another home's commit is in the record", Held, at(Newer), ours, advance),
            row(
                "an unknown commit without history",
                Held,
                without_history(NotInRecord),
                ours,
                Step::RefuseOtherRecord,
            ),
            row(
                "an unfinished first publication, and a pointer without history",
                Held,
                without_history(NotInRecord),
                unconfirmed,
                Step::FetchHistory,
            ),
            row("a killed run's commit is in the way", Held, at(Diverged), ours, set_aside),
            row("an unfinished first publication is in the way", Held, at(Unrelated), unconfirmed, set_aside),
            row("another registry", Held, at(Unrelated), ours, Step::RefuseOtherRecord),
        ];
        for Row { name, lease, pointed, last_commit, step } in table {
            assert_eq!(decide(&Facts { lease, pointed, last_commit }), step, "{name}");
        }
    }
}
