//! The checks of `raas status`, from the vendor's folder to the server.

mod access;
pub(crate) mod certificate;
mod deep;
pub(crate) mod egress;
mod elsewhere;
pub(crate) mod federation;
pub(crate) mod metrics;
mod public_reads;
mod server;
pub(crate) mod source;
mod storage;

use std::fs;

use raas_types::crane::{Document, Severity, lint, tree};
use raas_types::{Pointer, RepositoryName, VendorName};
use serde::{Serialize, Serializer};

use crate::check::timed;
pub(crate) use crate::check::{Check, Outcome};
use crate::config::Config;
use crate::exposure::{self, OpenAccess};
use crate::output::number;
use crate::platform;
use crate::progress::bytes;
use crate::storage::say_on_stderr;
use crate::vendors;
pub(crate) use deep::{Deep, ScrubProgress};
use raas_base::failure::Failure;
use raas_base::files;
use raas_git::CommitId;
use raas_publish::catch_up;
use raas_publish::gc::{self, KEEP_DAYS};
use raas_publish::home::{Home, Vendor};
use raas_publish::reading::Reading;
use raas_publish::registry::Registry;
use raas_publish::storage::{ListedObject, Storage};
use raas_publish::{integrity, inventory, snapshot};
use server::PublishedRepositories;
use storage::CheckedStorage;

/// The result of all checks.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Status {
    #[cfg_attr(test, schemars(with = "String"))]
    pub(crate) vendor: VendorName,
    platform: &'static str,
    /// Whether every check holds; warnings do not count.
    pub(crate) healthy: bool,
    pub(crate) checks: Vec<Check>,
    /// The reading of all objects by a deep check. `null` without --deep.
    #[serde(rename = "scrub", serialize_with = "scrub")]
    #[cfg_attr(test, schemars(with = "Option<ScrubReport>"))]
    pub(crate) reading: Option<ScrubProgress>,
}

/// The progress of a reading of all objects.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ScrubReport {
    /// When it began.
    begun: Option<String>,
    /// When it had read all objects. `null` if it goes on with the next run.
    finished: Option<String>,
    /// How many objects were read.
    objects: usize,
    /// How many bytes were read.
    size: u64,
    /// The objects with the wrong content.
    wrong: Vec<WrongObject>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct WrongObject {
    object: String,
    why: String,
}

fn scrub<S: Serializer>(reading: &Option<ScrubProgress>, to: S) -> Result<S::Ok, S::Error> {
    let wrong = |(object, why): (&String, &String)| WrongObject { object: object.clone(), why: why.clone() };
    let report = reading.as_ref().map(|reading| ScrubReport {
        begun: reading.begun.clone(),
        finished: reading.finished.clone(),
        objects: reading.objects,
        size: reading.bytes,
        wrong: reading.wrong.iter().map(wrong).collect(),
    });
    report.serialize(to)
}

/// Makes all checks. With an image, only this image's objects and documents are checked. With `deep`, every stored byte
/// is read.
pub(crate) fn check(
    home: &Home,
    config: &Config,
    name: &VendorName,
    image: Option<&RepositoryName>,
    deep: Option<&Deep<'_>>,
) -> Status {
    let vendor = home.vendor(name);
    let mut reading = None;
    let checks = if matches!(vendor.presence(), Reading::There(())) {
        let mut checks = Checks { home, config, vendor: &vendor, image, deep, reading: None };
        let all = checks.all();
        reading = checks.reading;
        all
    } else {
        vec![vendors::existing(home, config, name).err().map_or_else(
            || Check::failed("domain", format!("{name} was set up just now"), "run the command again"),
            |failure| Check::unable("domain", &failure),
        )]
    };
    let healthy = checks.iter().all(|check| check.outcome != Outcome::Failed);
    Status { vendor: name.clone(), platform: platform::name(config), healthy, checks, reading }
}

/// The checks of a vendor that is set up.
struct Checks<'a> {
    home: &'a Home,
    config: &'a Config,
    vendor: &'a Vendor,
    image: Option<&'a RepositoryName>,
    deep: Option<&'a Deep<'a>>,
    reading: Option<ScrubProgress>,
}

impl Checks<'_> {
    /// All checks, from the folder to the server.
    fn all(&mut self) -> Vec<Check> {
        let Self { home, config, vendor, image, .. } = *self;
        let mut checks = timed(|| vec![check_folder(vendor)]);
        let mut checked = None;
        checks.extend(timed(|| {
            let (storage, found) = storage::check(vendor, config, self.deep.is_some());
            checked = Some(found);
            vec![storage]
        }));
        let checked = checked.expect("the storage was checked");
        let shared = config.is_shared(vendor.name());
        if shared {
            self.catch_up(&checked);
        }
        checks.extend(timed(|| vec![self.record()]));
        if self.deep.is_some() {
            checks.extend(timed(|| vec![check_integrity(vendor)]));
        }
        if shared {
            checks.extend(timed(|| checked.check(&["snapshot"], |storage| vec![self.snapshot(storage)])));
        }
        checks.extend(timed(|| check_exposure(vendor, config).into_iter().collect()));
        let documents = documents(vendor, image);
        match &documents {
            Ok(documents) => {
                if let CheckedStorage::Answers(storage) = &checked {
                    checks.extend(timed(|| self.public_reads(storage.as_ref(), documents)));
                }
                checks.extend(timed(|| vec![check_documents(vendor, documents, image)]));
                checks.extend(timed(|| self.images(&checked, documents)));
            }
            Err(error) => checks.push(unreadable_checkout("metadata", vendor, error)),
        }
        checks.extend(timed(|| access::check(vendor, config).into_iter().collect()));
        let parsed = documents.iter().flatten().filter_map(|document| Document::parse(&document.bytes).ok());
        let published = PublishedRepositories::of(parsed);
        if platform::is_local(config) {
            let registry = config.vendor(vendor.name()).registry_addresses;
            checks.extend(timed(|| server::check(home, vendor, &registry, &published)));
        } else {
            checks.extend(elsewhere::check(home, config, vendor, &published));
        }
        checks
    }

    /// Takes in what other homes have published. A failure is dropped here: the check of the snapshot reports it.
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

    /// The check that everybody may read what is published, if that is how clients get it.
    fn public_reads(&self, storage: &dyn Storage, documents: &[DeployedDocument]) -> Vec<Check> {
        let settings = self.config.vendor(self.vendor.name());
        let check = public_reads::check(self.vendor, &settings, storage, own(documents));
        check.into_iter().collect()
    }

    fn snapshot(&self, storage: &dyn Storage) -> Check {
        let check = check_snapshot(self.vendor, storage, self.deep.is_some());
        check.unwrap_or_else(|failure| Check::unable("snapshot", &failure))
    }

    /// The checks of the objects in the bucket. An image without documents has none.
    fn images(&mut self, checked: &CheckedStorage, documents: &[DeployedDocument]) -> Vec<Check> {
        let Self { vendor, image, deep, .. } = *self;
        if image.is_some() && documents.is_empty() {
            return Vec::new();
        }
        let names: &[_] = if deep.is_some() { &["images", "content"] } else { &["images"] };
        checked
            .check(names, |storage| check_images(vendor, storage, documents, image, deep, &mut self.reading))
    }
}

/// Checks that only the owner of the vendor's folder may read it. An older raas made the folder readable for everybody.
fn check_folder(vendor: &Vendor) -> Check {
    let folder = vendor.folder().display();
    let found = format!("{} is set up in {folder}", vendor.name());
    match vendor.is_open_to_others() {
        Ok(true) => Check::warning("domain", format!("{found}, and every user of this machine may read it"))
            .fix(format!("run `chmod 700 {folder}`")),
        _ => Check::ok("domain", found),
    }
}

/// The failed check of protected repositories whose objects everybody may read. `None` if there are none.
fn check_exposure(vendor: &Vendor, config: &Config) -> Option<Check> {
    let open = OpenAccess::of(&config.vendor(vendor.name()))?;
    match exposure::protected(vendor) {
        Ok(names) if names.is_empty() => None,
        Ok(names) => Some(Check::failed("protected", open.message(vendor, &names), open.hint(vendor))),
        Err(failure) => Some(Check::unable("protected", &failure)),
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

/// Checks that the record is a sound repository. This reads all of it.
fn check_integrity(vendor: &Vendor) -> Check {
    match integrity::record(vendor) {
        Ok(found) if found.is_empty() => {
            Check::ok("integrity", "every object of the record is as it was written")
        }
        Ok(found) => Check::failed(
            "integrity",
            format!("the record in {} is damaged", vendor.record().git().folder().display()),
            repair(vendor),
        )
        .details(found),
        Err(failure) => Check::unable("integrity", &failure),
    }
}

/// The fix for damage.
fn repair(vendor: &Vendor) -> String {
    format!("run `raas setup {} --repair`, which mends it from whatever copy is good", vendor.name())
}

fn check_record(vendor: &Vendor) -> Result<Check, Failure> {
    vendor.confirm_evidence()?;
    let head = vendor.record().head()?;
    let deployed = vendor.checkout().revision().to_replace();
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

/// Checks that the bucket's snapshot is that of the last publication. A deep check reads all of it.
fn check_snapshot(vendor: &Vendor, storage: &dyn Storage, deep: bool) -> Result<Check, Failure> {
    let head = vendor.record().head()?;
    let complete = format!("run `raas setup {}`, which writes it", vendor.name());
    let pointer = match (snapshot::read_pointer(storage)?, &head) {
        (Reading::Absent, None) => return Ok(Check::ok("snapshot", "nothing is published yet")),
        (Reading::Absent, Some(_)) => {
            let found = "the bucket has no metadata for servers elsewhere";
            return Ok(Check::failed("snapshot", found, complete));
        }
        (Reading::Unreadable(failure), _) => {
            let check = Check::unable("snapshot", &failure);
            return Ok(check.fix(repair(vendor)));
        }
        (Reading::There(pointer), _) => pointer,
    };
    if let (false, Some(other)) = (is_known(vendor, &pointer)?, &pointer.vendor)
        && other != vendor.name()
    {
        return Ok(Check::unable("snapshot", &snapshot::another_vendor(storage, vendor.name(), other)));
    }
    if !is_known(vendor, &pointer)? {
        return Ok(Check::unable("snapshot", &snapshot::another_record(storage, &pointer)));
    }
    if head.is_none_or(|head| pointer.revision != head.as_str()) {
        let found =
            format!("the bucket's metadata has commit {}, not the last publication", pointer.revision);
        return Ok(Check::failed("snapshot", found, complete));
    }
    if pointer.parts.is_empty() {
        let found = "an older raas wrote the bucket's metadata, and servers cannot read it any more";
        return Ok(Check::failed("snapshot", found, complete));
    }
    if deep {
        let say = say_on_stderr();
        let registry = Registry { vendor, storage, shared: true, say: &say };
        let found = integrity::bucket_metadata(&registry)?;
        if !found.is_empty() {
            let what = "the bucket's metadata is damaged";
            return Ok(Check::failed("snapshot", what, repair(vendor)).details(found));
        }
    }
    Ok(if !snapshot::has_parts(storage, &pointer)? {
        Check::failed("snapshot", "a part of the bucket's metadata is missing or damaged", complete)
    } else if !snapshot::has_history(storage, &pointer)? {
        Check::failed("snapshot", "the bucket lacks history that other homes need to publish", complete)
    } else {
        Check::ok("snapshot", "the bucket's metadata has the last publication")
    })
}

fn is_known(vendor: &Vendor, pointer: &Pointer) -> Result<bool, Failure> {
    vendor.record().has(&CommitId::parse(&pointer.revision)?)
}

/// A document in the checkout that servers read.
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
            format!("run `raas push {} {name} --from …`", vendor.name()),
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

/// The vendor's own documents: the operator's have no objects in the bucket. The lint reports documents that do not parse.
fn own(documents: &[DeployedDocument]) -> impl Iterator<Item = Document> {
    let own = documents.iter().filter(|document| !tree::is_operators(&document.path));
    own.filter_map(|document| Document::parse(&document.bytes).ok())
}

/// Why clients do not get the published images of a bucket with `access = public`, and what to do about it. `None` if
/// nothing is known to be wrong.
pub(crate) fn refused_reads(vendor: &Vendor, config: &Config, storage: &dyn Storage) -> Option<String> {
    // The check of the checkout reports documents that cannot be read.
    let documents = documents(vendor, None).ok()?;
    public_reads::warning(vendor, &config.vendor(vendor.name()), storage, own(&documents))
}

fn check_images(
    vendor: &Vendor,
    storage: &dyn Storage,
    documents: &[DeployedDocument],
    image: Option<&RepositoryName>,
    deep: Option<&Deep<'_>>,
    reading: &mut Option<ScrubProgress>,
) -> Vec<Check> {
    let parsed: Vec<Document> = own(documents).collect();
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
            format!("{}; or push the images again, which stores what differs", repair(vendor)),
        )
        .details(compared.wrong)
    });
    if let Some(deep) = deep {
        match deep.read(vendor, &parsed, storage) {
            Ok(read) => {
                checks.push(check_content(vendor, &read));
                *reading = Some(read);
            }
            Err(failure) => checks.push(Check::unable("content", &failure)),
        }
    }
    checks.extend(check_leftovers(vendor, storage, compared.unreferenced));
    checks
}

/// The warning about objects that `raas gc` would remove. `None` if there are none.
fn check_leftovers(vendor: &Vendor, storage: &dyn Storage, objects: Vec<ListedObject>) -> Option<Check> {
    let leftovers = match gc::removable(&vendor.record(), storage, objects) {
        Ok(leftovers) => leftovers,
        Err(failure) => return Some(Check::unable("leftovers", &failure)),
    };
    let found =
        format!("stored objects that no publication of the last {KEEP_DAYS} days needs: {}", leftovers.len());
    (!leftovers.is_empty()).then(|| {
        Check::warning("leftovers", found)
            .details(leftovers)
            .fix(format!("run `raas gc {} --yes`, which removes them; they do no harm", vendor.name()))
    })
}

fn check_content(vendor: &Vendor, read: &ScrubProgress) -> Check {
    let ScrubProgress { objects, bytes: count, wrong, finished, .. } = read;
    let when = finished.as_ref().map_or_else(String::new, |time| format!(" by {time}"));
    let all = format!("{} ({}) read{when}", number(*objects, "object"), bytes(*count));
    if wrong.is_empty() {
        return Check::ok("content", format!("{all}, all as published"));
    }
    let fix =
        format!("{}; what has no other copy is stored anew when its image is pushed again", repair(vendor));
    let details = wrong.iter().map(|(key, why)| format!("{key}: {why}")).collect();
    Check::failed("content", format!("{all}, damaged: {}", wrong.len()), fix).details(details)
}
