//! `raas setup`.

pub(crate) mod fleet;
mod repair;

use std::process::ExitCode;

use clap::Args;
use raas_types::VendorName;
use serde::Serialize;

use crate::config::Config;
use crate::exposure::{self, BucketState};
use crate::follow_up::await_served;
use crate::output;
use crate::platform;
use crate::status;
use crate::storage::{OpenRegistry, check_storage, say_on_stderr};
use raas_base::failure::Failure;
use raas_platform::Local;
use raas_publish::home::{Home, Vendor};
use raas_publish::publication;
use raas_publish::repair::LostHistory;
use raas_publish::service;
use raas_publish::storage::{Storage, probe};
use raas_publish::storage_note;

/// Set up a vendor's registry, or complete it
///
/// The command makes the vendor's folder, and tests the storage with an object that it writes, reads, lists and
/// deletes. With `platform = kubernetes` it also brings the vendor's servers into the cluster, and waits until they
/// serve. Running it again changes nothing.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas setup bigdatainc --s3bucket bigdatainc-images --create\n  raas setup bigdatainc --repair\n  raas setup bigdatainc --dry-run"
)]
pub(crate) struct Arguments {
    /// Set up this vendor
    #[arg(value_name = "ISV", required_unless_present = "fleet")]
    pub(crate) vendor: Option<VendorName>,

    /// Bring the servers of all vendors into the cluster: one deployment, with a way in for each vendor
    ///
    /// The vendors are those of raas.cfg with an `s3_bucket`, and raas.cfg has `fleet = yes` in [openshift].
    #[arg(long, conflicts_with_all = ["vendor", "s3bucket", "oodomain", "accept_storage", "repair"])]
    fleet: bool,

    /// Keep the objects in this S3 bucket, and write it to raas.cfg
    #[arg(long, value_name = "NAME", value_parser = word)]
    s3bucket: Option<String>,

    /// Use this OpenShift domain or project, and write it to raas.cfg
    #[arg(long, value_name = "NAME", value_parser = word)]
    oodomain: Option<String>,

    /// Create what is missing: the bucket, set up for the vendor's `access`, and the cluster's project
    #[arg(long)]
    create: bool,

    /// Show what would change in the cluster, let the cluster check it, and change nothing
    #[arg(long, conflicts_with = "print")]
    dry_run: bool,

    /// Print the manifests for the cluster, with placeholders in place of secrets, and do nothing else
    #[arg(long, conflicts_with = "json")]
    print: bool,
    /// Move the vendor to the storage of this configuration, if it has all objects of the old storage
    ///
    /// The home remembers where the objects of a vendor are, and without this option every command refuses another
    /// storage. Copy the objects first, for example with `aws s3 sync`.
    #[arg(long)]
    accept_storage: bool,

    /// Mend a damaged home and bucket from whatever copy is good, and say what could not be mended
    ///
    /// The command reads the record and all stored content. It restores the record from the history in the bucket, from the
    /// files for servers, and from the backup in the configuration repository. It notes damaged content that has no other
    /// copy, so that the next push of the image stores it anew.
    #[arg(long)]
    repair: bool,

    /// With --repair, publish the same images again if their history is lost everywhere
    ///
    /// In a bucket, another home may have that history: run `raas setup ISV --repair` there first. Without this option, the
    /// repair then refuses.
    #[arg(long, requires = "repair")]
    without_history: bool,

    /// With --repair, choose this commit as the last publication if the history has several ends
    ///
    /// That can be so if the bucket has lost its pointer. raas never chooses between several ends: the error of a command that
    /// meets them names them, with who published them when. The beginning of a commit's id suffices.
    #[arg(long, value_name = "COMMIT", requires = "repair", conflicts_with = "without_history")]
    accept_history: Option<String>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

fn word(text: &str) -> Result<String, String> {
    let good = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if good { Ok(text.to_owned()) } else { Err("expected letters, digits, `-`, `.` and `_`".into()) }
}

impl Arguments {
    fn lost_history(&self) -> LostHistory {
        if self.without_history { LostHistory::LeaveBehind } else { LostHistory::Refuse }
    }

    /// The settings to add to the vendor's section.
    fn settings(&self) -> Vec<(&'static str, String)> {
        let keys = [("s3_bucket", &self.s3bucket), ("openshift_domain", &self.oodomain)];
        keys.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))).collect()
    }
}

/// A vendor that is set up.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SetupReport {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    platform: &'static str,
    folder: String,
    /// The folder or bucket of the objects.
    storage: String,
    /// What the setup did to the bucket, and found there.
    prepared: Vec<String>,
    /// Whether the S3 service keeps the promises of conditional writes. `null` for a folder.
    conditional_writes: Option<bool>,
    /// Settings that some clients or users may trip over.
    warnings: Vec<String>,
    /// Whether the vendor was set up before.
    existed: bool,
    /// Whether settings were added to the configuration.
    remembered: bool,
    /// The addresses of the vendor's servers.
    servers: Vec<String>,
    /// What was mended, and what could not be mended. `null` without --repair.
    repair: Option<repair::Repaired>,
}

/// With --dry-run, what would change in the cluster.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PreviewReport<'a> {
    /// `null` for the fleet.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    vendor: Option<&'a VendorName>,
    /// A line for each object.
    cluster_changes: &'a [String],
}

pub(crate) fn run(home: &Home, config: Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let settings = arguments.settings();
    let config = match &arguments.vendor {
        Some(vendor) => config.with_settings(vendor, &settings)?,
        None => config,
    };
    if arguments.dry_run || arguments.print {
        return inspect(&config, arguments);
    }
    let Some(name) = &arguments.vendor else { return fleet::run(&config, arguments) };
    let vendor = home.vendor(name);
    // A repair begins with a home that cannot be read.
    let existed = if arguments.repair { !vendor.is_absent() } else { vendor.exists()? };
    let say = |line: String| {
        if !arguments.json {
            output::line(&line);
        }
    };
    // Contradictions in the settings are found before anything is created.
    exposure::check(&vendor, &config.vendor(vendor.name()))?;
    let open = OpenRegistry::open_unchecked(&vendor, &config, say_on_stderr())?;
    if !arguments.accept_storage {
        if arguments.repair && storage_note::mend(&vendor, open.storage())? {
            say("The note of the vendor's storage was damaged, and is made anew".into());
        }
        check_storage(&vendor, &config)?;
    }
    let storage = open.storage();
    platform::check(&config, vendor.name())?;
    let chosen = platform::choose(home, &config, vendor.name(), arguments.create)?;
    if let Some(place) = &chosen.place {
        output::note(&format!("Setting up {} in {place}", vendor.name()));
    }
    let mut repaired = match arguments.repair {
        true => Some(repair::Repaired::begin(&vendor)?),
        false => None,
    };
    vendor.check_formats()?;
    // The probe writes below this folder, which must be for its owner alone from the start.
    vendor.make_folder()?;
    if let Some(repaired) = &mut repaired {
        repair::metadata(repaired, &open, &vendor, &config, arguments.lost_history())?;
        if let Some(commit) = &arguments.accept_history {
            repair::history(repaired, &open, &vendor, commit)?;
        }
    }
    let state = if arguments.repair { BucketState::Damaged } else { BucketState::Sound };
    exposure::check_bucket(&vendor, &open, &config.vendor(vendor.name()), state)?;
    let prepared = prepare(&vendor, storage, arguments)?;
    prepared.iter().for_each(|line| say(line.clone()));
    probe(storage)?;
    say(format!("Storage {} can be written, read, listed and deleted from", storage.display_name()));
    if existed && arguments.accept_storage {
        accept_storage(&vendor, &open)?;
    }
    complete(&vendor, &open, existed)?;
    let shared = config.is_shared(vendor.name());
    let conditional_writes = shared.then(|| service::learn(&vendor, storage)).transpose()?;
    match conditional_writes {
        Some(true) => say(
            "The service has conditional writes: after a run is killed, other homes can publish within a minute".into(),
        ),
        Some(false) => say(
            "The service has no conditional writes: after a run is killed, other homes can publish within five minutes"
                .into(),
        ),
        None => {}
    }
    let verb = if existed { "is set up in" } else { "set up in" };
    say(format!("Vendor {} {verb} {}", vendor.name(), vendor.folder().display()));
    if let Some(repaired) = &mut repaired {
        repair::content(&open, repaired, arguments.json)?;
        repaired.lines().into_iter().for_each(&say);
    }
    let ensured = chosen.platform.ensure(vendor.name(), &|line| say(line.to_owned()))?;
    platform::unused_cluster(&config).iter().for_each(|note| output::note(note));
    platform::deliver(home, &config, &vendor, &|line| say(line.to_owned()))?;
    let serving = Local::new(home.servers()).servers(vendor.name())?;
    if let Some(head) = vendor.record().head()? {
        // The setup may have published what a killed run left, so it waits until servers serve that.
        await_served(home, &vendor, &serving, &head, &|line| say(line.to_owned()))?;
    }
    // Only settings that work are added to the configuration.
    let remembered = !settings.is_empty() && config.remember(vendor.name(), &settings)?;
    if remembered {
        say(format!("Remembered in {}", config.source));
    }
    let mut warnings = config.warnings_for(vendor.name());
    warnings.extend(status::refused_reads(&vendor, &config, storage));
    warnings.iter().for_each(|warning| say(format!("warning: {warning}")));
    say(format!("Publish an image: raas push {} IMAGE --from FILE", vendor.name()));
    let is_whole = repaired.as_ref().is_none_or(|repaired| repaired.lost.is_empty());
    if arguments.json {
        output::json(&SetupReport {
            vendor: vendor.name().clone(),
            platform: chosen.platform.name(),
            folder: vendor.folder().display().to_string(),
            storage: storage.display_name(),
            prepared,
            conditional_writes,
            warnings,
            existed,
            remembered,
            servers: ensured.servers.into_iter().map(|server| server.name).collect(),
            repair: repaired,
        });
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks the storage, and with --create makes what is missing. The folder of a new vendor does not outlast a failure.
fn prepare(vendor: &Vendor, storage: &dyn Storage, arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let prepared = storage.capabilities().prepare(arguments.create);
    if prepared.is_err() && vendor.is_absent() {
        vendor.remove_empty_folder();
    }
    Ok(prepared.map_err(|error| match &arguments.s3bucket {
        // A setup that fails adds the option to no configuration.
        Some(bucket) if matches!(storage.capabilities().exists(), Ok(false)) => {
            error.hint(format!("make it with `raas setup {} --s3bucket {bucket} --create`", vendor.name()))
        }
        _ => error,
    })?)
}

/// Checks that the vendor's publication can move to a storage, and remembers the storage.
fn accept_storage(vendor: &Vendor, open: &OpenRegistry<'_>) -> Result<(), Failure> {
    let _lock = vendor.lock(&say_on_stderr())?;
    storage_note::check_complete(vendor, open.storage())?;
    open.remember_storage()
}

/// Makes what the vendor's part of the home lacks, and brings home and storage up to date. A vendor whose setup fails does
/// not exist afterwards: otherwise a later command could publish to it.
fn complete(vendor: &Vendor, open: &OpenRegistry<'_>, existed: bool) -> Result<(), Failure> {
    open.remember_storage()?;
    vendor.create(open.registry().say)?;
    let reconciled = publication::reconcile(&open.registry());
    if reconciled.is_err() && !existed {
        // The first failure is the cause. If the withdrawal fails too, the vendor stays, with the storage of this
        // configuration.
        drop(vendor.withdraw());
    }
    reconciled
}

/// Shows what a setup would make in the cluster.
fn inspect(config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, create, json, print, .. } = arguments;
    if vendor.is_none() {
        platform::expect_fleet(config)?;
    }
    if *print {
        output::line(platform::manifests(config, vendor.as_ref())?.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    platform::expect_cluster(config, "--dry-run")?;
    let changes = platform::preview(config, vendor.as_ref(), *create)?;
    if *json {
        output::json(&PreviewReport { vendor: vendor.as_ref(), cluster_changes: &changes });
    } else {
        changes.iter().for_each(|line| output::line(line));
    }
    Ok(ExitCode::SUCCESS)
}
