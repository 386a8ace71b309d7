//! `raas rollback`.

use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, VendorName};

use crate::config::Config;
use crate::exposure;
use crate::immutable::ImmutableTags;
use raas_base::failure::Failure;
use raas_publish::home::Home;
use raas_publish::republish::{self, TagChanges};

use crate::republished::Republish;

/// Publish an earlier publication of an image again, as a new commit
///
/// Without --to, the command publishes the publication before the current one. It walks back through earlier rollbacks,
/// so a second rollback goes further back.
///
/// The command first checks that the bucket still has everything that the earlier publication needs.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas rollback bigdatainc bigdata-app")]
pub(crate) struct Arguments {
    /// Publish for this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Roll back this image
    #[arg(value_name = "IMAGE")]
    image: RepositoryName,

    /// Publish this commit of `raas log` again [default: the publication before the current one]
    #[arg(long, value_name = "COMMIT")]
    to: Option<String>,

    /// Move or remove also tags that `immutable_tags` of raas.cfg protects; the log shows who did it
    #[arg(long)]
    force_tag: bool,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { vendor, image, to, force_tag, nocommit, json } = arguments;
    let republish =
        Republish { home, config, vendor: &vendor, name: &image, no_backup: nocommit, quiet: json };
    let immutable = ImmutableTags::new(config, &vendor, force_tag);
    let may_change = |changes: &TagChanges| immutable.check_changes(changes.moved.iter(), &changes.removed);
    let report = republish.run(|registry, name| {
        let (vendor, settings) = (registry.vendor, config.vendor(registry.vendor.name()));
        exposure::check(vendor, &settings)?;
        let may_protect = || exposure::check_new(vendor, &settings, name);
        republish::roll_back(registry, name, to.as_deref(), &may_protect, &may_change)
    })?;
    report.print(json);
    Ok(ExitCode::SUCCESS)
}
