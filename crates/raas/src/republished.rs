//! Publishing without new content: what `raas rollback` and `raas unpublish` have in common.

use std::collections::BTreeMap;

use raas_base::Say;
use raas_base::failure::Failure;
use raas_publish::home::Home;
use raas_publish::registry::Registry;
use raas_publish::republish::Republished;
use raas_types::{Digest, RepositoryName, Tag, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::follow_up::FollowUp;
use crate::output;
use crate::storage::OpenRegistry;

/// The image whose publication changes, and how.
pub(crate) struct Republish<'a> {
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) vendor: &'a VendorName,
    pub(crate) name: &'a RepositoryName,
    /// `--nocommit`
    pub(crate) no_backup: bool,
    /// Whether progress is not shown.
    pub(crate) quiet: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// In a sentence.
    what: String,
    /// The tags that the image has now.
    tags: BTreeMap<Tag, Digest>,
    commit: String,
    /// Whether that commit is a new one.
    changed: bool,
    /// Whether a server was seen to serve it.
    served: bool,
    /// Whether the configuration repository keeps it too.
    backed_up: bool,
}

impl Republish<'_> {
    /// Publishes, waits until servers serve it, and keeps it in the configuration repository.
    pub(crate) fn run(
        &self,
        publish: impl FnOnce(&Registry<'_>, &RepositoryName) -> Result<Republished, Failure>,
    ) -> Result<Outcome, Failure> {
        let Self { home, config, name, no_backup, quiet, .. } = *self;
        let vendor = home.existing(self.vendor)?;
        let say = if quiet { Say::nothing() } else { Say::new(output::error) };
        let open = OpenRegistry::open(&vendor, config, say.clone())?;
        let registry = open.registry();
        let Republished { what, tags, done } = publish(&registry, name)?;
        let follow_up = FollowUp { home, config, registry, name, no_backup, say: &|line| say.line(line) };
        let followed = follow_up.run(&done.commit)?;
        Ok(Outcome {
            what,
            tags,
            commit: done.commit.to_string(),
            changed: done.changed,
            served: !followed.servers.is_empty(),
            backed_up: followed.backed_up,
        })
    }
}

impl Outcome {
    /// Prints the result.
    pub(crate) fn tell(&self, json: bool) {
        if json {
            output::json(self);
            return;
        }
        output::line(&self.what);
        for (tag, digest) in &self.tags {
            output::line(&format!("  {tag}  {digest}"));
        }
        let published = if self.changed { "Published" } else { "Nothing changed: it is published already," };
        output::line(&format!("{published} as commit {}", &self.commit[..12]));
    }
}
