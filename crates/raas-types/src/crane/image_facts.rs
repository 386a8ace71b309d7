//! What the pages of a registry show of an image's config. Servers have no configs, so the publisher puts it into the
//! document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Utc, null_as_default};

/// What people want to know of an image's config. All texts are short and without control characters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFacts {
    /// When the image was built, as its config says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Utc>,
    /// The program that a container runs, with its arguments.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments after those, or the whole command of an image without an entry point.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The user that the program runs as. Empty for root.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The folder that the program runs in.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The ports that the image exposes: `80/tcp`.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// The labels.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The steps that built the image, the first one first.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<HistoryStep>,
}

/// A step that built an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryStep {
    /// The command.
    #[serde(deserialize_with = "null_as_default")]
    pub command: String,
    /// Whether the step made no layer.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
}

/// The longest value of a label, and the longest command, in characters.
const TEXT: usize = 200;

/// The longest key of a label, and the longest other text, in characters.
const SHORT: usize = 100;

/// The number of arguments of a command, of ports, and of labels.
const ENTRIES: usize = 32;

/// The number of steps. Runtimes accept 127 layers.
const STEPS: usize = 200;

/// The length of all texts of one image, in bytes. Beyond it, further labels and steps are left out.
const ALL: usize = 8 * 1024;

impl ImageFacts {
    /// The facts of a config, within limits. None if the bytes are no config, or if it says nothing.
    ///
    /// Source: OCI image-spec 1.1, config.md.
    pub fn of_config(bytes: &[u8]) -> Option<Self> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Execution {
            #[serde(default, deserialize_with = "null_as_default")]
            entrypoint: Vec<String>,
            #[serde(default, deserialize_with = "null_as_default")]
            cmd: Vec<String>,
            #[serde(default, deserialize_with = "null_as_default")]
            user: String,
            #[serde(default, deserialize_with = "null_as_default")]
            working_dir: String,
            #[serde(default, deserialize_with = "null_as_default")]
            exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
            #[serde(default, deserialize_with = "null_as_default")]
            labels: BTreeMap<String, String>,
        }
        #[derive(Default, Deserialize)]
        struct Step {
            #[serde(default, deserialize_with = "null_as_default")]
            created_by: String,
            #[serde(default, deserialize_with = "null_as_default")]
            comment: String,
            #[serde(default, deserialize_with = "null_as_default")]
            empty_layer: bool,
        }
        #[derive(Deserialize)]
        struct Config {
            #[serde(default, deserialize_with = "null_as_default")]
            created: String,
            #[serde(default, deserialize_with = "null_as_default")]
            config: Execution,
            #[serde(default, deserialize_with = "null_as_default")]
            history: Vec<Step>,
        }
        let Config { created, config, history } = serde_json::from_slice(bytes).ok()?;
        let step = |step: Step| {
            let command = if step.created_by.is_empty() { step.comment } else { step.created_by };
            HistoryStep { command, empty: step.empty_layer }
        };
        let facts = Self {
            created: created.parse().ok(),
            entrypoint: config.entrypoint,
            command: config.cmd,
            user: config.user,
            working_dir: config.working_dir,
            ports: config.exposed_ports.into_keys().collect(),
            labels: config.labels,
            history: history.into_iter().map(step).collect(),
        };
        let facts = facts.limited();
        (facts != Self::default()).then_some(facts)
    }

    /// The same facts within the limits. What a document says is not trusted to be within them.
    #[must_use]
    pub fn limited(self) -> Self {
        let mut room = ALL;
        let mut texts = |texts: Vec<String>| -> Vec<String> {
            texts.iter().take(ENTRIES).map_while(|text| fit(&mut room, text, TEXT)).collect()
        };
        let (entrypoint, command, ports) = (texts(self.entrypoint), texts(self.command), texts(self.ports));
        let mut short = |text: &str| fit(&mut room, text, SHORT).unwrap_or_default();
        let (user, working_dir) = (short(&self.user), short(&self.working_dir));
        let mut labels = BTreeMap::new();
        for (key, value) in self.labels.iter().take(ENTRIES) {
            let (Some(key), Some(value)) = (fit(&mut room, key, SHORT), fit(&mut room, value, TEXT)) else {
                break;
            };
            labels.insert(key, value);
        }
        // Pages show the steps beside the layers, so a step stays even if there is no room for its text.
        let step = |step: &HistoryStep| HistoryStep {
            command: fit(&mut room, &step.command, TEXT).unwrap_or_default(),
            empty: step.empty,
        };
        let history = self.history.iter().take(STEPS).map(step).collect();
        Self { created: self.created, entrypoint, command, user, working_dir, ports, labels, history }
    }

    /// About the length of the facts in a document, in bytes.
    pub fn weight(&self) -> usize {
        /// Of the keys, and of an entry beside its text.
        const KEYS: usize = 100;
        const ENTRY: usize = 24;
        let lists = self.entrypoint.iter().chain(&self.command).chain(&self.ports);
        let labels = self.labels.iter().map(|(key, value)| key.len() + value.len() + ENTRY);
        let steps = self.history.iter().map(|step| step.command.len() + 2 * ENTRY);
        KEYS + self.user.len()
            + self.working_dir.len()
            + lists.map(|text| text.len() + ENTRY).sum::<usize>()
            + labels.sum::<usize>()
            + steps.sum::<usize>()
    }
}

/// A text of at most so many characters, without control characters, if there is room for it.
fn fit(room: &mut usize, text: &str, most: usize) -> Option<String> {
    let mut fitted: String = text
        .chars()
        .take(most)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.chars().nth(most).is_some() {
        fitted.push('…');
    }
    *room = room.checked_sub(fitted.len())?;
    Some(fitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_says_what_people_want_to_know() {
        let config = br#"{"created": "2026-01-02T03:04:05.678Z", "architecture": "amd64",
            "config": {"Entrypoint": ["/app", "--serve"], "Cmd": null, "User": "1001", "WorkingDir": "/srv",
                "ExposedPorts": {"8080/tcp": {}, "53/udp": {}}, "Labels": {"version": "2.4"}, "Env": ["A=b"]},
            "history": [{"created_by": "COPY app /app"}, {"comment": "made by hand", "empty_layer": true}]}"#;
        let facts = ImageFacts::of_config(config).unwrap();
        assert_eq!(facts.created, Some("2026-01-02T03:04:05Z".parse().unwrap()));
        assert_eq!(facts.entrypoint, ["/app", "--serve"]);
        assert_eq!((facts.user.as_str(), facts.working_dir.as_str()), ("1001", "/srv"));
        assert_eq!(facts.ports, ["53/udp", "8080/tcp"]);
        assert_eq!(facts.labels["version"], "2.4");
        let steps: Vec<_> = facts.history.iter().map(|step| (step.command.as_str(), step.empty)).collect();
        assert_eq!(steps, [("COPY app /app", false), ("made by hand", true)]);
        // A document gives the same facts back.
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<ImageFacts>(&text).unwrap(), facts);
        assert!(facts.weight() >= text.len() / 2 && facts.weight() <= 2 * text.len(), "{}", facts.weight());
    }

    #[test]
    fn a_config_that_says_nothing_has_no_facts() {
        for text in ["{}", "null", "[", "5", r#"{"config": {"Labels": 5}}"#, r#"{"architecture": "amd64"}"#] {
            assert_eq!(ImageFacts::of_config(text.as_bytes()), None, "{text}");
        }
        let other = br#"{"created": "yesterday", "config": {"User": "x"}}"#;
        assert_eq!(ImageFacts::of_config(other).unwrap().created, None);
    }

    #[test]
    fn facts_are_short_whatever_a_config_says() {
        let long = "\u{1b}ü".repeat(5000);
        let facts = ImageFacts {
            entrypoint: vec![long.clone(); 100],
            labels: (0..1000).map(|n| (format!("{n}{long}"), long.clone())).collect(),
            history: vec![HistoryStep { command: long.clone(), empty: false }; 1000],
            user: long,
            ..ImageFacts::default()
        };
        let limited = facts.limited();
        assert!(limited.weight() < 2 * ALL + STEPS * 48, "{}", limited.weight());
        assert_eq!(limited.history.len(), STEPS);
        assert!(limited.entrypoint[0].ends_with('…') && !limited.entrypoint[0].contains('\u{1b}'));
        assert_eq!(limited.clone().limited(), limited, "limits are stable");
    }
}
