//! Names of members in a normal form.

use crate::Rule;

/// The name without `.` parts and doubled slashes. An absolute name, or one with `..`, is an error.
pub(crate) fn normalise(name: &str) -> Result<String, Rule> {
    if name.starts_with('/') {
        return Err(Rule::AbsolutePath);
    }
    if name.split('/').any(|part| part == "..") {
        return Err(Rule::ParentPath);
    }
    if name.contains('\0') {
        return Err(Rule::Header("its name has a zero byte".into()));
    }
    Ok(name.split('/').filter(|part| !part.is_empty() && *part != ".").collect::<Vec<_>>().join("/"))
}

/// The folder of a member; empty at the root.
pub(super) fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The member that a link in a folder leads to; `None` outside of the archive.
pub(super) fn resolve(from: &str, target: &str) -> Option<String> {
    if target.starts_with('/') || target.is_empty() || target.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        assert_eq!(normalise("./a//b/./c").unwrap(), "a/b/c");
        assert_eq!(normalise("./").unwrap(), "");
        assert!(matches!(normalise("/a"), Err(Rule::AbsolutePath)));
        assert!(matches!(normalise("a/../b"), Err(Rule::ParentPath)));
    }

    #[test]
    fn links_out_of_the_archive_are_rejected() {
        assert_eq!(resolve("a", "../b/layer.tar").as_deref(), Some("b/layer.tar"));
        assert_eq!(resolve("a/b", "./c").as_deref(), Some("a/b/c"));
        assert_eq!(resolve("a", "../../b"), None);
        assert_eq!(resolve("a", "/etc/passwd"), None);
        assert_eq!(resolve("a", ""), None);
    }
}
