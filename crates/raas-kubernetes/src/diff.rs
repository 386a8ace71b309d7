//! What an apply changes, field by field, without the values of secrets.

use serde_json::Value;

use crate::object::{Kind, Object};

/// A change of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// `.spec.template.spec.containers[name="raas"].image`
    pub field: String,
    /// The value before, in JSON; nothing if the field is new.
    pub before: Option<String>,
    /// The value after; nothing if the field goes.
    pub after: Option<String>,
}

/// What the setup does, or would do, with an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The object is new.
    Created(String),
    /// Some fields change.
    Changed(String, Vec<FieldChange>),
    /// The plan does not have the object any more.
    Removed(String),
}

/// The longest value that is shown, in characters.
const SHOWN: usize = 120;

/// The changes between two states of an object that raas applies. What the API server writes by itself does not count.
pub(crate) fn between(object: &Object, before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    walk("", Some(&wanted(before)), Some(&wanted(after)), &mut changes);
    if let Kind::Secret | Kind::Route = object.kind {
        for change in &mut changes {
            let is_secret = [".data.", ".spec.tls.key"].iter().any(|begin| change.field.starts_with(begin));
            if is_secret || change.field == ".data" {
                for value in [&mut change.before, &mut change.after].into_iter().flatten() {
                    "***".clone_into(value);
                }
            }
        }
    }
    changes
}

/// An object without what the API server writes: status, versions, managers.
fn wanted(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for written in
            ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"]
        {
            metadata.remove(written);
        }
        // The deployment's controller writes it.
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("deployment.kubernetes.io/revision");
        }
        if metadata
            .get("annotations")
            .is_some_and(|one| one.as_object().is_some_and(serde_json::Map::is_empty))
        {
            metadata.remove("annotations");
        }
    }
    value
}

fn walk(path: &str, before: Option<&Value>, after: Option<&Value>, changes: &mut Vec<FieldChange>) {
    if before == after {
        return;
    }
    // A new object is shown by its fields, so that a secret among them has its own path.
    let empty = Value::Object(serde_json::Map::new());
    let fill = |side: Option<&'_ Value>, other: Option<&Value>| match (side, other) {
        (None, Some(Value::Object(map))) if !map.is_empty() => Some(empty.clone()),
        (side, _) => side.cloned(),
    };
    let (before, after) = (fill(before, after), fill(after, before));
    match (before.as_ref(), after.as_ref()) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let mut keys: Vec<&String> = one.keys().chain(other.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                walk(&format!("{path}.{key}"), one.get(key), other.get(key), changes);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) if named(one) && named(other) => {
            let mut names: Vec<&str> =
                one.iter().chain(other).filter_map(|item| item["name"].as_str()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let (one, other) = (one.iter(), other.iter());
                let find =
                    |mut list: std::slice::Iter<'_, Value>| list.find(|item| item["name"] == name).cloned();
                let (one, other) = (find(one), find(other));
                walk(&format!("{path}[name=\"{name}\"]"), one.as_ref(), other.as_ref(), changes);
            }
        }
        (before, after) => changes.push(FieldChange {
            field: path.to_owned(),
            before: before.map(shown),
            after: after.map(shown),
        }),
    }
}

fn named(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(|item| item["name"].is_string())
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN {
        return text;
    }
    text.chars().take(SHOWN).chain("…".chars()).collect()
}

impl Change {
    /// The object's name, `Deployment raas-acme`.
    pub fn object(&self) -> &str {
        match self {
            Self::Created(object) | Self::Changed(object, _) | Self::Removed(object) => object,
        }
    }

    /// The lines for people.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Created(object) => vec![format!("+ {object}")],
            Self::Removed(object) => vec![format!("- {object}")],
            Self::Changed(object, fields) => {
                let line = |change: &FieldChange| {
                    let side = |value: &Option<String>| value.as_deref().unwrap_or("(none)").to_owned();
                    format!("    {}: {} → {}", change.field, side(&change.before), side(&change.after))
                };
                std::iter::once(format!("~ {object}")).chain(fields.iter().map(line)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: Kind) -> Object {
        Object { kind, name: "x".into(), body: Value::Null }
    }

    #[test]
    fn changes_are_named_by_field_and_what_the_server_writes_does_not_count() {
        let deployment = |image: &str, version: &str| {
            json!({
                "metadata": { "resourceVersion": version, "annotations": { "deployment.kubernetes.io/revision": version } },
                "spec": { "containers": [{ "name": "raas", "image": image }, { "name": "b" }] },
                "status": { "replicas": version },
            })
        };
        let changes = between(&object(Kind::Deployment), &deployment("a:1", "1"), &deployment("a:2", "2"));
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].field, ".spec.containers[name=\"raas\"].image");
        let lines = Change::Changed("Deployment x".into(), changes).lines();
        assert_eq!(lines[1], "    .spec.containers[name=\"raas\"].image: \"a:1\" → \"a:2\"");
        let same = between(&object(Kind::Deployment), &deployment("a:1", "1"), &deployment("a:1", "2"));
        assert_eq!(same, []);
    }

    #[test]
    fn the_values_of_secrets_are_never_shown() {
        let (before, after) =
            (json!({ "data": { "k": "aHVudGVyMg==" } }), json!({ "data": { "k": "bmV3", "l": "eA==" } }));
        let secret = between(&object(Kind::Secret), &before, &after);
        let (before, after) = (json!({}), json!({ "spec": { "tls": { "key": "hunter2" } } }));
        let route = between(&object(Kind::Route), &before, &after);
        let none = between(&object(Kind::Secret), &json!({}), &json!({ "data": { "k": "aHVudGVyMg==" } }));
        let text = format!("{secret:?}{route:?}{none:?}");
        assert!(!["aHVu", "bmV3", "hunter2"].iter().any(|secret| text.contains(secret)), "{text}");
        assert_eq!(secret.len(), 2);
    }
}
