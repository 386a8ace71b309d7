//! Which part of a snapshot holds a file of the metadata tree.
//!
//! Publishers and servers of every version must compute the same part for a path: a server keeps a part that did not
//! change, and tells by a file's path alone whether the file is in that part.

use crate::Digest;

use super::tree;

/// The highest number of parts of a snapshot.
pub const MOST: usize = 64;

/// The average number of files in a part above which the number of parts doubles. This number of files takes about a
/// megabyte, which packs to a tenth and is read in some milliseconds.
const FULL: usize = 1024;

/// The number of parts for this number of files: a power of two.
pub fn count(files: usize) -> usize {
    files.div_ceil(FULL).clamp(1, MOST).next_power_of_two()
}

/// Whether a snapshot may have this number of parts.
pub fn is_count(parts: usize) -> bool {
    parts.is_power_of_two() && parts <= MOST
}

/// The number of the part that holds a file, counted from 0. It follows from the SHA-256 of the repository's name in
/// the path, so a document and its manifests are in one part.
///
/// # Panics
/// `parts` is 0.
pub fn part_of(path: &str, parts: usize) -> usize {
    usize::from(Digest::of(repository(path).as_bytes()).bytes()[0]) % parts
}

/// The repository's name in a path, which need not be a valid name.
fn repository(path: &str) -> &str {
    let path = path.strip_prefix(tree::OPERATOR).unwrap_or(path);
    let path = path.strip_prefix(tree::DATA).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
    match path.split_once("/_") {
        Some((name, _)) => name,
        None => path.strip_suffix(".json").unwrap_or(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_a_repository_are_in_one_part() {
        // The first byte that `sha256sum` prints for the name.
        let table = [("app", 0xa1), ("team/app", 0xe4), ("a.json", 0x60)];
        for (name, first) in table {
            for path in [
                format!("crane/data/{name}.json"),
                format!("crane/data/{name}/_v1.json"),
                format!("crane/data/{name}/_manifests/sha256/ab"),
                format!("crane/data/{name}/_later/kind.json"),
                format!("crane/data/+operator/{name}.json"),
                format!("crane/data/+operator/{name}/_v1.json"),
            ] {
                assert_eq!(repository(&path), name);
                for parts in [1, 2, 4, 8, 16, 32, 64] {
                    assert_eq!(part_of(&path, parts), first % parts, "{path}");
                }
            }
        }
    }

    #[test]
    fn each_customer_has_a_place_of_its_own() {
        assert_eq!(repository("crane/data/_access/customers/big_bank"), "_access/customers/big_bank");
        assert_eq!(repository("crane/data/_access/protected"), "_access/protected");
    }

    #[test]
    fn any_path_has_a_part() {
        for path in [
            "",
            "/",
            "revision",
            "crane/data/",
            "crane/data/_x",
            "crane/data/.json",
            "crane/data/A b/ü",
            "//_",
        ] {
            assert!(part_of(path, 1) == 0 && part_of(path, MOST) < MOST, "{path}");
        }
    }

    #[test]
    fn the_number_of_parts_doubles_with_the_number_of_files() {
        let table = [
            (0, 1),
            (FULL, 1),
            (FULL + 1, 2),
            (2 * FULL, 2),
            (2 * FULL + 1, 4),
            (32 * FULL + 1, 64),
            (1000 * FULL, 64),
            (usize::MAX, 64),
        ];
        for (files, parts) in table {
            assert_eq!(count(files), parts, "{files}");
            assert!(is_count(parts));
        }
        assert!([0, 3, 65, 128].into_iter().all(|parts| !is_count(parts)));
    }
}
