//! The common part of `raas protect` and `raas unprotect`.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
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
use crate::report::Published;
use crate::storage::OpenRegistry;
use crate::traces::stage;

/// The arguments of both commands.
#[derive(Debug, Args)]
pub(crate) struct ProtectArguments {
    /// Change repositories of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Change these repositories: a name, `NAME/*` for everything below a name, or `*` for all
    #[arg(value_name = "PATTERN")]
    pattern: RepositoryPattern,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl ProtectArguments {
    /// Publishes the change, and prints the result.
    pub(crate) fn run(&self, home: &Home, config: &Config, to: Protection) -> Result<ExitCode, Failure> {
        Protect { home, config, arguments: self, to }.run()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A change of protection.
struct Protect<'a> {
    home: &'a Home,
    config: &'a Config,
    arguments: &'a ProtectArguments,
    to: Protection,
}

/// The result for scripts.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ProtectReport {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    pattern: String,
    /// Whether only users and customers may see the repositories now.
    protected: bool,
    /// The repositories that have changed.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    changed_repositories: BTreeSet<RepositoryName>,
    /// The repositories that match, and were so already.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    unchanged_repositories: BTreeSet<RepositoryName>,
    /// The patterns of new repositories that were added or removed.
    changed_patterns: Vec<String>,
    #[serde(flatten)]
    published: Published,
}

impl Protect<'_> {
    fn run(&self) -> Result<(), Failure> {
        let Self { home, config, to, .. } = *self;
        let ProtectArguments { vendor: vendor_name, pattern, nocommit: no_backup, json } = self.arguments;
        let (no_backup, json) = (*no_backup, *json);
        let vendor = home.existing(vendor_name)?;
        if to == Protection::Protected {
            exposure::check_new(&vendor, &config.vendor(vendor_name), pattern)?;
        }
        let say = Say::new(output::note);
        let open = OpenRegistry::open(&vendor, config, say.clone())?;
        let registry = open.registry();
        let change = stage("publish", || access::change_protection(&registry, pattern, to))?;
        let name = change.repositories.first();
        let follow_up = FollowUp { home, config, registry, name, no_backup, say: &|line| say.line(line) };
        let begun = Instant::now();
        let followed = follow_up.run(&change.done.commit)?;
        if let Some(doubt) = followed.doubt(begun) {
            output::note(&format!("Note: {doubt}"));
        }
        let published = Published {
            commit: change.done.commit.to_string(),
            changed: change.done.changed,
            served: followed.is_served(),
            backed_up: followed.backed_up,
        }
        .traced();
        if json {
            output::json(&ProtectReport {
                vendor: vendor_name.clone(),
                pattern: pattern.to_string(),
                protected: to == Protection::Protected,
                changed_repositories: change.repositories,
                unchanged_repositories: change.unchanged,
                changed_patterns: change.patterns.iter().map(ToString::to_string).collect(),
                published,
            });
        } else {
            self.print(&change);
        }
        Ok(())
    }

    fn print(&self, change: &ProtectionChange) {
        let (ProtectArguments { vendor, pattern, .. }, to) = (self.arguments, self.to);
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
