//! Recognising the format of a source by the files that only this format has.

use crate::descriptions;
pub(crate) use crate::descriptions::Recognised;
use crate::docker_save::LIST;
use crate::error::legible;
use crate::kind::SourceKind;
use crate::tree::Tree;
use crate::{ImageError, Limits, dir, docker_v1, pulp2};

/// Recognises the format.
pub(crate) fn recognise(tree: &Tree, what: &str, limits: &Limits) -> Result<Recognised, ImageError> {
    let has = |name: &str| tree.file(name, limits).map(|file| file.is_some());
    if has("oci-layout")? && has("index.json")? {
        return if has(LIST)? { descriptions::compare(tree, limits) } else { Ok(SourceKind::Oci.into()) };
    }
    if has(LIST)? {
        let kind = if dir::is_directory(tree, limits)? { SourceKind::Dir } else { SourceKind::DockerSave };
        return Ok(kind.into());
    }
    if has("repositories")? {
        return Ok(SourceKind::DockerV1.into());
    }
    if has("versions.json")? && tree.names("pulpcore.app.modelresource.").next().is_some() {
        return Ok(SourceKind::Pulp3.into());
    }
    if tree.names("web/").next().is_some() || pulp2::has_document(tree, limits) {
        return Ok(SourceKind::Pulp2.into());
    }
    if docker_v1::has_images(tree) {
        return Ok(SourceKind::DockerV1.into());
    }
    let found = match tree {
        Tree::Folder(_) => {
            "a folder without `oci-layout` and `index.json`, or `version` and `manifest.json`".to_owned()
        }
        Tree::Tar { index, .. } if index.is_empty() => "an empty archive".to_owned(),
        Tree::Tar { .. } => {
            let some: Vec<&str> = tree.names("").take(3).collect();
            format!(
                "an archive ({}, …) that is neither a Pulp export, a docker save archive nor an OCI image layout",
                legible(&some.join(", "), 300)
            )
        }
    };
    Err(ImageError::NotAnImage { what: what.to_owned(), found })
}
