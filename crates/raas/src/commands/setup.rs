//! `raas setup`.

use std::process::ExitCode;

use clap::Args;
use raas_types::VendorName;
use serde::Serialize;

use crate::config::Config;
use crate::output;
use crate::platform;
use crate::storage::{OpenRegistry, say_on_stderr};
use raas_base::failure::Failure;
use raas_publish::home::Home;
use raas_publish::publication;
use raas_publish::storage::probe;

/// Set up a vendor's registry, or complete it
///
/// The command makes the vendor's folder, and tests the storage with an object that it writes, reads, lists and
/// deletes. With `platform = kubernetes` it also brings the vendor's servers into the cluster, and waits until they
/// serve. Running it again changes nothing.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas setup bigdatainc --s3bucket bigdatainc-registry --create\n  raas setup bigdatainc --dry-run"
)]
pub(crate) struct Arguments {
    /// Set up this vendor
    #[arg(value_name = "ISV")]
    vendor: VendorName,

    /// Keep the objects in this S3 bucket, and write it to raas.cfg
    #[arg(long, value_name = "NAME", value_parser = word)]
    s3bucket: Option<String>,

    /// Use this OpenShift domain or project, and write it to raas.cfg
    #[arg(long, value_name = "NAME", value_parser = word)]
    oodomain: Option<String>,

    /// Create the bucket if it is missing, set up for the vendor's `access`, and the cluster's project
    #[arg(long)]
    create: bool,

    /// Show what would change in the cluster, which checks it, and change nothing anywhere
    #[arg(long, conflicts_with = "print")]
    dry_run: bool,

    /// Print the manifests for the cluster, with placeholders in place of secrets, and do nothing else
    #[arg(long, conflicts_with = "json")]
    print: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn word(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if good { Ok(text.to_owned()) } else { Err("expected letters, digits, `-`, `.` and `_`".into()) }
}

impl Arguments {
    /// The settings to add to the vendor's section.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let keys = [("s3_bucket", &self.s3bucket), ("openshift_domain", &self.oodomain)];
        keys.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
    }
}

/// The result for scripts.
#[derive(Serialize)]
struct SetupReport {
    vendor: VendorName,
    platform: &'static str,
    folder: String,
    /// The folder or bucket of the objects.
    storage: String,
    /// What the setup did to the bucket, and found there.
    prepared: Vec<String>,
    /// Whether the vendor was set up before.
    existed: bool,
    /// Whether settings were added to the configuration.
    remembered: bool,
    /// The addresses of the vendor's servers.
    servers: Vec<String>,
}

pub(crate) fn run(home: &Home, config: Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let settings = arguments.settings();
    let config = config.with_settings(&arguments.vendor, &settings)?;
    if arguments.dry_run || arguments.print {
        return inspect(&config, arguments);
    }
    let vendor = home.vendor(&arguments.vendor);
    let existed = vendor.exists();
    let say = |line: String| {
        if !arguments.json {
            output::line(&line);
        }
    };
    // Contradictions in the settings are found before anything is created.
    let open = OpenRegistry::open(&vendor, &config, say_on_stderr())?;
    let storage = open.storage();
    platform::check(&config, vendor.name())?;
    let chosen = platform::choose(home, &config, vendor.name(), arguments.create)?;
    if let Some(place) = &chosen.place {
        output::error(&format!("Setting up {} in {place}", vendor.name()));
    }
    vendor.create()?;
    let verb = if existed { "is set up in" } else { "set up in" };
    say(format!("Vendor {} {verb} {}", vendor.name(), vendor.folder().display()));
    let prepared = storage.capabilities().prepare(arguments.create)?;
    prepared.iter().for_each(|line| say(line.clone()));
    probe(storage)?;
    say(format!("Storage {} can be written, read, listed and deleted from", storage.display_name()));
    publication::reconcile(&open.registry())?;
    let ensured = chosen.platform.ensure(vendor.name(), &|line| say(line.to_owned()))?;
    platform::unused_cluster(&config).iter().for_each(|note| output::error(note));
    platform::deliver(home, &config, &vendor, &|line| say(line.to_owned()))?;
    // Only settings that work are added to the configuration.
    let remembered = !settings.is_empty() && config.remember(vendor.name(), &settings)?;
    if remembered {
        say(format!("Remembered in {}", config.source));
    }
    say(format!("Publish an image: raas push {} IMAGE --from FILE", vendor.name()));
    if arguments.json {
        output::json(&SetupReport {
            vendor: vendor.name().clone(),
            platform: chosen.platform.name(),
            folder: vendor.folder().display().to_string(),
            storage: storage.display_name(),
            prepared,
            existed,
            remembered,
            servers: ensured.servers.into_iter().map(|server| server.name).collect(),
        });
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what a setup would make in the cluster.
fn inspect(config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, create, json, print, .. } = arguments;
    if *print {
        output::line(platform::manifests(config, vendor)?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    platform::expect_cluster(config, "--dry-run")?;
    let changes = platform::preview(config, vendor, *create)?;
    if *json {
        output::json(&serde_json::json!({ "vendor": vendor, "changes": changes }));
    } else {
        changes.iter().for_each(|line| output::line(line));
    }
    Ok(ExitCode::SUCCESS)
}
