//! Lists the files of a commit, and the differences between two commits, from their trees.

use std::collections::BTreeMap;

use crate::cat_file::REQUESTS_AT_ONCE;
use crate::error::GitError;
use crate::object::{EntryKind, TreeEntry, tree_entries, tree_entry};
use crate::objects::Objects;
use crate::path::is_safe_path;

/// The deepest folder. A path of git's own limit has fewer.
const DEEPEST: usize = 1000;

/// The most files of one listing. A tree may name another one many times: a few objects may mean more files than any memory
/// has room for.
const MOST_FILES: usize = if cfg!(test) { 20_000 } else { 2_000_000 };

/// A file of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedFile {
    pub(crate) path: String,
    pub(crate) kind: EntryKind,
    pub(crate) id: String,
}

/// A folder that is still to be listed.
struct Folder {
    /// Its path with a slash at the end; empty for the root.
    path: String,
    id: String,
}

/// The files of a tree below a path, or the file at the path, in order. An empty path means all files.
///
/// # Errors
/// git fails, an object is damaged, or a path is not safe: see [`is_safe_path`].
pub(crate) fn files(objects: &Objects, root: &str, path: &str) -> Result<Vec<ListedFile>, GitError> {
    if path.is_empty() {
        return below(objects, Folder { path: String::new(), id: root.to_owned() });
    }
    let folder_only = path.ends_with('/');
    let path = path.trim_end_matches('/');
    match find(objects, root, path)? {
        None => Ok(Vec::new()),
        Some(ListedFile { kind: EntryKind::Folder, id, .. }) => {
            below(objects, Folder { path: format!("{path}/"), id })
        }
        Some(_) if folder_only => Ok(Vec::new()),
        Some(file) => Ok(vec![file]),
    }
}

/// The file or folder at a path.
pub(crate) fn find(objects: &Objects, root: &str, path: &str) -> Result<Option<ListedFile>, GitError> {
    let mut found: Option<(EntryKind, String)> = Some((EntryKind::Folder, root.to_owned()));
    for name in path.split('/') {
        let Some((EntryKind::Folder, id)) = found else { return Ok(None) };
        let bytes = objects.tree(&id)?;
        let entry = tree_entry(&bytes, id.len(), name).map_err(|why| objects.damaged(&id, why))?;
        found = entry.map(|entry| (entry.kind, entry.id()));
    }
    Ok(found.map(|(kind, id)| ListedFile { path: path.to_owned(), kind, id }))
}

/// All files below a folder. It reads the folders of one depth together.
fn below(objects: &Objects, folder: Folder) -> Result<Vec<ListedFile>, GitError> {
    let mut files = Vec::new();
    let mut level = vec![folder];
    for _ in 0..DEEPEST {
        if level.is_empty() {
            // Paths of different depths are in one order only now.
            files.sort_unstable_by(|one: &ListedFile, other| one.path.cmp(&other.path));
            return Ok(files);
        }
        let ids: Vec<&str> = level.iter().map(|folder| folder.id.as_str()).collect();
        let mut next = Vec::new();
        for (folders, ids) in level.chunks(REQUESTS_AT_ONCE).zip(ids.chunks(REQUESTS_AT_ONCE)) {
            for (folder, bytes) in folders.iter().zip(objects.trees(ids)?) {
                for entry in entries(objects, &folder.id, &bytes)? {
                    let path = path_of(objects, folder, &entry)?;
                    match entry.kind {
                        EntryKind::Folder => next.push(Folder { path: format!("{path}/"), id: entry.id() }),
                        kind => files.push(ListedFile { path, kind, id: entry.id() }),
                    }
                }
                if files.len() + next.len() > MOST_FILES {
                    return Err(objects.damaged(&folder.id, "it is part of a tree with too many files"));
                }
            }
        }
        level = next;
    }
    Err(objects.damaged(&level[0].id, "it is too deep in a tree"))
}

/// The files that differ between two trees, in order, with the file of the second tree, or `None` if it has none.
pub(crate) fn differences(
    objects: &Objects,
    from: &str,
    to: &str,
) -> Result<BTreeMap<String, Option<ListedFile>>, GitError> {
    let mut found = BTreeMap::new();
    let mut pairs = vec![(String::new(), from.to_owned(), to.to_owned())];
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    while let Some((path, from, to)) = pairs.pop() {
        if path.split('/').count() > DEEPEST {
            return Err(objects.damaged(&to, "it is too deep in a tree"));
        }
        let (old, now) = (objects.tree(&from)?, objects.tree(&to)?);
        let mut old: BTreeMap<&str, TreeEntry<'_>> =
            entries(objects, &from, &old)?.into_iter().map(|entry| (entry.name, entry)).collect();
        for entry in entries(objects, &to, &now)? {
            let before = old.remove(entry.name);
            if before.as_ref().is_some_and(|before| before.has_content_of(&entry)) {
                continue;
            }
            let at = path_of(objects, &Folder { path: path.clone(), id: to.clone() }, &entry)?;
            match before {
                Some(before) if before.kind == EntryKind::Folder && entry.kind == EntryKind::Folder => {
                    pairs.push((format!("{at}/"), before.id(), entry.id()));
                    continue;
                }
                Some(before) => gone.push((at.clone(), before.kind, before.id())),
                None => {}
            }
            new.push((at, entry.kind, entry.id()));
        }
        for entry in old.into_values() {
            let at = path_of(objects, &Folder { path: path.clone(), id: from.clone() }, &entry)?;
            gone.push((at, entry.kind, entry.id()));
        }
    }
    for file in whole(objects, gone)? {
        found.insert(file.path, None);
    }
    for file in whole(objects, new)? {
        found.insert(file.path.clone(), Some(file));
    }
    Ok(found)
}

/// The files of entries: the files below folders, and the files themselves.
fn whole(objects: &Objects, entries: Vec<(String, EntryKind, String)>) -> Result<Vec<ListedFile>, GitError> {
    let mut files = Vec::new();
    for (path, kind, id) in entries {
        match kind {
            EntryKind::Folder => {
                files.extend(below(objects, Folder { path: format!("{path}/"), id: id.clone() })?);
                if files.len() > MOST_FILES {
                    return Err(objects.damaged(&id, "it is part of a tree with too many files"));
                }
            }
            kind => files.push(ListedFile { path, kind, id }),
        }
    }
    Ok(files)
}

fn entries<'a>(objects: &Objects, id: &str, bytes: &'a [u8]) -> Result<Vec<TreeEntry<'a>>, GitError> {
    tree_entries(bytes, id.len()).map_err(|why| objects.damaged(id, why))
}

fn path_of(objects: &Objects, folder: &Folder, entry: &TreeEntry<'_>) -> Result<String, GitError> {
    // A commit may come from another home, and its paths become files of this machine.
    if !is_safe_path(entry.name) {
        return Err(objects.damaged(&folder.id, &format!("it has a file `{}`", entry.name)));
    }
    Ok(format!("{}{}", folder.path, entry.name))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::Stdio;

    use super::*;
    use crate::repository::tests::repository;
    use crate::repository::{Change, CommitId, Repository};

    /// Commits whose folders and files have names with a common beginning, and change into each other.
    fn commits(repository: &Repository) -> Vec<CommitId> {
        let rounds: [&[(&str, Option<&str>)]; 4] = [
            &[
                ("a/x/y/1", Some("1")),
                ("a.b", Some("2")),
                ("a/x.y", Some("3")),
                ("ü \"\\/z", Some("4")),
                ("d/1", Some("5")),
            ],
            // A folder becomes a file.
            &[("a/x/y/1", None), ("a/x", Some("6")), ("a.b", Some("7"))],
            // A file becomes a folder.
            &[
                ("a/x", None),
                ("a/x/1", Some("8")),
                ("a/x/2/3", Some("8")),
                ("a.b", None),
                ("a.b/c", Some("7")),
            ],
            &[("d/1", None), ("e/1", Some("5"))],
        ];
        let mut commits: Vec<CommitId> = Vec::new();
        for changes in rounds {
            let change = |(path, content): &(&str, Option<&str>)| -> Change {
                ((*path).to_owned(), content.map(|text| text.as_bytes().to_vec()))
            };
            let changes: Vec<Change> = changes.iter().map(change).collect();
            commits.push(repository.commit(commits.last(), &changes, "Change").unwrap());
        }
        commits
    }

    #[test]
    fn a_listing_is_as_git_prints_it() {
        let (repository, _folder) = repository();
        for commit in commits(&repository) {
            for folder in [
                "",
                "a",
                "a/",
                "a/x",
                "a/x/",
                "a/x/y",
                "a/x/1",
                "a.b",
                "a.b/",
                "ü \"\\",
                "nowhere",
                "a/nowhere/",
            ] {
                let mut arguments = vec!["ls-tree", "-r", "-z", "--full-tree", commit.as_str()];
                arguments.extend((!folder.is_empty()).then_some(folder));
                let listing = repository.git().run(&arguments).unwrap();
                let line = |line: &str| {
                    let (facts, path) = line.split_once('\t').unwrap();
                    (path.to_owned(), facts.split(' ').nth(2).unwrap().to_owned())
                };
                let expected: Vec<(String, String)> = listing.split_terminator('\0').map(line).collect();
                let files = repository.files(&commit, folder).unwrap();
                let found: Vec<(String, String)> =
                    files.into_iter().map(|file| (file.path, file.object)).collect();
                assert_eq!(found, expected, "{folder}");
                let paths: Vec<String> = expected.into_iter().map(|(path, _)| path).collect();
                let reader = repository.reader(&commit).unwrap();
                assert_eq!(reader.paths(folder).unwrap(), paths, "{folder}");
                assert_eq!(reader.has(folder).unwrap(), paths == [folder], "{folder}");
            }
        }
    }

    #[test]
    fn differences_are_as_git_prints_them() {
        let (repository, _folder) = repository();
        let commits = commits(&repository);
        for from in &commits {
            for to in &commits {
                let arguments =
                    ["diff-tree", "-r", "-z", "--no-renames", "--raw", from.as_str(), to.as_str()];
                let listing = repository.git().run(&arguments).unwrap();
                let words: Vec<&str> = listing.split_terminator('\0').collect();
                // :<mode> SP <mode> SP <object> SP <object> SP <status> NUL <path> NUL
                let line = |words: &[&str]| {
                    let facts: Vec<&str> = words[0].split(' ').collect();
                    (words[1].to_owned(), (facts[4] != "D").then(|| facts[3].to_owned()))
                };
                let mut expected: Vec<(String, Option<String>)> = words.chunks(2).map(line).collect();
                expected.sort();
                let found = repository.changed(from, to).unwrap().into_iter();
                let found: Vec<(String, Option<String>)> =
                    found.map(|(path, file)| (path, file.map(|file| file.object))).collect();
                assert_eq!(found, expected, "{from} {to}");
            }
        }
    }

    /// Makes an object of any bytes, and returns its id.
    fn object(repository: &Repository, kind: &str, bytes: &[u8]) -> String {
        let mut command = repository.git().command();
        command.args(["hash-object", "--literally", "-w", "--stdin", "-t", kind]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn entry(mode: &str, name: &str, id: &str) -> Vec<u8> {
        let id: Vec<u8> =
            (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).unwrap()).collect();
        [mode.as_bytes(), b" ", name.as_bytes(), b"\0", &id].concat()
    }

    fn commit_of(repository: &Repository, tree: &str) -> CommitId {
        let text = format!("tree {tree}\nauthor A <a@x> 1 +0000\ncommitter A <a@x> 1 +0000\n\nx\n");
        CommitId::parse(&object(repository, "commit", text.as_bytes())).unwrap()
    }

    #[test]
    fn a_tree_with_an_unsafe_path_is_refused() {
        let (repository, _folder) = repository();
        let blob = object(&repository, "blob", b"x");
        for name in ["..", "."] {
            let tree = object(&repository, "tree", &entry("100644", name, &blob));
            let outer = object(&repository, "tree", &entry("40000", "a", &tree));
            let failure = repository.files(&commit_of(&repository, &outer), "").unwrap_err().to_string();
            assert!(failure.contains(&format!("it has a file `{name}`")), "{failure}");
        }
    }

    #[test]
    fn a_tree_that_names_one_folder_many_times_is_refused() {
        let (repository, _folder) = repository();
        let blob = object(&repository, "blob", b"x");
        let mut tree = object(&repository, "tree", &entry("100644", "f", &blob));
        // 64^7 files in seven objects.
        for _ in 0..7 {
            let names: Vec<String> = (0..64).map(|n| format!("{n:02}")).collect();
            let bytes: Vec<u8> = names.iter().flat_map(|name| entry("40000", name, &tree)).collect();
            tree = object(&repository, "tree", &bytes);
        }
        let failure = repository.files(&commit_of(&repository, &tree), "").unwrap_err().to_string();
        assert!(failure.contains("too many files"), "{failure}");
    }

    #[test]
    fn a_tree_that_is_too_deep_is_refused() {
        let (repository, _folder) = repository();
        let blob = object(&repository, "blob", b"x");
        // The folders of one depth are one request. Here each is the first of its depth.
        let mut stream = Vec::new();
        let path = "d/".repeat(DEEPEST + 1);
        writeln!(
            stream,
            "commit refs/heads/main\ncommitter A <a@x> 1 +0000\ndata 0\nM 100644 {blob} {path}f\ndone"
        )
        .unwrap();
        let mut command = repository.git().command();
        command.args(["fast-import", "--quiet", "--done"]).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&stream).unwrap();
        assert!(child.wait().unwrap().success());
        let head = repository.head().unwrap().unwrap();
        let failure = repository.files(&head, "").unwrap_err().to_string();
        assert!(failure.contains("too deep"), "{failure}");
    }
}
