//! Prints results to standard output, and everything else to standard error.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::OnceLock;

use serde::Serialize;

/// The first error of writing results.
static WRITE_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Writes a line.
pub(crate) fn line(text: &str) {
    write(&harmless(text));
}

/// A reader that has gone away (`raas … | head`) is no error. Any other error is reported at the end of the command.
fn write(text: &str) {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(WRITE_ERROR.set(error)),
        _ => {}
    }
}

/// The error of writing results, if there was one.
pub(crate) fn write_error() -> Option<&'static io::Error> {
    WRITE_ERROR.get()
}

/// Makes text safe for a terminal. Names come from untrusted archives and documents. A character that would move the cursor,
/// change colours or change the direction of writing is shown by its number.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .fold(String::with_capacity(text.len()), |mut shown, c| {
            if harmful(c) {
                shown.extend(c.escape_unicode());
            } else {
                shown.push(c);
            }
            shown
        })
        .into()
}

/// Writes a line to standard error. An error is ignored: it must not end a publication, and there is no place left to report
/// it.
pub(crate) fn error(text: &str) {
    drop(writeln!(io::stderr().lock(), "{}", harmless(text)));
}

/// Writes one JSON value, for scripts.
pub(crate) fn json(value: &impl Serialize) {
    // JSON escapes control characters itself.
    write(&serde_json::to_string_pretty(value).expect("all keys of results are strings"));
}

/// A number of things: `1 object`, `2 objects`.
pub(crate) fn number(count: impl TryInto<u64>, thing: &str) -> String {
    let count: u64 = count.try_into().unwrap_or(u64::MAX);
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_by_their_number() {
        assert_eq!(harmless("a\u{1b}[31mb\u{202e}c\rd"), "a\\u{1b}[31mb\\u{202e}c\\u{d}d");
        assert!(matches!(harmless("plain ü\nline"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_number_other_than_one_has_a_plural() {
        assert_eq!((number(1u64, "tag"), number(0usize, "tag")), ("1 tag".into(), "0 tags".into()));
    }
}
