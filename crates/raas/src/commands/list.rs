//! `raas list`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::output;
use crate::progress::bytes;
use crate::storage::refresh_or_say;
use crate::vendors;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_publish::home::Home;
use raas_publish::listing::{self, ListedRepository};

/// List what is published: repositories, tags, digests, sizes and times
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas list bigdatainc\n  raas list bigdatainc bigdata-app")]
pub(crate) struct Arguments {
    /// List only this vendor [default: all]
    #[arg(value_name = "ISV")]
    pub(crate) vendor: Option<VendorName>,

    /// List only this image
    #[arg(value_name = "IMAGE")]
    image: Option<RepositoryName>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    vendors: Vec<ListedVendor>,
}

#[derive(Serialize)]
struct ListedVendor {
    vendor: VendorName,
    repositories: Vec<ListedRepository>,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let vendors = match &arguments.vendor {
        Some(name) => vec![vendors::existing(home, config, name)?],
        None => home.vendors().context(|| format!("cannot read {}", home.root().display()))?,
    };
    let mut listing = Listing { vendors: Vec::new() };
    for vendor in vendors {
        refresh_or_say(&vendor, config);
        let mut repositories = listing::repositories(&vendor.record())?;
        if let Some(image) = &arguments.image {
            repositories.retain(|repository| repository.name == *image);
            if repositories.is_empty() {
                let message = format!("{image} is not published by {}", vendor.name());
                return Err(
                    Failure::new(Kind::Usage, message).hint("run `raas list ISV` to see what is published")
                );
            }
        }
        listing.vendors.push(ListedVendor { vendor: vendor.name().clone(), repositories });
    }
    if arguments.json {
        output::json(&listing);
        return Ok(ExitCode::SUCCESS);
    }
    let alone = arguments.vendor.is_some();
    for ListedVendor { vendor, repositories } in &listing.vendors {
        if !alone {
            output::line(&format!("{vendor}: {} repositories", repositories.len()));
        }
        repositories.iter().for_each(|repository| print(repository, if alone { "" } else { "  " }));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(repository: &ListedRepository, indent: &str) {
    let whose = if repository.operator { " (the operator's)" } else { "" };
    let protected = if repository.protected { " (protected)" } else { "" };
    output::line(&format!("{indent}{}{whose}{protected}", repository.name));
    for tag in &repository.tags {
        let size = match tag.size {
            None => String::new(),
            Some(all) if tag.elsewhere == 0 => bytes(all),
            Some(all) => format!("{} ({} of it from elsewhere)", bytes(all), bytes(tag.elsewhere)),
        };
        let deprecated = tag.deprecated.as_ref().map_or(String::new(), |deprecation| {
            let until = deprecation.until.map(|until| format!(", supported until {}", until.day_text()));
            format!("  (deprecated: use {}{})", deprecation.r#use, until.unwrap_or_default())
        });
        output::line(&format!(
            "{indent}  {:20}  {}  {}  {size}{deprecated}",
            tag.tag, tag.digest, tag.published
        ));
    }
}
