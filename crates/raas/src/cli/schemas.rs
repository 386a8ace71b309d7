//! `docs/json`: a schema for the output of each command with `--json`, made from the types of the reports, and the list of
//! all names.

mod log_names;
mod names;

use std::collections::{BTreeMap, BTreeSet};

use clap::{Command, CommandFactory as _};
use raas_testkit::generated;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Cli;
use crate::access::{AccessListing, ChangeReport, CredentialReport};
use crate::commands::access::read::CustomerReport;
use crate::commands::setup::fleet::FleetReport;
use crate::commands::{
    certify, config, diff, gc, healthcheck, lint, list, log, remove, retire, setup, status, teardown, trust,
    version,
};
use crate::doctor::Diagnosis;
use crate::output::ErrorReport;
use crate::protect::ProtectReport;
use crate::republished::RepublishReport;
use crate::{export, mirror_config, publish_static, pulls, pulp_upload, push, sync};
use log_names::LOG_NAMES;
use names::NAMES;

const TESTS: &str = "--lib schemas";

/// `raas setup` with one vendor, with --fleet, or with --dry-run.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "no value of it is ever made: it names what the command prints"
)]
#[expect(dead_code, reason = "the schema alone is used")]
enum SetupOutput {
    Vendor(setup::SetupReport),
    Fleet(FleetReport<'static>),
    Preview(setup::PreviewReport<'static>),
}

/// `raas status`, or `raas status --egress`.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema alone is used")]
enum StatusOutput {
    Checks(status::StatusReport),
    Egress(status::EgressReport),
}

/// The schema of each command with `--json`, by the command's words joined with `-`.
fn schemas() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("access-add", schema::<CredentialReport<'static>>()),
        ("access-deny", schema::<ChangeReport>()),
        ("access-extend", schema::<ChangeReport>()),
        ("access-grant", schema::<ChangeReport>()),
        ("access-list", schema::<AccessListing>()),
        ("access-remove", schema::<ChangeReport>()),
        ("access-revoke", schema::<ChangeReport>()),
        ("access-rotate", schema::<CredentialReport<'static>>()),
        ("access-show", schema::<CustomerReport<'static>>()),
        ("certify", schema::<certify::CertifyReport>()),
        ("config-check", schema::<config::CheckReport>()),
        ("config-show", schema::<config::ShowReport>()),
        ("deprecate", schema::<RepublishReport>()),
        ("diff", schema::<diff::DiffReport<'static>>()),
        ("doctor", schema::<Diagnosis>()),
        ("export", schema::<export::Report>()),
        ("gc", schema::<gc::GcReport<'static>>()),
        ("healthcheck", schema::<healthcheck::HealthReport>()),
        ("lint", schema::<lint::LintReport<'static>>()),
        ("list", schema::<list::Listing>()),
        ("log", schema::<log::LogReport<'static>>()),
        ("mirror-config", schema::<mirror_config::Report>()),
        ("protect", schema::<ProtectReport>()),
        ("publish-static", schema::<publish_static::Report>()),
        ("pulls", schema::<pulls::Report>()),
        ("pulp-upload", schema::<pulp_upload::Report>()),
        ("push", schema::<push::Report>()),
        ("remove", schema::<remove::RemoveReport>()),
        ("retire", schema::<retire::RetireReport>()),
        ("rollback", schema::<RepublishReport>()),
        ("setup", schema::<SetupOutput>()),
        ("status", schema::<StatusOutput>()),
        ("sync", schema::<sync::Report>()),
        ("tag", schema::<RepublishReport>()),
        ("teardown", schema::<teardown::TeardownReport>()),
        ("trust", schema::<trust::TrustReport>()),
        ("undeprecate", schema::<RepublishReport>()),
        ("unprotect", schema::<ProtectReport>()),
        ("unpublish", schema::<RepublishReport>()),
        ("version", schema::<version::VersionReport>()),
    ])
}

/// The command that prints no result: a server has a log, and the others print a script or a page.
const WITHOUT_RESULT: [&str; 3] = ["completions", "man", "serve"];

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value();
    describe(&mut schema);
    schema
}

/// Gives each name without a description the meaning of the list.
fn describe(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get_mut("properties") {
                for (name, property) in properties {
                    if let (Value::Object(property), Some(meaning)) = (property, meaning(name)) {
                        property.entry("description").or_insert_with(|| meaning.into());
                    }
                }
            }
            object.values_mut().for_each(describe);
        }
        Value::Array(items) => items.iter_mut().for_each(describe),
        _ => {}
    }
}

fn meaning(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}

#[test]
fn each_command_with_json_has_a_schema() {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let (mut with, mut without) = (BTreeSet::new(), BTreeSet::new());
    for command in ends(&root) {
        let name = command.get_bin_name().unwrap_or_default().trim_start_matches("raas ").replace(' ', "-");
        let prints_json = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
        if prints_json {
            with.insert(name)
        } else {
            without.insert(name)
        };
    }
    assert_eq!(without, WITHOUT_RESULT.map(str::to_owned).into(), "these need --json");
    let known: BTreeSet<String> = schemas().keys().map(|name| (*name).to_owned()).collect();
    assert_eq!(with, known);
}

/// The commands that have no commands of their own.
fn ends(command: &Command) -> Vec<&Command> {
    if command.has_subcommands() { command.get_subcommands().flat_map(ends).collect() } else { vec![command] }
}

#[test]
fn the_schemas_are_generated() {
    for (name, schema) in
        schemas().into_iter().chain([("error", schema::<ErrorReport>()), ("log-line", log_line())])
    {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        generated::check(&format!("docs/json/{name}.json"), TESTS, |_| text);
    }
}

#[test]
fn one_name_has_one_type_and_one_meaning() {
    let uses = uses();
    for (name, types) in &uses {
        assert_eq!(types.keys().count(), 1, "`{name}` has several types: {types:?}");
        assert!(meaning(name).is_some(), "`{name}` has no meaning in the list of names");
    }
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
    let used: Vec<&str> = uses.keys().map(String::as_str).collect();
    assert_eq!(names, used, "the list of names is in order, and has no name that nothing uses");
}

/// The types of each name, and the commands that use it.
fn uses() -> BTreeMap<String, BTreeMap<String, BTreeSet<&'static str>>> {
    let mut uses = BTreeMap::new();
    for (command, schema) in schemas().into_iter().chain([("error", schema::<ErrorReport>())]) {
        add_uses(&schema, &schema, command, &mut uses);
    }
    uses
}

fn add_uses(
    root: &Value,
    schema: &Value,
    command: &'static str,
    uses: &mut BTreeMap<String, BTreeMap<String, BTreeSet<&'static str>>>,
) {
    match schema {
        Value::Object(object) => {
            for (name, property) in object.get("properties").and_then(Value::as_object).into_iter().flatten()
            {
                let types = uses.entry(name.clone()).or_default();
                types.entry(type_of(root, property)).or_default().insert(command);
            }
            object.values().for_each(|below| add_uses(root, below, command, uses));
        }
        Value::Array(items) => items.iter().for_each(|below| add_uses(root, below, command, uses)),
        _ => {}
    }
}

/// The type of a property in words. `null` is left out: it stands for something that is not known or not there.
fn type_of(root: &Value, schema: &Value) -> String {
    if let Some(pointer) = schema["$ref"].as_str() {
        return type_of(root, root.pointer(pointer.trim_start_matches('#')).unwrap());
    }
    for alternatives in ["anyOf", "oneOf"] {
        if let Some(rules) = schema[alternatives].as_array() {
            let types: BTreeSet<String> =
                rules.iter().map(|rule| type_of(root, rule)).filter(|name| name != "null").collect();
            return types.into_iter().collect::<Vec<_>>().join(" or ");
        }
    }
    let name = match &schema["type"] {
        Value::String(name) => name,
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap(),
        _ if schema["const"].is_string() => "string",
        other => panic!("no type: {other} of {schema}"),
    };
    match name {
        "array" => format!("array of {}s", type_of(root, &schema["items"])),
        name => name.to_owned(),
    }
}

const HEAD: &str = "\
# JSON

For everybody who calls raas from a script.

With `--json`, a command prints one JSON object to standard output, and nothing else. All commands but `serve`,
`completions` and `man` have the option. The same thing has the same name in the output of every command.

## Names

- Every key is always there. `null` means that the value is not known, or that there is nothing to tell.
- Sizes are numbers of bytes. Durations are seconds. Times are text in UTC, in the form of RFC 3339:
  `2026-11-29T10:00:00Z`.
- Digests are written as registries write them: `sha256:` and 64 hexadecimal digits. A Docker v1 image has the 64 digits
  of its id in the place of a digest.
- Later releases may add names. A script should ignore names that it does not know. A name that is here keeps its
  meaning and its type.
- No output has a secret, with one exception: `raas access add` and `raas access rotate` print the new password, which is
  their purpose.

| name | type | means |
|---|---|---|
";

const COMMANDS: &str = "
## Schemas

Each schema is in the language of JSON Schema, version 2020-12. It describes the output of a command that has done its
work. A check that does not hold (exit code 1) is such an output too.

| command | schema |
|---|---|
";

const ERRORS: &str = "
## Errors

A command that fails prints an object with the only key `error` to standard output: [error.json](error.json). It also
prints the failure to standard error, for people. The exit code is the same with and without `--json`, and the object has
it as `exit_code`: see [the exit codes](../cli.md#exit-codes). This holds for a wrong command line too.

```console
$ raas push bigdatainc app --from nowhere.tar --json 2>/dev/null
{
  \"error\": {
    \"message\": \"cannot read nowhere.tar\",
    \"causes\": [
      \"No such file or directory (os error 2)\"
    ],
    \"hints\": [
      \"check the path: it is relative to the current folder\"
    ],
    \"exit_code\": 2
  }
}
```

`message` says what failed, and on what. `causes` say why, the nearest first. `hints` say what to do, and begin with a
verb. Standard output never has two objects. If a command fails after it has printed its report, such as `raas lint` with
a file that it cannot read, the error is on standard error alone. A command that a signal ends prints no object.

## The log of a server

`raas serve --log json` writes one JSON object a line to standard error, and nothing else: requests, events, warnings, and
the failure of a server that cannot start. [log-line.json](log-line.json) is the schema of a line. Every line has
`timestamp`, `level` (`ERROR`, `WARN` or `INFO`) and `target`. A line with the target `access` is a request, and has no
`message`. Other lines have a `message`, which is a text for people and may change. A name without a value is left out.
A line whose target begins neither with `raas` nor with `access` comes from a library, and may have further names.

| name | type | means |
|---|---|---|
";

#[test]
fn the_page_of_names_is_generated() {
    let mut page = HEAD.to_owned();
    let uses = uses();
    for (name, meaning) in NAMES {
        let types: Vec<&str> = uses[*name].keys().map(String::as_str).collect();
        page.push_str(&format!("| `{name}` | {} | {meaning} |\n", types.join(", ")));
    }
    page.push_str(COMMANDS);
    for name in schemas().keys() {
        page.push_str(&format!("| `raas {}` | [{name}.json]({name}.json) |\n", words(name)));
    }
    page.push_str(ERRORS);
    for (name, kind, meaning) in LOG_NAMES {
        page.push_str(&format!("| `{name}` | {kind} | {meaning} |\n"));
    }
    generated::check("docs/json/README.md", TESTS, |_| page);
}

/// The words of a command: `access-add` is `access add`, and `pulp-upload` is one word.
fn words(name: &str) -> String {
    match name.split_once('-') {
        Some((group @ ("access" | "config"), command)) => format!("{group} {command}"),
        _ => name.to_owned(),
    }
}

/// The schema of a line of a server's log.
fn log_line() -> Value {
    let properties: Map<String, Value> = LOG_NAMES
        .iter()
        .map(|(name, kind, meaning)| ((*name).to_owned(), json!({"type": kind, "description": meaning})))
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "LogLine",
        "description": "A line of the log of `raas serve --log json`.",
        "type": "object",
        "properties": properties,
        "required": ["timestamp", "level", "target"],
    })
}
