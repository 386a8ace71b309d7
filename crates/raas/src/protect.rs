//! The common part of `raas protect` and `raas unprotect`.

use std::collections::BTreeSet;

use raas_base::Say;
use raas_base::failure::Failure;
use raas_publish::access::{self, Protection, ProtectionChange};
use raas_publish::home::Home;
use raas_types::{RepositoryName, RepositoryPattern, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::exposure;
use crate::follow_up::FollowUp;
use crate::output;
use crate::storage::OpenRegistry;

/// A change of protection.
pub(crate) struct Protect<'a> {
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) vendor: &'a VendorName,
    pub(crate) pattern: &'a RepositoryPattern,
    pub(crate) to: Protection,
    /// `--nocommit`
    pub(crate) no_backup: bool,
    /// Whether to print one JSON object instead of text.
    pub(crate) json: bool,
}

/// The result for scripts.
#[derive(Serialize)]
struct Report {
    pattern: String,
    protected: bool,
    /// The repositories that have changed.
    repositories: BTreeSet<RepositoryName>,
    /// The repositories that match, and were so already.
    unchanged: BTreeSet<RepositoryName>,
    /// The patterns of new repositories that were added or removed.
    patterns: Vec<String>,
    commit: String,
    changed: bool,
    served: bool,
    backed_up: bool,
}

impl Protect<'_> {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let Self { home, config, pattern, to, no_backup, json, .. } = *self;
        let vendor = home.existing(self.vendor)?;
        if to == Protection::Protected {
            exposure::check_new(&vendor, &config.vendor(self.vendor), pattern)?;
        }
        let say = if json { Say::nothing() } else { Say::new(output::error) };
        let open = OpenRegistry::open(&vendor, config, say.clone())?;
        let registry = open.registry();
        let change = access::change_protection(&registry, pattern, to)?;
        let name = change.repositories.first();
        let follow_up = FollowUp { home, config, registry, name, no_backup, say: &|line| say.line(line) };
        let followed = follow_up.run(&change.done.commit)?;
        if json {
            output::json(&Report {
                pattern: pattern.to_string(),
                protected: to == Protection::Protected,
                repositories: change.repositories,
                unchanged: change.unchanged,
                patterns: change.patterns.iter().map(ToString::to_string).collect(),
                commit: change.done.commit.to_string(),
                changed: change.done.changed,
                served: !followed.servers.is_empty(),
                backed_up: followed.backed_up,
            });
        } else {
            self.print(&change);
        }
        Ok(())
    }

    fn print(&self, change: &ProtectionChange) {
        let Self { vendor, pattern, to, .. } = *self;
        let now = match to {
            Protection::Protected => "protected",
            Protection::Public => "public: everybody may pull it",
        };
        for name in &change.repositories {
            output::line(&format!("{name} is {now}"));
        }
        for name in &change.unchanged {
            output::line(&format!("{name} was {} already", now.split(':').next().unwrap_or(now)));
        }
        for pattern in &change.patterns {
            output::line(&match to {
                Protection::Protected => {
                    format!("New repositories that match `{pattern}` are born protected")
                }
                Protection::Public => format!("New repositories that match `{pattern}` are public"),
            });
        }
        if to == Protection::Protected && change.repositories.is_empty() && change.unchanged.is_empty() {
            output::line(&format!("No published repository matches `{pattern}` yet"));
        }
        for remaining in &change.remaining {
            output::line(&format!(
                "Note: repositories that match `{remaining}` are still born protected; run `raas unprotect {vendor} \
                 '{remaining}'` to end that"
            ));
        }
        let configured = &self.config.vendor(vendor).protected_repositories;
        for configured in configured.iter().filter(|_| to == Protection::Public) {
            if change.repositories.iter().any(|name| configured.matches(name)) {
                output::line(&format!(
                    "Note: `protected_repositories` of section [{vendor}] has `{configured}`: new repositories that match \
                     are still born protected"
                ));
            }
        }
        let published =
            if change.done.changed { "Published" } else { "Nothing changed: it is published already," };
        output::line(&format!("{published} as commit {}", change.done.commit.short()));
    }
}
