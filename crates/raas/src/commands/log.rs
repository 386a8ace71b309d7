//! `raas log`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{Digest, RepositoryName, Tag, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::output;
use crate::storage::refresh_or_say;
use crate::vendors;
use raas_base::failure::{Failure, Kind};
use raas_publish::history::{self, Entry};
use raas_publish::home::Home;

/// Show who published what and when, the last publication first
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas log bigdatainc bigdata-app -n 5")]
pub(crate) struct Arguments {
    /// Show the publications of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Show only the publications that changed this image
    #[arg(value_name = "IMAGE")]
    image: Option<RepositoryName>,

    /// Show at most this many publications
    #[arg(long, short = 'n', value_name = "COUNT")]
    max_count: Option<usize>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Publications, the last one first.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LogReport<'a> {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: &'a VendorName,
    publications: Vec<PublicationReport<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PublicationReport<'a> {
    commit: &'a str,
    published: &'a str,
    /// Name and mail address of the person who published, as git knows them.
    who: &'a str,
    what: &'a str,
    /// The tags that the publication gave.
    tags: Vec<PublishedTag<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PublishedTag<'a> {
    #[cfg_attr(test, schemars(with = "String"))]
    repository: &'a RepositoryName,
    #[cfg_attr(test, schemars(with = "String"))]
    tag: &'a Tag,
    #[cfg_attr(test, schemars(with = "String"))]
    digest: &'a Digest,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let vendor = vendors::existing(home, config, &arguments.vendor)?;
    refresh_or_say(&vendor, config);
    let record = vendor.record();
    let paths = arguments.image.as_ref().map(history::paths_of).unwrap_or_default();
    let entries = match record.head()? {
        Some(head) => history::entries(&record, &head, &paths, arguments.max_count)?,
        None => Vec::new(),
    };
    if let (Some(image), []) = (&arguments.image, entries.as_slice())
        && arguments.max_count != Some(0)
    {
        let message = format!("{image} was never published by {}", arguments.vendor);
        return Err(Failure::new(Kind::Usage, message)
            .hint(format!("run `raas list {}` to list what is published", arguments.vendor)));
    }
    if arguments.json {
        let publications = entries.iter().map(publication).collect();
        output::json(&LogReport { vendor: &arguments.vendor, publications });
    } else {
        for entry in &entries {
            output::line(&format!(
                "{}  {}  {}  {}",
                entry.commit.short(),
                entry.time,
                entry.who,
                entry.subject
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn publication(entry: &Entry) -> PublicationReport<'_> {
    let tags = entry.tags.iter().map(|(repository, tag, digest)| PublishedTag { repository, tag, digest });
    PublicationReport {
        commit: entry.commit.as_str(),
        published: &entry.time,
        who: &entry.who,
        what: &entry.subject,
        tags: tags.collect(),
    }
}
