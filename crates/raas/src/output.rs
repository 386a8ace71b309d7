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
