//! Tags that must neither move nor go: `immutable_tags` of a vendor's section.

use raas_base::failure::{Failure, Kind};
use raas_types::{Digest, RepositoryName, Tag, VendorName};

use crate::config::{Config, TagPattern};

/// Which tags of a vendor must neither move nor go. A tag that is gone could be given to another image.
#[derive(Debug, Clone)]
pub(crate) struct ImmutableTags {
    vendor: VendorName,
    patterns: Vec<TagPattern>,
    /// `--force-tag`
    forced: bool,
    /// What to do to move a tag, and to remove one, nevertheless.
    by_force: ByForce,
}

/// What a user does to change an immutable tag.
#[derive(Debug, Clone)]
struct ByForce {
    to_move: String,
    to_remove: String,
}

/// What a forced publication adds to the first line of its message.
pub(crate) const FORCED: &str = " (--force-tag)";

impl ImmutableTags {
    pub(crate) fn new(config: &Config, vendor: &VendorName, forced: bool) -> Self {
        let by_force = ByForce { to_move: "give --force-tag".into(), to_remove: "give --force-tag".into() };
        Self { vendor: vendor.clone(), patterns: config.vendor(vendor).immutable_tags, forced, by_force }
    }

    /// For a command without the option: names the commands that have it.
    pub(crate) fn without_option(self, to_move: String, image: &RepositoryName) -> Self {
        let to_remove = format!("run `raas unpublish {} {image}:TAG --force-tag`", self.vendor);
        Self { by_force: ByForce { to_move, to_remove }, ..self }
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
            let Some(pattern) = self.pattern_of(tag) else { continue };
            if !self.forced {
                let message = format!(
                    "the tag {tag} is published as {from}, and must not move: `immutable_tags` of [{}] has {pattern}",
                    self.vendor
                );
                return Err(Failure::new(Kind::Refused, message)
                    .hint("publish the image under another tag; nothing was published")
                    .hint(format!(
                        "{} to move it nevertheless: the log will show who did it",
                        self.by_force.to_move
                    )));
            }
            forced = true;
        }
        Ok(forced)
    }

    /// Checks a publication that removes these tags. Returns what to add to the first line of its message.
    ///
    /// # Errors
    /// It removes an immutable tag.
    pub(crate) fn check_removal(&self, tags: &[Tag]) -> Result<&'static str, Failure> {
        let found = tags.iter().find_map(|tag| Some((tag, self.pattern_of(tag)?)));
        match found {
            None => Ok(""),
            Some(_) if self.forced => Ok(FORCED),
            Some((tag, pattern)) => {
                let message = format!(
                    "the tag {tag} must stay: `immutable_tags` of [{}] has {pattern}, and another image could get a tag that \
                     is removed",
                    self.vendor
                );
                let to_remove = self.by_force.to_remove.replace("TAG", tag.as_str());
                Err(Failure::new(Kind::Refused, message).hint(format!(
                    "{to_remove} to remove it nevertheless: the log will show who did it; nothing was published"
                )))
            }
        }
    }

    /// Checks a publication that moves and removes tags. Returns what to add to the first line of its message.
    ///
    /// # Errors
    /// It moves or removes an immutable tag.
    pub(crate) fn check_changes<'a>(
        &self,
        moved: impl Iterator<Item = (&'a Tag, &'a Digest)>,
        removed: &[Tag],
    ) -> Result<&'static str, Failure> {
        let is_forced = self.check(moved)?;
        let addition = self.check_removal(removed)?;
        Ok(if is_forced { FORCED } else { addition })
    }

    /// Whether the tag is immutable.
    pub(crate) fn has(&self, tag: &Tag) -> bool {
        self.pattern_of(tag).is_some()
    }

    fn pattern_of(&self, tag: &Tag) -> Option<&TagPattern> {
        self.patterns.iter().find(|pattern| pattern.matches(tag))
    }
}
