//! References as sources write them, `registry/name:tag` in any shape.

use raas_types::Tag;

/// A repository's name in a source, which need not be one that raas could publish, and a tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceName {
    pub(crate) repository: Option<String>,
    pub(crate) tag: Option<Tag>,
}

impl SourceName {
    /// Splits a reference at the colon behind its last slash; what has no valid tag there has none.
    pub(crate) fn parse_reference(text: &str) -> Self {
        let text = text.split('@').next().unwrap_or_default();
        let last = text.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match text[last..].find(':') {
            Some(colon) => (&text[..last + colon], text[last + colon + 1..].parse().ok()),
            None => (text, None),
        };
        SourceName { repository: Some(repository.to_owned()).filter(|r| !r.is_empty()), tag }
    }
}

/// Which of a source's repositories is meant by a vendor's image: the one of that name, with the vendor before it
/// or a registry before both, or the only one there is.
pub(crate) fn choose<'a>(names: &'a [String], vendor: &str, image: &str) -> Option<&'a String> {
    let dashed = format!("{vendor}-{}", image.replace('/', "-"));
    let slashed = format!("{vendor}/{image}");
    let exact = names.iter().find(|name| **name == image);
    exact
        .or_else(|| names.iter().find(|name| **name == slashed || **name == dashed))
        .or_else(|| {
            let mut behind = names
                .iter()
                .filter(|name| name.strip_suffix(image).is_some_and(|before| before.ends_with('/')));
            behind.next().filter(|_| behind.next().is_none())
        })
        .or(if let [only] = names { Some(only) } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_of_any_shape_split() {
        let table = [
            ("app", Some("app"), None),
            ("app:1", Some("app"), Some("1")),
            ("localhost:5000/app", Some("localhost:5000/app"), None),
            ("docker.io/library/app:1.0", Some("docker.io/library/app"), Some("1.0")),
            ("app:1@sha256:00", Some("app"), Some("1")),
        ];
        for (text, repository, tag) in table {
            let name = SourceName::parse_reference(text);
            assert_eq!(
                (name.repository.as_deref(), name.tag.as_ref().map(Tag::as_str)),
                (repository, tag),
                "{text}"
            );
        }
    }

    #[test]
    fn the_repository_is_found_as_operators_name_them() {
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let chosen = |list: &[&str], image| choose(&names(list), "acme", image).cloned();
        assert_eq!(chosen(&["x/app", "app"], "app").as_deref(), Some("app"));
        assert_eq!(chosen(&["acme/app", "b"], "app").as_deref(), Some("acme/app"));
        assert_eq!(chosen(&["acme-tools-app", "b"], "tools/app").as_deref(), Some("acme-tools-app"));
        assert_eq!(chosen(&["docker.io/x/app", "b"], "app").as_deref(), Some("docker.io/x/app"));
        assert_eq!(chosen(&["only"], "app").as_deref(), Some("only"));
        assert_eq!(chosen(&["x/app", "y/app"], "app"), None);
        assert_eq!(chosen(&["myapp", "b"], "app"), None);
    }
}
