//! The dashboard and the alerts use metrics that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::metrics::everything;

fn read(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of a text that are names of raas's metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("raas_")).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_use_existing_metrics() {
    let page = everything();
    let told: BTreeSet<String> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(['{', ' ']).next().unwrap().to_owned())
        .collect();
    let dashboard = read("grafana/raas.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() > 10);
    let alerts = read("prometheus/raas.rules.yml");
    for (file, text) in [("dashboard", &dashboard), ("alerts", &alerts)] {
        let unknown: Vec<String> = named(text).difference(&told).cloned().collect();
        assert!(unknown.is_empty(), "the {file} uses metrics that do not exist: {unknown:?}\n{page}");
    }
    // Every metric is on the dashboard.
    let unseen: Vec<String> = told.difference(&named(&dashboard)).cloned().collect();
    assert!(unseen.is_empty(), "the dashboard does not show {unseen:?}");
}
