//! The common part of `raas rollback` and `raas unpublish`, which publish without new content.

use std::collections::BTreeMap;

use raas_base::Say;
use raas_base::failure::Failure;
use raas_publish::difference::RepositoryChange;
use raas_publish::home::Home;
use raas_publish::registry::Registry;
use raas_publish::republish::Republished;
use raas_types::{Digest, RepositoryName, Tag, VendorName};
use serde::Serialize;

use crate::changes;
use crate::config::Config;
use crate::follow_up::FollowUp;
use crate::output;
use crate::report::{self, Published};
use crate::storage::OpenRegistry;
use crate::traces::{self, stage};
use crate::vendors;

/// Changes the publication of an image.
pub(crate) struct Republish<'a> {
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) vendor: &'a VendorName,
    pub(crate) name: &'a RepositoryName,
    /// `--nocommit`
    pub(crate) no_backup: bool,
    /// Whether to hide progress.
    pub(crate) quiet: bool,
}

/// The result for people and scripts.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RepublishReport {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    #[cfg_attr(test, schemars(with = "String"))]
    repository: RepositoryName,
    /// What was done, in a sentence.
    what: String,
    /// The tags that the image has now.
    #[serde(serialize_with = "report::tags")]
    #[cfg_attr(test, schemars(with = "Vec<report::TagReport<String>>"))]
    tags: BTreeMap<Tag, Digest>,
    /// What changed in the image.
    #[serde(serialize_with = "report::changes")]
    #[cfg_attr(test, schemars(with = "report::ChangeReport"))]
    changes: RepositoryChange,
    #[serde(flatten)]
    published: Published,
}

impl Republish<'_> {
    /// Publishes, waits until servers serve the publication, and backs it up in the configuration repository.
    pub(crate) fn run(
        &self,
        publish: impl FnOnce(&Registry<'_>, &RepositoryName) -> Result<Republished, Failure>,
    ) -> Result<RepublishReport, Failure> {
        let Self { home, config, name, no_backup, quiet, .. } = *self;
        let vendor = vendors::existing(home, config, self.vendor)?;
        let say = if quiet { Say::nothing() } else { Say::new(output::note) };
        let open = OpenRegistry::open(&vendor, config, say.clone())?;
        open.remember_storage()?;
        let registry = open.registry();
        traces::set("raas.repository", name.as_str());
        let Republished { what, tags, change, done } = stage("publish", || publish(&registry, name))?;
        traces::set("raas.tags", tags.keys().map(ToString::to_string).collect::<Vec<_>>());
        let follow_up =
            FollowUp { home, config, registry, name: Some(name), no_backup, say: &|line| say.line(line) };
        let followed = follow_up.run(&done.commit)?;
        Ok(RepublishReport {
            vendor: self.vendor.clone(),
            repository: name.clone(),
            what,
            tags,
            changes: change,
            published: Published {
                commit: done.commit.to_string(),
                changed: done.changed,
                served: followed.is_served(),
                backed_up: followed.backed_up,
            }
            .traced(),
        })
    }
}

impl RepublishReport {
    /// Prints the result.
    pub(crate) fn print(&self, json: bool) {
        if json {
            output::json(self);
            return;
        }
        output::line(&self.what);
        changes::lines(&self.changes).iter().for_each(|line| output::line(line));
        output::line(&self.published.line());
    }
}
