//! Deprecating a tag: clients are told to use another one.

use std::time::SystemTime;

use raas_types::crane::Deprecation;
use raas_types::{RepositoryName, Tag, Utc};

use super::documents::NewRepository;
use super::{Republished, finish, unknown};
use crate::lease::Lease;
use crate::publication::Publication;
use crate::published;
use crate::record::Message;
use crate::registry::Registry;
use raas_base::failure::{Failure, Kind};

/// What a deprecated tag's clients are told.
#[derive(Debug, Clone)]
pub struct Replacement {
    /// The tag of the same repository to use.
    pub tag: Tag,
    /// The day until which the deprecated tag is supported.
    pub until: Option<Utc>,
}

/// Deprecates a tag, or changes what its clients are told.
///
/// # Errors
/// The tag or the replacement is not published, or the replacement is deprecated itself.
pub fn deprecate(
    registry: &Registry<'_>,
    name: &RepositoryName,
    tag: &Tag,
    replacement: &Replacement,
) -> Result<Republished, Failure> {
    let Replacement { tag: to, until } = replacement;
    let vendor = registry.vendor.name();
    let hint = format!("run `raas list {vendor} {name}` to see the tags; nothing was published");
    let refused = |message: String| Failure::new(Kind::Usage, message).hint(hint.clone());
    if to == tag {
        return Err(refused(format!("{name}:{tag} cannot replace itself")));
    }
    change(registry, name, tag, |deprecated, is_published| {
        if !is_published(to) {
            return Err(refused(format!("{name}:{to}, the tag to use, is not published")));
        }
        if let Some(other) = deprecated.get(to) {
            return Err(refused(format!(
                "{name}:{to} is deprecated itself: its clients are told to use {}",
                other.r#use
            )));
        }
        let since = deprecated.get(tag).map_or_else(|| Utc::of(SystemTime::now()), |before| before.since);
        deprecated.insert(tag.clone(), Deprecation { since, r#use: to.clone(), until: *until });
        let until = until.map(|until| format!(", supported until {}", until.day_text())).unwrap_or_default();
        Ok(Said {
            subject: format!("Deprecate {name}:{tag}: use {to}{until}"),
            what: format!("Deprecated {name}:{tag}: clients are told to use {to}{until}"),
        })
    })
}

/// Ends the deprecation of a tag.
///
/// # Errors
/// The tag is not published, or not deprecated.
pub fn undeprecate(
    registry: &Registry<'_>,
    name: &RepositoryName,
    tag: &Tag,
) -> Result<Republished, Failure> {
    let vendor = registry.vendor.name();
    change(registry, name, tag, |deprecated, _| match deprecated.remove(tag) {
        Some(_) => Ok(Said {
            subject: format!("Undeprecate {name}:{tag}"),
            what: format!("{name}:{tag} is no longer deprecated"),
        }),
        None => Err(Failure::new(Kind::Usage, format!("{name}:{tag} is not deprecated"))
            .hint(format!("run `raas list {vendor} {name}` to see which tags are; nothing was published"))),
    })
}

/// What the commit and the command say.
struct Said {
    subject: String,
    what: String,
}

type Deprecated = std::collections::BTreeMap<Tag, Deprecation>;

/// Changes the deprecations of a repository that publishes a tag. `edit` gets them as they are under the lock, and a
/// function that tells whether a tag is published.
fn change(
    registry: &Registry<'_>,
    name: &RepositoryName,
    tag: &Tag,
    edit: impl FnOnce(&mut Deprecated, &dyn Fn(&Tag) -> bool) -> Result<Said, Failure>,
) -> Result<Republished, Failure> {
    let publication = Publication::begin(registry, name, Lease::Held)?;
    let current = publication.current()?;
    let (head, mut v2) = match (&publication.head, current.v2) {
        (Some(head), Some(v2)) if v2.tags.contains_key(tag) => (head.clone(), v2),
        _ => return Err(unknown(format!("{name}:{tag}"))),
    };
    let tags = v2.tags.clone();
    let Said { subject, what } = edit(&mut v2.deprecated, &|tag| tags.contains_key(tag))?;
    let manifests = published::manifests(&publication.record.reader(&head)?, name, &v2)?;
    let repository =
        NewRepository { name, protected: current.protected, v2, v1: current.v1, manifests: &manifests };
    let files = repository.files(registry);
    let message = Message { subject, ..Message::new("Deprecate", name, std::iter::empty()) };
    finish(publication, files, &message, what, tags)
}
