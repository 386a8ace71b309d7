//! The documents say what raas does: every command in them is one that raas takes, and every `raas.cfg` one that it reads.
//!
//! The language of a block decides what a test does with it. `transcripts/documentation.txt` lists every block with that,
//! so that no block is left out in silence.

mod page;
mod shell;

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use raas_testkit::generated;

use super::Cli;
use crate::command_line;
use crate::config::Config;
use page::{Block, Page};

/// Programs that are not raas, and that commands of the documents may begin with. A misspelt `raas` is none of them.
const OTHER_PROGRAMS: &[&str] = &[
    "alias",
    "apk",
    "apt",
    "apt-get",
    "aws",
    "base64",
    "cargo",
    "cat",
    "cd",
    "chmod",
    "chown",
    "cosign",
    "cp",
    "crane",
    "createrepo",
    "ctr",
    "curl",
    "cut",
    "date",
    "diff",
    "dnf",
    "docker",
    "dpkg",
    "echo",
    "export",
    "find",
    "fuser",
    "git",
    "gpg",
    "grep",
    "helm",
    "htpasswd",
    "id",
    "install",
    "journalctl",
    "jq",
    "just",
    "kill",
    "kubectl",
    "ln",
    "logger",
    "ls",
    "make",
    "man",
    "mkdir",
    "mv",
    "nerdctl",
    "nginx",
    "oc",
    "oc-mirror",
    "openssl",
    "oras",
    "podman",
    "printf",
    "promtool",
    "rclone",
    "read",
    "rm",
    "rpm",
    "rsync",
    "sed",
    "sh",
    "sha256sum",
    "skopeo",
    "ss",
    "ssh",
    "ssh-keygen",
    "sudo",
    "systemctl",
    "systemd-analyze",
    "systemd-run",
    "systemd-sysusers",
    "tail",
    "tar",
    "tee",
    "test",
    "touch",
    "true",
    "umask",
    "unset",
    "useradd",
    "xargs",
    "yum",
];

/// Words in capitals that stand for a value, and a value that raas takes in their place.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("ISV", "bigdatainc"),
    ("IMAGE", "bigdata-app"),
    ("CUSTOMER", "bigbank"),
    ("TAG", "1.0"),
    ("NEW", "2.0"),
    ("OLD", "1.0"),
    ("DIGEST", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4f21fe77e8310c060f61caaff8a3"),
    ("COMMIT", "0123456789012345678901234567890123456789"),
    ("HOST", "registry.example.com"),
    ("NAME", "name"),
    ("ADDRESS", "127.0.0.1:5000"),
    ("COMMAND", "push"),
];

/// Spans that begin like a command of raas, and are none: (page, span, what it is).
const NO_COMMANDS: &[(&str, &str, &str)] =
    &[("CHANGELOG.md", "raas ISV IMAGE", "the form of the original tool, for vendors that are known")];

#[test]
fn every_command_and_configuration_in_the_documents_is_valid() {
    let mut faults = Vec::new();
    let mut commands = 0;
    let mut list = "# What the tests do with each block of the documents. Made by the test of crates/raas/src/cli/documented.rs.\n".to_owned();
    for page in page::all() {
        let mut rows = String::new();
        for block in &page.blocks {
            let (done, found) = check(block);
            for fault in found {
                faults.push(format!("{}:{}: {fault}", page.path, block.line));
            }
            rows.push_str(&format!("  {}: {done}\n", block.heading));
        }
        let spans = page.spans.iter().filter(|span| is_span_of_raas(&page, span));
        let spans: Vec<_> = spans.collect();
        for span in &spans {
            if let Err(fault) = take(&shell::words(&shell::without_brackets(span)), true) {
                faults.push(format!("{}: `{span}`: {fault}", page.path));
            }
        }
        if !spans.is_empty() {
            rows.push_str(&format!("  in sentences: {} commands of raas are parsed\n", spans.len()));
        }
        commands += spans.len();
        if !rows.is_empty() {
            list.push_str(&format!("\n{}\n{rows}", page.path));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(commands > 100, "{commands}");
    generated::check("crates/raas/tests/cli/transcripts/documentation.txt", "--lib documented", |_| list);
}

fn is_span_of_raas(page: &Page, span: &str) -> bool {
    span.starts_with("raas ")
        && !NO_COMMANDS.iter().any(|(path, other, _)| *path == page.path && *other == span)
}

/// What is done with a block, and what is wrong with it.
fn check(block: &Block) -> (String, Vec<String>) {
    match block.language.as_str() {
        "" if !has_commands(&block.text) => ("only shown (no language)".to_owned(), Vec::new()),
        "" | "sh" => check_commands(&block.text, "parsed"),
        // tests/cli/documentation.rs runs the transcripts, and fails for one that it does not know.
        "console" => check_commands(&shell::of_transcript(&block.text), "run, and its output compared"),
        "ini" => {
            ("read as raas.cfg".to_owned(), check_configuration(&block.text).err().into_iter().collect())
        }
        "json" => {
            let read = serde_json::from_str::<serde_json::Value>(&block.text);
            ("read as JSON".to_owned(), read.err().map(|error| error.to_string()).into_iter().collect())
        }
        shown @ ("text" | "toml" | "yaml" | "systemd" | "nginx" | "xml") => {
            (format!("only shown ({shown})"), Vec::new())
        }
        other => {
            let fault = format!("the tests do not know what to do with the language `{other}`");
            (String::new(), vec![fault])
        }
    }
}

/// Whether a line begins with a program.
fn has_commands(script: &str) -> bool {
    let is_known = |program: &String| program == "raas" || OTHER_PROGRAMS.contains(&program.as_str());
    shell::commands(script).iter().any(|words| shell::without_prefix(words).first().is_some_and(is_known))
}

fn check_commands(script: &str, done: &str) -> (String, Vec<String>) {
    let (mut programs, mut faults) = (Vec::new(), Vec::new());
    for words in shell::commands(script) {
        match take(&words, false) {
            Ok(program) if programs.contains(&program) => {}
            Ok(program) => programs.push(program),
            Err(fault) => faults.push(format!("`{}`: {fault}", words.join(" "))),
        }
    }
    (format!("{done}: {}", programs.join(", ")), faults)
}

/// Takes a command as raas would. Returns its name.
///
/// `may_be_short` is for a command in a sentence, which may leave out what it needs.
fn take(words: &[String], may_be_short: bool) -> Result<String, String> {
    let words = shell::without_prefix(words);
    let Some(program) = words.first() else { return Err("no program".to_owned()) };
    if program != "raas" {
        let known = OTHER_PROGRAMS.contains(&program.as_str()) || program.contains('/');
        return if known { Ok(program.clone()) } else { Err(format!("`{program}` is no known program")) };
    }
    let may_be_short = may_be_short || words.iter().any(|word| word == "…" || word == "...");
    let words: Vec<_> =
        words.iter().filter(|word| *word != "…" && *word != "...").map(|word| filled(word)).collect();
    let name = name_of(&words);
    match command_line::parse::<Cli>(words.into_iter().map(Into::into)) {
        Ok(_) => Ok(name),
        Err(error) if may_be_short && is_short(&error) => Ok(name),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => Ok(name),
        Err(error) => Err(error.to_string().lines().next().unwrap_or_default().to_owned()),
    }
}

/// Whether something is missing, and nothing is wrong.
fn is_short(error: &clap::Error) -> bool {
    let value = error.get(ContextKind::InvalidValue);
    match error.kind() {
        ErrorKind::MissingRequiredArgument
        | ErrorKind::MissingSubcommand
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => true,
        // An option without its value.
        ErrorKind::InvalidValue => matches!(value, Some(ContextValue::String(text)) if text.is_empty()),
        _ => false,
    }
}

/// `raas access add`
fn name_of(words: &[String]) -> String {
    let is_group = |word: &String| word == "access" || word == "config";
    let count = if words.get(1).is_some_and(is_group) { 3 } else { 2 };
    words.iter().take(count).cloned().collect::<Vec<_>>().join(" ")
}

/// The word with values in place of its placeholders.
fn filled(word: &str) -> String {
    let mut filled = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let is_letter = |c: char| c.is_ascii_uppercase();
        let capitals = rest.find(|c| !is_letter(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(capitals);
        let other = after.find(is_letter).unwrap_or(after.len());
        let (between, after) = after.split_at(other);
        let value = PLACEHOLDERS.iter().find(|(placeholder, _)| *placeholder == name);
        filled.push_str(value.map_or(name, |(_, value)| value));
        filled.push_str(between);
        rest = after;
    }
    filled
}

fn check_configuration(text: &str) -> Result<(), String> {
    let any = |_: &str| Some("0a".to_owned());
    Config::read_text(text, Path::new("/etc/raas/raas.cfg"), &any)
}

#[test]
fn a_wrong_command_is_found() {
    let fault = |script: &str| check_commands(script, "").1;
    assert!(fault("raas push ISV IMAGE --from x.tar   # a comment\n").is_empty());
    assert!(fault("raas log ISV | grep 'raas pu' && docker pull x\n").is_empty());
    assert!(fault("sudo -u raas raas status ISV 2>>log &\n").is_empty());
    for wrong in [
        "raas publish x",
        "raas push ISV IMAGE --form x.tar",
        "raas push ISV",
        "rass list",
        "raas list ISV | gerp x",
    ] {
        assert_eq!(fault(wrong).len(), 1, "{wrong}");
    }
    assert!(check_configuration("[bigdatainc]\ns3_bukket = x\n").is_err());
    assert!(
        take(&shell::words("raas push"), true).is_ok()
            && take(&shell::words("raas push --nothing"), true).is_err()
    );
}
