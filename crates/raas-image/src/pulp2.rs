//! Pulp 2 docker exports: a Crane document at the root, `web/<image id>/{ancestry,json,layer}`.

use raas_types::ImageId;
use raas_types::crane::{Content as DocumentContent, Document};

use crate::select::Wanted;
use crate::tree::Tree;
use crate::v1::{Files, collect};
use crate::{ImageError, Limits, Rule, V1Set};

/// More documents than an export has: one for its repository.
const MAX_DOCUMENTS: usize = 64;

fn document_names(tree: &Tree) -> impl Iterator<Item = &str> {
    tree.names("").filter(|name| name.ends_with(".json") && !name.contains('/'))
}

/// Whether the root has a metadata document, for an export without any image.
pub(crate) fn has_document(tree: &Tree, limits: &Limits) -> bool {
    document_names(tree).take(MAX_DOCUMENTS).any(|name| read_document(tree, name, limits).is_ok())
}

fn read_document(tree: &Tree, name: &str, limits: &Limits) -> Result<Document, ImageError> {
    let content = tree.need(name, "a Pulp 2 export has it", limits)?;
    let bytes = content.read_all(limits.json)?;
    Document::parse(&bytes).map_err(|error| ImageError::refused(name, Rule::Content(error.to_string())))
}

fn documents(tree: &Tree, limits: &Limits) -> Result<Vec<(String, Document)>, ImageError> {
    if let Some(name) = document_names(tree).nth(MAX_DOCUMENTS) {
        return Err(ImageError::content(name, format!("the export has more than {MAX_DOCUMENTS} documents")));
    }
    document_names(tree).map(|name| Ok((name.to_owned(), read_document(tree, name, limits)?))).collect()
}

/// The names of the repositories that the export's documents describe.
pub(crate) fn repositories(tree: &Tree, limits: &Limits) -> Result<Vec<String>, ImageError> {
    Ok(documents(tree, limits)?.into_iter().map(|(_, document)| document.name.to_string()).collect())
}

/// The images of the wanted repository.
pub(crate) fn image(tree: &Tree, wanted: &Wanted, limits: &Limits) -> Result<V1Set, ImageError> {
    let mut documents = documents(tree, limits)?;
    if let Some(name) = &wanted.repository {
        documents.retain(|(_, document)| document.name.as_str() == name || document.repository == *name);
    }
    let (name, document) = match documents.len() {
        1 => documents.remove(0),
        0 => {
            return Err(ImageError::missing(
                "<repository>.json",
                "a Pulp 2 export has its metadata document at the root",
            ));
        }
        n => {
            return Err(ImageError::choice(format!("the export has {n} metadata documents of this name")));
        }
    };
    let DocumentContent::V1(v1) = document.content else {
        return Err(ImageError::content(
            name,
            "it describes v2 content, whose bytes are not in a docker export; export the repository from Pulp 3, or \
             copy it into an OCI image layout",
        ));
    };
    if let Some((tag, id)) = v1.tags.iter().find(|(_, id)| !v1.images.contains(*id)) {
        return Err(ImageError::content(
            name,
            format!("its tag `{tag}` names image {id}, which its `images` do not list"),
        ));
    }
    if v1.tags.is_empty() {
        return Err(ImageError::content(name, "it has no tag, so there is nothing that could be pulled"));
    }
    let files = |id: &ImageId| {
        let file = |name: &str| tree.file(&format!("web/{id}/{name}"), limits);
        Ok(Files { json: file("json")?, layer: file("layer")?, ancestry: file("ancestry")? })
    };
    collect(v1.tags, wanted.tag.as_ref(), files, limits)
}
