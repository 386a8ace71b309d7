//! The counted pulls.

use std::collections::BTreeMap;

use raas_types::Utc;
use raas_types::pulls::{Counted, Fetch};
use serde::{Serialize, Serializer};

use super::line::Skipped;

/// The most rows that are counted separately. Further rows are counted together as [`OTHERS`].
const MOST: usize = 1_000_000;
const OTHERS: &str = "(others)";

/// The counted requests, by image.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    #[serde(rename = "repositories", serialize_with = "images")]
    #[cfg_attr(test, schemars(with = "Vec<PulledRepository<'static>>"))]
    pub(crate) images: BTreeMap<(String, String), Image>,
    /// Pulls by customer, vendor and repository, if any customer has pulled. The empty name is everybody else.
    #[serde(serialize_with = "customers")]
    #[cfg_attr(test, schemars(with = "Vec<CustomerPulls<'static>>"))]
    pub(crate) customers: BTreeMap<(String, String, String), CustomerCounts>,
    /// The number of lines that were read.
    pub(crate) lines: Lines,
    #[serde(skip)]
    rows: usize,
}

/// The counted requests of one image.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Image {
    pub(crate) pulls: u64,
    /// Pulls by tag and day.
    #[serde(rename = "pulls_by_tag", serialize_with = "tags")]
    #[cfg_attr(test, schemars(with = "Vec<TagPulls<'static>>"))]
    pub(crate) tags: BTreeMap<(String, u64), u64>,
    /// Requests that only looked whether a tag has moved.
    pub(crate) polls: u64,
    /// Pulls by mirrors, which are no pulls of customers.
    pub(crate) mirror_pulls: u64,
    /// Pulls of signatures, SBOMs and the like, by kind.
    pub(crate) attachments: BTreeMap<&'static str, u64>,
}

/// The pulls of a customer from one repository.
#[derive(Debug, Default, Clone, Copy, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CustomerCounts {
    pub(crate) pulls: u64,
    /// Pulls by mirrors of the customer, which are counted apart.
    pub(crate) mirror_pulls: u64,
}

/// The number of lines that were read, by kind.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Lines {
    /// Lines of access logs.
    pub(crate) access: u64,
    /// Lines of the server's log about something else.
    pub(crate) other: u64,
    /// Lines that are neither.
    pub(crate) unreadable: u64,
}

impl Lines {
    pub(super) fn skipped(&mut self, skipped: Skipped) {
        match skipped {
            Skipped::OtherJson => self.other += 1,
            Skipped::TextLog | Skipped::Unreadable => self.unreadable += 1,
        }
    }
}

impl Report {
    pub(super) fn add(&mut self, fetch: &Fetch<'_>, counted: &Counted<'_>) {
        if matches!(counted, Counted::Again | Counted::Other) {
            return;
        }
        match counted {
            Counted::Pull(_) => self.of_customer(fetch).pulls += 1,
            Counted::Mirror => self.of_customer(fetch).mirror_pulls += 1,
            _ => {}
        }
        let room = self.rows < MOST;
        let key = (fetch.vendor.to_owned(), fetch.repository.to_owned());
        let key = if room || self.images.contains_key(&key) { key } else { (OTHERS.into(), OTHERS.into()) };
        let image = self.images.entry(key).or_insert_with(|| {
            self.rows += 1;
            Image::default()
        });
        match counted {
            Counted::Pull(tag) => {
                image.pulls += 1;
                let day = fetch.time.day();
                let row = (tag.to_string(), day);
                let row = if room || image.tags.contains_key(&row) { row } else { (OTHERS.into(), day) };
                *image.tags.entry(row).or_insert_with(|| {
                    self.rows += 1;
                    0
                }) += 1;
            }
            Counted::Poll => image.polls += 1,
            Counted::Mirror => image.mirror_pulls += 1,
            Counted::Attachment(kind) => *image.attachments.entry(kind.name()).or_default() += 1,
            Counted::Again | Counted::Other => {}
        }
    }

    fn of_customer(&mut self, fetch: &Fetch<'_>) -> &mut CustomerCounts {
        let key = (fetch.customer.to_owned(), fetch.vendor.to_owned(), fetch.repository.to_owned());
        let is_known = self.rows < MOST || self.customers.contains_key(&key);
        let key = if is_known { key } else { (OTHERS.into(), OTHERS.into(), OTHERS.into()) };
        self.customers.entry(key).or_insert_with(|| {
            self.rows += 1;
            CustomerCounts::default()
        })
    }

    /// Whether any customer has pulled.
    pub(crate) fn has_customers(&self) -> bool {
        !no_customers(&self.customers)
    }

    /// The number of pulls of all images.
    pub(crate) fn pulls(&self) -> u64 {
        self.images.values().map(|image| image.pulls).sum()
    }
}

/// `2026-11-24`
pub(crate) fn day(day: u64) -> String {
    let mut text = Utc::from_unix(day * 86_400).to_string();
    text.truncate(10);
    text
}

/// The counted requests of one repository.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PulledRepository<'a> {
    vendor: &'a str,
    repository: &'a str,
    #[serde(flatten)]
    counted: &'a Image,
}

/// The pulls of one customer.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CustomerPulls<'a> {
    customer: &'a str,
    vendor: &'a str,
    repository: &'a str,
    #[serde(flatten)]
    counts: CustomerCounts,
}

/// The pulls of a tag on a day.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct TagPulls<'a> {
    tag: &'a str,
    day: String,
    pulls: u64,
}

fn images<S: Serializer>(images: &BTreeMap<(String, String), Image>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(images.iter().map(|((vendor, repository), counted)| PulledRepository {
        vendor,
        repository,
        counted,
    }))
}

fn no_customers(customers: &BTreeMap<(String, String, String), CustomerCounts>) -> bool {
    customers.keys().all(|(customer, ..)| customer.is_empty())
}

fn customers<S: Serializer>(
    customers: &BTreeMap<(String, String, String), CustomerCounts>,
    to: S,
) -> Result<S::Ok, S::Error> {
    // Without customers, the pulls of everybody are those of the repositories.
    let listed = customers.iter().filter(|_| !no_customers(customers));
    to.collect_seq(listed.map(|((customer, vendor, repository), counts)| CustomerPulls {
        customer,
        vendor,
        repository,
        counts: *counts,
    }))
}

fn tags<S: Serializer>(tags: &BTreeMap<(String, u64), u64>, to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(tags.iter().map(|((tag, on), pulls)| TagPulls { tag, day: day(*on), pulls: *pulls }))
}
