//! `raas config`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::config::Config;
use crate::exposure;
use crate::output;
use crate::sites;
use raas_base::failure::Failure;
use raas_publish::home::Home;
use raas_sources::federation::{Masks, Sources};

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
    /// Print the keys that are set, secrets as `***`
    ///
    /// A value from the environment is printed as it is written: `${NAME}`.
    #[command(after_long_help = "Example:\n  raas config show --json")]
    Show {
        /// Print one JSON object instead of text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct CheckReport {
    source: String,
    keys: usize,
    masks: String,
    notes: Vec<String>,
    /// Settings that will cause errors later.
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct ShowReport {
    source: String,
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
        exposure::check(&home.vendor(vendor), settings)?;
    }
    config.check_access_policies()?;
    let masks = Masks::new(&config.redhat, &sources);
    let warnings: Vec<String> = warnings(&masks).into_iter().chain(config.warnings()).collect();
    if json {
        let notes = masks.notes().to_vec();
        let (source, keys) = (config.source.to_string(), config.settings.len());
        output::json(&CheckReport { source, keys, masks: masks.summary(), notes, warnings });
        return Ok(());
    }
    output::line(&format!("ok: {}, {}", config.source, output::number(config.settings.len(), "key")));
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
            "{} of `mask_layers` without a known location: images with such a layer are rejected; set `layer_url` in \
             [redhat], or `metadata` with documents that list the layers",
            output::number(without_location, "layer")
        )
    };
    (without_location > 0).then(warning).into_iter().collect()
}

fn show(config: &Config, json: bool) {
    if json {
        let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for setting in &config.settings {
            let section = sections.entry(setting.section.clone()).or_default();
            section.insert(setting.key.clone(), setting.value.clone());
        }
        output::json(&ShowReport { source: config.source.to_string(), sections });
        return;
    }
    output::line(&format!("# {}", config.source));
    let mut last = "";
    for setting in &config.settings {
        if setting.section != last {
            output::line(&format!("\n[{}]", setting.section));
            last = &setting.section;
        }
        output::line(&format!("{} = {}", setting.key, setting.value.replace('\n', "\n    ")));
    }
}
