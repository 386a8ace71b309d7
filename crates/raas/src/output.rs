//! What goes to standard output: results, and nothing else.

use std::io::{self, Write};

use serde::Serialize;

/// Writes a line. A reader that has gone away (`raas … | head`) is no failure.
pub(crate) fn line(text: &str) {
    drop(writeln!(io::stdout().lock(), "{text}"));
}

/// Writes one JSON value, for scripts.
pub(crate) fn json(value: &impl Serialize) {
    line(&serde_json::to_string_pretty(value).expect("results have text keys only"));
}

/// A number of things: `1 object`, `2 objects`.
pub(crate) fn number(count: impl TryInto<u64>, thing: &str) -> String {
    let count: u64 = count.try_into().unwrap_or(u64::MAX);
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{ending}")
}
