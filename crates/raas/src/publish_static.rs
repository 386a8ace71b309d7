//! Stores a registry as plain objects, so that a bucket or any web server serves pulls.
//!
//! ```text
//! static registry ──▶ listing of the destination ──▶ blobs ──▶ manifests ──▶ referrers ──▶ tags ──▶ lists
//! (of the record)                                             by digest                              │
//!                                                    prune, the other way around ◀── nginx/*.conf ◀──┘
//! ```

mod destination;
mod nginx;
mod static_registry;
mod target;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use raas_base::failure::{Failure, Kind};
use raas_publish::home::{Home, Vendor};
use raas_publish::published::{self, Repositories};
use raas_publish::storage::Storage;
use raas_types::{Digest, RepositoryName, Tag, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::output::number;
use crate::progress::{Progress, bytes};
use crate::push::Counted;
use crate::report;
use crate::storage::{self, refresh_or_say};
use crate::vendors;
use destination::Destination;
use static_registry::StaticRegistry;
pub(crate) use target::Target;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) vendor: VendorName,
    pub(crate) target: Target,
    pub(crate) base_layers: BaseLayers,
    pub(crate) protected: ProtectedRepositories,
    /// Whether objects are removed that are published no more.
    pub(crate) prune: bool,
    /// The folder as nginx sees it.
    pub(crate) served_from: Option<PathBuf>,
    pub(crate) dry_run: bool,
}

/// What happens with layers that the vendor's storage does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BaseLayers {
    /// They are an error.
    Refuse,
    /// They are fetched and stored.
    Store,
    /// They are listed, and the web server redirects clients.
    Redirect,
}

/// What happens with protected repositories.
#[derive(Debug, Clone)]
pub(crate) enum ProtectedRepositories {
    /// All but these are an error.
    Expose(Vec<RepositoryName>),
    /// They are left out.
    LeaveOut,
}

/// What was stored.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Report {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    /// The published commit.
    commit: String,
    /// The folder or bucket.
    destination: String,
    dry_run: bool,
    repositories: Vec<StaticRepository>,
    stored: Counted,
    present: Counted,
    /// How many objects are there that are published no more.
    withdrawn_objects: usize,
    /// How many of them were removed.
    removed_objects: usize,
    /// The paths that the web server must redirect.
    redirects: Vec<RedirectReport>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StaticRepository {
    #[cfg_attr(test, schemars(with = "String"))]
    repository: RepositoryName,
    protected: bool,
    #[serde(serialize_with = "report::tags")]
    #[cfg_attr(test, schemars(with = "Vec<report::TagReport<String>>"))]
    tags: BTreeMap<Tag, Digest>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RedirectReport {
    #[cfg_attr(test, schemars(with = "String"))]
    repository: RepositoryName,
    #[cfg_attr(test, schemars(with = "String"))]
    digest: Digest,
    location: String,
}

/// Stores the last publication.
///
/// # Errors
/// A protected repository or a base layer may not be stored there, a blob is missing or damaged, or the destination
/// fails. What was there before is served unchanged, and the same command continues.
pub(crate) fn publish(
    home: &Home,
    config: &Config,
    options: &Options,
    progress: &Progress,
) -> Result<Report, Failure> {
    let vendor = vendors::existing(home, config, &options.vendor)?;
    refresh_or_say(&vendor, config);
    let record = vendor.record();
    let head = record.head()?.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("{} has published nothing yet", vendor.name()))
            .hint(format!("publish an image with `raas push {}`", vendor.name()))
    })?;
    let reader = record.reader(&head)?;
    let repositories = allowed(&vendor, published::repositories(&reader)?, &options.protected)?;
    let registry = StaticRegistry::gather(&reader, &repositories, options.base_layers)?;
    progress.notes(&registry.notes);
    let files = match options.target.folder() {
        Some(folder) => {
            let real = || fs::canonicalize(folder).or_else(|_| std::path::absolute(folder));
            let root = match &options.served_from {
                Some(root) => root.clone(),
                None => real().unwrap_or_else(|_| folder.to_owned()),
            };
            Some((folder, nginx::files(vendor.name(), &registry, &root)?))
        }
        None => None,
    };
    let source = storage::open(&vendor, config, &progress.as_say())?;
    let target = options.target.open(&vendor, config, &progress.as_say())?;
    let mut destination = Destination::list(target.as_ref(), progress, options.dry_run)?;
    if options.target.folder().is_some() {
        destination::check_paths(&registry)?;
    }
    destination.store_blobs(&registry, source.as_ref())?;
    let is_folder = options.target.folder().is_some();
    destination.store_objects(&registry, &reader, is_folder)?;
    if let (Some((folder, files)), false) = (&files, options.dry_run) {
        let written = nginx::write(folder, files)?;
        if written > 0 {
            let shown = folder.join(nginx::FOLDER);
            progress.say(&format!(
                "Wrote {} in {}: nginx serves the new content when it is reloaded",
                number(written, "file"),
                shown.display()
            ));
        }
    }
    let withdrawn = destination.withdrawn(&registry, is_folder);
    let removed = if options.prune { destination.remove(&withdrawn)? } else { 0 };
    Ok(report_of(options, head.as_str(), target.as_ref(), registry, (&destination, withdrawn.len(), removed)))
}

/// The repositories that everybody may read at the destination.
fn allowed(
    vendor: &Vendor,
    mut repositories: Repositories,
    protected: &ProtectedRepositories,
) -> Result<Repositories, Failure> {
    match protected {
        ProtectedRepositories::LeaveOut => repositories.retain(|_, repository| !repository.protected),
        ProtectedRepositories::Expose(named) => {
            if let Some(unknown) = named.iter().find(|name| !repositories.contains_key(*name)) {
                return Err(Failure::new(Kind::Usage, format!("{unknown} is not published"))
                    .hint(format!("run `raas list {}` to see what is published", vendor.name())));
            }
            let hidden: Vec<&str> = repositories
                .iter()
                .filter(|(name, repository)| repository.protected && !named.contains(name))
                .map(|(name, _)| name.as_str())
                .collect();
            if !hidden.is_empty() {
                let message = format!(
                    "protected repositories would be open to everybody who can read the static registry: {}",
                    hidden.join(", ")
                );
                return Err(Failure::new(Kind::Usage, message)
                    .hint("use --without-protected to leave all of them out")
                    .hint("use --expose-protected REPOSITORY for each that everybody there may pull"));
            }
        }
    }
    Ok(repositories)
}

fn report_of(
    options: &Options,
    commit: &str,
    target: &dyn Storage,
    registry: StaticRegistry,
    (destination, withdrawn, removed): (&Destination<'_>, usize, usize),
) -> Report {
    let redirects = registry.redirects.into_iter().map(|redirect| {
        let static_registry::Redirect { repository, digest, location } = redirect;
        RedirectReport { repository, digest, location }
    });
    let repositories = registry.repositories.into_iter().map(|repository| {
        let static_registry::RegistryRepository { name, protected, tags } = repository;
        StaticRepository { repository: name, protected, tags }
    });
    Report {
        vendor: options.vendor.clone(),
        commit: commit.to_owned(),
        destination: target.display_name(),
        dry_run: options.dry_run,
        repositories: repositories.collect(),
        stored: destination.stored(),
        present: destination.present(),
        withdrawn_objects: withdrawn,
        removed_objects: removed,
        redirects: redirects.collect(),
        notes: registry.notes,
    }
}

impl Report {
    /// The lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for RedirectReport { repository, digest, location } in &self.redirects {
            lines.push(format!("Redirect /v2/{repository}/blobs/{digest} to {location}"));
        }
        let tags: usize = self.repositories.iter().map(|repository| repository.tags.len()).sum();
        let what = format!(
            "{} with {} of publication {}",
            match self.repositories.len() {
                1 => "1 repository".to_owned(),
                count => format!("{count} repositories"),
            },
            number(tags, "tag"),
            &self.commit[..12]
        );
        let (would, stored) = if self.dry_run { ("would have ", "to store") } else { ("has ", "stored") };
        lines.push(format!(
            "{} {would}{what}: {} {stored} ({}), {} there already",
            self.destination,
            number(self.stored.objects, "object"),
            bytes(self.stored.bytes),
            self.present.objects
        ));
        let (withdrawn, removed) = (self.withdrawn_objects, self.removed_objects);
        if removed > 0 {
            lines.push(format!("Removed {} of earlier publications", number(removed, "object")));
        } else if withdrawn > 0 {
            lines.push(format!(
                "Left {} of earlier publications; --prune removes them",
                number(withdrawn, "object")
            ));
        }
        lines
    }
}
