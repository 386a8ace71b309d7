//! The text that Prometheus reads.
//!
//! Source: Prometheus, "Exposition formats", text format 0.0.4.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use raas_types::{Utc, Validity};

use crate::metrics::{Metrics, labels};
use crate::notify::{Notification, Notifier};
use crate::pulls::PullQueue;
use crate::site::{Site, Snapshot};
use crate::state::ServerState;
use crate::tls::{Certificate, Certificates};
use crate::traces::Traces;

/// All metrics, and the state of every site.
pub(crate) fn render(state: &ServerState, snapshot: &Snapshot) -> String {
    let ServerState { metrics, pull_queue, certificates, .. } = state;
    pull_queue.count_into(&metrics.pulls);
    let mut page = Exposition(String::with_capacity(4096));
    page.family("raas_build_info", "gauge", "The version of the server.");
    page.line("raas_build_info", &labels(&[("version", env!("CARGO_PKG_VERSION"))]), 1);

    page.pulls(metrics, pull_queue);
    if let Some(notifier) = &state.publication_notifier {
        page.notifications(notifier);
    }
    page.family(
        "raas_redirected_bytes_total",
        "counter",
        "Bytes of layers and configs that clients were redirected to, in the vendor's bucket or elsewhere.",
    );
    for site in &snapshot.sites {
        for (to, bytes) in site.redirected.all() {
            let labels = labels(&[("vendor", site.vendor.as_str()), ("to", to)]);
            page.line("raas_redirected_bytes_total", &labels, bytes);
        }
    }
    page.family("raas_sent_bytes_total", "counter", "Bytes of response bodies that the server sent itself.");
    page.line("raas_sent_bytes_total", "", metrics.sent.load(Ordering::Relaxed));
    page.family("raas_responses_total", "counter", "Responses by API and class of status code.");
    for (api, classes) in APIS.into_iter().zip(&metrics.responses) {
        for (class, number) in ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().zip(classes) {
            let labels = labels(&[("api", api), ("class", class)]);
            page.line("raas_responses_total", &labels, number.load(Ordering::Relaxed));
        }
    }
    page.latencies(metrics);
    page.family("raas_connections", "gauge", "Open connections of clients.");
    page.line("raas_connections", "", metrics.connections.load(Ordering::Relaxed));
    page.family(
        "raas_closed_connections_total",
        "counter",
        "Connections that the server closed to make room: their address had too many, or they had sent no complete request.",
    );
    for (reason, number) in metrics.closed_connections.all() {
        page.line("raas_closed_connections_total", &labels(&[("reason", reason)]), number);
    }
    page.family(
        "raas_log_lines_lost_total",
        "counter",
        "Lines of the log that were lost because nobody read it, or because it could not be written.",
    );
    page.line("raas_log_lines_lost_total", "", state.lost_log_lines.load(Ordering::Relaxed));
    for (name, help, number) in state.traces.iter().flat_map(Traces::counters) {
        page.family(name, "counter", help);
        page.line(name, "", number);
    }
    page.certificates(metrics, certificates.as_deref());

    page.sites(
        snapshot,
        "raas_repositories",
        "Repositories that a site serves, protected ones included.",
        |site| Some(site.catalog.as_ref()?.repository_count()),
    );
    page.sites(
        snapshot,
        "raas_tags",
        "Tags that a site serves in the v2 API, those of protected repositories included.",
        |site| {
            let repositories = site.catalog.as_ref()?.whole().repositories.values();
            Some(repositories.map(|repository| repository.tags_after(None).len()).sum::<usize>())
        },
    );
    page.sites(snapshot, "raas_loaded", "Whether a site has loaded its metadata.", |site| {
        Some(u8::from(site.catalog.is_some()))
    });
    for vendor in snapshot.missing() {
        page.line("raas_loaded", &labels(&[("vendor", vendor)]), 0);
    }
    page.sites(
        snapshot,
        "raas_refused_documents",
        "Documents that do not load. Each is served in its last valid version, or not at all.",
        |site| Some(site.stats.faulty.load(Ordering::Relaxed)),
    );
    page.sites(
        snapshot,
        "raas_unreadable_access_files",
        "Files of users, token keys and authorities that cannot be read. The last valid content of each counts, or nobody gets in by it.",
        |site| Some(site.access.unreadable_files()),
    );
    page.family(
        "raas_refused_vendors",
        "gauge",
        "Configured vendors that cannot be served as they are configured. The log says why.",
    );
    page.line("raas_refused_vendors", "", snapshot.refused.len());
    page.family(
        "raas_configuration_unreadable",
        "gauge",
        "Whether raas.cfg, or the home's list of vendors, cannot be read. The server goes on with what it last read.",
    );
    page.line("raas_configuration_unreadable", "", u8::from(snapshot.is_list_unreadable));
    page.sites(
        snapshot,
        "raas_metadata_current",
        "Whether a site serves the current metadata of its bucket or folder, as of the last check.",
        |site| Some(u8::from(site.is_current())),
    );
    page.sites(
        snapshot,
        "raas_metadata_age_seconds",
        "Seconds since the metadata was last confirmed current.",
        |site| Some(site.age()?.as_secs_f64()),
    );
    page.sites(
        snapshot,
        "raas_metadata_sequence",
        "Sequence number of the publication that a site serves from its bucket. A site from a folder has none.",
        |site| Some(site.health.as_ref()?.sequence()),
    );
    page.sites(
        snapshot,
        "raas_metadata_memory_bytes",
        "About how many bytes of memory the metadata of a site takes.",
        |site| Some(site.stats.memory.used()),
    );
    type Counter = fn(&Site) -> u64;
    let counters: [(&str, &str, Counter); 2] = [
        (
            "raas_metadata_over_memory_total",
            "How often metadata was not loaded because the site would have taken too much memory.",
            |site| site.stats.memory.refusals(),
        ),
        ("raas_refused_entries_total", "Entries of Crane's documents that were left out.", |site| {
            site.stats.left_out.load(Ordering::Relaxed)
        }),
    ];
    for (name, help, value) in counters {
        page.family(name, "counter", help);
        for site in &snapshot.sites {
            page.line(name, &of(site), value(site));
        }
    }
    page.family(
        "raas_customer_keys",
        "gauge",
        "Keys of customers that are not revoked. Each key counts once: at the lowest `days_left` that its days do not exceed.",
    );
    let now = Utc::of(SystemTime::now());
    for site in &snapshot.sites {
        let customers = site.catalog.as_ref().map(|catalog| &catalog.customers);
        for customers in customers.into_iter().filter(|customers| !customers.is_empty()) {
            for (days, keys) in customers.by_days_left(now) {
                let labels = labels(&[("vendor", site.vendor.as_str()), ("days_left", days)]);
                page.line("raas_customer_keys", &labels, keys);
            }
        }
    }
    page.family("raas_metadata_refusals_total", "counter", "How often the metadata of a bucket was refused.");
    for site in &snapshot.sites {
        if let Some(health) = &site.health {
            page.line("raas_metadata_refusals_total", &of(site), health.refusals());
        }
    }
    const FAILURES: &str = "raas_metadata_read_failures_total";
    page.family(FAILURES, "counter", "How often the metadata of a bucket could not be read.");
    for site in &snapshot.sites {
        if let Some(health) = &site.health {
            page.line(FAILURES, &of(site), health.failures());
        }
    }
    const EARLIER: &str = "raas_metadata_rollbacks_refused_total";
    page.family(
        EARLIER,
        "counter",
        "How often a pointer to an earlier publication than the served one was refused.",
    );
    for site in &snapshot.sites {
        if let Some(health) = &site.health {
            page.line(EARLIER, &of(site), health.earlier());
        }
    }
    page.0
}

/// In the order of the variants of `Api`.
const APIS: [&str; 3] = ["v1", "v2", "other"];

struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = match labels {
            "" => writeln!(self.0, "{name} {value}"),
            _ => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    fn lines(&mut self, name: &str, numbers: Vec<(Box<str>, u64)>) {
        for (labels, number) in numbers {
            self.line(name, &labels, number);
        }
    }

    fn pulls(&mut self, metrics: &Metrics, pull_queue: &PullQueue) {
        let pulls = &metrics.pulls;
        let families = [
            (
                "raas_pulls_total",
                "Pulls of images by tag. A client counts once in ten minutes.",
                &pulls.pulls,
            ),
            (
                "raas_attachment_pulls_total",
                "Pulls of signatures, attestations and other attachments.",
                &pulls.attachments,
            ),
            (
                "raas_polls_total",
                "Checks of a manifest without a download: HEAD, or a GET that was answered with 304.",
                &pulls.polls,
            ),
            ("raas_mirror_pulls_total", "Pulls by mirrors, which copy whole repositories.", &pulls.mirrors),
        ];
        for (name, help, numbers) in families {
            self.family(name, "counter", help);
            self.lines(name, numbers.all());
        }
        self.family(
            "raas_uncounted_requests_total",
            "counter",
            "Requests missing in the pull counters because too many came at once.",
        );
        self.line("raas_uncounted_requests_total", "", pull_queue.uncounted());
        if let Some(notifier) = &pull_queue.notifier {
            self.notifications(notifier);
        }
    }

    fn notifications<E: Notification>(&mut self, notifier: &Notifier<E>) {
        for (name, help, number) in notifier.numbers() {
            self.family(name, "counter", help);
            self.line(name, "", number);
        }
    }

    fn latencies(&mut self, metrics: &Metrics) {
        const NAME: &str = "raas_response_seconds";
        self.family(NAME, "histogram", "Seconds until the response to a request began, by API.");
        for (api, latency) in APIS.into_iter().zip(&metrics.latencies) {
            let cumulated = latency.cumulated();
            let count = cumulated.last().map_or(0, |(_, count)| *count);
            for (bound, number) in cumulated {
                self.line(&format!("{NAME}_bucket"), &labels(&[("api", api), ("le", &bound)]), number);
            }
            self.line(&format!("{NAME}_sum"), &labels(&[("api", api)]), latency.sum());
            self.line(&format!("{NAME}_count"), &labels(&[("api", api)]), count);
        }
    }

    fn certificates(&mut self, metrics: &Metrics, certificates: Option<&Certificates>) {
        let Some(certificates) = certificates else { return };
        let of = |certificate: &Certificate| {
            let name = certificate.names.first().map_or("", String::as_str);
            (labels(&[("name", name)]), certificate.validity)
        };
        let mut own: Vec<_> = certificates.all().iter().map(of).collect();
        // Of several certificates with one name only the first is shown to clients. The sort is stable and keeps it
        // first.
        own.sort_by(|a, b| a.0.cmp(&b.0));
        own.dedup_by(|a, b| a.0 == b.0);
        // An alert needs both, because a certificate may live for a year or for six days.
        type Moment = fn(&Validity) -> Utc;
        let families: [(&str, &str, Moment); 2] = [
            ("raas_certificate_not_before_timestamp_seconds", "becomes valid", |v| v.not_before),
            ("raas_certificate_expiry_timestamp_seconds", "expires", |v| v.not_after),
        ];
        for (name, what, moment) in families {
            let help = format!("When a certificate of the server {what}, in seconds since 1970.");
            self.family(name, "gauge", &help);
            for (labels, validity) in &own {
                self.line(name, labels, moment(validity).unix());
            }
        }
        const FAILURES: &str = "raas_certificate_failures_total";
        self.family(FAILURES, "counter", "How often ACME failed to issue a certificate.");
        self.lines(FAILURES, metrics.certificate_failures.all());
    }

    /// A gauge of every site that has a value.
    fn sites<V: Display>(
        &mut self,
        snapshot: &Snapshot,
        name: &str,
        help: &str,
        value: impl Fn(&Site) -> Option<V>,
    ) {
        self.family(name, "gauge", help);
        for site in &snapshot.sites {
            if let Some(value) = value(site) {
                self.line(name, &of(site), value);
            }
        }
    }
}

fn of(site: &Site) -> String {
    labels(&[("vendor", site.vendor.as_str())])
}
