//! Keys of a document that this raas does not know: a newer raas, or another program, has written them.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::Document;

/// The keys of a document, in the order in which Pulp writes them.
const KEYS: [&str; 12] = [
    "type",
    "version",
    "repository",
    "repo-registry-id",
    "url",
    "protected",
    "images",
    "tags",
    "schema2_data",
    "manifest_list_data",
    "manifest_list_amd64_tags",
    "raas",
];

/// Adds to a rewritten document the keys that the document before had and that this raas does not know: in the
/// document, in its object `raas`, and in the entries there that the new document still has.
///
/// `after` is returned unchanged if there are no such keys, or if one of the two is not a document.
pub fn keep_unknown_keys(before: &[u8], after: Vec<u8>) -> Vec<u8> {
    with_unknown_keys(before, &after).unwrap_or(after)
}

/// The new document with the unknown keys; `None` if there are none.
fn with_unknown_keys(before: &[u8], after: &[u8]) -> Option<Vec<u8>> {
    // Reading and writing loses exactly the keys that this raas does not know.
    let known = Document::parse(before).ok()?.to_bytes();
    let known: Value = serde_json::from_slice(&known).ok()?;
    let before: Map<String, Value> = serde_json::from_slice(before).ok()?;
    let mut after: Map<String, Value> = serde_json::from_slice(after).ok()?;
    let mut found = false;
    if let (Some(before), Some(raas)) = (before.get("raas"), after.get_mut("raas")) {
        found = merge(before, &known["raas"], raas);
    }
    for (key, value) in before {
        if known.get(&key).is_none() && !KEYS.contains(&key.as_str()) {
            after.insert(key, value);
            found = true;
        }
    }
    if !found {
        return None;
    }
    let mut bytes = serde_json::to_vec_pretty(&InOrder(after)).ok()?;
    bytes.push(b'\n');
    Some(bytes)
}

/// The keys of a document in their order, and then the unknown ones.
struct InOrder(Map<String, Value>);

impl Serialize for InOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = KEYS.iter().filter_map(|key| self.0.get_key_value(*key));
        let unknown = self.0.iter().filter(|(key, _)| !KEYS.contains(&key.as_str()));
        serializer.collect_map(known.chain(unknown))
    }
}

/// Adds to `after` the keys that `before` has and `known` lacks, at each depth that all three have. Returns whether
/// there were any.
fn merge(before: &Value, known: &Value, after: &mut Value) -> bool {
    let (Value::Object(before), Value::Object(known), Value::Object(after)) = (before, known, after) else {
        return false;
    };
    let mut found = false;
    for (key, value) in before {
        match (known.get(key), after.get_mut(key)) {
            (None, None) if !value.is_null() => {
                after.insert(key.clone(), value.clone());
                found = true;
            }
            (Some(known), Some(after)) => found |= merge(value, known, after),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;

    fn document(tag: &str, blobs: &[&[u8]]) -> String {
        let blobs: Vec<String> = blobs
            .iter()
            .map(|blob| format!(r#""{}": {{"size": {}}}"#, Digest::of(blob), blob.len()))
            .collect();
        format!(
            r#"{{"type": "pulp-docker-redirect", "version": 4, "repository": "a", "repo-registry-id": "a",
                "url": "https://x/a/", "protected": false, "schema2_data": ["{tag}"], "manifest_list_data": [],
                "manifest_list_amd64_tags": {{}}, "raas": {{"tags": {{}}, "manifests": {{}}, "blobs": {{{}}}}}}}"#,
            blobs.join(", ")
        )
    }

    fn rewritten(text: &str) -> Vec<u8> {
        Document::parse(text.as_bytes()).unwrap().to_bytes()
    }

    #[test]
    fn unknown_keys_stay_where_their_object_stays() {
        let before = document("1.0", &[b"old", b"kept"])
            .replacen('{', r#"{"later": [1], "#, 1)
            .replace(r#""raas": {"#, r#""raas": {"notes": {"a": 1}, "#)
            .replace(r#""size": "#, r#""compression": "zstd", "size": "#);
        let after = rewritten(&document("2.0", &[b"kept", b"new"]));
        let kept = keep_unknown_keys(before.as_bytes(), after.clone());
        assert_eq!(Document::parse(&kept).unwrap(), Document::parse(&after).unwrap());
        let kept: Value = serde_json::from_slice(&kept).unwrap();
        assert_eq!(kept["later"], serde_json::json!([1]));
        assert_eq!(kept["raas"]["notes"]["a"], 1);
        let blobs = &kept["raas"]["blobs"];
        assert_eq!(blobs[Digest::of(b"kept").to_string()]["compression"], "zstd");
        assert_eq!(blobs[Digest::of(b"new").to_string()].get("compression"), None);
        assert_eq!(blobs.get(Digest::of(b"old").to_string()), None);
    }

    #[test]
    fn without_unknown_keys_the_bytes_stay() {
        let after = rewritten(&document("2.0", &[b"new"]));
        for before in [document("1.0", &[b"old"]), String::new(), "[]".to_owned()] {
            assert_eq!(keep_unknown_keys(before.as_bytes(), after.clone()), after);
        }
        let before = document("1.0", &[]).replacen('{', r#"{"later": 1, "#, 1);
        assert_eq!(keep_unknown_keys(before.as_bytes(), b"no document".to_vec()), b"no document");
    }

    #[test]
    fn known_keys_of_another_version_are_not_kept() {
        let two = r#"{"type": "pulp-docker-redirect", "version": 2, "repository": "a", "repo-registry-id": "a",
            "url": "https://x/a/", "schema2_data": ["latest"]}"#;
        let after = rewritten(&document("2.0", &[]));
        assert_eq!(keep_unknown_keys(two.as_bytes(), after.clone()), after);
    }
}
