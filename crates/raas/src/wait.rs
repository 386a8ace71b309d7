//! Waiting until people can pull what was published.

use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{Context as _, Failure, Kind};
use crate::home::{Home, Vendor};
use crate::http;
use crate::record::CommitId;
use crate::servers::{self, Note};

/// A server on this machine looks several times a second; ten seconds is one that does not look any more.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// The servers of this home that serve the vendor.
pub(crate) fn servers_of(home: &Home, vendor: &Vendor) -> Result<Vec<Note>, Failure> {
    let mut notes = servers::living(&home.servers())
        .context(|| format!("cannot look for servers in {}", home.servers().display()))?;
    notes.retain(|note| note.serves(vendor.name()));
    Ok(notes)
}

/// Waits until each of them serves the commit.
pub(crate) fn until_served(
    home: &Home,
    serving: &[Note],
    vendor: &Vendor,
    commit: &CommitId,
    say: &dyn Fn(&str),
) -> Result<(), Failure> {
    let begun = Instant::now();
    for note in serving {
        loop {
            match http::revision(note, vendor.name()) {
                Ok(revision) if serves(vendor, commit, &revision)? => break,
                // It was stopped meanwhile.
                _ if !still_runs(home, note) => break,
                other if begun.elapsed() > PATIENCE => return Err(too_late(note, commit, other)),
                _ => thread::sleep(PAUSE),
            }
        }
        say(&format!("Served on {}", note.reachable()));
    }
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
        "it is published as commit {}, but after {} s the server on {address} does not serve it",
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
