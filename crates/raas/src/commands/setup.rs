//! `raas setup`.

use std::process::ExitCode;

use clap::Args;
use raas_types::VendorName;
use serde::Serialize;

use crate::config::Config;
use crate::output;
use crate::storage::{OpenRegistry, say_on_stderr};
use raas_base::failure::Failure;
use raas_platform::{Local, Platform as _};
use raas_publish::home::Home;
use raas_publish::publication;
use raas_publish::storage::probe;

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
    let open = OpenRegistry::open(&vendor, &config, say_on_stderr())?;
    let storage = open.storage();
    vendor.create()?;
    let verb = if existed { "is set up in" } else { "set up in" };
    say(format!("Vendor {} {verb} {}", vendor.name(), vendor.folder().display()));
    let prepared = storage.capabilities().prepare(arguments.create)?;
    prepared.iter().for_each(|line| say(line.clone()));
    probe(storage)?;
    say(format!("Storage {} can be written, read, listed and cleaned", storage.display_name()));
    publication::reconcile(&open.registry())?;
    let platform = Local::new(home.servers());
    let serving = platform.ensure(vendor.name(), &|line| say(line.to_owned()))?;
    // What works is worth remembering.
    let remembered = !settings.is_empty() && config.remember(vendor.name(), &settings)?;
    if remembered {
        say(format!("Remembered in {}", config.source));
    }
    say(format!("Publish an image: raas push {} IMAGE --from FILE", vendor.name()));
    if arguments.json {
        output::json(&Outcome {
            vendor: vendor.name().clone(),
            platform: platform.name(),
            folder: vendor.folder().display().to_string(),
            storage: storage.display_name(),
            prepared,
            existed,
            remembered,
            servers: serving.iter().map(|note| note.reachable().to_string()).collect(),
        });
    }
    Ok(ExitCode::SUCCESS)
}
