//! One check of `raas status` or `raas doctor`, and its outcome.

use std::time::{Duration, Instant};

use serde::{Serialize, Serializer};

use raas_base::failure::Failure;

/// The result of one check.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Check {
    /// The subject of the check, in one word.
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    /// What was found, in one sentence.
    pub(crate) found: String,
    /// The items that `found` sums up, if there are several.
    pub(crate) details: Vec<String>,
    /// What the user can do about it. `null` if there is nothing to do.
    pub(crate) fix: Option<String>,
    /// How long the check took. Checks of one step have the time of the step. `null` if it was not measured.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub(crate) milliseconds: Option<u64>,
}

/// Makes the checks of one step, with the time that they took.
pub(crate) fn timed(make: impl FnOnce() -> Vec<Check>) -> Vec<Check> {
    let begun = Instant::now();
    let mut checks = make();
    let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    for check in &mut checks {
        check.milliseconds.get_or_insert(took);
    }
    checks
}

fn seconds<S: Serializer>(milliseconds: &Option<u64>, to: S) -> Result<S::Ok, S::Error> {
    milliseconds.map(|time| Duration::from_millis(time).as_secs_f64()).serialize(to)
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// The check holds.
    Ok,
    /// The check holds, but a person should look at it.
    Warning,
    /// The check does not hold.
    Failed,
}

/// The most details of a check. The rest is only counted.
const MOST_DETAILS: usize = 20;

impl Check {
    pub(crate) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            outcome: Outcome::Ok,
            found: found.into(),
            details: Vec::new(),
            fix: None,
            milliseconds: None,
        }
    }

    pub(crate) fn warning(name: &'static str, found: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warning, ..Self::ok(name, found) }
    }

    pub(crate) fn failed(name: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, fix: Some(fix.into()), ..Self::ok(name, found) }
    }

    pub(crate) fn details(mut self, mut details: Vec<String>) -> Self {
        if details.len() > MOST_DETAILS {
            let more = details.len() - MOST_DETAILS;
            details.truncate(MOST_DETAILS);
            details.push(format!("and {more} more"));
        }
        self.details = details;
        self
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    /// The failed check that a failure prevented.
    pub(crate) fn unable(name: &'static str, failure: &Failure) -> Self {
        let causes = failure.causes().into_iter().map(|cause| format!("; because: {cause}"));
        let found = format!("{}{}", failure.message(), causes.collect::<String>());
        let hint =
            if failure.hints().is_empty() { "see the reason".to_owned() } else { failure.hints().join("; ") };
        Self::failed(name, found, hint)
    }
}
