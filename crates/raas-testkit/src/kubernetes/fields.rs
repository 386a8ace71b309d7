//! Fields of objects as server-side apply sees them: which fields an object has, which of them conflict, and how an
//! applied object is merged into a living one.
//!
//! Source: Kubernetes, "Server-Side Apply", and the list and map types of the schemas. A list or map that is atomic is
//! one field; an item of a keyed list is named by its keys.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::schemas::Schemas;

/// The values of the fields of an object, by path such as `.spec.containers[name="raas"].image`.
pub(super) type Fields = BTreeMap<String, Value>;

/// The fields of an applied object, without those that name it.
pub(super) fn of(schemas: &Schemas, body: &Value) -> Fields {
    let mut fields = Fields::new();
    let schema = schemas.of(body).unwrap_or(&Value::Null);
    collect(schemas, schema, schema, body, String::new(), &mut fields);
    for name in [".apiVersion", ".kind", ".metadata.name", ".metadata.namespace"] {
        fields.remove(name);
    }
    fields
}

/// `place` is the schema as it stands at the field, `schema` the type that it refers to.
fn collect(
    schemas: &Schemas,
    place: &Value,
    schema: &Value,
    value: &Value,
    path: String,
    fields: &mut Fields,
) {
    let atomic_map = |schema: &Value| schema["x-kubernetes-map-type"] == "atomic";
    match value {
        Value::Object(map) if !map.is_empty() && !atomic_map(place) && !atomic_map(schema) => {
            for (key, value) in map {
                let place = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
                collect(schemas, place, schemas.resolve(place), value, format!("{path}.{key}"), fields);
            }
        }
        Value::Array(list) if keys(place).is_some() => {
            let items = schemas.resolve(&place["items"]);
            for value in list {
                let inner = format!("{path}{}", item(place, value));
                fields.insert(inner.clone(), Value::Null);
                collect(schemas, items, items, value, inner, fields);
            }
        }
        other => drop(fields.insert(path, other.clone())),
    }
}

/// The keys of a keyed list.
fn keys(place: &Value) -> Option<Vec<&str>> {
    if place["x-kubernetes-list-type"] != "map" {
        return None;
    }
    Some(place["x-kubernetes-list-map-keys"].as_array()?.iter().filter_map(Value::as_str).collect())
}

/// The name of an item of a keyed list: `[name="raas"]`.
fn item(place: &Value, value: &Value) -> String {
    let keys = keys(place).unwrap_or_default().into_iter();
    let parts: Vec<String> = keys.map(|key| format!("{key}={}", value[key])).collect();
    format!("[{}]", parts.join(","))
}

/// Merges an applied object into a living one.
pub(super) fn merge(schemas: &Schemas, live: &mut Value, applied: &Value) {
    let schema = schemas.of(applied).unwrap_or(&Value::Null);
    merge_at(schemas, schema, schema, live, applied);
}

fn merge_at(schemas: &Schemas, place: &Value, schema: &Value, live: &mut Value, applied: &Value) {
    let atomic = place["x-kubernetes-map-type"] == "atomic" || schema["x-kubernetes-map-type"] == "atomic";
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) if !atomic => {
            for (key, value) in applied {
                let place = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
                let at = live.entry(key.clone()).or_insert(Value::Null);
                merge_at(schemas, place, schemas.resolve(place), at, value);
            }
        }
        (Value::Array(live), Value::Array(applied)) if keys(place).is_some() => {
            let items = schemas.resolve(&place["items"]);
            for value in applied {
                let name = item(place, value);
                match live.iter_mut().find(|known| item(place, known) == name) {
                    Some(known) => merge_at(schemas, items, items, known, value),
                    None => live.push(value.clone()),
                }
            }
        }
        (live, applied) => applied.clone_into(live),
    }
}

/// Removes a field from a living object.
pub(super) fn remove(schemas: &Schemas, live: &mut Value, path: &str) {
    let schema = schemas.of(live).cloned().unwrap_or_default();
    remove_at(schemas, &schema, &schema, live, path);
}

fn remove_at(schemas: &Schemas, place: &Value, schema: &Value, live: &mut Value, path: &str) {
    match live {
        Value::Object(map) => {
            let Some(rest) = path.strip_prefix('.') else { return };
            // A key may have dots itself, so the longest known key counts.
            let next = |key: &String| rest == key || rest.strip_prefix(key.as_str()).is_some_and(starts_step);
            let Some(key) = longest(map, next) else { return };
            let rest = rest[key.len()..].to_owned();
            if rest.is_empty() {
                map.remove(&key);
                return;
            }
            let place = schema["properties"].get(&key).unwrap_or(&schema["additionalProperties"]);
            let inner = map.get_mut(&key).expect("the key is there");
            remove_at(schemas, place, schemas.resolve(place), inner, &rest);
            if inner.as_object().is_some_and(Map::is_empty) || inner.as_array().is_some_and(Vec::is_empty) {
                map.remove(&key);
            }
        }
        Value::Array(list) => {
            let items = schemas.resolve(&place["items"]);
            let found = list.iter().position(|value| path.starts_with(&item(place, value)));
            let Some(n) = found else { return };
            let rest = path[item(place, &list[n]).len()..].to_owned();
            if rest.is_empty() {
                list.remove(n);
            } else {
                remove_at(schemas, items, items, &mut list[n], &rest);
            }
        }
        _ => {}
    }
}

fn starts_step(rest: &str) -> bool {
    rest.starts_with(['.', '['])
}

fn longest(map: &Map<String, Value>, fits: impl Fn(&String) -> bool) -> Option<String> {
    map.keys().filter(|key| fits(key)).max_by_key(|key| key.len()).cloned()
}
