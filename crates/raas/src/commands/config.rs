//! `raas config`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::{Config, ConfigSource, search_path};
use crate::exposure;
use crate::output;
use crate::signature_policy::SignaturePolicy;
use crate::sites;
use crate::storage::check_settings;
use raas_base::failure::Failure;
use raas_publish::home::Home;
use raas_sources::federation::{MaskedWithoutLocation, Masks, Sources};

/// Check or show the configuration
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas config check")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the configuration and everything that it names, and report errors
    #[command(after_long_help = "Example:\n  raas config check --config ./raas.cfg")]
    Check {
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
    /// Print the keys that are set, with `***` for secrets
    ///
    /// The first line says which file was taken.
    /// A value from the environment is printed as it is written: `${NAME}`.
    #[command(after_long_help = "Example:\n  raas config show --json")]
    Show {
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}

/// What the configuration says.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckReport {
    /// The file or repository that was taken. `null` if there is none.
    configuration: Option<String>,
    /// The number of keys that are set.
    key_count: usize,
    /// Which layers are masked, in a sentence.
    masks: String,
    notes: Vec<String>,
    /// Settings that will cause errors later.
    warnings: Vec<String>,
}

/// The keys that are set, with `***` for secrets.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ShowReport {
    /// The file or repository that was taken. `null` if there is none.
    configuration: Option<String>,
    /// Keys and values by section.
    sections: BTreeMap<String, BTreeMap<String, String>>,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Check { json } => check(home, config, json)?,
        Command::Show { json } => show(config, json),
    }
    Ok(ExitCode::SUCCESS)
}

fn check(home: &Home, config: &Config, json: bool) -> Result<(), Failure> {
    // Reading has already checked the form of the file.
    let sources = Sources::gather(&config.redhat, &config.workspace(home))?;
    for (vendor, settings) in config.with_buckets() {
        sites::check(vendor, settings)?;
        check_settings(&home.vendor(vendor), config)?;
        exposure::check(&home.vendor(vendor), settings)?;
    }
    config.check_access_policies()?;
    for vendor in config.vendors() {
        SignaturePolicy::load(vendor, &config.vendor(vendor))?;
    }
    let masks = Masks::new(&config.redhat, &sources);
    let warnings: Vec<String> = warnings(&masks).into_iter().chain(config.warnings()).collect();
    if json {
        let notes = masks.notes().to_vec();
        let (configuration, key_count) = (origin(config), config.settings.len());
        output::json(&CheckReport { configuration, key_count, masks: masks.summary(), notes, warnings });
        return Ok(());
    }
    output::line(&format!("ok: {}, {}", named(config), output::number(config.settings.len(), "key")));
    output::line(&format!("ok: {}", masks.summary()));
    for note in masks.notes() {
        output::line(&format!("note: {note}"));
    }
    for warning in warnings {
        output::line(&format!("warning: {warning}"));
    }
    Ok(())
}

fn warnings(masks: &Masks) -> Vec<String> {
    let without_location = masks.without_location();
    let warning = || {
        format!(
            "{} of `mask_layers` without a known location: {}, unless their export says a URL; set `layer_url` in \
             [redhat], or `metadata` with documents that list the layers",
            output::number(without_location, "layer"),
            match masks.when_without_location() {
                MaskedWithoutLocation::Refuse => "images with such a layer are rejected",
                MaskedWithoutLocation::Warn => "clients cannot pull images with such a layer",
            }
        )
    };
    (without_location > 0).then(warning).into_iter().collect()
}

/// The configuration that was taken.
fn origin(config: &Config) -> Option<String> {
    (!matches!(config.source, ConfigSource::None)).then(|| config.origin.clone())
}

/// The configuration that was taken, or the files that were looked for.
fn named(config: &Config) -> String {
    match config.source {
        ConfigSource::None => {
            let files: Vec<String> = search_path().iter().map(|file| file.display().to_string()).collect();
            format!("no configuration: there is no {}", files.join(", no "))
        }
        _ => config.origin.clone(),
    }
}

fn show(config: &Config, json: bool) {
    if json {
        let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for setting in &config.settings {
            let section = sections.entry(setting.section.clone()).or_default();
            section.insert(setting.key.clone(), setting.value.clone());
        }
        output::json(&ShowReport { configuration: origin(config), sections });
        return;
    }
    output::line(&format!("# {}", named(config)));
    let mut last = "";
    for setting in &config.settings {
        if setting.section != last {
            output::line(&format!("\n[{}]", setting.section));
            last = &setting.section;
        }
        output::line(&format!("{} = {}", setting.key, setting.value.replace('\n', "\n    ")));
    }
}
