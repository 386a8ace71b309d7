//! Which image of a source is meant.

use raas_types::Tag;

/// Which image of a source is meant.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The repository's name in the source; `None` where the source names none.
    pub repository: Option<String>,
    /// The only tag wanted, or the name for an untagged source; `None` for all that it has.
    pub tag: Option<Tag>,
}
