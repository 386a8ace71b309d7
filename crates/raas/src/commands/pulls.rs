//! `raas pulls`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use raas_types::Utc;
use raas_types::access::CustomerName;

use crate::output::{self, number};
use crate::pulls::{self, CustomerCounts, PullFilter, Report, day};
use raas_base::failure::{Failure, Kind};

/// Count pulls in access logs, by image, tag and day
///
/// The logs are those of `raas serve --log json`, plain or packed with gzip. Give the oldest log first. A pull is a
/// manifest that a client got; it counts once for each client and tag within ten minutes. The command counts HEAD
/// requests, artifacts and mirrors apart. docs/pulls.md has the rule, by which /metrics counts too.
#[derive(Debug, Args)]
#[command(
    override_usage = "raas pulls [OPTIONS] [ISV [IMAGE]] LOG...",
    after_long_help = "Example:\n  raas pulls bigdatainc /var/log/raas/access.log"
)]
pub(crate) struct Arguments {
    /// Count the pulls of this vendor and image in these logs [default: of all]
    ///
    /// `-` is standard input.
    #[arg(value_name = "[ISV [IMAGE]] LOG", required = true, num_args = 1..)]
    words: Vec<String>,

    /// Count only from this day or time on: 2026-11-24, 2026-11-24T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = first)]
    since: Option<Utc>,

    /// Count only up to the end of this day, or up to this time
    #[arg(long, value_name = "TIME", value_parser = last)]
    until: Option<Utc>,

    /// Count only the pulls of this customer
    #[arg(long, value_name = "CUSTOMER")]
    customer: Option<CustomerName>,

    /// Print the pulls by customer and image, or by image, tag and day
    #[arg(long, value_name = "WHAT", value_enum, default_value = "image")]
    by: By,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What pulls are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// By image, tag and day
    Image,
    /// By customer and image
    Customer,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (mut filter, logs) = parse_words(&arguments.words)?;
    (filter.since, filter.until) = (arguments.since, arguments.until);
    filter.customer.clone_from(&arguments.customer);
    let report = pulls::count(&logs, &filter)?;
    match arguments.by {
        _ if arguments.json => output::json(&report),
        By::Image => print(&report),
        By::Customer => print_customers(&report),
    }
    let lines = &report.lines;
    if lines.unreadable > 0 {
        output::note(&format!("Skipped: {} not part of an access log", number_are(lines.unreadable)));
    }
    if lines.access == 0 {
        output::note("The logs have no line of an access log; `raas serve --log json` writes them");
    }
    Ok(ExitCode::SUCCESS)
}

fn number_are(lines: u64) -> String {
    format!("{} {}", number(lines, "line"), if lines == 1 { "is" } else { "are" })
}

fn first(text: &str) -> Result<Utc, String> {
    text.parse().map_err(|error: raas_types::UtcError| error.to_string())
}

fn last(text: &str) -> Result<Utc, String> {
    let begin = first(text)?;
    // A day without a time ends with its last second.
    Ok(if text.len() == 10 { Utc::from_unix(begin.unix() + 86_399) } else { begin })
}

/// Splits the arguments into vendor, image and logs. An argument that is a file is a log, and so are all arguments after it.
fn parse_words(words: &[String]) -> Result<(PullFilter, Vec<PathBuf>), Failure> {
    let is_log = |word: &str| word == "-" || Path::new(word).is_file();
    let mut filter = PullFilter::default();
    let mut rest = words.iter().peekable();
    if let Some(word) = rest.next_if(|word| !is_log(word) && word.parse::<raas_types::VendorName>().is_ok()) {
        filter.vendor = word.parse().ok();
        if let Some(word) =
            rest.next_if(|word| !is_log(word) && word.parse::<raas_types::RepositoryName>().is_ok())
        {
            filter.image = word.parse().ok();
        }
    }
    let logs: Vec<PathBuf> = rest.map(PathBuf::from).collect();
    if logs.is_empty() {
        let last = words.last().map(String::as_str).unwrap_or_default();
        let vendor = filter.vendor.as_ref().filter(|vendor| vendor.as_str() != last);
        let of = vendor.map(|vendor| format!("{vendor} ")).unwrap_or_default();
        return Err(Failure::new(Kind::Usage, format!("no log is given, and there is no file `{last}`"))
            .hint(format!(
                "run `raas pulls {of}LOG` with the file of an access log, or `-` for standard input"
            )));
    }
    Ok((filter, logs))
}

fn print_customers(report: &Report) {
    for ((customer, vendor, image), CustomerCounts { pulls, mirror_pulls }) in &report.customers {
        let customer = if customer.is_empty() { "(everybody else)" } else { customer };
        let mirrors = match mirror_pulls {
            0 => String::new(),
            count => format!("  (by mirrors: {count})"),
        };
        output::line(&format!("{customer:24}  {vendor} {image:32}  {pulls:>8}{mirrors}"));
    }
    if !report.has_customers() {
        output::note("The logs name no customer: customers pull with keys of `raas access`");
    }
}

fn print(report: &Report) {
    for ((vendor, image), counted) in &report.images {
        output::line(&format!("{vendor} {image}: {}", number(counted.pulls, "pull")));
        for ((tag, on), pulls) in &counted.tags {
            output::line(&format!("  {:24}  {}  {pulls:>8}", tag, day(*on)));
        }
        let attachments = counted.attachments.iter().map(|(kind, count)| (*kind, *count));
        let others = [("looks", counted.polls), ("by mirrors", counted.mirror_pulls)];
        for (what, count) in others.into_iter().chain(attachments).filter(|(_, count)| *count > 0) {
            output::line(&format!("  {:24}  {:10}  {count:>8}", format!("({what})"), ""));
        }
    }
    let (pulls, images) = (number(report.pulls(), "pull"), number(report.images.len(), "image"));
    output::line(&format!("{pulls} of {images}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_vendor_image_and_logs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        std::fs::write(&file, b"").unwrap();
        let file = file.to_str().unwrap();
        let parsed = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let (filter, logs) = parse_words(&words).map_err(|failure| failure.to_string())?;
            let shown = |name: Option<String>| name.unwrap_or("-".into());
            let (vendor, image) = (filter.vendor.map(|v| v.to_string()), filter.image.map(|i| i.to_string()));
            Ok::<_, String>((shown(vendor), shown(image), logs.len()))
        };
        let found = |vendor: &str, image: &str, logs| Ok((vendor.to_owned(), image.to_owned(), logs));
        assert_eq!(parsed(&[file]), found("-", "-", 1));
        assert_eq!(parsed(&["acme", file, "-"]), found("acme", "-", 2));
        assert_eq!(parsed(&["acme", "tools/app", "-"]), found("acme", "tools/app", 1));
        // A missing log is an error when it is opened.
        assert_eq!(parsed(&["acme", file, "gone.log"]), found("acme", "-", 2));
        assert!(parsed(&["acme", "acces.log"]).unwrap_err().contains("no file `acces.log`"));
    }

    #[test]
    fn a_last_day_is_counted_until_its_end() {
        assert_eq!(last("2026-11-24").unwrap().to_string(), "2026-11-24T23:59:59Z");
        assert_eq!(last("2026-11-24T01:00:00Z").unwrap(), first("2026-11-24T01:00:00Z").unwrap());
    }
}
