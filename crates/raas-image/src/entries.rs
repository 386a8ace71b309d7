//! How much a manifest may list. An index of a few kilobytes can list one large manifest thousands of times, and every
//! reader after raas would pay for that.

use std::collections::BTreeMap;

use raas_types::{Digest, Manifest, ManifestBody};

use crate::{ImageError, Limits};

/// Checks the number of entries of a manifest, and how often an index lists the same one. Returns a note if an index
/// lists a manifest twice.
///
/// # Errors
/// There are more than the limits allow.
pub(crate) fn check(name: &str, manifest: &Manifest, limits: &Limits) -> Result<Option<String>, ImageError> {
    let entries = match &manifest.body {
        ManifestBody::Image { layers, .. } => layers.len(),
        ManifestBody::Index { .. } => manifest.children().len(),
    };
    if entries > limits.entries {
        let message =
            format!("it lists {entries} entries, more than the {} that raas publishes", limits.entries);
        return Err(ImageError::content(name, message));
    }
    let mut times: BTreeMap<&Digest, usize> = BTreeMap::new();
    for child in manifest.children() {
        *times.entry(&child.digest).or_default() += 1;
    }
    let Some((digest, most)) = times.iter().max_by_key(|(_, times)| **times) else { return Ok(None) };
    if *most > limits.repeats {
        let message = format!("it lists {digest} {most} times; raas publishes at most {}", limits.repeats);
        return Err(ImageError::content(name, message));
    }
    let repeated = times.values().filter(|times| **times > 1).count();
    Ok((repeated > 0).then(|| {
        format!("{name} lists {repeated} of its {} manifests more than once, such as {digest}", times.len())
    }))
}
