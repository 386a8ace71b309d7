//! Waiting until people can pull what was published.

use std::thread;
use std::time::{Duration, Instant};

use raas_types::VendorName;

use super::report::Report;
use super::{Options, Progress};
use crate::failure::{Context as _, Failure, Kind};
use crate::home::{Home, Vendor};
use crate::http;
use crate::record::CommitId;
use crate::servers::{self, Note};

/// A server on this machine looks several times a second; ten seconds is one that does not look any more.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Where the command line expects a server that nobody has started yet.
const DEFAULT_ADDRESS: &str = "127.0.0.1:5000";

/// Waits until every server of this home that serves the vendor serves the commit; says so if there is none.
pub(super) fn until_served(
    home: &Home,
    vendor: &Vendor,
    commit: &CommitId,
    options: &Options,
    report: &mut Report,
    progress: &Progress,
) -> Result<(), Failure> {
    let notes = servers::living(&home.servers())
        .context(|| format!("cannot look for servers in {}", home.servers().display()))?;
    let serving: Vec<Note> = notes.into_iter().filter(|note| note.serves(vendor.name())).collect();
    report.reference = reference(home, vendor.name(), serving.first(), options, report);
    let begun = Instant::now();
    for note in &serving {
        loop {
            match http::revision(note.reachable(), vendor.name()) {
                Ok(revision) if serves(vendor, commit, &revision)? => break,
                // It was stopped meanwhile.
                _ if !still_runs(home, note) => break,
                other if begun.elapsed() > PATIENCE => return Err(too_late(note, commit, other)),
                _ => thread::sleep(PAUSE),
            }
        }
        progress.say(&format!("Served on {}", note.reachable()));
    }
    report.served = !serving.is_empty();
    Ok(())
}

fn still_runs(home: &Home, note: &Note) -> bool {
    servers::living(&home.servers()).is_ok_and(|notes| notes.contains(note))
}

/// Whether a revision is the commit, or one that another push has made on top of it.
fn serves(vendor: &Vendor, commit: &CommitId, revision: &str) -> Result<bool, Failure> {
    match CommitId::parse(revision) {
        Ok(revision) if revision == *commit => Ok(true),
        // A server of another home may answer at the address: its commits are unknown here.
        Ok(revision) => Ok(vendor.record().is_ancestor(commit, &revision).unwrap_or(false)),
        Err(_) => Ok(false),
    }
}

fn too_late(note: &Note, commit: &CommitId, last: Result<String, ureq::Error>) -> Failure {
    let address = note.reachable();
    let message = format!(
        "the image is published as commit {}, but after {} s the server on {address} does not serve it",
        commit.short(),
        PATIENCE.as_secs()
    );
    let failure = Failure::new(Kind::Environment, message)
        .hint(format!("look into the log of that server (process {}), or restart it", note.pid));
    match last {
        Ok(revision) => failure.caused_by(format!("it serves revision `{revision}`")),
        Err(error) => failure.caused_by(error),
    }
}

/// What to give to `docker pull`.
pub(super) fn reference(
    home: &Home,
    vendor: &VendorName,
    server: Option<&Note>,
    options: &Options,
    report: &Report,
) -> String {
    let address = server.map_or_else(|| DEFAULT_ADDRESS.to_owned(), |note| note.reachable().to_string());
    // A server of one vendor answers under any name; one of several tells them apart by theirs.
    let alone = match server {
        Some(note) if !note.vendors.is_empty() => note.vendors.len() == 1,
        Some(_) => home.vendors().is_ok_and(|vendors| vendors.len() <= 1),
        // As `raas serve ISV` will serve it.
        None => true,
    };
    let host = if alone {
        address
    } else {
        let port = address.rsplit(':').next().unwrap_or_default();
        format!("{vendor}.localhost:{port}")
    };
    let name = &options.image.name;
    match report.main_tag(options.image.tag.as_ref()) {
        Some(tag) => format!("{host}/{name}:{tag}"),
        None => format!("{host}/{name}"),
    }
}
