//! Checks of an image's config.

use std::collections::BTreeMap;

use raas_types::null_as_default;
use serde::Deserialize;

use crate::check::Check;

/// The labels that an image must have. Source: preflight, `HasRequiredLabel`.
const LABELS: [&str; 7] = ["name", "vendor", "version", "release", "summary", "description", "maintainer"];

#[derive(Default, Deserialize)]
struct Config {
    #[serde(default, deserialize_with = "null_as_default")]
    config: Settings,
}

#[derive(Default, Deserialize)]
struct Settings {
    #[serde(rename = "User", default, deserialize_with = "null_as_default")]
    user: String,
    #[serde(rename = "Labels", default, deserialize_with = "null_as_default")]
    labels: BTreeMap<String, String>,
}

/// The checks of labels and user.
pub(super) fn checks(config: &[u8]) -> Vec<Check> {
    match serde_json::from_slice::<Config>(config) {
        Ok(Config { config }) => vec![labels(&config.labels), user(&config.user)],
        Err(error) => {
            let unreadable = |name| {
                Check::failed(name, format!("the config cannot be read: {error}"), "build the image again")
            };
            vec![unreadable("labels"), unreadable("user")]
        }
    }
}

fn labels(labels: &BTreeMap<String, String>) -> Check {
    let has = |name: &&str| labels.get(*name).is_some_and(|value| !value.trim().is_empty());
    let missing: Vec<&str> = LABELS.into_iter().filter(|name| !has(name)).collect();
    if missing.is_empty() {
        return Check::ok("labels", format!("the image has the labels {}", LABELS.join(", ")));
    }
    Check::failed(
        "labels",
        format!("labels are missing or empty: {}", missing.join(", ")),
        format!("add `LABEL {}=…` to the Dockerfile", missing.join("=… ")),
    )
}

fn user(user: &str) -> Check {
    let name = user.split(':').next().unwrap_or_default().trim();
    // 00 is root too.
    let is_root = name.is_empty() || name == "root" || name.parse::<u64>() == Ok(0);
    let shown: String = user.chars().filter(|c| !c.is_control()).take(100).collect();
    match is_root {
        false => Check::ok("user", format!("the image runs as user `{shown}`")),
        true => Check::failed(
            "user",
            if shown.is_empty() {
                "the image names no user, so it runs as root".to_owned()
            } else {
                format!("the image runs as user `{shown}`, which is root")
            },
            "add `USER 1001` to the end of the Dockerfile",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn every_label_must_be_there_with_a_value() {
        let all: BTreeMap<String, String> =
            LABELS.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
        assert_eq!(labels(&all).outcome, Outcome::Ok);
        for name in LABELS {
            let mut some = all.clone();
            some.insert(name.to_owned(), " ".into());
            let check = labels(&some);
            assert_eq!(check.outcome, Outcome::Failed);
            assert!(check.found.ends_with(&format!(": {name}")), "{}", check.found);
        }
    }

    #[test]
    fn root_is_known_under_each_of_its_names() {
        for (name, outcome) in [
            ("", Outcome::Failed),
            ("root", Outcome::Failed),
            ("0", Outcome::Failed),
            ("00", Outcome::Failed),
            ("0:0", Outcome::Failed),
            ("root:wheel", Outcome::Failed),
            (":1001", Outcome::Failed),
            ("1001", Outcome::Ok),
            ("1001:0", Outcome::Ok),
            ("app", Outcome::Ok),
        ] {
            assert_eq!(user(name).outcome, outcome, "{name}");
        }
    }

    #[test]
    fn a_config_without_settings_fails_both_checks() {
        for config in ["{}", r#"{"config":null}"#, r#"{"config":{"User":null,"Labels":null}}"#, "[]", ""] {
            let checks = checks(config.as_bytes());
            assert_eq!(checks.len(), 2, "{config}");
            assert!(checks.iter().all(|check| check.outcome == Outcome::Failed), "{config}");
        }
    }
}
