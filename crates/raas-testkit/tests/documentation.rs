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

#[test]
fn every_alert_names_its_section_of_the_runbook() {
    let rules = fs::read_to_string(root().join("deploy/prometheus/raas.rules.yml")).unwrap();
    let anchors = headings(&fs::read_to_string(root().join("docs/runbook.md")).unwrap());
    let mut checked = 0;
    for alert in rules.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        let url = alert.lines().find_map(|line| line.trim().strip_prefix("runbook_url: "));
        let url = url.unwrap_or_else(|| panic!("{name} has no `runbook_url`")).trim_matches('"');
        let (page, anchor) = url.split_once('#').unwrap_or_else(|| panic!("{name}: {url} names no section"));
        assert!(page.ends_with("/docs/runbook.md"), "{name}: {url}");
        assert!(anchors.contains(anchor) && anchor == name.to_lowercase(), "{name}: {url}");
        checked += 1;
    }
    assert!(checked > 5, "{checked}");
}

#[test]
fn the_runbook_has_a_section_for_every_trouble() {
    let runbook = fs::read_to_string(root().join("docs/runbook.md")).unwrap();
    let found = headings(&runbook);
    for trouble in [
        "a-bad-image-was-published",
        "a-home-is-lost",
        "a-machine-died-while-it-published",
        "something-is-damaged-or-missing",
        "a-key-or-password-is-leaked",
        "a-clock-is-wrong",
        "a-disk-is-full",
        "the-bucket-does-not-answer",
        "a-source-does-not-answer",
        "a-client-reports-an-error",
        "a-push-fails",
    ] {
        assert!(found.contains(trouble), "{trouble}");
    }
    // The exit codes are those of the command line.
    let commands = fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let (_, codes) = commands.split_once("## Exit codes").unwrap();
    let codes = codes.lines().take_while(|line| !line.starts_with("## "));
    let codes = codes.filter_map(|row| row.strip_prefix("| ")?.split([' ', ',']).next()?.parse::<u8>().ok());
    for code in codes.filter(|code| *code > 0) {
        let has = |line: &str| {
            line.starts_with('|') && line.split(['|', ' ', ',']).any(|word| word == code.to_string())
        };
        assert!(runbook.lines().any(has), "exit code {code}");
    }
}

#[test]
fn the_site_has_every_page_once() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let mut listed: Vec<&str> = links(&summary).collect();
    let count = listed.len();
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed.len(), count, "a page is listed twice");
    let pages = in_folder(docs.clone()).chain(in_folder(docs.join("json")));
    let pages = pages.filter(|path| path.extension().is_some_and(|end| end == "md"));
    let pages = pages.map(|path| path.strip_prefix(&docs).unwrap().to_str().unwrap().to_owned());
    let unlisted: Vec<String> =
        pages.filter(|page| page != "SUMMARY.md" && !listed.contains(&page.as_str())).collect();
    assert!(unlisted.is_empty(), "docs/SUMMARY.md does not have {unlisted:?}");
}

#[test]
fn a_page_links_only_to_what_the_site_has() {
    // deploy/site.sh puts these into the site.
    let on_site = |path: &Path| {
        let mut parts = path.components().map(|part| part.as_os_str().to_str().unwrap());
        match (parts.next(), parts.next()) {
            (Some("docs" | "deploy" | "examples"), Some(_)) | (Some("LICENSE"), None) => true,
            (Some(name), None) => name.ends_with(".md"),
            _ => false,
        }
    };
    let root = fs::canonicalize(root()).unwrap();
    for document in documents() {
        for target in links(&fs::read_to_string(&document).unwrap()) {
            let path = target.split('#').next().unwrap();
            let file = document.parent().unwrap().join(path);
            let Ok(file) = fs::canonicalize(&file) else { continue };
            let is_here = path.is_empty() || on_site(file.strip_prefix(&root).unwrap());
            assert!(is_here, "{}: {target} is not on the site", document.display());
        }
    }
}

#[test]
fn every_page_says_first_for_whom_it_is() {
    const READERS: [&str; 6] = ["operator", "vendor", "customer", "engineer", "everybody", "somebody"];
    for document in
        documents().into_iter().filter(|path| path.components().any(|part| part.as_os_str() == "docs"))
    {
        if document.ends_with("SUMMARY.md") {
            continue;
        }
        let text = fs::read_to_string(&document).unwrap();
        let mut paragraphs = text.split("\n\n");
        let title = paragraphs.next().is_some_and(|line| line.starts_with("# "));
        let first = paragraphs.next().unwrap_or_default().to_lowercase();
        let has_reader = READERS.iter().any(|reader| first.contains(reader));
        assert!(title && has_reader && !first.starts_with('#'), "{}: {first}", document.display());
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn in_folder(folder: PathBuf) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

fn documents() -> Vec<PathBuf> {
    let all =
        in_folder(root()).chain(in_folder(root().join("docs"))).chain(in_folder(root().join("docs/json")));
    all.filter(|path| path.extension().is_some_and(|end| end == "md")).collect()
}

/// The targets of links to files of the project.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
}

/// The headings of a document, as links name them.
fn headings(text: &str) -> BTreeSet<String> {
    let mut is_in_block = false;
    let headings = text.lines().filter(|line| {
        is_in_block ^= line.starts_with("```");
        !is_in_block && line.starts_with('#')
    });
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
