//! Giving another tag to a published image.

use std::time::SystemTime;

use raas_types::{Digest, Reference, RepositoryName, Tag, Utc};

use super::documents::NewRepository;
use super::{Republished, finish, unknown};
use crate::lease::Lease;
use crate::publication::Publication;
use crate::published;
use crate::record::Message;
use crate::registry::Registry;
use raas_base::failure::Failure;

/// Publishes an image of a repository under a further tag. A tag that is published already moves.
///
/// `may_move` decides about a tag that moves, by the manifest that the tag has until now. It returns what to add to the first
/// line of the message.
///
/// # Errors
/// The image is not published, or the tag may not move.
pub fn tag(
    registry: &Registry<'_>,
    name: &RepositoryName,
    new: &Tag,
    from: &Reference,
    may_move: &dyn Fn(&Tag, &Digest) -> Result<&'static str, Failure>,
) -> Result<Republished, Failure> {
    let publication = Publication::begin(registry, name, Lease::Held)?;
    let current = publication.current()?;
    let head = match &publication.head {
        Some(head) if !current.is_empty() => head.clone(),
        _ => return Err(unknown(name.to_string())),
    };
    let mut v2 = current.v2.clone().unwrap_or_default();
    let digest: Option<Digest> = match from {
        Reference::Tag(tag) => v2.tags.get(tag).copied(),
        Reference::Digest(digest) => v2.manifests.contains_key(digest).then_some(*digest),
    };
    let separator = if matches!(from, Reference::Digest(_)) { '@' } else { ':' };
    let digest = digest.ok_or_else(|| unknown(format!("{name}{separator}{from}")))?;
    let before = v2.tags.insert(new.clone(), digest);
    let addition = match before.filter(|before| *before != digest) {
        Some(before) => may_move(new, &before)?,
        None => "",
    };
    v2.note_times(current.v2.as_ref(), Utc::of(SystemTime::now()));
    let mut v1 = current.v1.clone();
    if let Some(v1) = &mut v1 {
        // Docker v1 clients must not get old content for the tag.
        v1.tags.remove(new);
        if let Reference::Tag(tag) = from
            && let Some(id) = v1.tags.get(tag).copied()
        {
            v1.tags.insert(new.clone(), id);
        }
    }
    let manifests = published::manifests(&publication.record.reader(&head)?, name, &v2)?;
    let tags = v2.tags.clone();
    let files =
        NewRepository { name, protected: current.protected, v2, v1, manifests: &manifests }.files(registry);
    let mut message = Message::new("Tag", name, [new].into_iter());
    message.subject.push_str(addition);
    message.tags = [(new.clone(), digest)].into();
    message.notes.push(format!("As {name}{separator}{from}"));
    finish(publication, files, &message, format!("Tagged {name}{separator}{from} as {name}:{new}"), tags)
}
