//! The changes of a repository as lines for people.

use raas_publish::difference::{DeprecationChange, RepositoryChange, TagChange};

use crate::progress::bytes;

/// A line for each tag and layer that differs.
pub(crate) fn lines(change: &RepositoryChange) -> Vec<String> {
    let tag = |(tag, change): (_, &TagChange)| match change {
        TagChange::Added { to } => format!("  + {tag}  {to}"),
        TagChange::Moved { from, to } => format!("  ~ {tag}  {from} -> {to}"),
        TagChange::Removed { from } => format!("  - {tag}  {from}"),
    };
    let mut lines: Vec<String> = change.tags.iter().map(tag).collect();
    let deprecation = |(tag, change): (_, &DeprecationChange)| match change {
        DeprecationChange::Deprecated { r#use, until } => {
            let until = until.map(|until| format!(", supported until {}", until.day_text()));
            format!("  ! {tag}  deprecated: use {}{}", r#use, until.unwrap_or_default())
        }
        DeprecationChange::Undeprecated => format!("  ! {tag}  no longer deprecated"),
    };
    lines.extend(change.deprecated.iter().map(deprecation));
    for (sign, layers) in [("+", &change.layers_added), ("-", &change.layers_removed)] {
        lines
            .extend(layers.iter().map(|(digest, size)| format!("  {sign} layer {digest}  {}", bytes(*size))));
    }
    lines
}
