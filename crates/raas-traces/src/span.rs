//! A span: one piece of work.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use raas_base::redact;

use crate::context::SpanContext;

/// The longest text of a span, in bytes. Clients choose paths and names, and spans wait in memory.
const LONGEST: usize = 1024;

/// The most texts of a list.
const MOST: usize = 128;

/// One piece of work, with its beginning and its duration.
#[derive(Debug, Clone)]
pub struct Span {
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) context: SpanContext,
    pub(crate) parent: Option<SpanContext>,
    pub(crate) started: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    /// What failed. It may be empty.
    pub(crate) error: Option<String>,
}

/// Whether a span answers somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work of the program itself.
    Internal,
    /// The answer to a request.
    Server,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// A number.
    Number(i64),
    /// A truth value.
    Truth(bool),
}

impl Span {
    /// A span that begins now. Without a parent it begins a trace.
    pub fn new(name: impl Into<String>, kind: SpanKind, parent: Option<SpanContext>) -> Self {
        let context = parent.map_or_else(SpanContext::new_trace, SpanContext::child);
        Self {
            name: name.into(),
            kind,
            context,
            parent,
            started: SystemTime::now(),
            duration: Duration::ZERO,
            attributes: Vec::new(),
            error: None,
        }
    }

    /// The ids of this span, for its children.
    pub fn context(&self) -> SpanContext {
        self.context
    }

    /// Sets an attribute, in place of one with the same key. Long values are cut.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        let value = match value.into() {
            Value::Text(text) => Value::Text(cut(text)),
            Value::Texts(texts) => Value::Texts(texts.into_iter().take(MOST).map(cut).collect()),
            other => other,
        };
        self.attributes.retain(|(known, _)| *known != key);
        self.attributes.push((key, value));
    }

    /// Marks the span as failed. The addresses in the message are shown without their secrets.
    pub fn fail(&mut self, message: &str) {
        self.error = Some(cut(redact::text(message)));
    }

    /// Ends the span, which has begun this long ago.
    pub fn end(&mut self, duration: Duration) {
        self.duration = duration;
    }

    /// Ends the span now. It has begun this long ago, which the moment of its beginning did not know yet.
    pub fn ended_after(mut self, duration: Duration) -> Self {
        self.started = self.started.checked_sub(duration).unwrap_or(self.started);
        self.duration = duration;
        self
    }
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        // What was cut off would stay in memory.
        text.shrink_to_fit();
    }
    text
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Cow<'_, str>> for Value {
    fn from(text: Cow<'_, str>) -> Self {
        Self::Text(text.into_owned())
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_span_holds_is_bounded_and_an_error_has_no_secret() {
        let mut span = Span::new("x", SpanKind::Internal, None);
        span.set("path", "ü".repeat(LONGEST));
        span.set("tags", vec!["t".repeat(2 * LONGEST); 2 * MOST]);
        let Value::Text(path) = &span.attributes[0].1 else { panic!("{span:?}") };
        assert_eq!((path.len(), path.chars().count()), (LONGEST, LONGEST / 2));
        let Value::Texts(tags) = &span.attributes[1].1 else { panic!("{span:?}") };
        assert_eq!((tags.len(), tags[0].len()), (MOST, LONGEST));
        span.set("path", "/");
        assert_eq!(span.attributes.len(), 2);
        span.fail("cannot read https://jane:hunter2@x.org/a?signature=hunter3");
        assert_eq!(span.error.as_deref(), Some("cannot read https://x.org/a"));
    }
}
