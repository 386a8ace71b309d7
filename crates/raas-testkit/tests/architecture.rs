//! The rules of the architecture: which crate may use which, and that no crate has a circle among its modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn each_crate_uses_what_the_architecture_allows() {
    let (found, documented) = (dependencies(), documented());
    let crates: BTreeSet<&String> = found.keys().collect();
    assert_eq!(crates, documented.keys().collect(), "the table of ARCHITECTURE.md lists every crate");
    for (name, dependencies) in &found {
        let ours: BTreeSet<&String> = dependencies.iter().filter(|one| crates.contains(one)).collect();
        let allowed: BTreeSet<&String> = documented[name].iter().filter(|one| crates.contains(one)).collect();
        // The command line may use every crate.
        if name != "raas" {
            assert_eq!(ours, allowed, "{name}");
        }
    }
}

#[test]
fn the_drawing_of_the_crates_has_every_arrow_that_follows_from_no_others() {
    let found = dependencies();
    let crates: BTreeSet<String> = found.keys().cloned().collect();
    let ours = found.into_iter().map(|(name, names)| (name, names.intersection(&crates).cloned().collect()));
    assert_eq!(drawn(), without_shortcuts(&ours.collect()));
}

#[test]
fn heavy_libraries_stay_in_their_crates() {
    let table: [(&str, &[&str]); 7] = [
        ("aws-", &["raas-s3"]),
        ("clap", &["raas"]),
        ("k8s-openapi", &["raas-kubernetes"]),
        ("kube", &["raas-kubernetes"]),
        ("hyper", &["raas-http", "raas-server"]),
        ("sigstore-", &["raas-sigstore"]),
        ("tar", &["raas-image", "raas-publish", "raas-server", "raas-testkit"]),
    ];
    let dependencies = dependencies();
    for (library, allowed) in table {
        for (name, dependencies) in &dependencies {
            let used = dependencies.iter().any(|one| one.starts_with(library));
            assert!(!used || allowed.contains(&name.as_str()), "{name} uses {library}");
        }
    }
}

#[test]
fn no_crate_has_a_circle_among_its_modules() {
    for folder in crate_folders() {
        if let Some(circle) = circle(&modules(&folder.join("src"))) {
            panic!("{}: {}", folder.display(), circle.join(" → "));
        }
    }
}

#[test]
fn libraries_do_not_print() {
    for folder in crate_folders().into_iter().filter(|folder| !folder.ends_with("raas")) {
        for (path, code) in sources(&folder.join("src")) {
            for printing in ["println!(", "print!(", "dbg!(", "io::stdout()", "io::stderr()"] {
                assert!(!code.contains(printing), "{} has {printing}", path.display());
            }
        }
    }
}

#[test]
fn one_crate_runs_git_and_another_one_gpg() {
    for folder in crate_folders().into_iter().filter(|folder| !folder.ends_with("raas-testkit")) {
        let sources = sources(&folder.join("src"));
        for (program, of) in [("git", "raas-git"), ("gpg", "raas-gpg")] {
            let started = format!("Command::new(\"{program}\")");
            let runs = sources.iter().any(|(_, code)| code.contains(&started));
            assert_eq!(runs, folder.ends_with(of), "{} and {program}", folder.display());
        }
    }
}

#[test]
fn circles_are_found() {
    let graph = |arrows: &[(&str, &str)]| -> Graph {
        let mut graph = Graph::new();
        for (from, to) in arrows {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(circle(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert_eq!(circle(&graph(&[("a", "b"), ("b", "c"), ("c", "b")])).unwrap(), ["b", "c", "b"]);
    assert_eq!(
        without_shortcuts(&graph(&[("a", "b"), ("b", "c"), ("a", "c")])),
        graph(&[("a", "b"), ("b", "c")])
    );
    let code =
        "use crate::{a::{X, Y}, b};\nuse super::super::c::Y; fn f() { raas_crate::d(); crate::e::g() }";
    assert_eq!(named_behind(code, "crate::"), ["a", "b", "e"]);
    assert_eq!(named_behind(code, "super::super::"), ["c"]);
    let lib =
        "mod a;\nuse std::fmt;\npub use a::{b::{self, C}, D as E};\npub(crate) use f::g::H;\nfn use_it() {}";
    let modules = ["a", "f"].map(str::to_owned).into();
    let expected = [("C", "a"), ("E", "a"), ("H", "f"), ("b", "a")];
    assert_eq!(re_exports(lib, &modules), expected.map(|(name, of)| (name.to_owned(), of.to_owned())).into());
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The dependencies of each crate of the workspace, without those of its tests, as the manifests name them.
fn dependencies() -> Graph {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"]);
    let output = command.arg(root().join("Cargo.toml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_package = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        let dependencies = dependencies.filter(|dependency| dependency["kind"].is_null());
        let names = dependencies.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
        (package["name"].as_str().unwrap().to_owned(), names)
    };
    metadata["packages"].as_array().unwrap().iter().map(of_package).collect()
}

/// The column "may use" in the table of ARCHITECTURE.md.
fn documented() -> Graph {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = text.lines().skip_while(|line| !line.starts_with("| crate | may use |")).skip(2);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let names = cells[2].split(',').map(|word| format!("raas-{}", word.trim())).collect();
        (cells[1].trim_matches('`').to_owned(), names)
    };
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

/// The arrows of the drawing of the crates in ARCHITECTURE.md.
fn drawn() -> Graph {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let drawing = text.lines().skip_while(|line| !line.contains("An arrow reads \"may use\":")).skip(2);
    let mut graph = Graph::new();
    for line in drawing.take_while(|line| line.starts_with("    ")) {
        let names: Vec<&str> = line.split('▶').map(|name| name.trim_matches([' ', '─'])).collect();
        for arrow in names.windows(2) {
            graph.entry(arrow[0].to_owned()).or_default().insert(arrow[1].to_owned());
        }
    }
    graph
}

/// A graph without the arrows that follow from others: from `a ──▶ b ──▶ c` follows `a ──▶ c`.
fn without_shortcuts(graph: &Graph) -> Graph {
    let mut short = Graph::new();
    for (from, names) in graph {
        let is_shortcut = |to: &String| names.iter().any(|other| other != to && leads_to(graph, other, to));
        let direct: BTreeSet<String> = names.iter().filter(|to| !is_shortcut(to)).cloned().collect();
        if !direct.is_empty() {
            short.insert(from.clone(), direct);
        }
    }
    short
}

/// Whether arrows lead from a node to another. The graph has no circle.
fn leads_to(graph: &Graph, from: &str, to: &str) -> bool {
    graph.get(from).is_some_and(|names| names.iter().any(|next| next == to || leads_to(graph, next, to)))
}

fn crate_folders() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("crates")).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.join("src").is_dir()).collect()
}

/// The source files below a folder with their code: without comments, and without modules of tests.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" && name != "suite.rs" {
            let code = code_of(&path);
            found.push((path, code));
        }
    }
    found
}

/// The code of a file. It is empty if there is no such file.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    code.collect::<Vec<_>>().join("\n")
}

/// The top-level modules of a crate, each with the others that its code names.
fn modules(src: &Path) -> Graph {
    let sources = sources(src).into_iter().map(|(path, code)| {
        let below = path.strip_prefix(src).unwrap().with_extension("");
        let parts: Vec<String> = below.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        (parts, code)
    });
    let sources: Vec<(Vec<String>, String)> =
        sources.filter(|(parts, _)| parts[0] != "lib" && parts[0] != "main").collect();
    let names: BTreeSet<String> = sources.iter().map(|(parts, _)| parts[0].clone()).collect();
    // Code may name a part of a module by its re-export at the root of the crate.
    let re_exports = re_exports(&code_of(&src.join("lib.rs")), &names);
    let mut graph = Graph::new();
    for (parts, code) in &sources {
        // From a file this deep, so many `super::` lead to the crate's root.
        let root = "super::".repeat(parts.len());
        let named = named_behind(code, "crate::").into_iter().chain(named_behind(code, &root));
        let named = named.map(|name| re_exports.get(&name).cloned().unwrap_or(name));
        let others = named.filter(|name| names.contains(name) && *name != parts[0]);
        graph.entry(parts[0].clone()).or_default().extend(others);
    }
    graph
}

/// The names that a crate's root re-exports, each with its module.
fn re_exports(lib: &str, modules: &BTreeSet<String>) -> BTreeMap<String, String> {
    let statements = lib.split(';').filter_map(|statement| {
        let begin = statement.lines().position(|line| line.starts_with("use ") || line.starts_with("pub"))?;
        let statement = statement.lines().skip(begin).collect::<Vec<_>>().join(" ");
        Some(statement.split_once("use ")?.1.to_owned())
    });
    let mut found = BTreeMap::new();
    for statement in statements {
        let module = name(statement.trim_start_matches("crate::").trim_start_matches("self::"));
        if modules.contains(&module) {
            leaves(&statement, &mut |leaf| drop(found.insert(leaf, module.clone())));
        }
    }
    found
}

/// Calls back with each name that a tree of paths brings in: `C` and `E` for `a::{b::C, D as E}`.
fn leaves(tree: &str, found: &mut dyn FnMut(String)) {
    match tree.split_once('{') {
        Some((path, list)) => {
            for item in items(list) {
                // `a::{self}` brings in `a`.
                let item = if item.trim() == "self" { path.trim_end_matches("::") } else { item };
                leaves(item, found);
            }
        }
        None => {
            let last = tree.rsplit([':', ' ']).find(|word| !word.is_empty()).unwrap_or_default();
            found(name(last));
        }
    }
}

/// The items of a list up to the brace that closes it. An item may have braces of its own.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut items) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(&list[begin..at]);
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

/// The name at the beginning of a text.
fn name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The names that stand right behind a prefix, or in the braces behind it.
fn named_behind(code: &str, prefix: &str) -> Vec<String> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        // The end of a longer name is no path of its own.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c)) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => named.extend(items(list).into_iter().map(name)),
            None => named.push(name(rest)),
        }
    }
    named
}

/// Some modules that lead around in a circle, if there are any.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    graph.keys().find_map(|node| {
        let mut path = Vec::new();
        is_in_a_circle(graph, node, &mut path, &mut done).then_some(path)
    })
}

/// Follows the arrows from a node; if they come back to one of the path, the path is that circle.
fn is_in_a_circle(graph: &Graph, node: &str, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
    if let Some(at) = path.iter().position(|other| other == node) {
        path.drain(..at);
        path.push(node.to_owned());
        return true;
    }
    if done.contains(node) {
        return false;
    }
    path.push(node.to_owned());
    let next: Vec<&String> = graph.get(node).into_iter().flatten().collect();
    if next.into_iter().any(|next| is_in_a_circle(graph, next, path, done)) {
        return true;
    }
    path.pop();
    done.insert(node.to_owned());
    false
}
