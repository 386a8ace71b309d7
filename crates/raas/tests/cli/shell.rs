//! Completions and manual pages, made from the definition of the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::sandbox::{Sandbox, succeeded};

/// The commands of docs/cli.md, which is made from the same definition.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md")).unwrap();
    let headings = page.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(" raas "));
    headings.map(str::to_owned).collect()
}

#[test]
fn every_command_has_a_manual_page() {
    let sandbox = Sandbox::new();
    let said = sandbox.ok(&["man", "--to", "pages"]);
    let commands = documented();
    assert!(
        commands.len() > 30 && said.starts_with(&format!("Wrote {} pages to ", commands.len() + 1)),
        "{said}"
    );
    let names = fs::read_dir(sandbox.path("pages")).unwrap();
    let names: BTreeSet<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let expected = commands.iter().map(|command| format!("raas-{}.1", command.replace(' ', "-")));
    assert_eq!(names, expected.chain(["raas.1".to_owned()]).collect());
    for name in names {
        let page = fs::read_to_string(sandbox.path("pages").join(&name)).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "\"GLOBAL OPTIONS\"", "EXAMPLES"] {
            assert!(page.contains(&format!("\n.SH {section}\n")), "{name} has no {section}");
        }
        let lines: Vec<&str> = page.lines().collect();
        let mut entries = lines.windows(3).filter(|lines| lines[0] == ".TP");
        assert!(entries.all(|lines| !lines[2].is_empty()), "{name} has an option without a text");
    }
    let page = sandbox.ok(&["man", "access", "add"]);
    assert_eq!(page, fs::read_to_string(sandbox.path("pages/raas-access-add.1")).unwrap());
    assert!(sandbox.fails(2, &["man", "nothing"]).contains("`nothing`"));
}

#[test]
fn completions_know_every_command() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = sandbox.ok(&["completions", shell]);
        for command in documented() {
            let last = command.split(' ').next_back().unwrap();
            assert!(script.contains(last), "{shell}: {command}");
        }
    }
    sandbox.write("raas.bash", sandbox.ok(&["completions", "bash"]));
    let completed = |words: &str| {
        let script = format!(
            "source ./raas.bash; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _raas raas \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\""
        );
        let mut command = Command::new("bash");
        sandbox.contain(&mut command);
        succeeded(&command.args(["--norc", "-c", &script]).output().unwrap()).trim().to_owned()
    };
    assert_eq!(completed("raas pu"), "push publish-static pulls pulp-upload");
    assert_eq!(completed("raas access re"), "revoke remove");
    assert_eq!(completed("raas push --dry"), "--dry-run");
    assert_eq!(completed("raas completions f"), "fish");
}
