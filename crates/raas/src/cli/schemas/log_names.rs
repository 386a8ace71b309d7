//! The names of a server's log.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Name, type, meaning; in order.
pub(super) const LOG_NAMES: &[(&str, &str, &str)] = &[
    ("address", "string", "The address of a client that is throttled."),
    ("bucket", "string", "The bucket, or the place that publishes like one."),
    ("bytes", "integer", "The bytes of the answer's body that were sent."),
    ("customer", "string", "The customer who logged in."),
    ("customer_key", "string", "The name of the customer's key."),
    ("digest", "string", "The digest of the manifest or blob that was asked for."),
    ("directory", "string", "The URL of the ACME authority."),
    ("domain", "string", "The name that a certificate is for."),
    ("ends", "string", "When the certificate ends."),
    ("error", "string", "What failed, and why."),
    ("events", "integer", "The number of notifications that were given up."),
    ("fault", "string", "What is wrong with a published object."),
    ("file", "string", "The file that was read."),
    ("folder", "string", "The folder that was read."),
    ("found", "string", "The publication that the pointer names."),
    ("further", "integer", "The number of further faults, which are not listed."),
    ("host", "string", "The host that the client asked for, or that a site has."),
    ("kind", "string", "What was asked for: `manifest`, `blob`, `sig` and the like, as docs/pulls.md says."),
    ("level", "string", "`ERROR`, `WARN` or `INFO`."),
    (
        "lost",
        "integer",
        "The number of lines that were lost because the reader of the log was too slow, or because they could not be written.",
    ),
    ("message", "string", "What happened, for people."),
    ("metadata", "string", "The place of a vendor's metadata."),
    ("method", "string", "The method of the request."),
    ("ms", "number", "The milliseconds from the request to the last byte of the answer."),
    ("name", "string", "The name of a repository."),
    ("names", "string", "The names that a certificate is for."),
    ("note", "string", "A note of the configuration."),
    ("object", "string", "The object, by its key."),
    ("of", "string", "The kind of notifications: of pulls or of publications."),
    ("path", "string", "The path of the request without its query, or the path of a document or object."),
    ("reason", "string", "Why something is not served or not used."),
    ("remote", "string", "The client's address and port."),
    ("repositories", "integer", "The number of repositories."),
    ("repository", "string", "The repository that was asked for."),
    ("revision", "string", "The commit of the publication."),
    ("root", "string", "The folder of the metadata."),
    ("seconds", "integer", "The seconds until the next attempt."),
    ("section", "string", "The section of the configuration."),
    ("served", "string", "The publication that is served."),
    ("serves", "string", "What is served in spite of the fault."),
    ("serving", "string", "The certificate that is shown in spite of the fault."),
    ("source", "string", "The place that the metadata comes from."),
    ("status", "integer", "The status of the answer."),
    ("tag", "string", "The tag that was asked for."),
    ("tags", "string", "The tags of a manifest that was asked for by its digest, with commas."),
    ("target", "string", "The part of the server; `access` for a request, `raas` for the command."),
    ("timestamp", "string", "The time of the line."),
    ("url", "string", "Where notifications or traces are sent to, without secrets."),
    ("user_agent", "string", "What the client calls itself."),
    ("users", "integer", "The number of users."),
    ("v1", "integer", "The number of repositories with Docker v1 content."),
    ("vendor", "string", "The vendor."),
    ("warning", "string", "A warning about the configuration."),
];

/// The names that the formatter adds, or that lines of the command have.
const OF_THE_FORMAT: [&str; 4] = ["level", "message", "target", "timestamp"];

#[test]
fn the_list_has_the_names_of_all_log_lines() {
    let mut used: BTreeSet<String> = OF_THE_FORMAT.map(str::to_owned).into();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for krate in ["raas", "raas-server"] {
        add_names(&crates.join(krate).join("src"), &mut used);
    }
    let listed: Vec<&str> = LOG_NAMES.iter().map(|(name, ..)| *name).collect();
    assert_eq!(listed, used.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The names of the log lines in the sources of a folder.
fn add_names(folder: &Path, used: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_names(&path, used);
        } else {
            let text = fs::read_to_string(&path).unwrap_or_default();
            for level in ["info", "warn", "error"] {
                for call in text.split(&format!("tracing::{level}!(")).skip(1) {
                    used.extend(names_of(call));
                }
            }
        }
    }
}

/// The names before the message of one call: `%name`, `name = value`, `name`.
fn names_of(call: &str) -> Vec<String> {
    let (mut names, mut depth, mut word) = (Vec::new(), 0, String::new());
    for c in call.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ',' | ')' if depth == 0 => {
                let text = word.trim();
                if !text.starts_with("target:") && !text.is_empty() {
                    let name = text.trim_start_matches(['%', '?']);
                    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                    names.push(name[..end.unwrap_or(name.len())].to_owned());
                }
                word.clear();
                if c == ')' {
                    return names;
                }
                continue;
            }
            // The message ends the names; the target of a line has a `:` before its text.
            '"' if depth == 0 && word.trim().is_empty() => return names,
            _ => {}
        }
        word.push(c);
    }
    names
}
