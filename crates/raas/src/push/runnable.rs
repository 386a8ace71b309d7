//! Which manifests are images that a client can run, and which are only attached to an image.

use std::collections::BTreeSet;
use std::io::Read as _;

use raas_image::{ManifestItem, ManifestSet};
use raas_signatures::signature_manifest::MAX_SIGNATURES;
use raas_types::{Descriptor, Manifest, ManifestBody, media_type};

use raas_base::failure::{Context as _, Failure};

/// Whether a manifest looks like an image by what it says of itself: it is an index, or has a layer of a file system, or has
/// the config of an image and no layers.
pub(super) fn is_image(manifest: &Manifest) -> bool {
    match &manifest.body {
        ManifestBody::Index { .. } => true,
        ManifestBody::Image { config, layers } => {
            layers.iter().any(is_file_system)
                || (layers.is_empty() && media_type::is_image_config(&config.media_type))
        }
    }
}

/// Whether a client could run the manifest. podman takes any layer of an image with an image's config for a file system,
/// whatever its media type. So the content decides: a signature, an attestation or an SBOM is no archive.
pub(super) fn is_runnable(item: &ManifestItem, set: &ManifestSet) -> Result<bool, Failure> {
    let ManifestBody::Image { config, layers } = &item.manifest.body else { return Ok(false) };
    if is_image(&item.manifest) {
        return Ok(true);
    }
    if !config.media_type.is_empty() && !media_type::is_image_config(&config.media_type) {
        return Ok(false);
    }
    let distinct: BTreeSet<_> = layers.iter().map(|layer| layer.digest).collect();
    // So that a hostile manifest costs no thousands of requests.
    if distinct.len() > MAX_SIGNATURES {
        return Ok(true);
    }
    for digest in distinct {
        let Some(content) = set.blobs.get(&digest).and_then(|blob| blob.content.as_ref()) else {
            return Ok(true);
        };
        let mut begin = Vec::with_capacity(BLOCK);
        let read = content.open().and_then(|stream| stream.take(BLOCK as u64).read_to_end(&mut begin));
        read.context(|| format!("cannot read {}", content.name()))?;
        if is_archive(&begin) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the media type is that of a layer of a file system, encrypted layers included.
fn is_file_system(layer: &Descriptor) -> bool {
    ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."]
        .iter()
        .any(|begin| layer.media_type.starts_with(begin))
}

/// The length of a tar's header.
const BLOCK: usize = 512;

/// Whether these first bytes are those of a tar, or of a packing that clients unpack: gzip, Zstandard, xz, bzip2.
fn is_archive(begin: &[u8]) -> bool {
    let magics: [&[u8]; 4] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"\xfd7zXZ\0", b"BZh"];
    // A frame of Zstandard that readers skip: 16 magic numbers.
    let is_skippable = matches!(begin, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    is_skippable || magics.iter().any(|magic| begin.starts_with(magic)) || is_tar_header(begin)
}

/// Whether the checksum of a tar's header is right. Source: POSIX, pax, "ustar Interchange Format".
fn is_tar_header(header: &[u8]) -> bool {
    /// The place of the checksum. It counts as spaces.
    const CHECKSUM: std::ops::Range<usize> = 148..156;
    if header.len() < BLOCK {
        return false;
    }
    let digits: String = header[CHECKSUM].iter().map(|byte| char::from(*byte)).collect();
    let digits = digits.trim_matches(|c| c == ' ' || c == '\0');
    let Ok(expected) = i64::from_str_radix(digits, 8) else { return false };
    let bytes =
        || header.iter().enumerate().map(|(n, byte)| if CHECKSUM.contains(&n) { b' ' } else { *byte });
    // Old programs summed up signed bytes.
    let unsigned: i64 = bytes().map(i64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    expected == unsigned || expected == signed
}

#[cfg(test)]
mod tests {
    use raas_image::{Blob, Content};
    use raas_testkit::layers::{Pack, layer};
    use raas_types::Digest;
    use serde_json::json;

    use super::*;

    #[test]
    fn archives_are_known_by_their_first_bytes() {
        let tar = layer(&[("bin/sh", b"x")]);
        assert!(is_archive(&tar[..BLOCK]));
        let mut v7 = tar[..BLOCK].to_vec();
        v7[257..265].fill(0);
        let sum: u32 = v7
            .iter()
            .enumerate()
            .map(|(n, b)| if (148..156).contains(&n) { 32 } else { u32::from(*b) })
            .sum();
        v7[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert!(is_archive(&v7), "a header without `ustar`");
        for pack in [Pack::Gzip, Pack::Zstd] {
            assert!(is_archive(&pack.apply(&tar)));
        }
        for text in [&b"{\"critical\":{}}"[..], b"SPDXVersion: SPDX-2.3", b"", &[b'{'; BLOCK], &[0; BLOCK]] {
            assert!(!is_archive(text), "{text:?}");
        }
    }

    fn runnable(config: &str, layers: &[(&str, &[u8])]) -> bool {
        let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
        let layer_list: Vec<_> =
            layers.iter().map(|(media_type, bytes)| descriptor(media_type, bytes)).collect();
        let text = json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": descriptor(config, b"{}"), "layers": layer_list,
        })
        .to_string();
        let manifest = Manifest::parse(text.as_bytes(), None).unwrap();
        let mut set = ManifestSet::default();
        for (media_type, bytes) in layers {
            let blob = Blob {
                digest: Digest::of(bytes),
                size: bytes.len() as u64,
                media_type: (*media_type).to_owned(),
                diff_id: None,
                layer: true,
                urls: Vec::new(),
                content: Some(Content::memory("layer", bytes)),
            };
            set.blobs.insert(blob.digest, blob);
        }
        let item = ManifestItem { bytes: text.into_bytes(), manifest, platform: None, facts: None };
        is_runnable(&item, &set).unwrap()
    }

    #[test]
    fn an_image_is_known_by_its_layers_and_not_by_its_name() {
        const SIGNATURE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
        let tar = layer(&[("bin/sh", b"x")]);
        let packed = Pack::Gzip.apply(&tar);
        let oci = media_type::OCI_CONFIG;
        assert!(runnable(oci, &[("application/vnd.oci.image.layer.v1.tar+gzip", &packed)]));
        assert!(runnable(oci, &[("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", b"x")]));
        assert!(runnable(oci, &[]), "an empty image");
        assert!(runnable(
            "application/vnd.docker.plugin.v1+json",
            &[(media_type::DOCKER_LAYER_GZIP, &packed)]
        ));
        assert!(runnable(oci, &[(SIGNATURE, &packed)]), "a packed layer under a wrong type");
        assert!(runnable(oci, &[(SIGNATURE, b"{}"), (SIGNATURE, &tar)]), "a tar beside a payload");
        assert!(!runnable(oci, &[(SIGNATURE, b"{}")]), "a signature");
        assert!(!runnable(oci, &[("application/vnd.dsse.envelope.v1+json", b"{}")]), "an attestation");
        assert!(!runnable("application/vnd.oci.empty.v1+json", &[("application/octet-stream", &packed)]));
        let many: Vec<Vec<u8>> = (0..=MAX_SIGNATURES).map(|n| n.to_string().into_bytes()).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|bytes| (SIGNATURE, bytes.as_slice())).collect();
        assert!(runnable(oci, &many), "too many layers to look at");
    }
}
