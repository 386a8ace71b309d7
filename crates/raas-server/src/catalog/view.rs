//! The catalog that one customer sees: the public repositories, and the granted ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use raas_types::RepositoryName;

use super::Catalog;

impl Catalog {
    /// The catalog with the public repositories and the protected ones that are granted. `self` is the public catalog.
    ///
    /// It equals the catalog of a site that has no other repositories. So no list, count or order tells about others.
    pub(crate) fn granted(&self, is_granted: impl Fn(&RepositoryName) -> bool) -> Catalog {
        let whole = self.whole();
        let mut view = Catalog {
            revision: self.revision.clone(),
            published: self.published,
            repositories: visible(&self.repositories, &whole.repositories, &is_granted),
            legacy: visible(&self.legacy, &whole.legacy, &is_granted),
            v1: visible(&self.v1, &whole.v1, &is_granted),
            ..Catalog::default()
        };
        view.index_images();
        view
    }
}

/// The entries of `whole` that are public or granted. A repository is protected as a whole, so an entry is public if
/// the public catalog has its name.
fn visible<T>(
    public: &BTreeMap<RepositoryName, Arc<T>>,
    whole: &BTreeMap<RepositoryName, Arc<T>>,
    is_granted: &impl Fn(&RepositoryName) -> bool,
) -> BTreeMap<RepositoryName, Arc<T>> {
    let seen = whole.iter().filter(|(name, _)| public.contains_key(*name) || is_granted(name));
    seen.map(|(name, entry)| (name.clone(), Arc::clone(entry))).collect()
}
