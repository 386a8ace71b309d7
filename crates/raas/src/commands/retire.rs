//! `raas retire`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use raas_types::{Digest, RepositoryName, Tag, Utc, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::immutable::ImmutableTags;
use crate::output::{self, number};
use crate::report;
use crate::republished::{Republish, RepublishReport};
use crate::storage::refresh_or_say;
use crate::vendors;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;
use raas_publish::listing::{self, ListedTag};
use raas_publish::republish;

/// List old tags of an image, and remove them with --yes
///
/// A tag is old if it is not among the --keep newest, and if it was published longer ago than --older-than. Signatures,
/// SBOMs and attestations go with their image. The content stays in the bucket until `raas gc`, and `raas rollback`
/// brings the tags back.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas retire bigdatainc bigdata-app --keep 10 --older-than 2y --yes")]
pub(crate) struct Arguments {
    /// Publish for this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Retire tags of this image
    #[arg(value_name = "IMAGE")]
    image: RepositoryName,

    /// Keep this many tags, the newest ones
    #[arg(long, value_name = "N", required_unless_present = "older_than")]
    keep: Option<usize>,

    /// Keep tags that were published within this time, such as 90d, 12w or 2y
    #[arg(long, value_name = "TIME", value_parser = duration)]
    older_than: Option<Duration>,

    /// Remove the tags instead of listing them
    #[arg(long)]
    yes: bool,

    /// Remove also tags that `immutable_tags` of raas.cfg protects; the log shows who did it
    #[arg(long)]
    force_tag: bool,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// A number of days, weeks or years of 365 days.
fn duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is no time: expected a number with d, w or y, such as 90d");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(expected)?;
    let days = match unit {
        "d" => 1,
        "w" => 7,
        "y" => 365,
        _ => return Err(expected()),
    };
    let number: u64 = number.parse().map_err(|_| expected())?;
    let seconds = number.checked_mul(days * 86_400).ok_or_else(expected)?;
    Ok(Duration::from_secs(seconds))
}

/// The old tags.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RetireReport {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    #[cfg_attr(test, schemars(with = "String"))]
    repository: RepositoryName,
    /// Whether nothing was removed: the command ran without --yes.
    dry_run: bool,
    /// The tags that are old, with their manifests.
    #[serde(serialize_with = "report::tags")]
    #[cfg_attr(test, schemars(with = "Vec<report::TagReport<String>>"))]
    tags: BTreeMap<Tag, Digest>,
    /// The tags of signatures, SBOMs and attestations that go along with them.
    #[serde(rename = "attachment_tags")]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    followers: BTreeSet<Tag>,
    /// The publication without them. `null` without `--yes`, and if there is no old tag.
    publication: Option<RepublishReport>,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { image, yes, nocommit, json, .. } = arguments;
    let vendor = vendors::existing(home, config, &arguments.vendor)?;
    refresh_or_say(&vendor, config);
    let repositories = listing::repositories(&vendor.record())?;
    let repository =
        repositories.into_iter().find(|repository| repository.name == *image && !repository.operator);
    let repository = repository.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("{image} is not published"))
            .hint(format!("run `raas list {}` to see what is published", vendor.name()))
    })?;
    let old = old(repository.tags, arguments.keep, arguments.older_than, Utc::of(SystemTime::now()));
    if !json {
        old.iter()
            .for_each(|tag| output::line(&format!("{:20}  {}  {}", tag.tag, tag.digest, tag.published)));
    }
    let tags: BTreeMap<Tag, Digest> =
        old.into_iter().filter_map(|tag| Some((tag.tag, tag.digest.parse().ok()?))).collect();
    let followers = republish::followers(&vendor.record(), image, &tags)?;
    let immutable = ImmutableTags::new(config, &arguments.vendor, arguments.force_tag);
    if !json && !yes && tags.keys().any(|tag| immutable.has(tag)) {
        output::line(
            "`immutable_tags` of raas.cfg protects some of these tags: --yes removes them only with --force-tag",
        );
    }
    let may_remove = |tags: &[Tag]| immutable.check_removal(tags);
    let publication = if *yes && !tags.is_empty() {
        let (vendor, no_backup, quiet) = (&arguments.vendor, *nocommit, *json);
        let republish = Republish { home, config, vendor, name: image, no_backup, quiet };
        Some(republish.run(|registry, name| republish::retire(registry, name, &tags, &may_remove))?)
    } else {
        None
    };
    let report = RetireReport {
        vendor: arguments.vendor.clone(),
        repository: image.clone(),
        dry_run: !yes,
        tags,
        followers,
        publication,
    };
    if *json {
        output::json(&report);
    } else {
        print(&report);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &RetireReport) {
    if !report.followers.is_empty() {
        output::line(&format!("{} of attachments go along", number(report.followers.len(), "tag")));
    }
    match &report.publication {
        Some(publication) => publication.print(false),
        None if report.tags.is_empty() => output::line("No tag is old"),
        None => {
            let count = number(report.tags.len(), "tag");
            output::line(&format!("Nothing was removed; --yes removes {count} from the registry"));
        }
    }
}

/// The old tags, the newest first. Attachments count as no tag: they go with their image.
fn old(tags: Vec<ListedTag>, keep: Option<usize>, older_than: Option<Duration>, now: Utc) -> Vec<ListedTag> {
    let mut tags: Vec<ListedTag> =
        tags.into_iter().filter(|tag| !republish::is_attachment(&tag.tag)).collect();
    tags.sort_by_key(|tag| Reverse(tag.published.clone()));
    let is_old = |tag: &ListedTag| {
        // A tag whose time is unknown is kept.
        let published = Utc::parse(&tag.published);
        older_than.is_none_or(|least| {
            published.is_some_and(|at| now.unix().saturating_sub(at.unix()) > least.as_secs())
        })
    };
    tags.into_iter().skip(keep.unwrap_or(0)).filter(is_old).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_of_days_weeks_or_years() {
        let day = 86_400;
        for (text, seconds) in [("90d", 90 * day), ("2w", 14 * day), ("2y", 730 * day), ("0d", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["", "d", "2", "2m", "-1d", "1é", "99999999999999999999y"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn old_tags_are_beyond_the_newest_and_beyond_the_time() {
        let tag = |name: &str, published: &str| ListedTag {
            tag: name.parse().unwrap(),
            digest: Digest::of(name.as_bytes()).to_string(),
            published: published.to_owned(),
            size: None,
            elsewhere: 0,
            deprecated: None,
        };
        let signature = format!("sha256-{}.sig", "0".repeat(64));
        let tags = || {
            vec![
                tag("a", "2026-01-01T00:00:00Z"),
                tag("b", "2026-03-01T00:00:00Z"),
                tag("c", "2026-02-01T00:00:00Z"),
                tag(&signature, "2020-01-01T00:00:00Z"),
            ]
        };
        let now = Utc::parse("2026-03-02T00:00:00Z").unwrap();
        let names = |keep, days: Option<u64>| -> Vec<String> {
            let older = days.map(|days| Duration::from_secs(days * 86_400));
            old(tags(), keep, older, now).into_iter().map(|tag| tag.tag.to_string()).collect()
        };
        assert_eq!(names(Some(1), None), ["c", "a"]);
        assert_eq!(names(None, Some(20)), ["c", "a"]);
        assert_eq!(names(Some(1), Some(40)), ["a"]);
        assert_eq!(names(Some(3), Some(0)), [""; 0]);
    }
}
