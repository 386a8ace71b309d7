//! Tells the program the commit that it is built from, and the machine that it is built for.
//!
//! The commit is that of the variable `RAAS_COMMIT`, of a crate's tarball, or of the repository around this crate. Only
//! optimised builds look at the repository: in development, a commit makes nobody build the program again.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RAAS_COMMIT");
    let crate_folder = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let crate_folder = Path::new(&crate_folder);
    let is_optimised = env::var("OPT_LEVEL").is_ok_and(|level| level == "3");
    let commit = given()
        .or_else(|| of_tarball(crate_folder))
        .or_else(|| if is_optimised { of_repository(&crate_folder.join("../..")) } else { None });
    println!("cargo::rustc-env=RAAS_BUILD_COMMIT={}", commit.unwrap_or_default());
    println!("cargo::rustc-env=RAAS_BUILD_TARGET={}", env::var("TARGET").unwrap_or_default());
}

/// The commit that whoever builds a package gives: a folder of sources may have no repository.
fn given() -> Option<String> {
    let commit = env::var("RAAS_COMMIT").ok().filter(|commit| !commit.is_empty())?;
    assert!(is_commit(&commit), "RAAS_COMMIT is `{commit}`, and not the hash of a commit");
    Some(commit)
}

/// The commit that cargo notes in a crate's tarball: `{"git": {"sha1": "…"}}`.
fn of_tarball(crate_folder: &Path) -> Option<String> {
    let note = fs::read_to_string(crate_folder.join(".cargo_vcs_info.json")).ok()?;
    let (_, rest) = note.split_once("\"sha1\"")?;
    rest.split('"').nth(1).filter(|commit| is_commit(commit)).map(str::to_owned)
}

/// The commit of the working tree. A repository further up has other contents.
fn of_repository(root: &Path) -> Option<String> {
    if !root.join(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    // Each commit and each checkout adds a line to the log of HEAD.
    for file in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", file])?;
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    git(&["rev-parse", "HEAD"]).filter(|commit| is_commit(commit))
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
