//! Changing what is published without new content: back to an earlier publication, or out of the registry.

mod check;
mod removal;

use std::collections::BTreeMap;

use raas_types::crane::{Content, Document, tree};
use raas_types::{Digest, RepositoryName, Tag, VendorName};
use serde::Serialize;

use crate::catch_up::When;
use crate::config::Config;
use crate::failure::{Failure, Kind};
use crate::history;
use crate::home::{Home, Vendor};
use crate::output;
use crate::publication::{Current, FollowUp, Message, Publication};
use crate::record::{CommitId, Record};
use crate::storage::{self, Storage};

/// What is asked for.
pub(crate) struct Request<'a> {
    pub(crate) home: &'a Home,
    pub(crate) config: &'a Config,
    pub(crate) vendor: &'a VendorName,
    pub(crate) name: &'a RepositoryName,
    pub(crate) no_backup: bool,
    pub(crate) quiet: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// In a sentence.
    pub(crate) what: String,
    /// The tags that the image has now.
    pub(crate) tags: BTreeMap<Tag, Digest>,
    pub(crate) commit: String,
    /// Whether that commit is a new one.
    pub(crate) changed: bool,
    /// Whether a server was seen to serve it.
    pub(crate) served: bool,
    /// Whether the configuration repository keeps it too.
    pub(crate) backed_up: bool,
}

/// A repository's files: path to content, or to nothing for one that goes.
type Files = BTreeMap<String, Option<Vec<u8>>>;

/// Publishes an image as it was in an earlier commit, or in the publication of it before the last.
pub(crate) fn roll_back(request: &Request<'_>, to: Option<&str>) -> Result<Outcome, Failure> {
    let name = request.name;
    let vendor = request.home.existing(request.vendor)?;
    let storage = storage::open(&vendor, request.config)?;
    let storage = storage.as_ref();
    let mut publication = Publication::begin(&vendor, request.config, storage, name, When::InTurn)?;
    let record = &vendor.record();
    let never = || {
        Failure::new(Kind::Usage, format!("{name} has never been published"))
            .hint("`raas list ISV` lists the images")
    };
    let head = publication.head.clone().ok_or_else(never)?;
    let target = match to {
        Some(text) => history::find(record, &head, text)?,
        None => {
            let last = history::entries(record, &head, &history::paths_of(name), Some(2))?;
            match last.as_slice() {
                [] => return Err(never()),
                [only] => {
                    let message = format!(
                        "commit {} is the first publication of {name}: there is none before it",
                        only.commit.short()
                    );
                    return Err(Failure::new(Kind::Usage, message)
                        .hint("`raas unpublish` takes an image out of the registry"));
                }
                [_, before, ..] => before.commit.clone(),
            }
        }
    };
    let then = Current::read(record, &target, name)?;
    if then.is_empty() {
        let message = format!("commit {} does not publish {name}", target.short());
        return Err(Failure::new(Kind::Usage, message)
            .hint(format!("`raas log {} {name}` lists the publications of the image", request.vendor)));
    }
    check::content(storage, name, &then)?;

    let now = publication.current()?;
    let protected = if now.is_empty() { then.protected } else { now.protected };
    let files = files_of(record, storage, &head, &target, name, protected)?;
    let v2 = then.v2.unwrap_or_default();
    let mut manifests = record.files(&target, &tree::manifests(name))?;
    let paths: BTreeMap<String, Digest> =
        v2.manifests.keys().map(|digest| (tree::manifest(name, digest), *digest)).collect();
    manifests.retain(|file| paths.contains_key(&file.path));
    record.read_each(&manifests, |file, bytes| {
        let digest = &paths[&file.path];
        publication.put_manifest(digest, &v2.manifests[digest].media_type, &bytes, &mut |_, _, _| {})
    })?;
    let mut message = Message::new("Roll back", name, v2.tags.keys());
    message.tags = v2.tags.clone();
    message.notes.push(format!("As in commit {target}"));
    let what = format!("Rolled {name} back to commit {}", target.short());
    finish(request, &vendor, storage, publication, files, &message, what, v2.tags)
}

/// Takes an image, or one tag, out of the registry.
pub(crate) fn unpublish(request: &Request<'_>, tag: Option<&Tag>) -> Result<Outcome, Failure> {
    let name = request.name;
    let vendor = request.home.existing(request.vendor)?;
    let storage = storage::open(&vendor, request.config)?;
    let storage = storage.as_ref();
    let publication = Publication::begin(&vendor, request.config, storage, name, When::InTurn)?;
    let current = publication.current()?;
    let unknown = |what: String| {
        Failure::new(Kind::Usage, format!("{what} is not published")).hint("`raas list ISV` lists what is")
    };
    let head = match &publication.head {
        Some(head) if !current.is_empty() => head.clone(),
        _ => return Err(unknown(name.to_string())),
    };
    let tags: Vec<Tag> = match tag {
        Some(tag) => vec![tag.clone()],
        None => current.v2.iter().flat_map(|v2| v2.tags.keys().cloned()).collect(),
    };
    let (files, left) = match tag {
        Some(tag) if !removal::has(&current, tag) => return Err(unknown(format!("{name}:{tag}"))),
        Some(tag) => removal::tag(&publication.record, &head, (&vendor, storage), name, &current, tag)?,
        None => (removal::all(&publication.record, &head, name)?, BTreeMap::new()),
    };
    let message = Message::new("Unpublish", name, tags.iter());
    let what = match tag {
        Some(tag) => format!("Took {name}:{tag} out of the registry"),
        None => format!("Took {name} out of the registry"),
    };
    finish(request, &vendor, storage, publication, files, &message, what, left)
}

#[expect(clippy::too_many_arguments, reason = "they are what a publication is made of")]
fn finish(
    request: &Request<'_>,
    vendor: &Vendor,
    storage: &dyn Storage,
    publication: Publication<'_>,
    files: Files,
    message: &Message,
    what: String,
    tags: BTreeMap<Tag, Digest>,
) -> Result<Outcome, Failure> {
    let name = request.name;
    let changes = publication.changes(files)?;
    let done = publication.commit(&changes, message, &mut |_, _, _| {})?;
    let say = |line: &str| {
        if !request.quiet {
            output::error(line);
        }
    };
    let Request { home, config, no_backup, .. } = *request;
    let followed =
        FollowUp { home, config, vendor, storage, name, no_backup, say: &say }.run(&done.commit)?;
    Ok(Outcome {
        what,
        tags,
        commit: done.commit.to_string(),
        changed: done.changed,
        served: !followed.servers.is_empty(),
        backed_up: followed.backed_up,
    })
}

/// A repository's files as they were, in place of those that it has.
fn files_of(
    record: &Record,
    storage: &dyn Storage,
    head: &CommitId,
    target: &CommitId,
    name: &RepositoryName,
    protected: bool,
) -> Result<Files, Failure> {
    let mut files = removal::all(record, head, name)?;
    let mut old = record.files(target, &tree::manifests(name))?;
    for path in [tree::document(name), tree::v1_document(name)] {
        old.extend(record.files(target, &path)?.into_iter().filter(|file| file.path == path));
    }
    record.read_each(&old, |file, bytes| {
        let bytes =
            if file.path.ends_with(".json") { renew(&bytes, storage, name, protected) } else { bytes };
        files.insert(file.path.clone(), Some(bytes));
        Ok(())
    })?;
    Ok(files)
}

/// An earlier document with what is not a matter of content as it is today: where the bucket is, and whether the
/// repository takes a credential.
fn renew(bytes: &[u8], storage: &dyn Storage, name: &RepositoryName, protected: bool) -> Vec<u8> {
    let Ok(mut document) = Document::parse(bytes) else { return bytes.to_vec() };
    let below = match document.content {
        Content::V1(_) => "",
        Content::V2(_) => "_v2/",
    };
    document.url = format!("{}/{name}/{below}", storage.base_url());
    document.protected = protected;
    document.to_bytes()
}
