//! Labels in the text format of Prometheus.

/// The text between the braces.
pub(crate) fn labels(labels: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(96);
    for (name, value) in labels {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        // Names and tags need no escaping, and every pull writes some.
        if !value.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
            out.push_str(value);
        } else {
            for character in value.chars() {
                match character {
                    '\\' => out.push_str("\\\\"),
                    '"' => out.push_str("\\\""),
                    '\n' => out.push_str("\\n"),
                    other => out.push(other),
                }
            }
        }
        out.push('"');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(labels(&[("a", "x"), ("b", "\"\\\n")]), r#"a="x",b="\"\\\n""#);
        assert_eq!(labels(&[]), "");
    }
}
