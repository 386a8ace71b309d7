//! Objects as YAML, for people who keep manifests in git.
//!
//! Every text that YAML could take for something else is written in double quotes as in JSON, which YAML reads too.
//! The library in the tree (serde-saphyr, through kube) is a reader first, and its way of writing changes between releases.

use std::fmt::Write as _;

use serde_json::Value;

use crate::object::Object;

/// The objects as one stream of YAML documents.
pub fn documents(objects: &[Object]) -> String {
    let document = |object: &Object| format!("---\n{}", document(&object.body));
    objects.iter().map(document).collect()
}

/// One YAML document.
pub fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut text, value, 0),
        Value::Array(list) if !list.is_empty() => sequence(&mut text, list, 0),
        other => text.push_str(&scalar(other)),
    }
    text
}

/// A mapping. The first line has no indentation: it stands behind a dash, or at the left edge.
fn mapping(text: &mut String, value: &Value, depth: usize) {
    for (n, (key, value)) in ordered(value).into_iter().enumerate() {
        if n > 0 {
            indent(text, depth);
        }
        let _ = write!(text, "{}:", quoted(key));
        match value {
            Value::Object(map) if !map.is_empty() => {
                text.push('\n');
                indent(text, depth + 1);
                mapping(text, value, depth + 1);
            }
            Value::Array(list) if !list.is_empty() => {
                text.push('\n');
                indent(text, depth);
                sequence(text, list, depth);
            }
            Value::String(lines) if is_block(lines) => {
                text.push_str(" |\n");
                for line in lines.trim_end_matches('\n').split('\n') {
                    if !line.is_empty() {
                        indent(text, depth + 1);
                        text.push_str(line);
                    }
                    text.push('\n');
                }
            }
            other => {
                let _ = writeln!(text, " {}", scalar(other));
            }
        }
    }
}

fn sequence(text: &mut String, list: &[Value], depth: usize) {
    for (n, value) in list.iter().enumerate() {
        if n > 0 {
            indent(text, depth);
        }
        text.push_str("- ");
        match value {
            Value::Object(map) if !map.is_empty() => mapping(text, value, depth + 1),
            Value::Array(list) if !list.is_empty() => sequence(text, list, depth + 1),
            other => {
                let _ = writeln!(text, "{}", scalar(other));
            }
        }
    }
}

/// The fields of an object, with those first by which people recognise it.
fn ordered(value: &Value) -> Vec<(&String, &Value)> {
    const FIRST: [&str; 4] = ["apiVersion", "kind", "metadata", "name"];
    let mut fields: Vec<_> = value.as_object().into_iter().flatten().collect();
    fields.sort_by_key(|(key, _)| FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len()));
    fields
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        // JSON's own notation of numbers, words and empty collections is YAML's too.
        other => other.to_string(),
    }
}

/// Whether a text is written as a block of lines: several whole lines without characters that a block cannot have.
fn is_block(text: &str) -> bool {
    let harmless = |line: &str| {
        !line.starts_with([' ', '\t']) && !line.chars().any(|c| c.is_control() || c == '\u{feff}')
    };
    text.ends_with('\n')
        && !text.ends_with("\n\n")
        && text.len() > 1
        && !text.starts_with('\n')
        && text.lines().all(harmless)
        && !text.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}'])
}

/// A text without quotes if it can be nothing but a text, and else in JSON's quotes.
fn quoted(text: &str) -> String {
    const WORDS: [&str; 13] =
        ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf", "infinity", "none"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_is_readable_and_keeps_texts_apart_from_numbers_and_words() {
        let value = json!({
            "spec": { "args": ["serve", "--listen", "0.0.0.0:5000", []], "empty": {}, "on": true, "n": 2 },
            "kind": "X",
            "data": { "a": "no", "b": "12", "c": "first\nsecond\n", "d": "a: b", "e": " x\n", "f": "", "g": "1e3" },
            "list": [{ "b": 1, "name": "one", "more": { "deep": [[1, 2], "y"] } }, "two"],
        });
        let expected = "\
kind: X
data:
  a: \"no\"
  b: \"12\"
  c: |
    first
    second
  d: \"a: b\"
  e: \" x\\n\"
  f: \"\"
  g: \"1e3\"
list:
- name: one
  b: 1
  more:
    deep:
    - - 1
      - 2
    - \"y\"
- two
spec:
  args:
  - serve
  - \"--listen\"
  - \"0.0.0.0:5000\"
  - []
  empty: {}
  \"n\": 2
  \"on\": true
";
        assert_eq!(document(&value), expected);
    }
}
