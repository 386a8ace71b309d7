//! The catalog that one visitor sees: the public repositories, and the granted ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use raas_types::RepositoryName;

use super::Catalog;

/// The API that serves a repository. Each has documents of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RepositoryKind {
    V1,
    V2,
}

impl Catalog {
    /// The catalog with the public repositories and the protected ones that are granted. `self` is the public catalog.
    ///
    /// It equals the catalog of a site that has no other repositories. So no list, count or order tells about others.
    pub(crate) fn granted(&self, is_granted: impl Fn(&RepositoryName, RepositoryKind) -> bool) -> Catalog {
        let whole = self.whole();
        let v1 = |name: &RepositoryName| is_granted(name, RepositoryKind::V1);
        let v2 = |name: &RepositoryName| is_granted(name, RepositoryKind::V2);
        let mut view = Catalog {
            revision: self.revision.clone(),
            published: self.published,
            repositories: visible(&self.repositories, &whole.repositories, &v2),
            legacy: visible(&self.legacy, &whole.legacy, &v2),
            v1: visible(&self.v1, &whole.v1, &v1),
            ..Catalog::default()
        };
        view.index_images();
        view
    }

    /// The path of the `url` of a protected repository's document. `self` is the whole catalog.
    ///
    /// A document that is not protected itself has no path. Then the one of the other API counts.
    pub(crate) fn url_path(&self, name: &RepositoryName, kind: RepositoryKind) -> Option<&str> {
        let v1 = || self.v1.get(name)?.url_path.as_deref();
        let v2 = || match self.repositories.get(name) {
            Some(repository) => repository.url_path.as_deref(),
            None => self.legacy.get(name).map(|repository| repository.url_path()),
        };
        match kind {
            RepositoryKind::V1 => v1().or_else(v2),
            RepositoryKind::V2 => v2().or_else(v1),
        }
    }
}

/// The path of a URL, with the slash in front.
pub(super) fn path_of(url: &str) -> &str {
    let behind_host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let before_query = behind_host.split(['?', '#']).next().unwrap_or_default();
    before_query.find('/').map_or("", |at| &before_query[at..])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_url_has_no_host_and_no_query() {
        let table = [
            ("https://cdn.example.com/content/dist/app/", "/content/dist/app/"),
            ("http://h:80/a?b=/c", "/a"),
            ("https://h/a#/b", "/a"),
            ("https://h", ""),
            ("https://h?x=/a", ""),
        ];
        for (url, path) in table {
            assert_eq!(path_of(url), path, "{url}");
        }
    }
}
