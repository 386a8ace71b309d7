//! Granted patterns that grant nothing yet: perhaps they have a typing error.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use raas_base::files;
use raas_publish::home::Vendor;
use raas_types::crane::{Document, tree};
use raas_types::{RepositoryName, RepositoryPattern};

use crate::output;

/// Notes each pattern that matches no protected repository of the last publication. A pattern may be granted before its
/// repositories are published, so this is no error.
pub(crate) fn note_unmatched(vendor: &Vendor, patterns: &[RepositoryPattern]) {
    // The change is published. What is only a note must not make it fail.
    let Ok(unmatched) = unmatched(vendor, patterns) else { return };
    for (pattern, public) in unmatched {
        let what = match public {
            Some(name) => format!("{name} is public, and everybody sees it"),
            None => "no published repository matches".to_owned(),
        };
        output::note(&format!("Note: `{pattern}` grants no protected repository yet: {what}"));
    }
}

/// The patterns without a protected repository, each with a public repository that matches.
fn unmatched<'a>(
    vendor: &Vendor,
    patterns: &'a [RepositoryPattern],
) -> io::Result<Vec<(&'a RepositoryPattern, Option<RepositoryName>)>> {
    let root = vendor.checkout().folder().to_owned();
    let mut documents: BTreeMap<RepositoryName, Vec<String>> = BTreeMap::new();
    files::walk(&root, tree::DATA, &mut |path, _| {
        if let Some(name) = repository_of(path) {
            documents.entry(name).or_default().push(path.to_owned());
        }
    })?;
    let mut found = Vec::new();
    for pattern in patterns {
        let (mut is_granted, mut public) = (false, None);
        for (name, paths) in documents.iter().filter(|(name, _)| pattern.matches(name)) {
            for path in paths {
                let document = Document::parse(&fs::read(root.join(path))?).map_err(io::Error::other)?;
                is_granted |= document.protected;
            }
            if is_granted {
                break;
            }
            public.get_or_insert(name);
        }
        if !is_granted {
            found.push((pattern, public.cloned()));
        }
    }
    Ok(found)
}

/// The repository of a document of the vendor's own.
fn repository_of(path: &str) -> Option<RepositoryName> {
    let name = path.strip_prefix(tree::DATA)?.trim_start_matches('/');
    let name = name.strip_suffix("/_v1.json").or_else(|| name.strip_suffix(".json"))?;
    name.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_document_names_its_repository() {
        let name: RepositoryName = "tools/app".parse().unwrap();
        assert_eq!(repository_of(&tree::document(&name)).as_ref(), Some(&name));
        assert_eq!(repository_of(&tree::v1_document(&name)).as_ref(), Some(&name));
        for other in [tree::operators_document(&name), tree::customer(&"bigbank".parse().unwrap())] {
            assert_eq!(repository_of(&other), None, "{other}");
        }
    }
}
