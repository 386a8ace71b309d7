//! What is published, with time and size: the output of `raas list`.

use std::collections::BTreeMap;

use raas_types::crane::Deprecation;
use raas_types::{Digest, RepositoryName, Tag};

use crate::history;
use crate::published::{self, Repository};
use crate::record::Record;
use raas_base::failure::Failure;
use raas_git::{CommitId, Reader};

/// A repository.
#[derive(Debug)]
pub struct ListedRepository {
    /// The repository's name.
    pub name: RepositoryName,
    /// Whether it is one of the operator's repositories, which are published beside the vendor's own.
    pub operator: bool,
    /// Whether only users and customers may see it.
    pub protected: bool,
    /// Its tags, in order.
    pub tags: Vec<ListedTag>,
}

/// A tag.
#[derive(Debug)]
pub struct ListedTag {
    /// The tag.
    pub tag: Tag,
    /// The digest of the manifest. A repository with only Docker v1 content has the id of the image.
    pub digest: String,
    /// When this digest was published under this tag: the time that servers show. A publication that does not move the tag
    /// does not change it.
    pub published: String,
    /// The size of the configs and layers of all platforms, in bytes.
    pub size: Option<u64>,
    /// The part of that size that the vendor's bucket does not serve, in bytes.
    pub elsewhere: u64,
    /// What clients of a deprecated tag are told.
    pub deprecated: Option<Deprecation>,
}

/// When each digest was published under a tag, for documents of an older raas, which have no times.
type Times = BTreeMap<(RepositoryName, Tag, Digest), String>;

/// All published repositories, in order of their names.
pub fn repositories(record: &Record) -> Result<Vec<ListedRepository>, Failure> {
    let Some(head) = record.head()? else { return Ok(Vec::new()) };
    let reader = record.reader(&head)?;
    let repositories = published::repositories(&reader)?;
    let lacks_times = |repository: &Repository| {
        repository.v2.iter().any(|v2| v2.tags.keys().any(|tag| !v2.published.contains_key(tag)))
    };
    let times = match repositories.values().any(lacks_times) {
        true => times(record, &head)?,
        false => Times::new(),
    };
    repositories
        .into_iter()
        .map(|(name, repository)| {
            let tags = tags(record, &head, &reader, &name, &repository, &times)?;
            let Repository { operator, protected, .. } = repository;
            Ok(ListedRepository { name, operator, protected, tags })
        })
        .collect()
}

/// The times of the commits that name each tag.
fn times(record: &Record, head: &CommitId) -> Result<Times, Failure> {
    let mut times = Times::new();
    for entry in history::entries(record, head, &[], None)? {
        for tag in entry.tags {
            // The entries begin with the last publication, so the newest time of a tag comes first and stays.
            times.entry(tag).or_insert_with(|| entry.time.clone());
        }
    }
    Ok(times)
}

fn tags(
    record: &Record,
    head: &CommitId,
    reader: &Reader<'_>,
    name: &RepositoryName,
    repository: &Repository,
    times: &Times,
) -> Result<Vec<ListedTag>, Failure> {
    // No message names the tags of the operator's documents: their time is the last change of the repository.
    let mut fallback = None;
    let mut last_change = || -> Result<String, Failure> {
        if fallback.is_none() {
            let last = history::entries(record, head, &history::paths_of(name), Some(1))?.pop();
            fallback = Some(last.map(|entry| entry.time).unwrap_or_default());
        }
        Ok(fallback.clone().unwrap_or_default())
    };
    if let Some(v2) = &repository.v2 {
        let manifests = published::manifests(reader, name, v2)?;
        let tag = |(tag, digest): (&Tag, &Digest)| {
            let published = match v2.published.get(tag) {
                Some(time) => time.to_string(),
                None => match times.get(&(name.clone(), tag.clone(), *digest)) {
                    Some(time) => time.clone(),
                    None => last_change()?,
                },
            };
            let size = published::size(&manifests, v2, digest);
            Ok(ListedTag {
                tag: tag.clone(),
                digest: digest.to_string(),
                published,
                size: Some(size.all),
                elsewhere: size.elsewhere,
                deprecated: v2.deprecated.get(tag).cloned(),
            })
        };
        return v2.tags.iter().map(tag).collect();
    }
    let v1 = repository.v1.iter().flat_map(|v1| &v1.tags);
    v1.map(|(tag, id)| {
        let published = last_change()?;
        Ok(ListedTag {
            tag: tag.clone(),
            digest: id.to_string(),
            published,
            size: None,
            elsewhere: 0,
            deprecated: None,
        })
    })
    .collect()
}
