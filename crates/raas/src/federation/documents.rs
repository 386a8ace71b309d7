//! The operator's documents in a vendor's registry.

use std::collections::BTreeMap;

use raas_types::RepositoryName;

use super::Sources;
use crate::failure::Failure;
use crate::home::Vendor;
use crate::publication::Publication;

/// The operator's documents as they are to be published.
#[derive(Debug, Default)]
pub(crate) struct OperatorDocuments {
    files: BTreeMap<String, Vec<u8>>,
}

impl OperatorDocuments {
    /// Decides what is published, before anything is stored.
    pub(crate) fn plan(
        _sources: &Sources,
        _vendor: &Vendor,
        _image: &RepositoryName,
    ) -> Result<Self, Failure> {
        Ok(Self::default())
    }

    /// The files of the record that are to change.
    pub(crate) fn changes(
        &self,
        _publication: &Publication<'_>,
    ) -> Result<BTreeMap<String, Option<Vec<u8>>>, Failure> {
        Ok(self.files.iter().map(|(path, bytes)| (path.clone(), Some(bytes.clone()))).collect())
    }
}
