//! `raas diff`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, VendorName};
use serde::Serialize;

use crate::changes;
use crate::config::Config;
use crate::output;
use crate::report::ChangeReport;
use crate::storage::refresh_or_say;
use crate::vendors;
use raas_base::failure::{Failure, Kind};
use raas_publish::difference::{self, Difference, SettingChange};
use raas_publish::history;
use raas_publish::home::Home;

/// Compare two publications: tags added, moved and removed, layers added and removed
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas diff bigdatainc bigdata-app")]
pub(crate) struct Arguments {
    /// Compare publications of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Compare from this commit of `raas log`, or the last two publications of this image
    #[arg(value_name = "FROM|IMAGE")]
    from: String,

    /// Compare to this later commit
    #[arg(value_name = "TO")]
    to: Option<String>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// The differences between two publications.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DiffReport<'a> {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: &'a VendorName,
    /// The earlier commit. `null` compares with an empty registry.
    from: Option<&'a str>,
    /// The later commit.
    to: &'a str,
    /// The repositories that differ.
    repositories: Vec<DifferentRepository<'a>>,
    /// The customers that differ.
    customers: Vec<DifferentCustomer<'a>>,
    /// The patterns of repositories that are born protected, as far as they differ.
    patterns: Vec<DifferentPattern<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DifferentRepository<'a> {
    #[cfg_attr(test, schemars(with = "String"))]
    repository: &'a RepositoryName,
    #[serde(flatten)]
    changes: ChangeReport,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DifferentCustomer<'a> {
    customer: &'a str,
    /// `added`, `changed` or `removed`.
    change: &'static str,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct DifferentPattern<'a> {
    pattern: &'a str,
    /// `added` or `removed`.
    change: &'static str,
}

impl<'a> DiffReport<'a> {
    fn new(vendor: &'a VendorName, difference: &'a Difference) -> Self {
        let Difference { from, to, repositories, customers, protected_patterns } = difference;
        let changed =
            |(repository, change)| DifferentRepository { repository, changes: ChangeReport::from(change) };
        let customer = |(customer, change): (&'a String, &SettingChange)| DifferentCustomer {
            customer,
            change: word(*change),
        };
        let pattern = |(pattern, change): (&'a String, &SettingChange)| DifferentPattern {
            pattern,
            change: word(*change),
        };
        Self {
            vendor,
            from: from.as_deref(),
            to,
            repositories: repositories.iter().map(changed).collect(),
            customers: customers.iter().map(customer).collect(),
            patterns: protected_patterns.iter().map(pattern).collect(),
        }
    }
}

fn word(change: SettingChange) -> &'static str {
    match change {
        SettingChange::Added => "added",
        SettingChange::Changed => "changed",
        SettingChange::Removed => "removed",
    }
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let vendor = vendors::existing(home, config, &arguments.vendor)?;
    refresh_or_say(&vendor, config);
    let record = vendor.record();
    let nothing = || {
        Failure::new(Kind::Usage, format!("{} has published nothing yet", vendor.name()))
            .hint(format!("publish an image with `raas push {}`", vendor.name()))
    };
    let head = record.head()?.ok_or_else(nothing)?;
    let (from, to, only) = match &arguments.to {
        Some(to) => {
            let from = history::find(&record, &head, &arguments.from)?;
            (Some(from), history::find(&record, &head, to)?, None)
        }
        None => {
            let name: RepositoryName = arguments.from.parse()?;
            let mut last = history::entries(&record, &head, &history::paths_of(&name), Some(2))?.into_iter();
            let unknown = || {
                Failure::new(Kind::Usage, format!("{name} has never been published"))
                    .hint(format!("run `raas list {}` to list the images", vendor.name()))
            };
            let to = last.next().ok_or_else(unknown)?.commit;
            (last.next().map(|entry| entry.commit), to, Some(name))
        }
    };
    let difference = difference::between(&record, from.as_ref(), &to, only.as_ref())?;
    if arguments.json {
        output::json(&DiffReport::new(vendor.name(), &difference));
    } else {
        print(&difference);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(difference: &Difference) {
    let from = difference.from.as_deref().map_or("nothing", |from| &from[..12]);
    output::line(&format!("{from} -> {}", &difference.to[..12]));
    let Difference { repositories, customers, protected_patterns, .. } = difference;
    if repositories.is_empty() && customers.is_empty() && protected_patterns.is_empty() {
        output::line("no difference");
    }
    for (what, changes) in [("customer", customers), ("protected pattern", protected_patterns)] {
        for (name, change) in changes {
            let sign = match change {
                SettingChange::Added => '+',
                SettingChange::Changed => '~',
                SettingChange::Removed => '-',
            };
            output::line(&format!("{sign} {what} {name}"));
        }
    }
    for (name, repository) in &difference.repositories {
        output::line(name.as_str());
        if let Some(protected) = repository.protected {
            output::line(if protected { "  + protected" } else { "  - protected" });
        }
        changes::lines(repository).iter().for_each(|line| output::line(line));
    }
}
