//! Checks that the tests in `docs/request-handling.md` exist.

use std::fs;
use std::path::Path;

#[test]
fn every_test_in_the_document_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("../../docs/request-handling.md")).unwrap();
    let answers = fs::read_to_string(root.join("tests/server/answers.rs")).unwrap();
    let headings: Vec<&str> = document.lines().filter(|line| line.starts_with("## ")).collect();
    assert!(headings.len() > 20);
    let introduction = document.split("\n## ").next().unwrap();
    let mut named = 0;
    for line in headings.iter().copied().chain(introduction.lines()) {
        let tests: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
        assert!(!line.starts_with("## ") || !tests.is_empty(), "the heading names no test: {line}");
        for test in tests.into_iter().filter(|test| *test != "crates/raas-server/tests/server/answers.rs") {
            let found = match test.strip_suffix(".rs") {
                Some(_) => {
                    ["tests/server", "tests", "src"]
                        .iter()
                        .any(|folder| root.join(folder).join(test).is_file())
                        || root.join(test).is_file()
                }
                None => answers.contains(&format!("\nfn {test}() {{")),
            };
            assert!(found, "the test `{test}` does not exist: {line}");
            named += 1;
        }
    }
    assert!(named > 40, "{named}");
}
