//! The pages of the documentation, and what is in them.

use std::fs;
use std::path::{Path, PathBuf};

pub(super) struct Page {
    /// From the root of the repository.
    pub(super) path: String,
    pub(super) blocks: Vec<Block>,
    /// The code in sentences.
    pub(super) spans: Vec<String>,
}

/// A block between lines of three backticks.
pub(super) struct Block {
    /// The line of its beginning, from 1 on.
    pub(super) line: usize,
    /// The last heading before it.
    pub(super) heading: String,
    pub(super) language: String,
    pub(super) text: String,
}

/// Every page for people, in the order of the paths.
pub(super) fn all() -> Vec<Page> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths: Vec<PathBuf> = ["", "docs", "docs/json"]
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        Page::parse(path.strip_prefix(&root).unwrap().to_str().unwrap(), &text)
    };
    paths.into_iter().map(read).collect()
}

impl Page {
    fn parse(path: &str, text: &str) -> Self {
        let mut page = Self { path: path.to_owned(), blocks: Vec::new(), spans: Vec::new() };
        let mut heading = String::new();
        let mut block: Option<Block> = None;
        let mut paragraph = String::new();
        for (n, line) in text.lines().enumerate() {
            let fence = line.trim_start().strip_prefix("```");
            match (&mut block, fence) {
                (Some(_), Some(_)) => page.blocks.extend(block.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, Some(language)) => {
                    let language = language.trim().to_owned();
                    let heading = heading.clone();
                    block = Some(Block { line: n + 1, heading, language, text: String::new() });
                }
                (None, None) => {
                    if line.starts_with('#') {
                        line.trim_start_matches('#').trim().clone_into(&mut heading);
                    }
                    paragraph.push_str(line.trim());
                    paragraph.push(' ');
                }
            }
            if line.trim().is_empty() || block.is_some() || line.starts_with('|') {
                page.end(&mut paragraph);
            }
        }
        page.end(&mut paragraph);
        assert!(block.is_none(), "{path}: a block has no end");
        page
    }

    /// Takes the code out of a paragraph.
    fn end(&mut self, paragraph: &mut String) {
        self.spans.extend(paragraph.split('`').skip(1).step_by(2).map(str::to_owned));
        paragraph.clear();
    }
}
