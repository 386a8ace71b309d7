//! The checks of `raas status`, from the vendor's folder to the server.

mod check;
mod deep;
pub(crate) mod egress;
mod elsewhere;
pub(crate) mod federation;
mod server;
mod storage;

use std::fs;

use raas_types::crane::{Document, Severity, lint, tree};
use raas_types::{Pointer, RepositoryName, VendorName};
use serde::Serialize;

use crate::config::Config;
use crate::output::number;
use crate::platform;
use crate::progress::{Progress, bytes};
use crate::storage::say_on_stderr;
pub(crate) use check::{Check, Outcome};
use raas_base::failure::Failure;
use raas_base::files;
use raas_git::CommitId;
use raas_publish::catch_up;
use raas_publish::home::{Home, Vendor};
use raas_publish::registry::Registry;
use raas_publish::storage::Storage;
use raas_publish::{inventory, snapshot};
use server::PublishedRepositories;
use storage::CheckedStorage;

/// The result of all checks.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    vendor: VendorName,
    platform: &'static str,
    /// Whether every check holds; warnings do not count.
    pub(crate) healthy: bool,
    pub(crate) checks: Vec<Check>,
}

/// Makes all checks. With an image, only this image's objects and documents are checked. With `deep`, every stored byte is
/// read, and its value shows the progress.
pub(crate) fn check(
    home: &Home,
    config: &Config,
    name: &VendorName,
    image: Option<&RepositoryName>,
    deep: Option<&Progress>,
) -> Status {
    let vendor = home.vendor(name);
    let checks = if vendor.exists() {
        Checks { home, config, vendor: &vendor, image, deep }.all()
    } else {
        let found = format!("there is no vendor {name} in {}", home.root().display());
        vec![Check::failed("domain", found, format!("raas setup {name}"))]
    };
    let healthy = checks.iter().all(|check| check.outcome != Outcome::Failed);
    Status { vendor: name.clone(), platform: platform::name(config), healthy, checks }
}

/// The checks of a vendor that is set up.
struct Checks<'a> {
    home: &'a Home,
    config: &'a Config,
    vendor: &'a Vendor,
    image: Option<&'a RepositoryName>,
    deep: Option<&'a Progress>,
}

impl Checks<'_> {
    /// All checks, from the folder to the server.
    fn all(&self) -> Vec<Check> {
        let Self { home, config, vendor, image, .. } = *self;
        let domain =
            Check::ok("domain", format!("{} is set up in {}", vendor.name(), vendor.folder().display()));
        let (storage, checked) = storage::check(vendor, config);
        let shared = config.is_shared(vendor.name());
        if shared {
            self.catch_up(&checked);
        }
        let mut checks = vec![domain, storage, self.record()];
        if shared {
            checks.extend(checked.check(&["snapshot"], |storage| vec![self.snapshot(storage)]));
        }
        let documents = documents(vendor, image);
        match &documents {
            Ok(documents) => {
                checks.push(check_documents(vendor, documents, image));
                checks.extend(self.images(&checked, documents));
            }
            Err(error) => checks.push(unreadable_checkout("metadata", vendor, error)),
        }
        let parsed = documents.iter().flatten().filter_map(|document| Document::parse(&document.bytes).ok());
        match platform::is_local(config) {
            true => checks.extend(server::check(home, vendor, &PublishedRepositories::of(parsed))),
            false => checks.extend(elsewhere::check(home, config, vendor)),
        }
        checks
    }

    /// Takes in what other homes have published. The check of the snapshot reports a failure.
    fn catch_up(&self, checked: &CheckedStorage) {
        if let CheckedStorage::Answers(storage) = checked {
            let (vendor, storage) = (self.vendor, storage.as_ref());
            let registry = Registry { vendor, storage, shared: true, say: &say_on_stderr() };
            drop(catch_up::try_catch_up(&registry));
        }
    }

    fn record(&self) -> Check {
        check_record(self.vendor).unwrap_or_else(|failure| Check::unable("record", &failure))
    }

    fn snapshot(&self, storage: &dyn Storage) -> Check {
        let check = check_snapshot(self.vendor, storage, self.deep.is_some());
        check.unwrap_or_else(|failure| Check::unable("snapshot", &failure))
    }

    /// The checks of what the bucket holds. An image without documents has none.
    fn images(&self, checked: &CheckedStorage, documents: &[DeployedDocument]) -> Vec<Check> {
        let Self { vendor, image, deep, .. } = *self;
        if image.is_some() && documents.is_empty() {
            return Vec::new();
        }
        let names: &[_] = if deep.is_some() { &["images", "content"] } else { &["images"] };
        checked.check(names, |storage| check_images(vendor, storage, documents, image, deep))
    }
}

/// The failed check of a checkout that cannot be read.
fn unreadable_checkout(check: &'static str, vendor: &Vendor, error: &std::io::Error) -> Check {
    Check::failed(
        check,
        format!("cannot read {}: {error}", vendor.checkout().folder().display()),
        "give the user of raas access to that folder",
    )
}

fn check_record(vendor: &Vendor) -> Result<Check, Failure> {
    let head = vendor.record().head()?;
    let deployed = vendor.checkout().revision()?;
    let Some(head) = head else { return Ok(Check::ok("record", "nothing is published yet")) };
    let complete = format!("run `raas setup {}`, which completes it", vendor.name());
    if deployed.as_ref() != Some(&head) {
        let found = format!("servers do not get the last publication, commit {}", head.short());
        return Ok(Check::failed("record", found, complete));
    }
    let (missing, unexpected) = vendor.checkout().damage(&vendor.record(), &head)?;
    if missing.is_empty() && unexpected.is_empty() {
        return Ok(Check::ok("record", format!("the last publication is commit {}", head.short())));
    }
    let found = format!("the checkout for servers differs from commit {}", head.short());
    let missing = missing.into_iter().map(|file| format!("{}: missing or changed", file.path));
    let unexpected = unexpected.into_iter().map(|path| format!("{path}: not in the commit"));
    let fix = format!("{complete}; change nothing in {}", vendor.checkout().folder().display());
    Ok(Check::failed("record", found, fix).details(missing.chain(unexpected).collect()))
}

/// Checks that the snapshot for servers elsewhere has the last publication.
fn check_snapshot(vendor: &Vendor, storage: &dyn Storage, deep: bool) -> Result<Check, Failure> {
    let Some(head) = vendor.record().head()? else {
        return Ok(Check::ok("snapshot", "nothing is published yet"));
    };
    let complete = format!("run `raas setup {}`, which writes it", vendor.name());
    Ok(match snapshot::read_pointer(storage)?.pointer() {
        Some(pointer) if pointer.revision == head.as_str() => {
            if pointer.parts.is_empty() {
                let found = "an older raas wrote the bucket's metadata, and servers cannot read it any more";
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
                Check::ok("snapshot", "the bucket's metadata has the last publication")
            }
        }
        Some(pointer) if !is_known(vendor, &pointer)? => {
            Check::unable("snapshot", &snapshot::another_record(storage, &pointer))
        }
        Some(pointer) => {
            let found =
                format!("the bucket's metadata has commit {}, not the last publication", pointer.revision);
            Check::failed("snapshot", found, complete)
        }
        None => Check::failed("snapshot", "the bucket has no metadata for servers elsewhere", complete),
    })
}

fn is_known(vendor: &Vendor, pointer: &Pointer) -> Result<bool, Failure> {
    // A damaged pointer names no commit. `raas setup` writes it again.
    CommitId::parse(&pointer.revision).map_or(Ok(true), |commit| vendor.record().has(&commit))
}

/// A document in the checkout, from which servers read.
struct DeployedDocument {
    path: String,
    bytes: Vec<u8>,
}

fn documents(vendor: &Vendor, image: Option<&RepositoryName>) -> std::io::Result<Vec<DeployedDocument>> {
    let root = vendor.checkout().folder().to_owned();
    let wanted = image.map(|name| [tree::document(name), tree::v1_document(name)]);
    let mut paths = Vec::new();
    files::walk(&root, tree::DATA, &mut |path, _| {
        let is_wanted = wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|name| name == path));
        if path.ends_with(".json") && is_wanted {
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
    // The operator's documents have no objects in the bucket. The lint reports documents that do not parse.
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
            format!("published objects that are missing or damaged in the bucket: {count}"),
            "push the images again, which stores what is missing",
        )
        .details(compared.wrong)
    });
    if let Some(progress) = deep {
        checks.push(check_content(storage, &parsed, progress));
    }
    if !compared.unreferenced.is_empty() {
        let found = format!("stored objects that no publication needs: {}", compared.unreferenced.len());
        checks.push(
            Check::warning("leftovers", found)
                .details(compared.unreferenced)
                .fix(format!("run `raas gc {}` to remove them; they do no harm", vendor.name())),
        );
    }
    checks
}

fn check_content(storage: &dyn Storage, documents: &[Document], progress: &Progress) -> Check {
    match deep::read_all(documents, storage, progress) {
        Ok(read) if read.wrong.is_empty() => Check::ok(
            "content",
            format!("{} ({}) read, all as published", number(read.objects, "object"), bytes(read.bytes)),
        ),
        Ok(read) => Check::failed(
            "content",
            format!("of {}, damaged: {}", number(read.objects, "object"), read.wrong.len()),
            "delete them and push the images again, which stores what is missing",
        )
        .details(read.wrong),
        Err(failure) => Check::unable("content", &failure),
    }
}
