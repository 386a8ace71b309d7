//! The messages of OTLP. The numbers are those of the fields.
//!
//! Source: opentelemetry-proto 1.x, `collector/trace/v1/trace_service.proto`, `trace/v1/trace.proto`, `common/v1/common.proto`,
//! `resource/v1/resource.proto`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::protobuf::Message;
use crate::span::{Span, SpanKind, Value};

/// The media type of [`export_request`].
pub(crate) const MEDIA_TYPE: &str = "application/x-protobuf";

/// An `ExportTraceServiceRequest` with the spans of one program.
pub(crate) fn export_request(resource: &[(String, String)], spans: &[Span]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |message| {
            for (key, value) in resource {
                attribute(message, 1, key, &Value::Text(value.clone()));
            }
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.bytes(1, "raas");
                scope.bytes(2, env!("CARGO_PKG_VERSION"));
            });
            for span in spans {
                scope_spans.message(2, |message| write_span(message, span));
            }
        });
    });
    request.into_bytes()
}

fn write_span(message: &mut Message, span: &Span) {
    message.bytes(1, span.context.trace_id());
    message.bytes(2, span.context.span_id());
    if let Some(parent) = span.parent {
        message.bytes(4, parent.span_id());
    }
    message.bytes(5, &span.name);
    message.number(6, kind(span.kind));
    message.fixed64(7, nanoseconds(span.started));
    message.fixed64(8, nanoseconds(span.started + span.duration));
    for (key, value) in &span.attributes {
        attribute(message, 9, key, value);
    }
    if let Some(error) = &span.error {
        /// `STATUS_CODE_ERROR`
        const ERROR: u64 = 2;
        message.message(15, |status| {
            if !error.is_empty() {
                status.bytes(2, error);
            }
            status.number(3, ERROR);
        });
    }
}

/// A value of the enum `SpanKind`.
fn kind(kind: SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Adds a `KeyValue`.
fn attribute(message: &mut Message, field: u64, key: &str, value: &Value) {
    message.message(field, |pair| {
        pair.bytes(1, key);
        pair.message(2, |any| any_value(any, value));
    });
}

/// Fills an `AnyValue`.
fn any_value(message: &mut Message, value: &Value) {
    match value {
        Value::Text(text) => message.bytes(1, text),
        Value::Truth(truth) => message.number(2, u64::from(*truth)),
        // A negative number is written as its two's complement.
        Value::Number(number) => message.number(3, number.cast_unsigned()),
        Value::Texts(texts) => message.message(5, |array| {
            for text in texts {
                array.message(1, |any| any.bytes(1, text));
            }
        }),
    }
}
