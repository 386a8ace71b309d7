//! The catalog that a request is answered from, if its visitor sees some of the protected repositories.

use raas_types::RepositoryName;

use crate::catalog::{Catalog, RepositoryKind};
use crate::route::{Route, V1, V2};

/// A catalog for a request.
pub(crate) enum View {
    /// The catalog of all repositories: the request is for one that the visitor sees.
    Whole,
    /// The catalog of the public repositories.
    Public,
    /// A catalog of what the visitor sees.
    Own(Box<Catalog>),
}

impl View {
    /// The catalog for a request. `sees` decides about protected repositories, and `public` is the catalog that everybody
    /// sees.
    pub(super) fn of(
        route: &Route<'_>,
        public: &Catalog,
        sees: impl Fn(&RepositoryName, RepositoryKind) -> bool,
    ) -> View {
        let (name, kind) = match route {
            Route::V2(route) if route.name().is_some() => (route.name(), RepositoryKind::V2),
            Route::V1(V1::Images(name) | V1::Tags(name) | V1::Tag(name, _)) => {
                (Some(*name), RepositoryKind::V1)
            }
            Route::V2(V2::Catalog)
            | Route::V1(V1::Search | V1::File(..))
            | Route::Page
            | Route::Feed
            | Route::Crane { .. } => return View::Own(Box::new(public.granted(sees))),
            _ => (None, RepositoryKind::V2),
        };
        match name {
            None => View::Public,
            // The name may lead to either of two repositories, depending on which of them the visitor sees.
            Some(name) if name.starts_with("library/") => View::Own(Box::new(public.granted(sees))),
            Some(name) => match name.parse() {
                Ok(name) if sees(&name, kind) => View::Whole,
                _ => View::Public,
            },
        }
    }
}
