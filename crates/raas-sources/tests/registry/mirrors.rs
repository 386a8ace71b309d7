//! Registries that are elsewhere than their address says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raas_sources::registry::{RegistryAddress, RegistryError, Remote, RemoteOptions, Transport};
use raas_testkit::oci::Layout;
use raas_testkit::registry::Registry;
use tempfile::TempDir;

use crate::support::{Lines, options};

/// A registry with an image under these tags.
fn with_tags(tags: &[&str]) -> Registry {
    let registry = Registry::new("team/app");
    let mut layout = Layout::new();
    let image = layout.simple_image("app");
    registry.fill(&layout);
    tags.iter().for_each(|tag| registry.tag(tag, &image.digest));
    registry
}

/// A file that sends a registry to a location, past mirrors.
fn file(registry: &Registry, location: &str, mirrors: &[&str]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registries.conf");
    let mut text = format!("[[registry]]\nprefix = \"{}\"\nlocation = \"{location}\"\n", registry.host());
    for mirror in mirrors {
        text.push_str(&format!("[[registry.mirror]]\nlocation = \"{mirror}\"\n"));
    }
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

fn find(address: &str, file: &Path, say: &Lines) -> Result<Arc<Remote>, RegistryError> {
    let address: RegistryAddress = address.parse().unwrap();
    Remote::find(
        &address,
        RemoteOptions { registries_files: Some(vec![file.to_owned()]), say: say.say(), ..options() },
    )
}

#[test]
fn an_image_comes_from_a_mirror_that_has_it_and_lists_never_do() {
    let (own, mirror, gone) = (with_tags(&["1", "2"]), with_tags(&["1"]), with_tags(&[]));
    let dead = gone.host();
    drop(gone);
    let (_folder, file) = file(&own, &own.host(), &[&dead, &mirror.host()]);
    let lines = Lines::default();
    let host = |reference: &str| {
        let address = format!("{}{reference}", own.address());
        find(&address, &file, &lines).unwrap().host().to_owned()
    };
    assert_eq!(host(":1"), mirror.host());
    assert_eq!(host(":2"), own.host());
    assert_eq!(host(""), own.host());
    let said = lines.all().join("\n");
    assert!(said.contains(&format!("the mirror docker://{dead}/team/app:1 is left out")), "{said}");
    assert!(said.contains("is read from its mirror"), "{said}");
}

#[test]
fn a_location_stands_in_for_the_host_and_a_damaged_file_stops() {
    let (named, other) = (with_tags(&[]), with_tags(&["1"]));
    let (_folder, path) = file(&named, &other.host(), &[]);
    let remote = find(&named.address(), &path, &Lines::default()).unwrap();
    assert_eq!(remote.host(), other.host());
    assert_eq!(remote.tags().unwrap().tags.len(), 1);
    std::fs::write(&path, "[[registry]").unwrap();
    assert!(matches!(find(&named.address(), &path, &Lines::default()), Err(RegistryError::Setup(_))));
}

#[test]
fn an_insecure_registry_may_speak_http_without_tls() {
    let registry = with_tags(&["1"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("registries.conf");
    let open = |insecure: bool| {
        let text = format!("[[registry]]\nlocation = \"{}\"\ninsecure = {insecure}\n", registry.host());
        std::fs::write(&path, text).unwrap();
        let address = registry.address().parse().unwrap();
        let files = Some(vec![path.clone()]);
        let options = RemoteOptions { transport: Transport::Tls, registries_files: files, ..options() };
        Remote::find(&address, options).and_then(|remote| remote.tags())
    };
    assert_eq!(open(true).unwrap().tags.len(), 1);
    assert!(open(false).is_err());
}
