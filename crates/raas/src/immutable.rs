//! Tags that must not move: `immutable_tags` of a vendor's section.

use raas_base::failure::{Failure, Kind};
use raas_types::{Digest, Tag, VendorName};

use crate::config::{Config, TagPattern};

/// Which tags of a vendor must not move.
#[derive(Debug, Clone)]
pub(crate) struct ImmutableTags {
    vendor: VendorName,
    patterns: Vec<TagPattern>,
    /// `--force-tag`
    forced: bool,
}

/// What a forced publication adds to the first line of its message.
pub(crate) const FORCED: &str = " (--force-tag)";

impl ImmutableTags {
    pub(crate) fn new(config: &Config, vendor: &VendorName, forced: bool) -> Self {
        Self { vendor: vendor.clone(), patterns: config.vendor(vendor).immutable_tags, forced }
    }

    /// Checks a publication that moves these tags, each from the manifest that it has until now. Returns whether it moves
    /// an immutable tag by force.
    ///
    /// # Errors
    /// It moves an immutable tag.
    pub(crate) fn check<'a>(
        &self,
        moved: impl Iterator<Item = (&'a Tag, &'a Digest)>,
    ) -> Result<bool, Failure> {
        let mut forced = false;
        for (tag, from) in moved {
            let Some(pattern) = self.patterns.iter().find(|pattern| pattern.matches(tag)) else { continue };
            if !self.forced {
                let message = format!(
                    "the tag {tag} is published as {from}, and must not move: `immutable_tags` of [{}] has {pattern}",
                    self.vendor
                );
                return Err(Failure::new(Kind::Refused, message)
                    .hint("publish the image under another tag; nothing was published")
                    .hint("give --force-tag to move it nevertheless: the log will show who did it"));
            }
            forced = true;
        }
        Ok(forced)
    }
}
