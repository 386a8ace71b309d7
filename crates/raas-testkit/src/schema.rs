//! Compares JSON with a JSON Schema: the part of the language that the schemas of docs/json use.
//!
//! It is stricter than a validator: an object may have no name that its schema does not list.

use serde_json::{Map, Value};

/// The faults of a value, each with its place. None for a value that its schema describes.
///
/// # Panics
/// The schema uses a keyword that is not known here.
pub fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    Checker { root: schema }.check(schema, value, "", &mut faults);
    faults
}

/// Keywords that say nothing about which values are right, or are not looked at.
const NOTES: [&str; 9] =
    ["$schema", "$defs", "title", "description", "format", "default", "minimum", "maximum", "uniqueItems"];

struct Checker<'a> {
    root: &'a Value,
}

impl Checker<'_> {
    fn check(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let schema = match schema {
            Value::Object(schema) => schema,
            Value::Bool(true) => return,
            other => panic!("{at}: {other} is no schema"),
        };
        for (keyword, rule) in schema {
            match keyword.as_str() {
                "$ref" => self.check(self.target(rule), value, at, faults),
                "type" if !is_of(rule, value) => faults.push(format!("{at}: {value} is no {rule}")),
                "enum" if !rule.as_array().is_some_and(|values| values.contains(value)) => {
                    faults.push(format!("{at}: {value} is none of {rule}"));
                }
                "const" if rule != value => faults.push(format!("{at}: {value} is not {rule}")),
                "anyOf" | "oneOf" => self.check_any(rule, value, at, faults),
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.check(rule, item, &format!("{at}/{n}"), faults);
                    }
                }
                "required" => {
                    let names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                    let missing =
                        names.filter(|name| value.as_object().is_some_and(|o| !o.contains_key(*name)));
                    faults.extend(missing.map(|name| format!("{at}: `{name}` is missing")));
                }
                "type" | "enum" | "const" | "properties" | "additionalProperties" => {}
                note if NOTES.contains(&note) => {}
                other => panic!("{at}: unknown keyword {other}"),
            }
        }
        if let Some(object) = value.as_object() {
            self.check_names(schema, object, at, faults);
        }
    }

    fn check_names(
        &self,
        schema: &Map<String, Value>,
        object: &Map<String, Value>,
        at: &str,
        faults: &mut Vec<String>,
    ) {
        // The objects of a reference or of alternatives are compared there.
        let (listed, further) = (schema.get("properties"), schema.get("additionalProperties"));
        if listed.is_none() && further.is_none() {
            return;
        }
        for (name, value) in object {
            let at = format!("{at}/{name}");
            match (listed.and_then(|listed| listed.get(name)), further) {
                (Some(rule), _) | (None, Some(rule @ Value::Object(_))) => {
                    self.check(rule, value, &at, faults);
                }
                _ => faults.push(format!("{at}: the schema does not list this name")),
            }
        }
    }

    fn check_any(&self, rules: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let mut closest: Option<Vec<String>> = None;
        for rule in rules.as_array().into_iter().flatten() {
            let mut found = Vec::new();
            self.check(rule, value, at, &mut found);
            if closest.as_ref().is_none_or(|closest| found.len() < closest.len()) {
                closest = Some(found);
            }
        }
        faults.extend(closest.unwrap_or_default());
    }

    fn target(&self, reference: &Value) -> &Value {
        let pointer = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let target = pointer.and_then(|pointer| self.root.pointer(pointer));
        target.unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }
}

/// Whether a value has the type, or one of the types.
fn is_of(types: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    };
    match types {
        Value::Array(types) => types.iter().filter_map(Value::as_str).any(is),
        one => one.as_str().is_some_and(is),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_are_found_with_their_place() {
        let schema = json!({
            "type": "object",
            "required": ["list"],
            "properties": {
                "list": {"type": "array", "items": {"$ref": "#/$defs/Item"}},
                "map": {"type": "object", "additionalProperties": {"type": "integer"}},
                "maybe": {"anyOf": [{"$ref": "#/$defs/Item"}, {"type": "null"}]},
            },
            "$defs": {"Item": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}},
        });
        let good = json!({"list": [{"a": "x"}, {"a": null}], "map": {"x": 1}, "maybe": null});
        assert_eq!(faults(&schema, &good), [""; 0]);
        for (bad, place) in [
            (json!({}), ": `list` is missing"),
            (json!({"list": [{"a": 1}]}), "/list/0/a: "),
            (json!({"list": [{"b": 1}]}), "/list/0/b: the schema"),
            (json!({"list": [], "map": {"x": "y"}}), "/map/x: "),
            (json!({"list": [], "maybe": {"b": 1}}), "/maybe/b: "),
            (json!([]), ": [] is no "),
        ] {
            let found = faults(&schema, &bad);
            assert!(found.len() == 1 && found[0].starts_with(place), "{bad}: {found:?}");
        }
    }
}
