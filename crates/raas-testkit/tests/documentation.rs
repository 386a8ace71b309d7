//! The documents of the project lead somewhere: their links exist, and so do the tests that the threat model names.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut checked = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in links(&text) {
            let (path, heading) =
                target.split_once('#').map_or((target, None), |(path, id)| (path, Some(id)));
            let file = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(file.exists(), "{}: {target} does not exist", document.display());
            if let Some(heading) = heading {
                let headings = headings(&fs::read_to_string(&file).unwrap());
                assert!(headings.contains(heading), "{}: {target} has no such heading", document.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 30, "{checked}");
}

#[test]
fn every_test_in_the_threat_model_exists() {
    let text = fs::read_to_string(root().join("docs/threat-model.md")).unwrap();
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap();
    let tests: String = rust_files(&root().join("crates")).iter().map(read).collect();
    let suites: String = in_folder(root().join("tests/e2e"))
        .filter(|path| path.extension().is_some_and(|end| end == "py"))
        .map(|path| read(&path))
        .collect();
    let mut named = 0;
    for row in text.lines().filter(|line| line.starts_with('|')) {
        // The last column names the tests; the name of a test has several words, and a key of the configuration has
        // fewer.
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        for name in last.split('`').skip(1).step_by(2).filter(|name| is_test_name(name)) {
            let exists = tests.contains(&format!("fn {name}(")) || suites.contains(&format!("\ndef {name}("));
            assert!(exists, "the test `{name}` does not exist: {row}");
            named += 1;
        }
    }
    assert!(named > 50, "{named}");
}

#[test]
fn every_alert_has_a_section_in_the_runbook() {
    let rules = fs::read_to_string(root().join("deploy/prometheus/raas.rules.yml")).unwrap();
    let runbook = fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let alerts: BTreeSet<&str> =
        rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let sections: BTreeSet<&str> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .filter(|title| title.starts_with("Raas"))
        .collect();
    assert!(!alerts.is_empty());
    assert_eq!(alerts, sections);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn in_folder(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

fn documents() -> Vec<PathBuf> {
    let all = in_folder(root()).chain(in_folder(root().join("docs")));
    all.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// The targets of links to files of the project.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
}

/// The headings of a document, as links name them.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let headings = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let id = |heading: String| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(id).collect()
}

fn is_test_name(word: &str) -> bool {
    word.matches('_').count() > 1
        && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}
