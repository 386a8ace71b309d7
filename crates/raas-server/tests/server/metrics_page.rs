//! `docs/metrics.md` has every metric of a server, with its type, its labels and its help text.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use crate::metrics::everything;

const BEGIN: &str = "<!-- metrics: begin -->\n";
const END: &str = "<!-- metrics: end -->";

#[derive(Default)]
struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
}

/// The metrics of a page by name. A histogram is one metric.
fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.clone_into(&mut families.entry(name.to_owned()).or_default().help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            kind.clone_into(&mut families.entry(name.to_owned()).or_default().kind);
        } else if let Some((name, labels)) = line.split_once('{') {
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let name = of_histogram.filter(|name| families.contains_key(*name)).unwrap_or(name);
            let (labels, _) = labels.rsplit_once('}').unwrap();
            let names =
                labels.split('"').step_by(2).map(|part| part.trim_start_matches(',').trim_end_matches('='));
            let names = names.filter(|name| !name.is_empty()).map(str::to_owned);
            families.get_mut(name).unwrap_or_else(|| panic!("{name} has no help text")).labels.extend(names);
        }
    }
    families
}

#[test]
fn the_page_of_metrics_has_every_metric_of_the_server() {
    let mut table = "\n| metric | type | labels | means |\n|---|---|---|---|\n".to_owned();
    for (name, Family { kind, help, labels }) in families(&everything()) {
        assert!(!kind.is_empty() && help.ends_with('.'), "{name} has no type or no help text: {help}");
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let row = [
            "",
            &format!(" `{name}` "),
            &format!(" {kind} "),
            &format!(" {} ", labels.join(", ")),
            &format!(" {help} "),
            "",
        ];
        table.push_str(&format!("{}\n", row.join("|").replace("|  |", "| |")));
    }
    table.push('\n');
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark of the beginning");
    let (_, after) = rest.split_once(END).expect("the page has the mark of the end");
    let new = format!("{before}{BEGIN}{table}{END}{after}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, new).unwrap();
    } else {
        assert!(
            page == new,
            "docs/metrics.md is stale; run: UPDATE=1 cargo test -p raas-server --test server metrics_page"
        );
    }
}
