//! A collector of OpenTelemetry: it takes traces by OTLP over HTTP, and decodes them.
//!
//! Source: opentelemetry-proto 1.x; Protocol Buffers, "Encoding".

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::http::{Asked, Reply, Server};

/// A collector on a free port of this machine. It ends when it is dropped.
pub struct Collector {
    server: Server,
    requests: Arc<Mutex<Vec<Asked>>>,
}

/// A span that the collector has got.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The name.
    pub name: String,
    /// The id of the trace, in hex.
    pub trace: String,
    /// The id, in hex.
    pub id: String,
    /// The id of the parent, in hex.
    pub parent: Option<String>,
    /// 1 is internal, 2 is a server's.
    pub kind: u64,
    /// The nanoseconds from 1970 to the beginning.
    pub started: u64,
    /// The duration.
    pub duration: Duration,
    /// The attributes.
    pub attributes: Map<String, Value>,
    /// The message of the status, if it is that of an error.
    pub error: Option<String>,
    /// The attributes of the program.
    pub resource: Map<String, Value>,
}

impl Collector {
    /// Takes all spans.
    pub fn start() -> Self {
        Self::scripted(|_| Reply::new(200, "").with("Content-Type", "application/x-protobuf"))
    }

    /// Answers each request by a function.
    pub fn scripted(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let requests = Arc::<Mutex<Vec<Asked>>>::default();
        let got = Arc::clone(&requests);
        let server = Server::scripted(move |asked| {
            locked(&got).push(asked.clone());
            script(asked)
        });
        Self { server, requests }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        self.server.url("")
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Asked> {
        locked(&self.requests).clone()
    }

    /// All spans so far, in the order of their arrival.
    pub fn spans(&self) -> Vec<Span> {
        self.requests().iter().flat_map(|request| spans(&request.body)).collect()
    }

    /// Waits until a span is there for which `is_wanted` is true.
    pub fn wait_for(&self, what: &str, is_wanted: impl Fn(&Span) -> bool) -> Span {
        let begun = Instant::now();
        loop {
            let spans = self.spans();
            if let Some(found) = spans.iter().find(|span| is_wanted(span)) {
                return found.clone();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no span {what}: {spans:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans(request: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    for of_resource in messages(request, 1) {
        let resource = messages(of_resource, 1).next().map(|resource| attributes(resource, 1));
        for of_scope in messages(of_resource, 2) {
            let spans = messages(of_scope, 2).map(|span| read_span(span, resource.as_ref()));
            found.extend(spans);
        }
    }
    found
}

fn read_span(span: &[u8], resource: Option<&Map<String, Value>>) -> Span {
    let fields = fields(span);
    let started = number(&fields, 7);
    let status = messages(span, 15).next().map(self::fields);
    let error = status.filter(|status| number(status, 3) == 2).map(|status| text(&status, 2));
    Span {
        name: text(&fields, 5),
        trace: hex(&fields, 1).expect("a span has a trace"),
        id: hex(&fields, 2).expect("a span has an id"),
        parent: hex(&fields, 4),
        kind: number(&fields, 6),
        started,
        duration: Duration::from_nanos(number(&fields, 8) - started),
        attributes: attributes(span, 9),
        error,
        resource: resource.cloned().unwrap_or_default(),
    }
}

/// The repeated `KeyValue` of a message.
fn attributes(message: &[u8], field: u64) -> Map<String, Value> {
    messages(message, field)
        .map(|pair| {
            let value = messages(pair, 2).next().expect("an attribute has a value");
            (text(&fields(pair), 1), any_value(value))
        })
        .collect()
}

fn any_value(value: &[u8]) -> Value {
    match fields(value).first().expect("a value has a type") {
        (1, Field::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).expect("a text is UTF-8").into(),
        (2, Field::Number(truth)) => Value::Bool(*truth == 1),
        (3, Field::Number(number)) => number.cast_signed().into(),
        (5, Field::Bytes(array)) => messages(array, 1).map(any_value).collect(),
        (field, _) => panic!("a value of the type {field}"),
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, with their numbers.
fn fields(mut message: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let value = match key & 7 {
            0 => Field::Number(varint(&mut message)),
            1 => Field::Number(u64::from_le_bytes(take(&mut message, 8).try_into().expect("eight bytes"))),
            2 => {
                let length = varint(&mut message);
                Field::Bytes(take(&mut message, usize::try_from(length).expect("a length")))
            }
            other => panic!("a field of the type {other}"),
        };
        fields.push((key >> 3, value));
    }
    fields
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = message.split_at(length);
    *message = rest;
    taken
}

fn varint(message: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a number of more than 64 bits")
}

fn messages(message: &[u8], field: u64) -> impl Iterator<Item = &[u8]> {
    fields(message).into_iter().filter_map(move |(number, value)| match value {
        Field::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    })
}

fn bytes<'a>(fields: &[(u64, Field<'a>)], field: u64) -> Option<&'a [u8]> {
    fields.iter().find_map(|(number, value)| match value {
        Field::Bytes(bytes) if *number == field => Some(*bytes),
        _ => None,
    })
}

/// A number, or the default value if the message does not have it.
fn number(fields: &[(u64, Field<'_>)], field: u64) -> u64 {
    let found = fields.iter().find_map(|(known, value)| match value {
        Field::Number(number) if *known == field => Some(*number),
        _ => None,
    });
    found.unwrap_or(0)
}

/// A text, or the default value if the message does not have it.
fn text(fields: &[(u64, Field<'_>)], field: u64) -> String {
    String::from_utf8(bytes(fields, field).unwrap_or_default().to_vec()).expect("a text is UTF-8")
}

fn hex(fields: &[(u64, Field<'_>)], field: u64) -> Option<String> {
    bytes(fields, field).map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
