//! Pulp 2 docker exports: a Crane document at the root, `web/<image id>/{ancestry,json,layer}`.

use raas_types::ImageId;
use raas_types::crane::{Content as DocumentContent, Document};

use crate::select::{Catalogue, ListedImage, Selection, Unnamed};
use crate::tree::Tree;
use crate::v1::{Files, Tags, collect, list};
use crate::{ImageError, Limits, Rule, V1Set};

/// The most documents of an export, which has one for each repository.
const MAX_DOCUMENTS: usize = 64;

/// An export whose documents have been read.
pub(crate) struct Export<'a> {
    tree: &'a Tree,
    limits: &'a Limits,
    documents: Vec<(String, Document)>,
}

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

impl<'a> Export<'a> {
    pub(crate) fn open(tree: &'a Tree, limits: &'a Limits) -> Result<Self, ImageError> {
        if let Some(name) = document_names(tree).nth(MAX_DOCUMENTS) {
            let message = format!("the export has more than {MAX_DOCUMENTS} documents");
            return Err(ImageError::content(name, message));
        }
        let documents = document_names(tree)
            .map(|name| Ok((name.to_owned(), read_document(tree, name, limits)?)))
            .collect::<Result<Vec<_>, ImageError>>()?;
        if documents.is_empty() {
            let why = "a Pulp 2 export has its metadata document at the root";
            return Err(ImageError::missing("<repository>.json", why));
        }
        Ok(Self { tree, limits, documents })
    }

    /// The document of a repository.
    fn document(&self, repository: Option<&str>) -> Result<&(String, Document), ImageError> {
        let mut named =
            self.documents.iter().filter(|(_, document)| Some(document.name.as_str()) == repository);
        match (named.next(), named.next()) {
            (Some(document), None) => Ok(document),
            _ => {
                let n = self.documents.len();
                Err(ImageError::choice(format!("the export has {n} metadata documents of this name")))
            }
        }
    }

    /// The tags of a repository, checked.
    fn tags(&self, repository: Option<&str>) -> Result<Tags, ImageError> {
        let (name, document) = self.document(repository)?;
        let DocumentContent::V1(v1) = &document.content else {
            return Err(ImageError::content(
                name,
                "it describes v2 content, whose bytes are not in a docker export; export the repository from Pulp 3, or \
                 copy it into an OCI image layout",
            ));
        };
        if let Some((tag, id)) = v1.tags.iter().find(|(_, id)| !v1.images.contains(*id)) {
            let message = format!("its tag `{tag}` names image {id}, which its `images` do not list");
            return Err(ImageError::content(name, message));
        }
        if v1.tags.is_empty() {
            return Err(ImageError::content(name, "it has no tag, so there is nothing that could be pulled"));
        }
        Ok(v1.tags.iter().map(|(tag, id)| (Ok(tag.clone()), *id)).collect())
    }

    pub(crate) fn read(&self, selection: &Selection) -> Result<V1Set, ImageError> {
        let files = |id: &ImageId| {
            let file = |name: &str| self.tree.file(&format!("web/{id}/{name}"), self.limits);
            Ok(Files { json: file("json")?, layer: file("layer")?, ancestry: file("ancestry")? })
        };
        let set = collect(&self.tags(selection.repository())?, selection, files, self.limits)?;
        let (_, document) = self.document(selection.repository())?;
        Ok(V1Set { protected: document.protected, url: Some(document.url.clone()), ..set })
    }
}

impl Catalogue for Export<'_> {
    fn repositories(&self) -> Result<Vec<Option<String>>, ImageError> {
        let mut names: Vec<_> =
            self.documents.iter().map(|(_, document)| Some(document.name.to_string())).collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    fn images(&self, repository: Option<&str>) -> Result<Vec<ListedImage>, ImageError> {
        Ok(list(&self.tags(repository)?))
    }

    fn unnamed(&self) -> Unnamed {
        Unnamed::Latest
    }

    fn has_manifests(&self) -> bool {
        false
    }
}
