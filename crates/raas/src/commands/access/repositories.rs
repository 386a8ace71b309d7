//! `raas access grant` and `raas access deny`.

use clap::Args;
use raas_types::RepositoryPattern;

use super::Target;
use crate::access::note_unmatched;
use crate::config::Config;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;

/// Let a customer see more protected repositories
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access grant bigdatainc bigbank 'appliance/*'")]
pub(super) struct Grant {
    #[command(flatten)]
    pub(super) target: Target,

    /// Grant these repositories: names, `NAME/*` for everything below a name, or `*` for all
    #[arg(value_name = "PATTERN", required = true, value_delimiter = ',')]
    patterns: Vec<RepositoryPattern>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Take granted repositories from a customer
///
/// Give patterns as `raas access show` prints them. You cannot take a single repository out of a granted `appliance/*`.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas access deny bigdatainc bigbank tools")]
pub(super) struct Deny {
    #[command(flatten)]
    pub(super) target: Target,

    /// Take these patterns
    #[arg(value_name = "PATTERN", required = true, value_delimiter = ',')]
    patterns: Vec<RepositoryPattern>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Grant {
    pub(super) fn run(self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { target, patterns, json } = self;
        let change = target.change(home, config);
        let report = change.run(
            |before| {
                let mut customer = change.known(before)?;
                for pattern in &patterns {
                    if !customer.repositories.contains(pattern) {
                        customer.repositories.push(pattern.clone());
                    }
                }
                Ok((customer, format!("Grant {} to customer {}", list(&patterns), target.customer)))
            },
            || {},
        )?;
        report.print(json);
        note_unmatched(&home.existing(&target.vendor)?, &patterns);
        Ok(())
    }
}

impl Deny {
    pub(super) fn run(self, home: &Home, config: &Config) -> Result<(), Failure> {
        let Self { target, patterns, json } = self;
        let change = target.change(home, config);
        let report = change.run(
            |before| {
                let mut customer = change.known(before)?;
                for pattern in &patterns {
                    let Some(at) = customer.repositories.iter().position(|granted| granted == pattern) else {
                        let message = format!("`{pattern}` is not granted to {}", target.customer);
                        let granted = list(&customer.repositories);
                        return Err(Failure::new(Kind::Usage, message).hint(format!(
                            "take patterns as they are granted: {granted}; nothing was published"
                        )));
                    };
                    customer.repositories.remove(at);
                }
                let what = format!("Deny {} to customer {}", list(&patterns), target.customer);
                Ok((customer, what))
            },
            || {},
        )?;
        report.print(json);
        Ok(())
    }
}

/// The patterns for people.
pub(super) fn list(patterns: &[RepositoryPattern]) -> String {
    match patterns {
        [] => "nothing".to_owned(),
        patterns => patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}
