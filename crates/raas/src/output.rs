//! Prints results to standard output, and everything else to standard error.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use raas_base::failure::Failure;
use raas_types::Utc;
use serde::Serialize;

use crate::report::FailureReport;

/// The first error of writing results.
static WRITE_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Writes a line.
pub(crate) fn line(text: &str) {
    write(&harmless(text));
}

/// Writes a line of results. A reader that has gone away (`raas … | head`) is no error. The first other error is kept
/// for the end of the command.
fn write(text: &str) {
    keep_error(writeln!(io::stdout().lock(), "{text}"));
}

fn keep_error(written: io::Result<()>) {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => drop(WRITE_ERROR.set(error)),
        _ => {}
    }
}

/// Writes a script or a page of raas's own, as it is.
#[cfg(feature = "operator")]
pub(crate) fn raw(bytes: &[u8]) {
    keep_error(io::stdout().lock().write_all(bytes));
}

/// The first error of writing results, if there was one.
pub(crate) fn write_error() -> Option<&'static io::Error> {
    WRITE_ERROR.get()
}

/// Makes text safe for a terminal. Names come from untrusted archives and documents. A character that would move the
/// cursor, change colours or change the direction of writing is shown by its number.
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

/// How long a line waits for its reader if [`IS_BRIEF`] is set.
const BRIEF: Duration = Duration::from_secs(1);

/// Whether lines on standard error are JSON, as the log of a server.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Whether standard output has a JSON value.
static HAS_REPORT: AtomicBool = AtomicBool::new(false);

/// Whether standard error gets failures only.
static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From now on a line on standard error is a JSON object with the keys of the server's log.
pub(crate) fn as_json_log() {
    IS_JSON.store(true, Ordering::Relaxed);
}

pub(crate) fn is_json_log() -> bool {
    IS_JSON.load(Ordering::Relaxed)
}

/// From now on standard error gets failures only, and no notes or progress.
pub(crate) fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

pub(crate) fn is_quiet() -> bool {
    IS_QUIET.load(Ordering::Relaxed)
}

/// Writes a note or progress to standard error, unless the user wants none.
pub(crate) fn note(text: &str) {
    if !is_quiet() {
        stderr_line("INFO", text);
    }
}

/// Writes to standard error what works worse than it could, unless the user wants no notes.
pub(crate) fn warning(text: &str) {
    if !is_quiet() {
        stderr_line("WARN", text);
    }
}

/// Writes a line to standard error. An error is ignored: it must not end a publication, and there is no place left to
/// report it.
pub(crate) fn error(text: &str) {
    stderr_line("ERROR", text);
}

/// A line of a server's log.
fn log_line(level: &str, message: &str) -> String {
    let timestamp = Utc::of(SystemTime::now()).to_string();
    serde_json::json!({"timestamp": timestamp, "level": level, "message": message, "target": "raas"})
        .to_string()
}

fn stderr_line(level: &str, text: &str) {
    let text =
        if IS_JSON.load(Ordering::Relaxed) { log_line(level, text) } else { harmless(text).into_owned() };
    let write = move || drop(writeln!(io::stderr().lock(), "{text}"));
    if !IS_BRIEF.load(Ordering::Relaxed) {
        return write();
    }
    let (done, written) = mpsc::channel();
    thread::spawn(move || {
        write();
        // Nobody receives this after the time limit.
        let _ = done.send(());
    });
    // After the time limit the thread still waits, and ends with the process.
    let _ = written.recv_timeout(BRIEF);
}

/// From now on a line on standard error waits at most a second for its reader. A server must be able to stop although
/// nobody reads its log.
pub(crate) fn wait_briefly() {
    IS_BRIEF.store(true, Ordering::Relaxed);
}

/// Writes one JSON value, for scripts.
pub(crate) fn json(value: &impl Serialize) {
    HAS_REPORT.store(true, Ordering::Relaxed);
    // JSON escapes control characters itself.
    write(&serde_json::to_string_pretty(value).expect("all keys of results are strings"));
}

/// The output of a command that has failed.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ErrorReport {
    error: FailureReport,
}

/// Writes a failure: for people to standard error, and with `as_json` to standard output too.
pub(crate) fn failure(failure: &Failure, as_json: bool) {
    error(&failure.to_string());
    if as_json {
        json_failure(FailureReport::from(failure));
    }
}

/// Writes a failure to standard output, unless the command has written its report there: a reader expects one JSON object.
pub(crate) fn json_failure(error: FailureReport) {
    if !HAS_REPORT.load(Ordering::Relaxed) {
        json(&ErrorReport { error });
    }
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
    fn a_line_of_the_log_is_one_json_object() {
        let line = log_line("INFO", "two\nlines \u{1b}");
        assert!(!line.contains('\n'), "{line}");
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&line["level"], &line["message"]), (&"INFO".into(), &"two\nlines \u{1b}".into()));
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_number_other_than_one_has_a_plural() {
        assert_eq!((number(1u64, "tag"), number(0usize, "tag")), ("1 tag".into(), "0 tags".into()));
    }
}
