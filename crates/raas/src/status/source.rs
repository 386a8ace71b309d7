//! Checks that the published tags of an image are those of its source.

use std::collections::BTreeMap;

use raas_base::Say;
use raas_base::failure::Failure;
use raas_image::cosign_subject;
use raas_publish::home::Home;
use raas_publish::publication::Current;
use raas_sources::registry::Remote;
use raas_types::{Digest, RepositoryName, Tag, VendorName};

use super::{Check, Outcome, Status};
use crate::config::{Config, SyncSource};
use crate::output::number;
use crate::sync::narrowed::at_source;
use crate::sync::source::{digests, locate};

/// Adds the comparison of an image with its source.
pub(crate) fn add(
    status: &mut Status,
    home: &Home,
    config: &Config,
    vendor: &VendorName,
    image: &RepositoryName,
    source: &SyncSource,
) {
    let check = compare(home, config, vendor, image, source);
    let check = check.unwrap_or_else(|failure| Check::unable("source", &failure));
    status.healthy &= check.outcome != Outcome::Failed;
    status.checks.push(check);
}

fn compare(
    home: &Home,
    config: &Config,
    vendor: &VendorName,
    image: &RepositoryName,
    source: &SyncSource,
) -> Result<Check, Failure> {
    let located = locate(config, vendor, image, source, Say::nothing())?;
    let remote = Remote::find(&located.address, located.access)?;
    let (deployed, protected) = deployed(home, vendor, image)?;
    let tags = remote.tags()?.tags.into_iter().filter(|tag| cosign_subject(tag).is_none()).collect();
    // Tags that the image's sync rule leaves at the source are no difference.
    let rule = config.sync_rules().find(|(owner, rule)| *owner == vendor && rule.image == *image);
    let rule = rule.map(|(_, rule)| rule).filter(|rule| rule.source == *source);
    // A tag whose index was narrowed to some platforms has another digest than at the source.
    let deployed = match rule.filter(|rule| !rule.platforms.is_empty()) {
        Some(rule) => {
            let mut as_published = at_source(&home.vendor(vendor), rule, &deployed)?;
            for (tag, digest) in deployed {
                as_published.entry(tag).or_insert(digest);
            }
            as_published
        }
        None => deployed,
    };
    let tags: Vec<Tag> = match rule {
        Some(rule) => rule.tags.choose(tags).into_iter().collect(),
        None => tags,
    };
    let there = digests(&remote, tags, &deployed)?;
    let address = &located.address;
    let mut details = differences(&there, &deployed);
    if located.private && !protected && !deployed.is_empty() {
        details.push(format!("{address} is private, and {image} is deployed for everybody"));
    }
    let is_same = details.is_empty();
    let extra: Vec<String> = deployed
        .keys()
        .filter(|tag| !there.contains_key(*tag))
        .map(|tag| format!("tag {tag}: deployed only"))
        .collect();
    let found = format!("{} of {address}", number(there.len(), "tag"));
    if !is_same {
        let what = format!(
            "{found}, and {} deployed",
            if details.len() == 1 { "one difference is" } else { "differences are" }
        );
        details.extend(extra);
        return Ok(Check::failed(
            "source",
            what,
            format!("run `raas push {vendor} {image}`, or `raas sync`"),
        )
        .details(details));
    }
    Ok(match extra.is_empty() {
        true => Check::ok("source", format!("{found} deployed as they are there")),
        false => Check::warning("source", format!("{found} deployed as they are there, and others besides"))
            .details(extra),
    })
}

fn deployed(
    home: &Home,
    vendor: &VendorName,
    image: &RepositoryName,
) -> Result<(BTreeMap<Tag, Digest>, bool), Failure> {
    let record = home.existing(vendor)?.record();
    let head = record.head()?;
    let current = head.map(|head| Current::read(&record, &head, image)).transpose()?.unwrap_or_default();
    let protected = current.protected;
    let tags = current.v2.map(|v2| v2.tags).unwrap_or_default();
    Ok((tags.into_iter().filter(|(tag, _)| cosign_subject(tag).is_none()).collect(), protected))
}

/// A line for each tag of the source that is not deployed, or is deployed with another digest.
fn differences(there: &BTreeMap<Tag, Digest>, deployed: &BTreeMap<Tag, Digest>) -> Vec<String> {
    let difference = |(tag, digest): (&Tag, &Digest)| match deployed.get(tag) {
        Some(deployed) if deployed == digest => None,
        Some(deployed) => Some(format!("tag {tag}: {digest} there, {deployed} deployed")),
        None => Some(format!("tag {tag}: {digest} there, not deployed")),
    };
    there.iter().filter_map(difference).collect()
}
