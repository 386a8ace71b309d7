//! `raas setup`.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use raas_types::VendorName;
use serde::Serialize;

use crate::config::Config;
use crate::failure::{Context as _, Failure, Kind};
use crate::home::{Home, Vendor};
use crate::publication;
use crate::servers::{self, Note};
use crate::{http, output, storage};

/// Set up a vendor's registry, or complete one; safe to run again.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// The vendor's S3 bucket, to be remembered in the configuration
    #[arg(long, value_name = "NAME", value_parser = word)]
    s3bucket: Option<String>,

    /// The vendor's OpenShift domain or project, to be remembered in the configuration
    #[arg(long, value_name = "NAME", value_parser = word)]
    oodomain: Option<String>,

    /// Make the bucket that the configuration names, if it is not there, and set it up for the vendor's `access`
    #[arg(long)]
    create: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn word(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if good { Ok(text.to_owned()) } else { Err("expected letters, digits, `-`, `.` and `_`".into()) }
}

impl Arguments {
    /// What the configuration is to remember of the vendor.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let keys = [("s3_bucket", &self.s3bucket), ("openshift_domain", &self.oodomain)];
        keys.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
    }
}

/// What was set up.
#[derive(Serialize)]
struct Outcome {
    vendor: VendorName,
    platform: &'static str,
    folder: String,
    /// Where the objects are: a folder or a bucket.
    storage: String,
    /// What was done to the bucket and found of it.
    prepared: Vec<String>,
    /// Whether the vendor was there before.
    existed: bool,
    /// Whether the configuration was added to.
    remembered: bool,
    /// The addresses of the servers that answer for it.
    servers: Vec<String>,
}

/// A server that runs looks for new vendors several times a second.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(home: &Home, config: Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let settings = arguments.settings();
    let config = config.with_settings(&arguments.vendor, &settings)?;
    let vendor = home.vendor(&arguments.vendor);
    let existed = vendor.exists();
    let say = |line: String| {
        if !arguments.json {
            output::line(&line);
        }
    };
    // Whatever contradicts itself is told before anything is made.
    let storage = storage::open(&vendor, &config)?;
    vendor.create()?;
    let verb = if existed { "is set up in" } else { "set up in" };
    say(format!("Vendor {} {verb} {}", vendor.name(), vendor.folder().display()));
    let prepared = storage.prepare(arguments.create)?;
    prepared.iter().for_each(|line| say(line.clone()));
    storage::probe(storage.as_ref())?;
    say(format!("Storage {} can be written, read, listed and cleaned", storage.place()));
    publication::complete(&vendor, &config, storage.as_ref())?;
    let notes = servers::living(&home.servers())
        .context(|| format!("cannot look for servers in {}", home.servers().display()))?;
    let serving: Vec<Note> = notes.into_iter().filter(|note| note.serves(vendor.name())).collect();
    for note in &serving {
        await_answers(note, &vendor)?;
        say(format!("The server on {} answers /v1/_ping and /v2/", note.reachable()));
    }
    if serving.is_empty() {
        say(format!("No server of {} runs; start one: raas serve {}", vendor.name(), vendor.name()));
    }
    // What works is worth remembering.
    let remembered = !settings.is_empty() && config.remember(vendor.name(), &settings)?;
    if remembered {
        say(format!("Remembered in {}", config.source));
    }
    say(format!("Publish an image: raas push {} IMAGE --from FILE", vendor.name()));
    if arguments.json {
        output::json(&Outcome {
            vendor: vendor.name().clone(),
            platform: "local",
            folder: vendor.folder().display().to_string(),
            storage: storage.place(),
            prepared,
            existed,
            remembered,
            servers: serving.iter().map(|note| note.reachable().to_string()).collect(),
        });
    }
    Ok(ExitCode::SUCCESS)
}

fn await_answers(note: &Note, vendor: &Vendor) -> Result<(), Failure> {
    let begun = Instant::now();
    for path in ["/v1/_ping", "/v2/"] {
        while let Err(error) = http::answers(note, vendor.name(), path) {
            if begun.elapsed() > PATIENCE {
                let message = format!(
                    "the server on {} does not answer {path} for {}",
                    note.reachable(),
                    vendor.name()
                );
                return Err(Failure::new(Kind::Environment, message).caused_by(error).hint(format!(
                    "look into the log of that server (process {}), or restart it",
                    note.pid
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}
