//! The trace of a span, and how programs pass it on.
//!
//! Source: W3C, "Trace Context", section 3.2 (`traceparent`).

/// The ids of a span: its trace, and the span itself. Neither is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanContext {
    trace: u128,
    span: u64,
    is_sampled: bool,
}

impl SpanContext {
    /// The first span of a new trace.
    pub(crate) fn new_trace() -> Self {
        Self { trace: fastrand::u128(1..), span: fastrand::u64(1..), is_sampled: true }
    }

    /// A new span of the same trace.
    pub(crate) fn child(self) -> Self {
        Self { span: fastrand::u64(1..), ..self }
    }

    /// Reads a `traceparent`, as a header or an environment variable has it. None if it is invalid, which means that there
    /// is no parent.
    pub fn parse(traceparent: &str) -> Option<Self> {
        /// The length of version 00. A later version may append fields.
        const LENGTH: usize = 55;
        let (known, more) = traceparent.trim().split_at_checked(LENGTH)?;
        let mut fields = known.split('-');
        let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let is_complete = match version {
            "00" => more.is_empty(),
            _ => more.is_empty() || more.starts_with('-'),
        };
        let version = number(version, 2)?;
        let (trace, span, flags) = (number(trace, 32)?, number(span, 16)?, number(flags, 2)?);
        let is_valid = is_complete && version != 0xff && trace != 0 && span != 0 && fields.next().is_none();
        let span = u64::try_from(span).ok()?;
        is_valid.then_some(Self { trace, span, is_sampled: flags & 1 == 1 })
    }

    /// Whether the parent wants its trace to be recorded.
    pub fn is_sampled(self) -> bool {
        self.is_sampled
    }

    pub(crate) fn trace_id(self) -> [u8; 16] {
        self.trace.to_be_bytes()
    }

    pub(crate) fn span_id(self) -> [u8; 8] {
        self.span.to_be_bytes()
    }
}

/// A number of exactly this many hex digits in lower case.
fn number(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_w3c_says() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = SpanContext::parse(good).unwrap();
        assert_eq!((context.trace_id()[0], context.span_id()[7]), (0x0a, 0x31));
        assert!(context.is_sampled());
        assert!(!SpanContext::parse(&good.replace("-01", "-00")).unwrap().is_sampled());
        let later = good.replacen("00", "cc", 1);
        assert_eq!(SpanContext::parse(&later), Some(context));
        assert_eq!(SpanContext::parse(&format!("{later}-what-comes")), Some(context));
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &good[..54],
            &format!("{good}0"),
            &format!("{good}-more"),
            &format!("{later}0"),
            &good.replacen("00", "ff", 1),
            &good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &good.replace("b7ad6b7169203331", &"0".repeat(16)),
            &good.replace('-', "_"),
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-101",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331é1",
        ] {
            assert_eq!(SpanContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_child_has_the_trace_of_its_parent_and_an_id_of_its_own() {
        let parent = SpanContext::new_trace();
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id(), parent.span_id());
        assert_ne!(SpanContext::new_trace().trace_id(), parent.trace_id());
    }
}
