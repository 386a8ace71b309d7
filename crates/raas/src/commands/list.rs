//! `raas list`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, Tag, Utc, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::output;
use crate::progress::bytes;
use crate::storage::refresh_or_say;
use crate::vendors;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_publish::home::Home;
use raas_publish::listing::{self, ListedRepository, ListedTag};

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

/// What is published.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Listing {
    vendors: Vec<VendorListing>,
}

/// The repositories of a vendor, in order of their names.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct VendorListing {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    repositories: Vec<RepositoryListing>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RepositoryListing {
    #[cfg_attr(test, schemars(with = "String"))]
    repository: RepositoryName,
    /// Whether it is one of the operator's repositories, which are published beside the vendor's own.
    operator: bool,
    protected: bool,
    tags: Vec<TagListing>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct TagListing {
    #[cfg_attr(test, schemars(with = "String"))]
    tag: Tag,
    /// The digest of the manifest. A repository with only Docker v1 content has the id of the image.
    digest: String,
    /// When this digest was published under this tag.
    published: String,
    /// The size of the configs and layers of all platforms. `null` for Docker v1 content.
    size: Option<u64>,
    /// The part of that size that the vendor's bucket does not serve.
    size_elsewhere: u64,
    /// What clients of a deprecated tag are told. `null` for other tags.
    deprecated: Option<Deprecated>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Deprecated {
    /// The tag to use instead.
    #[cfg_attr(test, schemars(with = "String"))]
    r#use: Tag,
    /// Until when the tag is supported.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    until: Option<Utc>,
}

impl From<ListedRepository> for RepositoryListing {
    fn from(listed: ListedRepository) -> Self {
        let ListedRepository { name: repository, operator, protected, tags } = listed;
        Self { repository, operator, protected, tags: tags.into_iter().map(TagListing::from).collect() }
    }
}

impl From<ListedTag> for TagListing {
    fn from(listed: ListedTag) -> Self {
        let ListedTag { tag, digest, published, size, elsewhere: size_elsewhere, deprecated } = listed;
        let deprecated = deprecated.map(|told| Deprecated { r#use: told.r#use, until: told.until });
        Self { tag, digest, published, size, size_elsewhere, deprecated }
    }
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let vendors = match &arguments.vendor {
        Some(name) => vec![vendors::existing(home, config, name)?],
        None => home.vendors().context(|| format!("cannot read {}", home.root().display()))?,
    };
    let mut listing = Listing { vendors: Vec::new() };
    for vendor in vendors {
        // A vendor that cannot be read is an error, and not a vendor without repositories.
        vendor.exists()?;
        refresh_or_say(&vendor, config);
        let mut repositories = listing::repositories(&vendor.record())?;
        if let Some(image) = &arguments.image {
            repositories.retain(|repository| repository.name == *image);
            if repositories.is_empty() {
                let message = format!("{image} is not published by {}", vendor.name());
                return Err(Failure::new(Kind::Usage, message)
                    .hint(format!("run `raas list {}` to see what is published", vendor.name())));
            }
        }
        let repositories = repositories.into_iter().map(RepositoryListing::from).collect();
        listing.vendors.push(VendorListing { vendor: vendor.name().clone(), repositories });
    }
    if arguments.json {
        output::json(&listing);
        return Ok(ExitCode::SUCCESS);
    }
    let alone = arguments.vendor.is_some();
    for VendorListing { vendor, repositories } in &listing.vendors {
        if !alone {
            output::line(&format!("{vendor}: {} repositories", repositories.len()));
        }
        repositories.iter().for_each(|repository| print(repository, if alone { "" } else { "  " }));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(repository: &RepositoryListing, indent: &str) {
    let whose = if repository.operator { " (the operator's)" } else { "" };
    let protected = if repository.protected { " (protected)" } else { "" };
    output::line(&format!("{indent}{}{whose}{protected}", repository.repository));
    for tag in &repository.tags {
        let size = match tag.size {
            None => String::new(),
            Some(all) if tag.size_elsewhere == 0 => bytes(all),
            Some(all) => format!("{} ({} of it from elsewhere)", bytes(all), bytes(tag.size_elsewhere)),
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
