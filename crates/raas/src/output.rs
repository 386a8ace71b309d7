//! What goes to standard output: results, and nothing else.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use serde::Serialize;

/// Why not all of the results were written.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes a line.
pub(crate) fn line(text: &str) {
    write(&harmless(text));
}

/// A reader that has gone away (`raas … | head`) is no failure; any other error is told at the end.
fn write(text: &str) {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(LOST.set(error)),
        _ => {}
    }
}

/// Why not all of the results were written, if they were not.
pub(crate) fn lost() -> Option<&'static io::Error> {
    LOST.get()
}

/// Text as it may go to a terminal. Names come from archives and documents of any origin: what would move the cursor,
/// change colours or turn the direction of writing is shown by its number.
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

/// Whether a line on standard error waits only briefly for its reader.
static IS_BRIEF: AtomicBool = AtomicBool::new(false);

/// How long a line waits for its reader then.
const BRIEF: Duration = Duration::from_secs(1);

/// Writes a line to standard error. It may be closed or full: that must not end a publication, and there is nobody left
/// to tell.
pub(crate) fn error(text: &str) {
    let text = harmless(text).into_owned();
    let write = move || drop(writeln!(io::stderr().lock(), "{text}"));
    if !IS_BRIEF.load(Ordering::Relaxed) {
        return write();
    }
    let (done, written) = mpsc::channel();
    thread::spawn(move || {
        write();
        // The receiver is gone if it took too long.
        let _ = done.send(());
    });
    // After the time limit the thread still waits, and ends with the process.
    let _ = written.recv_timeout(BRIEF);
}

/// From now on a line on standard error waits at most a second for its reader. A server must stop although nobody reads
/// what it says.
pub(crate) fn wait_briefly() {
    IS_BRIEF.store(true, Ordering::Relaxed);
}

/// Writes one JSON value, for scripts.
pub(crate) fn json(value: &impl Serialize) {
    // Not made harmless: JSON escapes control characters by itself.
    write(&serde_json::to_string_pretty(value).expect("results have text keys only"));
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
    fn nothing_that_a_terminal_obeys_is_printed() {
        assert_eq!(harmless("a\u{1b}[31mb\u{202e}c\rd"), "a\\u{1b}[31mb\\u{202e}c\\u{d}d");
        assert!(matches!(harmless("plain ü\nline"), Cow::Borrowed(_)));
    }

    #[test]
    fn one_thing_is_one_thing() {
        assert_eq!((number(1u64, "tag"), number(0usize, "tag")), ("1 tag".into(), "0 tags".into()));
    }
}
