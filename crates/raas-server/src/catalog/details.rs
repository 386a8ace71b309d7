//! What pages show of an image's config: facts of the document, in few allocations.

use raas_types::Utc;
use raas_types::crane::ImageFacts;

/// What people want to know of an image's config. Its texts have no control characters, so a line ends a text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Details {
    pub(crate) created: Option<Utc>,
    /// What a container runs and how: pairs of a name for people and a value, each on its own line.
    settings: Box<str>,
    /// Pairs of a key and a value, each on its own line.
    labels: Box<str>,
    /// A step on each line. The first character says whether it made a layer.
    history: Box<str>,
}

/// A step that built an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step<'a> {
    pub(crate) command: &'a str,
    pub(crate) makes_layer: bool,
}

impl Details {
    pub(super) fn new(facts: &ImageFacts) -> Self {
        let facts = facts.clone().limited();
        let mut settings = String::new();
        let mut set = |name: &str, value: String| {
            if !value.is_empty() {
                settings.push_str(&format!("{name}\n{value}\n"));
            }
        };
        set("Entry point", words(&facts.entrypoint));
        set("Command", words(&facts.command));
        set("User", facts.user.clone());
        set("Working folder", facts.working_dir.clone());
        set("Ports", facts.ports.join(", "));
        let labels: String = facts.labels.iter().map(|(key, value)| format!("{key}\n{value}\n")).collect();
        let step = |step: &raas_types::crane::HistoryStep| {
            format!("{}{}\n", if step.empty { '-' } else { '+' }, step.command)
        };
        let history: String = facts.history.iter().map(step).collect();
        Self {
            created: facts.created,
            settings: settings.into(),
            labels: labels.into(),
            history: history.into(),
        }
    }

    /// The memory that the details of these facts take, in bytes.
    pub(super) fn memory(facts: &ImageFacts) -> usize {
        size_of::<Self>() + facts.weight()
    }

    pub(crate) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.settings)
    }

    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(&self.labels)
    }

    /// The steps, the first one first.
    pub(crate) fn history(&self) -> impl Iterator<Item = Step<'_>> {
        self.history.lines().map(|line| {
            let mut rest = line.chars();
            let makes_layer = rest.next() != Some('-');
            Step { command: rest.as_str(), makes_layer }
        })
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut lines = text.lines();
    std::iter::from_fn(move || Some((lines.next()?, lines.next()?)))
}

/// Arguments as a shell would read them.
fn words(arguments: &[String]) -> String {
    let is_plain = |argument: &str| {
        !argument.is_empty()
            && argument.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=,@%+".contains(&b))
    };
    let word = |argument: &String| match is_plain(argument) {
        true => argument.clone(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    };
    arguments.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use raas_types::crane::HistoryStep;

    use super::*;

    #[test]
    fn details_are_read_back() {
        let step = |command: &str, empty| HistoryStep { command: command.into(), empty };
        let facts = ImageFacts {
            entrypoint: vec!["/app".into(), "it's on".into(), String::new()],
            user: "1001".into(),
            labels: [("a".into(), String::new()), ("b\nc".into(), "d\re".into())].into(),
            history: vec![step("ADD file", false), step("", true), step("RUN x", false)],
            ..ImageFacts::default()
        };
        let details = Details::new(&facts);
        let settings: Vec<_> = details.settings().collect();
        assert_eq!(settings, [("Entry point", "/app 'it'\\''s on' ''"), ("User", "1001")]);
        assert_eq!(details.labels().collect::<Vec<_>>(), [("a", ""), ("b c", "d e")]);
        let history: Vec<_> = details.history().map(|step| (step.command, step.makes_layer)).collect();
        assert_eq!(history, [("ADD file", true), ("", false), ("RUN x", true)]);
        assert!(Details::memory(&facts) > size_of::<Details>());
    }
}
