//! Checks of a metadata document that report all of its faults at once.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use super::document::DOCUMENT_TYPE;
use super::{Content, Document};
use crate::{Digest, ImageId, Location, RepositoryName, Tag};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A registry would skip the document, or serve something from it that cannot be pulled.
    Error,
    /// A registry would serve the document; a person should check it.
    Warning,
}

/// A fault in a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad the fault is.
    pub severity: Severity,
    /// The place of the fault: a JSON pointer (RFC 6901), empty for the whole document.
    pub at: String,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let at = if self.at.is_empty() { "/" } else { &self.at };
        write!(f, "{severity}: {at}: {}", self.message)
    }
}

/// All faults of a document, in the order of its keys; none for a good document.
///
/// ```
/// use raas_types::crane::lint;
///
/// let findings = lint(br#"{"type": "pulp-docker-redirect", "version": 7}"#);
/// assert_eq!(findings[0].to_string(), "error: /version: expected 1, 2, 3 or 4");
/// ```
pub fn lint(bytes: &[u8]) -> Vec<Finding> {
    let mut report = Report::default();
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(document)) => {
            check_document(&mut report, &document);
            // Some faults show only in the typed reader: a wrong type deep inside `raas`, for example.
            if report.errors() == 0 {
                match Document::parse(bytes) {
                    Ok(document) => check_extension(&mut report, &document),
                    Err(error) => report.error("", error.to_string()),
                }
            }
        }
        Ok(_) => report.error("", "expected a JSON object"),
        Err(error) => report.error("", format!("not JSON: {error}")),
    }
    report.0
}

#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn error(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Error, at: at.into(), message: message.into() });
    }

    fn warning(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.0.push(Finding { severity: Severity::Warning, at: at.into(), message: message.into() });
    }

    fn errors(&self) -> usize {
        self.0.iter().filter(|f| f.severity == Severity::Error).count()
    }
}

const COMMON_KEYS: [&str; 7] =
    ["type", "version", "repository", "repo-registry-id", "url", "protected", "raas"];

fn keys_of(version: u64) -> &'static [&'static str] {
    match version {
        1 => &["images", "tags"],
        2 => &[],
        3 => &["schema2_data"],
        _ => &["schema2_data", "manifest_list_data", "manifest_list_amd64_tags"],
    }
}

fn check_document(report: &mut Report, document: &Map<String, Value>) {
    text(report, document, "type", |value| {
        if value == DOCUMENT_TYPE {
            Ok(())
        } else {
            Err(format!("expected `{DOCUMENT_TYPE}`, found `{value}`"))
        }
    });
    let version = match document.get("version").map(Value::as_u64) {
        Some(Some(version @ 1..=4)) => version,
        Some(_) => return report.error("/version", "expected 1, 2, 3 or 4"),
        None => return report.error("/version", "missing"),
    };
    text(report, document, "repository", |value| if value.is_empty() { Err("empty".into()) } else { Ok(()) });
    text(report, document, "repo-registry-id", |value| {
        value.parse::<RepositoryName>().map(drop).map_err(|e| e.to_string())
    });
    text(report, document, "url", |value| {
        if value.contains("://") { Ok(()) } else { Err(format!("expected an absolute URL, found `{value}`")) }
    });
    if document.get("protected").is_some_and(|v| !v.is_boolean()) {
        report.error("/protected", "expected true or false");
    }
    match version {
        1 => check_v1(report, document),
        _ => check_v2(report, document, version),
    }
    for key in document.keys() {
        if !COMMON_KEYS.contains(&key.as_str()) && !keys_of(version).contains(&key.as_str()) {
            report.warning(
                pointer(&[key]),
                format!("not a key of a version {version} document; it is ignored"),
            );
        }
    }
}

fn text(
    report: &mut Report,
    document: &Map<String, Value>,
    key: &str,
    check: impl Fn(&str) -> Result<(), String>,
) {
    let at = pointer(&[key]);
    match document.get(key) {
        None => report.error(at, "missing"),
        Some(Value::String(value)) => check(value).unwrap_or_else(|message| report.error(at, message)),
        Some(_) => report.error(at, "expected text"),
    }
}

fn check_v1(report: &mut Report, document: &Map<String, Value>) {
    let mut ids = BTreeSet::new();
    match document.get("images") {
        Some(Value::Array(images)) => {
            for (n, image) in images.iter().enumerate() {
                let at = format!("/images/{n}/id");
                match image.get("id").and_then(Value::as_str).map(str::parse::<ImageId>) {
                    Some(Ok(id)) if !ids.insert(id) => {
                        report.warning(at, format!("image {id} is listed twice"));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => report.error(at, error.to_string()),
                    None => report.error(at, "missing"),
                }
            }
        }
        _ => report.error("/images", "expected a list of {\"id\": …}"),
    }
    let Some(Value::Object(tags)) = document.get("tags") else {
        return report.error("/tags", "expected an object of tag to image id");
    };
    for (tag, id) in tags {
        let at = pointer(&["tags", tag]);
        if let Err(error) = tag.parse::<Tag>() {
            report.error(&at, error.to_string());
        }
        match id.as_str().map(str::parse::<ImageId>) {
            Some(Ok(id)) if ids.contains(&id) => {}
            Some(Ok(id)) => {
                report.error(at, format!("image {id} is not in `images`, so the tag cannot be pulled"));
            }
            Some(Err(error)) => report.error(at, error.to_string()),
            None => report.error(at, "expected an image id"),
        }
    }
}

fn check_v2(report: &mut Report, document: &Map<String, Value>, version: u64) {
    let mut lists = BTreeSet::new();
    for key in ["schema2_data", "manifest_list_data"] {
        if !keys_of(version).contains(&key) {
            continue;
        }
        let Some(Value::Array(names)) = document.get(key) else {
            report.error(pointer(&[key]), "expected a list of digests and tags");
            continue;
        };
        for (n, name) in names.iter().enumerate() {
            match name.as_str().map(str::parse::<crate::Reference>) {
                Some(Ok(name)) if key == "manifest_list_data" => drop(lists.insert(name.to_string())),
                Some(Ok(_)) => {}
                Some(Err(error)) => report.error(format!("/{key}/{n}"), error.to_string()),
                None => report.error(format!("/{key}/{n}"), "expected a digest or a tag"),
            }
        }
    }
    if version < 4 {
        return;
    }
    let Some(Value::Object(tags)) = document.get("manifest_list_amd64_tags") else {
        return report
            .error("/manifest_list_amd64_tags", "expected an object of tag to [digest, schema version]");
    };
    for (tag, entry) in tags {
        let at = pointer(&["manifest_list_amd64_tags", tag]);
        let digest = entry.get(0).and_then(Value::as_str).map(str::parse::<Digest>);
        if !matches!(digest, Some(Ok(_))) || !matches!(entry.get(1).and_then(Value::as_u64), Some(1 | 2)) {
            report.error(&at, "expected [digest, schema version 1 or 2]");
        }
        if !lists.contains(tag) {
            report.warning(at, "the tag is not in `manifest_list_data`");
        }
    }
}

fn check_extension(report: &mut Report, document: &Document) {
    match &document.content {
        Content::V1(v1) => {
            for (id, entry) in v1.raas.iter().flat_map(|raas| &raas.images) {
                check_location(report, &["raas", "images", &id.to_string()], entry.location.as_deref());
                if !v1.images.contains(id) {
                    report
                        .error(pointer(&["raas", "images", &id.to_string()]), "the image is not in `images`");
                }
            }
        }
        Content::V2(v2) => {
            for (digest, entry) in v2.raas.iter().flat_map(|raas| &raas.blobs) {
                check_location(report, &["raas", "blobs", &digest.to_string()], entry.location.as_deref());
            }
            for (tag, digest) in v2.raas.iter().flat_map(|raas| &raas.tags) {
                if !v2.raas.as_ref().is_some_and(|raas| raas.manifests.contains_key(digest)) {
                    let at = pointer(&["raas", "tags", tag.as_str()]);
                    report.error(
                        at,
                        format!("manifest {digest} is not in `raas.manifests`, so the tag cannot be pulled"),
                    );
                }
            }
        }
    }
}

fn check_location(report: &mut Report, entry: &[&str], location: Option<&str>) {
    if let Some(Err(error)) = location.map(str::parse::<Location>) {
        report.error(format!("{}/location", pointer(entry)), error.to_string());
    }
}

/// A JSON pointer to a key, escaped as RFC 6901, section 3, asks.
fn pointer(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"type": "pulp-docker-redirect", "version": 1, "repository": "app", "repo-registry-id": "app",
        "url": "https://cdn.example.com/app/", "images": [{"id": "ID"}], "tags": {"latest": "ID"}}"#;

    fn document(edit: impl Fn(String) -> String) -> Vec<u8> {
        edit(GOOD.replace("ID", &"ab".repeat(32))).into_bytes()
    }

    #[test]
    fn a_good_document_has_no_findings() {
        assert_eq!(lint(&document(|d| d)), []);
    }

    #[test]
    fn every_fault_is_reported_with_its_place() {
        let id = "ab".repeat(32);
        type Edit<'a> = Box<dyn Fn(String) -> String + 'a>;
        let table: [(&str, Edit<'_>); 9] = [
            ("/type", Box::new(|d| d.replace("pulp-docker-redirect", "x"))),
            ("/version", Box::new(|d| d.replace("\"version\": 1", "\"version\": 7"))),
            (
                "/repo-registry-id",
                Box::new(|d| d.replace("\"repo-registry-id\": \"app\"", "\"repo-registry-id\": \"App\"")),
            ),
            ("/url", Box::new(|d| d.replace("https://", ""))),
            ("/images/0/id", Box::new(|d| d.replacen(&id, "xyz", 1))),
            (
                "/tags/latest",
                Box::new(|d| {
                    d.replace(
                        &format!("\"latest\": \"{id}\""),
                        &format!("\"latest\": \"{}\"", "cd".repeat(32)),
                    )
                }),
            ),
            ("/tags/la~1test", Box::new(|d| d.replace("latest", "la/test"))),
            ("/extra", Box::new(|d| d.replace("\"images\"", "\"extra\": 1, \"images\""))),
            ("", Box::new(|_| "{".into())),
        ];
        for (at, edit) in table {
            let findings = lint(&document(edit));
            assert!(findings.iter().any(|f| f.at == at), "{at}: {findings:?}");
        }
    }

    #[test]
    fn several_faults_are_reported_at_once() {
        let findings = lint(br#"{"type": 1, "version": 1, "images": 2}"#);
        assert!(findings.len() >= 5, "{findings:?}");
    }
}
