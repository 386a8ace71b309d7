//! `raas remove`.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use clap::Args;
use raas_types::{RepositoryName, Tag, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::follow_up::FollowUp;
use crate::immutable::ImmutableTags;
use crate::output::{self, number};
use crate::progress::bytes;
use crate::storage::OpenRegistry;
use crate::traces::{self, stage};
use crate::vendors;
use raas_base::Say;
use raas_base::failure::{Context as _, Failure, Kind};
use raas_publish::home::Home;
use raas_publish::listing;
use raas_publish::republish;

/// Remove all images of a vendor from its registry
///
/// The command makes one publication for each image, as `raas unpublish` does, so `raas rollback` can publish an image
/// again. The content stays in the bucket, and the record stays in the home. The command says how to delete both.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas remove bigdatainc")]
pub(crate) struct Arguments {
    /// Remove the images of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Do not ask for the vendor's name
    #[arg(long)]
    yes: bool,

    /// Remove also tags that `immutable_tags` of raas.cfg protects; the log shows who did it
    #[arg(long)]
    force_tag: bool,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What was removed, and what stays.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RemoveReport {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    removed_repositories: Vec<RepositoryName>,
    /// How many of the operator's repositories stay published.
    operator_repositories: usize,
    /// The folder or bucket of the objects, which stay.
    storage: String,
    /// The number of these objects.
    objects: u64,
    /// Their size together.
    size: u64,
    /// The vendor's folder in the home, which stays.
    folder: String,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let vendor = vendors::existing(home, config, &arguments.vendor)?;
    let say = if arguments.json { Say::nothing() } else { Say::new(output::note) };
    let open = OpenRegistry::open(&vendor, config, say.clone())?;
    let registry = open.registry();
    let published = listing::repositories(&vendor.record())?;
    let operators = published.iter().filter(|repository| repository.operator).count();
    let immutable = ImmutableTags::new(config, &arguments.vendor, arguments.force_tag);
    let mut names: Vec<RepositoryName> = Vec::new();
    // All images are checked before the first one goes.
    for repository in published.into_iter().filter(|repository| !repository.operator) {
        let tags: Vec<Tag> = repository.tags.into_iter().map(|tag| tag.tag).collect();
        immutable
            .check_removal(&tags)
            .map_err(|failure| failure.preceded_by(&format!("cannot remove {}", repository.name)))?;
        names.push(repository.name);
    }
    if !arguments.yes {
        confirm(&arguments.vendor, names.len())?;
    }
    open.remember_storage()?;
    for name in &names {
        let done = stage("remove image", || {
            traces::set("raas.repository", name.as_str());
            let may_remove = |tags: &[Tag]| immutable.check_removal(tags);
            let done = stage("publish", || republish::unpublish(&registry, name, None, &may_remove))?.done;
            let say = |line: &str| say.line(line);
            let no_backup = arguments.nocommit;
            FollowUp { home, config, registry, name: Some(name), no_backup, say: &say }.run(&done.commit)?;
            Ok(done)
        })?;
        if !arguments.json {
            output::line(&format!("Took {name} out of the registry, as commit {}", done.commit.short()));
        }
    }
    let (mut objects, mut size) = (0, 0);
    open.storage().list("", &mut |object| {
        objects += 1;
        size += object.size;
    })?;
    let report = RemoveReport {
        vendor: vendor.name().clone(),
        removed_repositories: names,
        operator_repositories: operators,
        storage: open.storage().display_name(),
        objects,
        size,
        folder: vendor.folder().display().to_string(),
    };
    if arguments.json {
        output::json(&report);
    } else {
        print(&report);
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for the vendor's name on the terminal.
fn confirm(vendor: &VendorName, images: usize) -> Result<(), Failure> {
    let refused = |message: String| {
        Failure::new(Kind::Usage, message)
            .hint(format!("run `raas remove {vendor} --yes` to remove without a question"))
    };
    if !io::stdin().is_terminal() {
        return Err(refused(format!(
            "removing {} of {vendor} needs a confirmation, and there is no terminal to ask on",
            number(images, "image")
        )));
    }
    output::error(&format!(
        "This removes {} from the registry of {vendor}. Type its name:",
        number(images, "image")
    ));
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).context(|| "cannot read the answer".into())?;
    if answer.trim() == vendor.as_str() {
        return Ok(());
    }
    Err(refused(format!("the answer is not {vendor}: nothing was removed")))
}

fn print(report: &RemoveReport) {
    let RemoveReport { vendor, removed_repositories, operator_repositories, storage, objects, size, folder } =
        report;
    output::line(&format!("Removed {} of {vendor}", number(removed_repositories.len(), "image")));
    if *operator_repositories > 0 {
        output::line(&format!(
            "{operator_repositories} of the operator's repositories stay published: only a push without them removes them"
        ));
    }
    output::line(&format!("{} ({}) stay in {storage}", number(*objects, "object"), bytes(*size)));
    output::line(&format!("The record of all publications stays in {folder}"));
    output::line("To delete them for good:");
    output::line(&format!(
        "  raas gc {vendor} --keep-days 0 --yes       the content that no publication names"
    ));
    output::line(&format!("  rm -r {folder}       the record; no rollback is possible then"));
    output::line(&format!("  delete the section [{vendor}] from raas.cfg, if it has one"));
}
