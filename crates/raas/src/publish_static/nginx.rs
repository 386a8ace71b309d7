//! The configuration with which nginx serves a folder as a registry.
//!
//! nginx finds a tag's manifest by a map that it reads when it starts or is reloaded, and not by a file of the tag. So the
//! type, the digest and the bytes of an answer always belong together, and a publication appears as a whole when nginx is
//! reloaded.

use std::fmt::Write as _;
use std::path::Path;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::files;
use raas_types::{StaticKey, VendorName, media_type};

use super::static_registry::StaticRegistry;

/// The folder of the files, in the folder of the static registry.
pub(super) const FOLDER: &str = "nginx";

/// A file for nginx, by its name.
type File = (&'static str, String);

/// The files. `root` is the folder of the static registry as nginx sees it.
///
/// # Errors
/// nginx cannot have such a path in its configuration.
pub(super) fn files(
    vendor: &VendorName,
    registry: &StaticRegistry,
    root: &Path,
) -> Result<[File; 3], Failure> {
    let root = root.to_str().filter(|root| !root.contains(['"', '\\', '$', '\n'])).ok_or_else(|| {
        let message = format!("nginx cannot serve the folder {}", root.display());
        Failure::new(Kind::Usage, message)
            .hint("name a folder without quotes, backslashes, dollar signs and line breaks")
    })?;
    let variable = vendor.as_str().replace('-', "_");
    Ok([
        ("hash.conf", hash(registry)),
        ("maps.conf", maps(&variable, registry)),
        ("locations.conf", locations(&variable, root)),
    ])
}

/// Writes the files that are not there yet with the same content. Returns their number.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn write(folder: &Path, wanted: &[File]) -> Result<usize, Failure> {
    let mut written = 0;
    for (name, content) in wanted {
        let path = folder.join(FOLDER).join(name);
        if std::fs::read(&path).is_ok_and(|found| found == content.as_bytes()) {
            continue;
        }
        files::replace(&path, content.as_bytes()).context(|| format!("cannot write {}", path.display()))?;
        written += 1;
    }
    Ok(written)
}

fn hash(registry: &StaticRegistry) -> String {
    let size = (2 * (registry.tags.len() + registry.types.len() + registry.redirects.len()))
        .next_power_of_two()
        .max(2048);
    format!(
        "# Include this file once in `http {{ }}`, if nothing else sets the sizes of maps.\nmap_hash_bucket_size 1024;\n\
         map_hash_max_size {size};\n"
    )
}

fn maps(variable: &str, registry: &StaticRegistry) -> String {
    let mut text = format!(
        "# Written by `raas publish-static`. Include this file in `http {{ }}`, and reload nginx after each run.\n\n\
         # The digest of the manifest that a path names.\nmap $uri $raas_{variable}_digest {{\n    default \"-\";\n    \
         \"~^/v2/.+/manifests/(?<raas_{variable}_pinned>sha256:[0-9a-f]{{64}})$\" $raas_{variable}_pinned;\n"
    );
    for (repository, tag, digest) in &registry.tags {
        let key = StaticKey::Manifest {
            repository: repository.clone(),
            reference: raas_types::Reference::Tag(tag.clone()),
            media_type: String::new(),
        };
        text.push_str(&format!("    \"/{key}\" {digest};\n"));
    }
    let _ = write!(
        text,
        "}}\n\n# The media type of a manifest.\nmap $raas_{variable}_digest $raas_{variable}_type {{\n    default \
         application/octet-stream;\n"
    );
    for (digest, media_type) in &registry.types {
        text.push_str(&format!("    {digest} {media_type};\n"));
    }
    let _ = write!(
        text,
        "}}\n\n# Where a layer is that is not in the folder.\nmap $uri $raas_{variable}_location {{\n    default \"\";\n"
    );
    for redirect in &registry.redirects {
        let key = StaticKey::Blob(redirect.repository.clone(), redirect.digest);
        // nginx would take a dollar sign for the beginning of a variable.
        let location = redirect.location.replace('$', "%24");
        text.push_str(&format!("    \"/{key}\" \"{location}\";\n"));
    }
    text.push_str("}\n");
    text
}

fn locations(variable: &str, root: &str) -> String {
    let index = media_type::OCI_INDEX;
    let version = "add_header Docker-Distribution-Api-Version registry/2.0 always;";
    let revalidate = "add_header Cache-Control no-cache;";
    format!(
        r#"# Written by `raas publish-static`. Include this file in the `server {{ }}` of the registry's name.

location = /v2/ {{
    default_type application/json;
    {version}
    return 200 "{{}}";
}}

location ~ "^/v2/(?<raas_{variable}_name>.+)/manifests/[^/]+$" {{
    root "{root}";
    types {{ }}
    default_type "";
    add_header Content-Type $raas_{variable}_type;
    add_header Docker-Content-Digest $raas_{variable}_digest;
    {revalidate}
    {version}
    error_page 404 @raas_{variable}_unknown;
    try_files /v2/$raas_{variable}_name/manifests/$raas_{variable}_digest =404;
}}

location ~ "^/v2/.+/blobs/(?<raas_{variable}_blob>sha256:[0-9a-f]{{64}})$" {{
    root "{root}";
    types {{ }}
    default_type application/octet-stream;
    add_header Docker-Content-Digest $raas_{variable}_blob;
    add_header Cache-Control "public, max-age=31536000, immutable";
    {version}
    try_files $uri @raas_{variable}_elsewhere;
}}

location ~ "^/v2/.+/tags/list$" {{
    root "{root}";
    types {{ }}
    default_type application/json;
    {revalidate}
    {version}
    error_page 404 @raas_{variable}_unknown;
    try_files $uri =404;
}}

location ~ "^/v2/.+/referrers/sha256:[0-9a-f]{{64}}$" {{
    root "{root}";
    types {{ }}
    default_type {index};
    {revalidate}
    {version}
    try_files $uri @raas_{variable}_unattached;
}}

location @raas_{variable}_elsewhere {{
    {version}
    if ($raas_{variable}_location) {{
        return 307 $raas_{variable}_location;
    }}
    default_type application/json;
    return 404 '{{"errors":[{{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}}]}}';
}}

location @raas_{variable}_unattached {{
    {version}
    default_type {index};
    return 200 '{{"schemaVersion":2,"mediaType":"{index}","manifests":[]}}';
}}

location @raas_{variable}_unknown {{
    {version}
    default_type application/json;
    return 404 '{{"errors":[{{"code":"MANIFEST_UNKNOWN","message":"manifest unknown to registry"}}]}}';
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use raas_types::Digest;

    use super::*;
    use crate::publish_static::static_registry::Redirect;

    fn registry() -> StaticRegistry {
        let digest = Digest::of(b"manifest");
        let redirect = Redirect {
            repository: "app".parse().unwrap(),
            digest: Digest::of(b"layer"),
            location: "https://cdn.example.com/x?y=$z".into(),
        };
        StaticRegistry {
            tags: vec![("app".parse().unwrap(), "1.0".parse().unwrap(), digest)],
            types: [(digest, media_type::OCI_MANIFEST.to_owned())].into(),
            redirects: vec![redirect],
            ..StaticRegistry::default()
        }
    }

    #[test]
    fn the_maps_have_each_tag_each_type_and_each_redirect() {
        let [_, (_, maps), (_, locations)] =
            files(&"big-data".parse().unwrap(), &registry(), Path::new("/srv/x")).unwrap();
        let (digest, layer) = (Digest::of(b"manifest"), Digest::of(b"layer"));
        for line in [
            format!("    \"/v2/app/manifests/1.0\" {digest};\n"),
            format!("    {digest} {};\n", media_type::OCI_MANIFEST),
            format!("    \"/v2/app/blobs/{layer}\" \"https://cdn.example.com/x?y=%24z\";\n"),
            "map $uri $raas_big_data_digest {\n".into(),
        ] {
            assert!(maps.contains(&line), "{line}: {maps}");
        }
        assert!(locations.contains("root \"/srv/x\";"), "{locations}");
        assert_eq!(maps.matches('{').count(), maps.matches('}').count());
        assert_eq!(locations.matches('{').count(), locations.matches('}').count());
    }

    #[test]
    fn a_second_writing_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = files(&"acme".parse().unwrap(), &registry(), folder.path()).unwrap();
        assert_eq!(write(folder.path(), &wanted).unwrap(), 3);
        assert_eq!(write(folder.path(), &wanted).unwrap(), 0);
        assert!(files(&"acme".parse().unwrap(), &registry(), Path::new("/srv/\"x")).is_err());
    }
}
