//! The schemas that a real API server published, as far as raas makes objects of them.

use std::fs;

use serde_json::Value;

/// Schemas by kind.
pub struct Schemas {
    all: Value,
}

impl Schemas {
    /// The recorded schemas.
    pub fn recorded() -> Self {
        let path = super::folder().join("schemas.json");
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { all: serde_json::from_slice(&text).expect("the schemas are JSON") }
    }

    /// The schema of an object by its `apiVersion` and `kind`.
    pub fn of(&self, body: &Value) -> Option<&Value> {
        let word = |key: &str| body[key].as_str();
        let kind = format!("{}/{}", word("apiVersion")?, word("kind")?);
        self.all["schemas"].get(self.all["kinds"][kind].as_str()?)
    }

    /// Follows references, and a lone `allOf`.
    pub fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        let reference = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
        match reference.and_then(|path| path.rsplit('/').next()) {
            Some(name) => self.resolve(&self.all["schemas"][name]),
            None => schema,
        }
    }

    /// Checks an object as an API server does.
    ///
    /// # Errors
    /// The first fault, with its field.
    pub fn check(&self, body: &Value) -> Result<(), String> {
        let schema =
            self.of(body).ok_or_else(|| format!("no schema of {} {}", body["apiVersion"], body["kind"]))?;
        self.walk(schema, body, "", &|_, _| Ok(()))
    }

    /// The first field that the schemas do not have.
    pub fn unknown_field(&self, body: &Value) -> Option<String> {
        match self.check(body) {
            Err(fault) => fault.strip_suffix(": field not declared in schema").map(str::to_owned),
            Ok(()) => None,
        }
    }

    fn walk(
        &self,
        schema: &Value,
        value: &Value,
        path: &str,
        also: &dyn Fn(&Value, &str) -> Result<(), String>,
    ) -> Result<(), String> {
        // Attributes beside a reference, such as the kind of a list, belong to the place and not to the type.
        let schema = self.resolve(schema);
        also(schema, path)?;
        match value {
            Value::Object(map) => {
                if matches!(schema["type"].as_str(), Some(other) if other != "object") {
                    return Err(format!("{path}: expected {}, found an object", schema["type"]));
                }
                for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
                {
                    if !map.contains_key(required) {
                        return Err(format!("{path}.{required}: Required value"));
                    }
                }
                let open = schema.get("properties").is_none();
                for (key, value) in map {
                    let inner = format!("{path}.{key}");
                    match (schema["properties"].get(key), &schema["additionalProperties"]) {
                        (Some(schema), _) => self.walk(schema, value, &inner, also)?,
                        (None, more @ Value::Object(_)) => self.walk(more, value, &inner, also)?,
                        (None, _) if open => {}
                        (None, _) => return Err(format!("{inner}: field not declared in schema")),
                    }
                }
                Ok(())
            }
            Value::Array(list) => {
                if schema["type"] != "array" {
                    return Err(format!("{path}: expected {}, found a list", schema["type"]));
                }
                for (n, value) in list.iter().enumerate() {
                    let name = value["name"].as_str();
                    let step = name.map_or(format!("[{n}]"), |name| format!("[name=\"{name}\"]"));
                    self.walk(&schema["items"], value, &format!("{path}{step}"), also)?;
                }
                Ok(())
            }
            scalar => check_scalar(schema, scalar).map_err(|fault| format!("{path}: {fault}")),
        }
    }
}

fn check_scalar(schema: &Value, value: &Value) -> Result<(), String> {
    if schema["format"] == "int-or-string" || schema.get("oneOf").is_some() {
        return match value.is_string() || value.is_i64() {
            true => Ok(()),
            false => Err(format!("expected a text or a number, found {value}")),
        };
    }
    let fits = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        _ => true,
    };
    if !fits {
        return Err(format!("expected {}, found {value}", schema["type"]));
    }
    let choices = schema["enum"].as_array();
    if choices.is_some_and(|choices| !choices.contains(value)) {
        return Err(format!("Unsupported value: {value}"));
    }
    let number = value.as_i64();
    let bound = |key: &str| schema[key].as_i64();
    if number.zip(bound("maximum")).is_some_and(|(number, most)| number > most)
        || number.zip(bound("minimum")).is_some_and(|(number, least)| number < least)
    {
        return Err(format!("Invalid value: {value}"));
    }
    let length = value.as_str().map(|text| i64::try_from(text.len()).expect("texts are short"));
    if length.zip(bound("minLength")).is_some_and(|(length, least)| length < least) {
        return Err("Required value".into());
    }
    Ok(())
}
