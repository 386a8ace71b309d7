//! The masked images of a docker save archive, which the operator serves.

use std::collections::{BTreeMap, BTreeSet};

use raas_base::failure::{Failure, Kind};
use raas_sources::federation::MaskedLayerName;
use raas_types::ImageId;

/// The masked image that is the nearest to the top. Pulp 2 leaves it and all its ancestors out. `images` has the parent of
/// each image.
///
/// # Errors
/// The archive has several chains with different masked images: Pulp 2 takes one.
pub(super) fn youngest(
    images: &BTreeMap<ImageId, Option<ImageId>>,
    masks: &[MaskedLayerName],
) -> Result<Option<ImageId>, Failure> {
    let inner: BTreeSet<ImageId> = images.values().copied().flatten().collect();
    let mut found = BTreeSet::new();
    for top in images.keys().filter(|id| !inner.contains(id)) {
        let mut next = Some(*top);
        // A chain has no more images than the archive, whatever the parents say.
        for _ in 0..images.len() {
            let Some(id) = next else { break };
            if masks.contains(&MaskedLayerName::from(&id)) {
                found.insert(id);
                break;
            }
            next = images.get(&id).copied().flatten();
        }
    }
    if found.len() > 1 {
        let shown: Vec<String> = found.iter().map(ImageId::to_string).collect();
        let message = format!(
            "the archive has images on different masked images, and Pulp 2 leaves out the ancestors of one: {}",
            shown.join(", ")
        );
        return Err(Failure::new(Kind::Refused, message).hint("save each image into an archive of its own"));
    }
    Ok(found.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_youngest_masked_image_of_a_chain_is_found() {
        let id = |n: char| n.to_string().repeat(64).parse::<ImageId>().unwrap();
        let mask = |n: char| n.to_string().repeat(64).parse::<MaskedLayerName>().unwrap();
        let chain: BTreeMap<ImageId, Option<ImageId>> =
            [(id('a'), None), (id('b'), Some(id('a'))), (id('c'), Some(id('b')))].into();
        assert_eq!(youngest(&chain, &[mask('a'), mask('b')]).unwrap(), Some(id('b')));
        assert_eq!(youngest(&chain, &[mask('d')]).unwrap(), None);
        let mut two = chain;
        two.insert(id('d'), Some(id('a')));
        assert_eq!(youngest(&two, &[mask('a')]).unwrap(), Some(id('a')));
        let error = youngest(&two, &[mask('a'), mask('b')]).unwrap_err().to_string();
        assert!(error.contains("different masked images"), "{error}");
        let circle: BTreeMap<ImageId, Option<ImageId>> =
            [(id('a'), Some(id('b'))), (id('b'), Some(id('a'))), (id('c'), Some(id('b')))].into();
        assert_eq!(youngest(&circle, &[]).unwrap(), None);
    }
}
