//! Names of images in sources.

use raas_types::{Digest, RepositoryName, Tag, VendorName};

/// The name of an image in a source. The repository need not be a name that raas could publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceName {
    /// The repository, in the short form that docker shows: without `docker.io/` and `library/`.
    pub(crate) repository: Option<String>,
    pub(crate) tag: Option<Tag>,
    /// The text of a name that holds no valid tag where it should.
    pub(crate) unusable: Option<String>,
}

impl SourceName {
    /// Parses a reference as docker does: `name`, `name:tag`, `host:port/name:tag@digest`, `sha256:…`, `<none>:<none>`.
    pub(crate) fn parse_reference(text: &str) -> Self {
        let nameless = ["", "<none>", "<none>:<none>"].contains(&text) || text.parse::<Digest>().is_ok();
        if nameless {
            return SourceName::default();
        }
        let named = match text.split_once('@') {
            Some((named, digest)) if digest.contains(':') => named,
            _ => text,
        };
        let last = named.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match named[last..].find(':') {
            Some(colon) => (&named[..last + colon], Some(&named[last + colon + 1..])),
            None => (named, None),
        };
        let repository = Some(familiar(repository).to_owned()).filter(|name| !name.is_empty());
        // docker writes `name:<none>` for an image that lost its tag.
        match tag.filter(|tag| *tag != "<none>") {
            None => SourceName { repository, ..SourceName::default() },
            Some(tag) => match tag.parse() {
                Ok(tag) => SourceName { repository, tag: Some(tag), unusable: None },
                Err(_) => SourceName { repository, tag: None, unusable: Some(text.to_owned()) },
            },
        }
    }
}

/// A repository's name in the short form that docker shows.
pub(crate) fn familiar(repository: &str) -> &str {
    let short = ["docker.io/", "index.docker.io/"].iter().find_map(|host| repository.strip_prefix(host));
    match short {
        Some(name) => name.strip_prefix("library/").unwrap_or(name),
        None => repository,
    }
}

/// The repository of a source that has the name of a vendor's image. The first that exists of: the same name; the name
/// with the vendor before it; the only repository with a registry before the name; the only repository with anything
/// before it.
pub(crate) fn named_like<'a>(
    repositories: &[&'a str],
    vendor: &VendorName,
    image: &RepositoryName,
) -> Option<&'a str> {
    let image = image.as_str();
    let dashed = format!("{vendor}-{}", image.replace('/', "-"));
    let slashed = format!("{vendor}/{image}");
    let find = |wanted: &dyn Fn(&str) -> bool| repositories.iter().copied().find(|name| wanted(name));
    let only = |wanted: &dyn Fn(&str) -> bool| {
        let mut found = repositories.iter().copied().filter(|name| wanted(name));
        found.next().filter(|_| found.next().is_none())
    };
    find(&|name| name == image)
        .or_else(|| find(&|name| name == slashed || name == dashed))
        .or_else(|| only(&|name| behind_registry(name) == Some(image)))
        .or_else(|| only(&|name| name.strip_suffix(image).is_some_and(|before| before.ends_with('/'))))
}

/// The only repository of a source that has this name behind a registry.
pub(crate) fn named_without_registry<'a>(repositories: &[&'a str], wanted: &str) -> Option<&'a str> {
    let mut found = repositories.iter().copied().filter(|name| behind_registry(name) == Some(wanted));
    found.next().filter(|_| found.next().is_none())
}

/// The name behind the registry of a reference. As docker sees it, the first part is a registry if it has a dot or a colon,
/// or is `localhost`.
fn behind_registry(name: &str) -> Option<&str> {
    let (first, rest) = name.split_once('/')?;
    (first.contains(['.', ':']) || first == "localhost").then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_parsed_as_docker_does() {
        let digest = Digest::of(b"");
        let pinned = format!("registry.example.com:5000/team/app:1@{digest}");
        let untagged = format!("app@{digest}");
        let table = [
            ("app", Some("app"), None),
            ("app:1", Some("app"), Some("1")),
            ("app:V1.0-RC1", Some("app"), Some("V1.0-RC1")),
            ("localhost:5000/app", Some("localhost:5000/app"), None),
            ("localhost:5000/app:1", Some("localhost:5000/app"), Some("1")),
            ("docker.io/library/app:1.0", Some("app"), Some("1.0")),
            ("docker.io/acme/app:1.0", Some("acme/app"), Some("1.0")),
            ("my__app--x:1", Some("my__app--x"), Some("1")),
            (&pinned, Some("registry.example.com:5000/team/app"), Some("1")),
            (&untagged, Some("app"), None),
            (&digest.to_string(), None, None),
            ("<none>:<none>", None, None),
            ("app:<none>", Some("app"), None),
            ("", None, None),
        ];
        for (text, repository, tag) in table {
            let name = SourceName::parse_reference(text);
            let found = (name.repository.as_deref(), name.tag.as_ref().map(Tag::as_str), name.unusable);
            assert_eq!(found, (repository, tag, None), "{text}");
        }
    }

    #[test]
    fn a_name_without_its_registry_is_enough_if_one_registry_has_it() {
        let names = ["r.acme.example/app", "r.acme.example/tools/app", "a.example/two", "b.example/two"];
        for (wanted, found) in [
            ("app", Some("r.acme.example/app")),
            ("tools/app", Some("r.acme.example/tools/app")),
            ("two", None),
            ("ools/app", None),
        ] {
            assert_eq!(named_without_registry(&names, wanted), found, "{wanted}");
        }
    }

    #[test]
    fn a_name_without_a_valid_tag_is_kept_as_text() {
        for text in ["app:1.0+build5", "registry.example.com:5000/app:-x", "app:"] {
            let name = SourceName::parse_reference(text);
            assert_eq!((name.unusable.as_deref(), name.tag), (Some(text), None));
        }
    }

    #[test]
    fn a_repository_is_found_by_the_names_that_operators_use() {
        let chosen = |list: &[&'static str], image: &str| {
            named_like(list, &"acme".parse().unwrap(), &image.parse().unwrap())
        };
        assert_eq!(chosen(&["x/app", "app"], "app"), Some("app"));
        assert_eq!(chosen(&["acme/app", "b"], "app"), Some("acme/app"));
        assert_eq!(chosen(&["acme-tools-app", "b"], "tools/app"), Some("acme-tools-app"));
        assert_eq!(chosen(&["quay.io/x/app", "b"], "app"), Some("quay.io/x/app"));
        assert_eq!(chosen(&["x/app", "y/app"], "app"), None);
        assert_eq!(chosen(&["r.acme.com/tools/app", "r.acme.com/app"], "app"), Some("r.acme.com/app"));
        assert_eq!(chosen(&["r.acme.com/app", "localhost/app"], "app"), None);
        assert_eq!(chosen(&["myapp", "b"], "app"), None);
        assert_eq!(chosen(&["only"], "app"), None);
    }
}
