//! Every check of a vendor's registry, from the folder to the server.

mod deep;
pub(crate) mod egress;
pub(crate) mod federation;
mod server;
mod stored;

use std::fs;

use raas_types::crane::{Document, Severity, lint, tree};
use raas_types::{Pointer, RepositoryName, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::output::number;
use crate::push::{Progress, bytes};
use crate::storage::say_on_stderr;
use raas_base::failure::Failure;
use raas_base::files;
use raas_git::CommitId;
use raas_publish::catch_up;
use raas_publish::home::{Home, Vendor};
use raas_publish::registry::Registry;
use raas_publish::storage::Storage;
use raas_publish::{inventory, snapshot};
use stored::Stored;

/// What all checks found.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    vendor: VendorName,
    platform: &'static str,
    /// Whether every check holds; warnings do not count.
    pub(crate) healthy: bool,
    pub(crate) checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    /// What was looked at, in one word.
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    /// What was found, in one sentence.
    pub(crate) found: String,
    /// The things that are meant, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// It holds.
    Ok,
    /// It holds; a person should look.
    Warning,
    /// It does not hold.
    Failed,
}

/// As many things as a check names; more are counted.
const MOST_DETAILS: usize = 20;

impl Check {
    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, found: found.into(), details: Vec::new(), fix: None }
    }

    pub(crate) fn warning(name: &'static str, found: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warning, ..Self::ok(name, found) }
    }

    pub(crate) fn failed(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, fix: Some(fix.into()), ..Self::ok(name, found) }
    }

    pub(crate) fn details(mut self, mut details: Vec<String>) -> Self {
        if details.len() > MOST_DETAILS {
            let more = details.len() - MOST_DETAILS;
            details.truncate(MOST_DETAILS);
            details.push(format!("and {more} more"));
        }
        self.details = details;
        self
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// A check that could not be made.
    fn unable(name: &'static str, failure: &Failure) -> Self {
        let causes = failure.causes().into_iter().map(|cause| format!("; because: {cause}"));
        let found = format!("{}{}", failure.message(), causes.collect::<String>());
        let hint =
            if failure.hints().is_empty() { "see the reason".to_owned() } else { failure.hints().join("; ") };
        Self::failed(name, found, hint)
    }
}

/// Makes all checks; with an image, those of objects and documents for that image alone; with `deep`, every stored
/// byte is read, and progress shown there.
pub(crate) fn check(
    home: &Home,
    config: &Config,
    name: &VendorName,
    image: Option<&RepositoryName>,
    deep: Option<&Progress>,
) -> Status {
    let vendor = home.vendor(name);
    let mut checks = Vec::new();
    if vendor.exists() {
        checks.push(Check::ok("domain", format!("{name} is set up in {}", vendor.folder().display())));
        let (check, stored) = stored::check(&vendor, config);
        checks.push(check);
        let shared = config.is_shared(name);
        if let (Stored::Answers(storage), true) = (&stored, shared) {
            // Another home may have published since; why it cannot be known is told with the snapshot.
            drop(catch_up::try_catch_up(&Registry {
                vendor: &vendor,
                storage: storage.as_ref(),
                shared,
                say: &say_on_stderr(),
            }));
        }
        checks.push(check_record(&vendor).unwrap_or_else(|failure| Check::unable("record", &failure)));
        if shared {
            checks.extend(stored.ask(&["snapshot"], |storage| {
                let check = check_snapshot(&vendor, storage, deep.is_some());
                vec![check.unwrap_or_else(|failure| Check::unable("snapshot", &failure))]
            }));
        }
        let documents = documents(&vendor, image);
        match &documents {
            Ok(documents) => {
                checks.push(check_documents(&vendor, documents, image));
                if image.is_none() || !documents.is_empty() {
                    let names: &[_] = if deep.is_some() { &["images", "content"] } else { &["images"] };
                    checks.extend(
                        stored.ask(names, |storage| check_images(&vendor, storage, documents, image, deep)),
                    );
                }
            }
            Err(error) => checks.push(Check::failed(
                "metadata",
                format!("cannot read {}: {error}", vendor.checkout().folder().display()),
                "give the user of raas access to that folder",
            )),
        }
        let parsed = documents.iter().flatten().filter_map(|document| Document::parse(&document.bytes).ok());
        checks.extend(server::check(home, &vendor, &server::Published::of(parsed)));
    } else {
        let found = format!("there is no vendor {name} in {}", home.root().display());
        checks.push(Check::failed("domain", found, format!("raas setup {name}")));
    }
    let healthy = checks.iter().all(|check| check.outcome != Outcome::Failed);
    Status { vendor: name.clone(), platform: "local", healthy, checks }
}

fn check_record(vendor: &Vendor) -> Result<Check, Failure> {
    let head = vendor.record().head()?;
    let shown = vendor.checkout().revision()?;
    let Some(head) = head else { return Ok(Check::ok("record", "nothing is published yet")) };
    let complete = format!("raas setup {} completes it", vendor.name());
    if shown.as_ref() != Some(&head) {
        let found = format!("the last publication, commit {}, is not what servers are given", head.short());
        return Ok(Check::failed("record", found, format!("a push was interrupted: {complete}")));
    }
    let (come, go) = vendor.checkout().damage(&vendor.record(), &head)?;
    if come.is_empty() && go.is_empty() {
        return Ok(Check::ok("record", format!("the last publication is commit {}", head.short())));
    }
    let found = format!("what servers are given is not what commit {} holds", head.short());
    let missing = come.into_iter().map(|file| format!("{}: missing or changed", file.path));
    let strange = go.into_iter().map(|path| format!("{path}: not in the commit"));
    let fix = format!("somebody changed {}: {complete}", vendor.checkout().folder().display());
    Ok(Check::failed("record", found, fix).details(missing.chain(strange).collect()))
}

/// Whether servers elsewhere are given the last publication.
fn check_snapshot(vendor: &Vendor, storage: &dyn Storage, deep: bool) -> Result<Check, Failure> {
    let Some(head) = vendor.record().head()? else {
        return Ok(Check::ok("snapshot", "nothing is published yet"));
    };
    let complete = format!("raas setup {} writes it", vendor.name());
    Ok(match snapshot::read_pointer(storage)?.pointer() {
        Some(pointer) if pointer.revision == head.as_str() => {
            if pointer.parts.is_empty() {
                let found =
                    "the bucket's metadata is as an older raas wrote it, which servers do not read any more";
                Check::failed("snapshot", found, complete)
            } else if !snapshot::has_parts(storage, &pointer)?
                || (deep && !snapshot::are_sound(storage, &pointer)?)
            {
                let found = "a part of the bucket's metadata is missing or damaged";
                Check::failed("snapshot", found, complete)
            } else if !snapshot::has_history(storage, &pointer)? {
                let found = "the bucket lacks history that other homes need to publish";
                Check::failed("snapshot", found, complete)
            } else {
                Check::ok("snapshot", "the bucket's metadata is of the last publication")
            }
        }
        Some(pointer) if !is_known(vendor, &pointer)? => {
            Check::unable("snapshot", &snapshot::another_record(storage, &pointer))
        }
        Some(pointer) => {
            let found =
                format!("the bucket's metadata is of commit {}, not of the last one", pointer.revision);
            Check::failed("snapshot", found, complete)
        }
        None => Check::failed("snapshot", "the bucket has no metadata for servers elsewhere", complete),
    })
}

fn is_known(vendor: &Vendor, pointer: &Pointer) -> Result<bool, Failure> {
    // No commit at all: a pointer that is damaged is written anew.
    CommitId::parse(&pointer.revision).map_or(Ok(true), |commit| vendor.record().has(&commit))
}

/// A document that servers are given.
struct DeployedDocument {
    path: String,
    bytes: Vec<u8>,
}

fn documents(vendor: &Vendor, image: Option<&RepositoryName>) -> std::io::Result<Vec<DeployedDocument>> {
    let root = vendor.checkout().folder().to_owned();
    let wanted = image.map(|name| [tree::document(name), tree::v1_document(name)]);
    let mut paths = Vec::new();
    files::walk(&root, tree::DATA, &mut |path, _| {
        let meant = wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|one| one == path));
        if path.ends_with(".json") && meant {
            paths.push(path.to_owned());
        }
    })?;
    paths.sort();
    paths
        .into_iter()
        .map(|path| fs::read(root.join(&path)).map(|bytes| DeployedDocument { path, bytes }))
        .collect()
}

fn check_documents(vendor: &Vendor, documents: &[DeployedDocument], image: Option<&RepositoryName>) -> Check {
    if let (Some(name), []) = (image, documents) {
        return Check::failed(
            "metadata",
            format!("{name} is not published"),
            format!("raas push {} {name} --from …", vendor.name()),
        );
    }
    let mut details = Vec::new();
    let mut errors = 0;
    for document in documents {
        for finding in lint(&document.bytes) {
            errors += usize::from(finding.severity == Severity::Error);
            details.push(format!("{}: {finding}", document.path));
        }
    }
    let found = format!("{}, {}", number(documents.len(), "document"), number(details.len(), "finding"));
    match (errors, details.len()) {
        (_, 0) => Check::ok("metadata", found),
        (0, _) => Check::warning("metadata", found).details(details),
        _ => Check::failed("metadata", found, "push the image again, or correct the document in the record")
            .details(details),
    }
}

fn check_images(
    vendor: &Vendor,
    storage: &dyn Storage,
    documents: &[DeployedDocument],
    image: Option<&RepositoryName>,
    deep: Option<&Progress>,
) -> Vec<Check> {
    // One that does not parse was told of by the lint.
    // The operator's own have nothing in the bucket.
    let own = documents.iter().filter(|document| !tree::is_operators(&document.path));
    let parsed: Vec<Document> = own.filter_map(|document| Document::parse(&document.bytes).ok()).collect();
    let compared = match inventory::compare(&parsed, storage, image) {
        Ok(compared) => compared,
        Err(error) => return vec![Check::unable("images", &error.into())],
    };
    let mut checks = Vec::new();
    let found = format!(
        "images: {}, tags: {}; objects stored as published: {}; layers served from elsewhere: {}",
        compared.repositories, compared.tags, compared.matching, compared.elsewhere
    );
    checks.push(if compared.wrong.is_empty() {
        Check::ok("images", found)
    } else {
        let count = compared.wrong.len();
        Check::failed(
            "images",
            format!("published objects that are not stored as they should be: {count}"),
            "push the images again: raas stores what is missing",
        )
        .details(compared.wrong)
    });
    if let Some(progress) = deep {
        checks.push(check_content(storage, &parsed, progress));
    }
    if !compared.unreferenced.is_empty() {
        let found = format!("stored objects that belong to no publication: {}", compared.unreferenced.len());
        checks.push(Check::warning("leftovers", found).details(compared.unreferenced).fix(format!(
            "no harm is done; `raas gc {}` removes what is not needed any more",
            vendor.name()
        )));
    }
    checks
}

fn check_content(storage: &dyn Storage, documents: &[Document], progress: &Progress) -> Check {
    match deep::read_all(documents, storage, progress) {
        Ok(read) if read.wrong.is_empty() => Check::ok(
            "content",
            format!("{} ({}) read, and all as published", number(read.objects, "object"), bytes(read.bytes)),
        ),
        Ok(read) => Check::failed(
            "content",
            format!("of {}, damaged: {}", number(read.objects, "object"), read.wrong.len()),
            "delete them and push the images again: raas stores what is missing",
        )
        .details(read.wrong),
        Err(failure) => Check::unable("content", &failure),
    }
}
