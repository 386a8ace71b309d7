//! What the layers of an image do to its file system. Memory is bounded, whatever the layers have.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasher as _;

use raas_image::{ImageError, LayerEntry, LayerEntryKind};

use crate::check::Check;

/// The most entries of all layers together. The base's paths are kept as 8 bytes each.
const MAX_ENTRIES: usize = 4_000_000;

/// The most paths that are kept to be shown, and the longest shown path.
const MAX_SHOWN: usize = 100;
const MAX_PATH: usize = 300;

/// Files and folders that package managers and builders change in every image.
const CHANGED_BY_TOOLS: [&str; 24] = [
    "dev/",
    "etc/group",
    "etc/group-",
    "etc/gshadow",
    "etc/gshadow-",
    "etc/hostname",
    "etc/hosts",
    "etc/ld.so.cache",
    "etc/mtab",
    "etc/passwd",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow",
    "etc/shadow-",
    "etc/subgid",
    "etc/subuid",
    "proc/",
    "run/",
    "sys/",
    "tmp/",
    "usr/lib/sysimage/",
    "var/cache/",
    "var/lib/",
    "var/log/",
];

/// Removes what lies below. Source: OCI image-spec 1.1, layer.md, "Whiteouts".
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// The file system while its layers are read, the base first.
#[derive(Default)]
pub(super) struct FileSystem {
    in_base: bool,
    entries: usize,
    hasher: RandomState,
    /// The paths of the base by their hashes: files and links, and folders.
    base_files: HashSet<u64>,
    base_folders: HashSet<u64>,
    /// What the layers above changed of the base.
    changed: Listed,
    /// The files in `licenses`.
    licenses: BTreeSet<String>,
    has_more_licenses: bool,
    /// The files with setuid or setgid of the layers above the base, with their permissions.
    setuid: BTreeMap<String, u32>,
    more_setuid: usize,
}

/// Paths for people.
#[derive(Default)]
struct Listed {
    shown: BTreeSet<String>,
    count: usize,
}

impl Listed {
    fn add(&mut self, path: &str, what: &str) {
        self.count += 1;
        if self.shown.len() < MAX_SHOWN {
            self.shown.insert(format!("{what} {}", shown(path)));
        }
    }
}

fn shown(path: &str) -> String {
    path.chars().filter(|c| !c.is_control()).take(MAX_PATH).collect()
}

impl FileSystem {
    /// The next entries are of another layer.
    pub(super) fn begin_layer(&mut self, is_base: bool) {
        self.in_base = is_base;
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// The image has more entries than raas reads.
    pub(super) fn add(&mut self, entry: LayerEntry<'_>) -> Result<(), ImageError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            let rule = raas_image::Rule::TooManyMembers(MAX_ENTRIES);
            return Err(ImageError::Refused { member: shown(entry.path), rule });
        }
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", entry.path));
        if name == OPAQUE {
            self.empty(folder);
        } else if let Some(removed) = name.strip_prefix(WHITEOUT) {
            let path = if folder.is_empty() { removed.to_owned() } else { format!("{folder}/{removed}") };
            self.remove(&path);
        } else {
            self.put(entry);
        }
        Ok(())
    }

    fn put(&mut self, entry: LayerEntry<'_>) {
        let LayerEntry { path, kind, mode } = entry;
        let hash = self.hasher.hash_one(path);
        let is_folder = kind == LayerEntryKind::Folder;
        if self.in_base {
            let (into, other) = match is_folder {
                true => (&mut self.base_folders, &mut self.base_files),
                false => (&mut self.base_files, &mut self.base_folders),
            };
            other.remove(&hash);
            into.insert(hash);
        } else {
            let replaces = match is_folder {
                // A folder that is there already stays as it is.
                true => self.base_files.contains(&hash),
                false => self.base_files.contains(&hash) || self.base_folders.contains(&hash),
            };
            if replaces && !is_changed_by_tools(path) {
                self.changed.add(path, "overwrites");
            }
            let is_setuid = kind == LayerEntryKind::File && mode & 0o6000 != 0;
            match is_setuid {
                true if self.setuid.contains_key(path) || self.setuid.len() < MAX_SHOWN => {
                    self.setuid.insert(path.to_owned(), mode);
                }
                true => self.more_setuid += 1,
                false => drop(self.setuid.remove(path)),
            }
        }
        if let Some(name) = path.strip_prefix("licenses/") {
            match is_folder {
                false if self.licenses.len() < MAX_SHOWN => drop(self.licenses.insert(name.to_owned())),
                false => self.has_more_licenses = true,
                true => {}
            }
        }
    }

    fn remove(&mut self, path: &str) {
        let hash = self.hasher.hash_one(path);
        let was_there = match self.in_base {
            true => {
                self.base_files.remove(&hash);
                self.base_folders.remove(&hash);
                false
            }
            false => self.base_files.contains(&hash) || self.base_folders.contains(&hash),
        };
        if was_there && !is_changed_by_tools(path) {
            self.changed.add(path, "removes");
        }
        let is_below =
            |one: &str| one == path || one.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
        self.setuid.retain(|one, _| !is_below(one));
        self.licenses.retain(|name| !is_below(&format!("licenses/{name}")));
        if path == "licenses" {
            self.has_more_licenses = false;
        }
    }

    /// Removes everything below a folder, and not the folder.
    fn empty(&mut self, folder: &str) {
        let is_base_folder = folder.is_empty() || self.base_folders.contains(&self.hasher.hash_one(folder));
        if !self.in_base && is_base_folder && !is_changed_by_tools(&format!("{folder}/")) {
            self.changed.add(folder, "empties");
        }
        let is_below = |one: &str| {
            folder.is_empty() || one.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
        };
        self.setuid.retain(|one, _| !is_below(one));
        self.licenses.retain(|name| !is_below(&format!("licenses/{name}")));
    }

    /// The checks, once all layers were read. `base` layers are of the base image, and the source does not have `unread` of
    /// them.
    pub(super) fn checks(self, base: usize, unread: usize) -> [Check; 3] {
        [self.license_check(), self.base_check(base, unread), self.setuid_check()]
    }

    fn license_check(&self) -> Check {
        match self.licenses.first() {
            Some(first) => {
                let more = if self.has_more_licenses { " or more" } else { "" };
                let count = self.licenses.len();
                Check::ok("licenses", format!("/licenses has {count}{more} files, such as {}", shown(first)))
            }
            None => Check::failed(
                "licenses",
                "/licenses has no file",
                "add `COPY licenses /licenses` to the Dockerfile, with the texts of all licenses",
            ),
        }
    }

    fn base_check(&self, base: usize, unread: usize) -> Check {
        const NAME: &str = "base_files";
        if self.changed.count > 0 {
            let found = format!("the image changes {} files of its base image", self.changed.count);
            let fix =
                "install into folders of your own, such as /opt, and leave the files of the base as they are";
            let details = self.changed.shown.iter().cloned().collect();
            return Check::failed(NAME, found, fix).details(details);
        }
        if base == 0 {
            let found = "not checked: the base image is not known";
            return Check::warning(NAME, found).fix("see the check base_image");
        }
        if unread > 0 {
            let found =
                format!("not checked: the source does not have {unread} of {base} layers of the base image");
            return Check::warning(NAME, found).fix("certify a source that has the layers of the base image");
        }
        Check::ok(NAME, "no file of the base image is changed or removed")
    }

    fn setuid_check(&self) -> Check {
        if self.setuid.is_empty() {
            return Check::ok("setuid", "no file above the base image has setuid or setgid");
        }
        let details: Vec<String> =
            self.setuid.iter().map(|(path, mode)| format!("{:04o} {}", mode & 0o7777, shown(path))).collect();
        let found =
            format!("{} files above the base image have setuid or setgid", details.len() + self.more_setuid);
        Check::failed(
            "setuid",
            found,
            "remove the bits with `RUN chmod ug-s FILE` in the layer that adds the file",
        )
        .details(details)
    }
}

/// Whether package managers and builders change this path in every image.
fn is_changed_by_tools(path: &str) -> bool {
    CHANGED_BY_TOOLS.iter().any(|known| match known.ends_with('/') {
        true => path.starts_with(known),
        false => path == *known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn file(path: &str) -> LayerEntry<'_> {
        LayerEntry { path, kind: LayerEntryKind::File, mode: 0o644 }
    }

    fn folder(path: &str) -> LayerEntry<'_> {
        LayerEntry { path, kind: LayerEntryKind::Folder, mode: 0o755 }
    }

    fn checks(base: &[LayerEntry<'_>], above: &[&[LayerEntry<'_>]]) -> [Check; 3] {
        let mut files = FileSystem::default();
        files.begin_layer(true);
        base.iter().for_each(|entry| files.add(*entry).unwrap());
        for layer in above {
            files.begin_layer(false);
            layer.iter().for_each(|entry| files.add(*entry).unwrap());
        }
        files.checks(1, 0)
    }

    #[test]
    fn files_of_the_base_stay_as_they_are() {
        let base = [
            folder("usr"),
            folder("usr/bin"),
            file("usr/bin/sh"),
            file("etc/passwd"),
            file("var/lib/rpm/db"),
        ];
        for (above, change) in [
            (vec![file("opt/app"), folder("usr/bin"), file("usr/bin/app")], None),
            (vec![file("etc/passwd"), file("var/lib/rpm/db")], None),
            (vec![file("usr/bin/.wh.other")], None),
            (vec![file("usr/bin/sh")], Some("overwrites usr/bin/sh")),
            (vec![folder("usr/bin/sh")], Some("overwrites usr/bin/sh")),
            (vec![file("usr/bin")], Some("overwrites usr/bin")),
            (vec![file("usr/bin/.wh.sh")], Some("removes usr/bin/sh")),
            (vec![file(".wh.usr")], Some("removes usr")),
            (vec![file("usr/bin/.wh..wh..opq")], Some("empties usr/bin")),
            (vec![file(".wh..wh..opq")], Some("empties ")),
        ] {
            let [_, check, _] = checks(&base, &[&above]);
            assert_eq!(check.details, change.map(str::to_owned).into_iter().collect::<Vec<_>>(), "{above:?}");
            assert_eq!(check.outcome, if change.is_some() { Outcome::Failed } else { Outcome::Ok });
        }
    }

    #[test]
    fn licenses_and_setuid_files_count_if_they_are_there_at_the_end() {
        let setuid = |path| LayerEntry { mode: 0o4755, ..file(path) };
        for (layers, licenses, is_setuid) in [
            (vec![vec![file("opt/app")]], Outcome::Failed, false),
            (vec![vec![folder("licenses")]], Outcome::Failed, false),
            (vec![vec![file("licenses/MIT"), setuid("opt/su")]], Outcome::Ok, true),
            (
                vec![
                    vec![file("licenses/MIT"), setuid("opt/su")],
                    vec![file(".wh.licenses"), file("opt/su")],
                ],
                Outcome::Failed,
                false,
            ),
            (vec![vec![file("licenses/MIT")], vec![file("licenses/.wh.MIT")]], Outcome::Failed, false),
            (
                vec![vec![file("licenses/MIT")], vec![file("licenses/.wh..wh..opq"), file("licenses/GPL")]],
                Outcome::Ok,
                false,
            ),
            (vec![vec![setuid("opt/su")], vec![file(".wh.opt")]], Outcome::Failed, false),
        ] {
            let layers: Vec<&[LayerEntry<'_>]> = layers.iter().map(Vec::as_slice).collect();
            let [license, _, setuid] = checks(&[], &layers);
            assert_eq!(license.outcome, licenses, "{layers:?}");
            assert_eq!(setuid.outcome == Outcome::Failed, is_setuid, "{layers:?}");
        }
        // A file of the base with setuid is no surprise.
        let [.., check] = checks(&[setuid("usr/bin/su")], &[]);
        assert_eq!(check.outcome, Outcome::Ok);
    }

    #[test]
    fn memory_and_reports_are_bounded() {
        let mut files = FileSystem::default();
        files.begin_layer(false);
        for n in 0..10_000 {
            let path = format!("opt/{n}-{}", "x".repeat(1000));
            files.add(LayerEntry { path: &path, kind: LayerEntryKind::File, mode: 0o6755 }).unwrap();
            files.add(file(&format!("licenses/{n}"))).unwrap();
        }
        assert!(files.setuid.len() <= MAX_SHOWN && files.licenses.len() <= MAX_SHOWN);
        let [_, _, setuid] = files.checks(0, 0);
        assert!(setuid.found.starts_with("10000 files"), "{}", setuid.found);
        assert!(setuid.details.iter().map(String::len).sum::<usize>() < 10_000);
        let mut files = FileSystem { entries: MAX_ENTRIES, ..FileSystem::default() };
        assert!(files.add(file("x")).is_err());
    }
}
