//! CI runs every suite, so that none rots unseen.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn ci_runs_every_end_to_end_suite_without_a_marker_that_keeps_it_out() {
    let script = read(".ci/run");
    let list = script.split_once("for suite in ").and_then(|(_, rest)| rest.split_once(';')).unwrap().0;
    let run: Vec<&str> = list.split_whitespace().collect();
    let project = read("pyproject.toml");
    let options = project.lines().find(|line| line.starts_with("addopts")).unwrap();
    let suites = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/e2e")).unwrap();
    let mut count = 0;
    for file in suites.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        let Some(suite) = file.strip_prefix("test_").and_then(|name| name.strip_suffix(".py")) else {
            continue;
        };
        count += 1;
        let text = read(&format!("tests/e2e/{file}"));
        // The marker of a whole suite: `pytestmark = pytest.mark.NAME`, or the first of a list.
        let marks = text.lines().find_map(|line| line.strip_prefix("pytestmark = ")).unwrap_or_default();
        let marks = marks.split("pytest.mark.").skip(1);
        let mut names = marks.map(|mark| mark.split(|c: char| !c.is_alphanumeric()).next().unwrap());
        let is_kept_out = names.any(|name| options.contains(&format!("not {name}")));
        assert!(
            run.contains(&suite) != is_kept_out,
            "{file}: in .ci/run, or with a marker that keeps it out"
        );
    }
    assert_eq!(count, run.len() + 2, "test_acme.py and test_pulp.py have such markers");
}
