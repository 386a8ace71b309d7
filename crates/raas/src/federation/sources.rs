//! Gathering the operator's documents from where the configuration says they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use raas_types::Digest;
use raas_types::crane::Document;

use crate::config::{Config, Place};
use crate::failure::{Context as _, Failure, Kind};
use crate::files;
use crate::home::Home;

/// What the operator serves itself.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    pub(crate) documents: Vec<OperatorDocument>,
}

/// A document of the operator's.
#[derive(Debug, Clone)]
pub(crate) struct OperatorDocument {
    /// Where it was found.
    pub(crate) origin: String,
    pub(crate) document: Document,
    /// The manifests that lay beside it, or were fetched.
    pub(crate) manifests: BTreeMap<Digest, Vec<u8>>,
}

impl OperatorDocument {
    pub(crate) fn new(origin: &str, document: Document) -> Self {
        Self { origin: origin.to_owned(), document, manifests: BTreeMap::new() }
    }
}

impl Sources {
    /// Reads everything.
    pub(crate) fn gather(config: &Config, _home: &Home) -> Result<Self, Failure> {
        let mut sources = Self::default();
        match &config.redhat.metadata {
            Some(Place::Path(path)) => sources.read_path(path)?,
            Some(Place::Url(_)) | None => {}
        }
        Ok(sources)
    }

    fn read_path(&mut self, path: &Path) -> Result<(), Failure> {
        let cannot = || format!("cannot read the operator's metadata in {}", path.display());
        if !fs::metadata(path).context(cannot)?.is_dir() {
            return self.read_file(path);
        }
        let mut names = Vec::new();
        files::walk(path, "", &mut |name, _| {
            if name.ends_with(".json") {
                names.push(name.to_owned());
            }
        })
        .context(cannot)?;
        // In order, so that which of two documents is believed does not depend on the disk.
        names.sort();
        names.iter().try_for_each(|name| self.read_file(&path.join(name)))
    }

    fn read_file(&mut self, path: &Path) -> Result<(), Failure> {
        let bytes = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
        self.add(&path.display().to_string(), &bytes)
    }

    fn add(&mut self, origin: &str, bytes: &[u8]) -> Result<(), Failure> {
        // A layer whose document is misread would be stored where it must not be.
        let document = Document::parse(bytes).map_err(|error| {
            Failure::new(Kind::Usage, format!("{origin} does not say which layers are masked"))
                .caused_by(error)
                .hint("`raas lint` tells all that is wrong with it")
        })?;
        self.documents.push(OperatorDocument::new(origin, document));
        Ok(())
    }
}
