//! Writes the lines of requests as the library's formats do, in a fraction of their time: a busy server writes a line for
//! each request. The library writes all other lines.

use std::fmt::{self, Debug};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;

/// The target of the lines of requests.
pub(super) const ACCESS: &str = "access";

/// A format of lines, and that of the library for all other lines. Nothing opens spans, so none is written.
pub(super) struct RequestLines<F> {
    pub(super) format: LogFormat,
    pub(super) others: F,
}

impl<S, N, F> FormatEvent<S, N> for RequestLines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if event.metadata().target() != ACCESS {
            return self.others.format_event(context, writer, event);
        }
        let level = event.metadata().level().as_str();
        let mut fields = Fields { format: self.format, writer: &mut writer, result: Ok(()) };
        match self.format {
            LogFormat::Text => {
                SystemTime.format_time(fields.writer)?;
                write!(fields.writer, " {level:>5} {ACCESS}:")?;
                event.record(&mut fields);
                fields.result?;
                writer.write_char('\n')
            }
            LogFormat::Json => {
                fields.writer.write_str("{\"timestamp\":\"")?;
                SystemTime.format_time(fields.writer)?;
                write!(fields.writer, "\",\"level\":\"{level}\"")?;
                event.record(&mut fields);
                fields.result?;
                writeln!(writer, ",\"target\":\"{ACCESS}\"}}")
            }
        }
    }
}

/// Writes each field behind the one before.
struct Fields<'a, 'w> {
    format: LogFormat,
    writer: &'a mut Writer<'w>,
    result: fmt::Result,
}

impl Fields<'_, '_> {
    fn name(&mut self, field: &Field) -> fmt::Result {
        let (before, after) = match self.format {
            LogFormat::Text => (" ", "="),
            LogFormat::Json => (",\"", "\":"),
        };
        self.writer.write_str(before)?;
        self.writer.write_str(field.name())?;
        self.writer.write_str(after)
    }

    fn text(&mut self, text: &str) -> fmt::Result {
        // A fold without an early exit is vectorized.
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
            self.writer.write_char('"')?;
            self.writer.write_str(text)?;
            return self.writer.write_char('"');
        }
        match self.format {
            LogFormat::Text => write!(self.writer, "{text:?}"),
            LogFormat::Json => self.json(text),
        }
    }

    fn json(&mut self, value: &(impl Serialize + ?Sized)) -> fmt::Result {
        self.writer.write_str(&serde_json::to_string(value).map_err(|_| fmt::Error)?)
    }

    /// Writes a field, unless one before could not be written.
    fn record(&mut self, field: &Field, write: impl FnOnce(&mut Self) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.name(field).and_then(|()| write(self));
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record(field, |fields| fields.text(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.record(field, |fields| write!(fields.writer, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.record(field, |fields| write!(fields.writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.record(field, |fields| write!(fields.writer, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.record(field, |fields| match fields.format {
            LogFormat::Text => write!(fields.writer, "{value:?}"),
            LogFormat::Json => fields.json(&value),
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record(field, |fields| match fields.format {
            LogFormat::Text => write!(fields.writer, "{value:?}"),
            LogFormat::Json => fields.text(&format!("{value:?}")),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines of some events, without their times.
    fn lines(ours: bool, format: LogFormat) -> Vec<String> {
        let written = Written::default();
        let writer = written.clone();
        let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
        let events = || {
            let texts = ["", "plain ~!'", "quo\"te", "back\\slash", "ä€\u{202e}", "\u{1b}[31m\r\n\t\u{7f}"];
            for text in texts {
                tracing::info!(target: ACCESS, path = text, tag = None::<&str>, remote = %text, error = ?text);
            }
            for ms in [0.0, 0.1, 12.3, 86_400_000.0, 1e16, f64::NAN] {
                tracing::info!(target: ACCESS, ms, status = 7_u16, seconds = -1, found = true);
            }
            tracing::warn!(target: ACCESS, bytes = u64::MAX);
            tracing::warn!(target: "raas", path = "a\"b", "another line");
        };
        match (ours, format) {
            (false, LogFormat::Text) => tracing::subscriber::with_default(lines.finish(), events),
            (false, LogFormat::Json) => {
                tracing::subscriber::with_default(lines.json().flatten_event(true).finish(), events);
            }
            (true, LogFormat::Text) => {
                let lines = lines.map_event_format(|others| RequestLines { format, others });
                tracing::subscriber::with_default(lines.finish(), events);
            }
            (true, LogFormat::Json) => {
                let lines = lines.json().flatten_event(true);
                let lines = lines.map_event_format(|others| RequestLines { format, others });
                tracing::subscriber::with_default(lines.finish(), events);
            }
        }
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let time = "2026-01-01T00:00:00.000000Z".len() + if format == LogFormat::Json { 14 } else { 0 };
        text.lines().map(|line| line[time..].to_owned()).collect()
    }

    #[test]
    fn the_lines_are_those_of_the_library() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let (ours, theirs) = (lines(true, format), lines(false, format));
            assert_eq!(ours, theirs);
            // The text has a line break of its own.
            assert_eq!(ours.len(), if format == LogFormat::Text { 15 } else { 14 });
        }
    }
}
