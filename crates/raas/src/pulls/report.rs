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
pub(crate) struct Report {
    #[serde(serialize_with = "images")]
    pub(crate) images: BTreeMap<(String, String), Image>,
    /// Pulls by customer, vendor and image, if any customer has pulled. The empty name is everybody else.
    #[serde(serialize_with = "customers", skip_serializing_if = "no_customers")]
    pub(crate) customers: BTreeMap<(String, String, String), u64>,
    pub(crate) lines: Lines,
    #[serde(skip)]
    rows: usize,
}

/// The counted requests of one image.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Image {
    pub(crate) pulls: u64,
    /// By tag and day since 1970.
    #[serde(serialize_with = "tags")]
    pub(crate) tags: BTreeMap<(String, u64), u64>,
    pub(crate) polls: u64,
    pub(crate) mirror_pulls: u64,
    /// By kind.
    pub(crate) attachments: BTreeMap<&'static str, u64>,
}

/// The number of lines that were read, by kind.
#[derive(Debug, Default, Serialize)]
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
    pub(super) fn add(&mut self, fetch: &Fetch<'_>, customer: Option<&str>, counted: &Counted<'_>) {
        if matches!(counted, Counted::Again | Counted::Other) {
            return;
        }
        if matches!(counted, Counted::Pull(_)) {
            self.add_customer(fetch, customer.unwrap_or_default());
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

    fn add_customer(&mut self, fetch: &Fetch<'_>, customer: &str) {
        let key = (customer.to_owned(), fetch.vendor.to_owned(), fetch.repository.to_owned());
        let is_known = self.rows < MOST || self.customers.contains_key(&key);
        let key = if is_known { key } else { (OTHERS.into(), OTHERS.into(), OTHERS.into()) };
        *self.customers.entry(key).or_insert_with(|| {
            self.rows += 1;
            0
        }) += 1;
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

fn images<S: Serializer>(images: &BTreeMap<(String, String), Image>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Named<'a> {
        vendor: &'a str,
        image: &'a str,
        #[serde(flatten)]
        counted: &'a Image,
    }
    to.collect_seq(images.iter().map(|((vendor, image), counted)| Named { vendor, image, counted }))
}

fn no_customers(customers: &BTreeMap<(String, String, String), u64>) -> bool {
    customers.keys().all(|(customer, ..)| customer.is_empty())
}

fn customers<S: Serializer>(
    customers: &BTreeMap<(String, String, String), u64>,
    to: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row<'a> {
        customer: &'a str,
        vendor: &'a str,
        image: &'a str,
        pulls: u64,
    }
    to.collect_seq(customers.iter().map(|((customer, vendor, image), pulls)| Row {
        customer,
        vendor,
        image,
        pulls: *pulls,
    }))
}

fn tags<S: Serializer>(tags: &BTreeMap<(String, u64), u64>, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row<'a> {
        tag: &'a str,
        day: String,
        pulls: u64,
    }
    to.collect_seq(tags.iter().map(|((tag, on), pulls)| Row { tag, day: day(*on), pulls: *pulls }))
}
