//! The files of a source, for a test to change and then to pack.

use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::TarBuilder;

#[derive(Debug, Clone)]
enum Entry {
    File(Vec<u8>),
    Link(String),
}

/// Named files and links, in the order in which an archive holds them.
#[derive(Debug, Clone, Default)]
pub struct Files {
    entries: Vec<(String, Entry)>,
    /// The place of each name in the list.
    places: HashMap<String, usize>,
}

impl Files {
    /// No files yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The files and links of a complete tar.
    pub fn from_tar(bytes: &[u8]) -> Self {
        let mut files = Self::new();
        for entry in tar::Archive::new(bytes).entries().expect("it is a tar") {
            let mut entry = entry.expect("it is whole");
            let name = String::from_utf8(entry.path_bytes().into_owned()).expect("its names are text");
            match entry.header().entry_type() {
                tar::EntryType::Regular => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content).expect("it is whole");
                    files.set(name, content);
                }
                tar::EntryType::Symlink => {
                    let target = entry.link_name_bytes().expect("a link has a target").into_owned();
                    files.link(name, String::from_utf8(target).expect("its names are text"));
                }
                _ => {}
            }
        }
        files
    }

    /// Adds a file, or changes the content of the file with this name.
    pub fn set(&mut self, name: impl Into<String>, content: impl Into<Vec<u8>>) -> &mut Self {
        self.put(name.into(), Entry::File(content.into()))
    }

    /// Adds a symbolic link, or replaces the file with this name by a link.
    pub fn link(&mut self, name: impl Into<String>, target: impl Into<String>) -> &mut Self {
        self.put(name.into(), Entry::Link(target.into()))
    }

    /// Removes a file.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        let place = self.places.remove(name).unwrap_or_else(|| panic!("there is no file {name}"));
        self.entries.remove(place);
        self.places.values_mut().filter(|other| **other > place).for_each(|other| *other -= 1);
        self
    }

    /// A file's content.
    pub fn get(&self, name: &str) -> &[u8] {
        match self.places.get(name).map(|place| &self.entries[*place].1) {
            Some(Entry::File(content)) => content,
            other => panic!("{name} is no file but {other:?}"),
        }
    }

    /// Replaces a text within a file. The file must contain the text.
    pub fn replace(&mut self, name: &str, old: &str, new: &str) -> &mut Self {
        let text = std::str::from_utf8(self.get(name)).expect("only text is replaced");
        assert!(text.contains(old), "{name} has no `{old}`: {text}");
        let text = text.replace(old, new);
        self.set(name, text)
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    /// A tar of the files, to which members can be added.
    pub fn builder(&self) -> TarBuilder {
        self.entries.iter().fold(TarBuilder::new(), |tar, (name, entry)| match entry {
            Entry::File(content) => tar.file(name, content),
            Entry::Link(target) => tar.symlink(name, target),
        })
    }

    /// A tar of the files.
    pub fn tar(&self) -> Vec<u8> {
        self.builder().finish()
    }

    /// Writes the files into a folder.
    pub fn write_to(&self, folder: &Path) {
        for (name, entry) in &self.entries {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("a file is in a folder")).expect("a folder is made");
            match entry {
                Entry::File(content) => fs::write(path, content).expect("a file is written"),
                Entry::Link(target) => symlink(target, path).expect("a link is made"),
            }
        }
    }

    fn put(&mut self, name: String, entry: Entry) -> &mut Self {
        match self.places.get(&name) {
            Some(place) => self.entries[*place].1 = entry,
            None => {
                self.places.insert(name.clone(), self.entries.len());
                self.entries.push((name, entry));
            }
        }
        self
    }
}
