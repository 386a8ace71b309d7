//! Traces for OpenTelemetry: spans, the settings in the environment, and the export by OTLP over HTTP.
//!
//! ```text
//! settings ──▶ tracer ──▶ collector   reads the environment │ queues spans, and sends them │ one request
//!    │           │
//!  pairs        otlp ──▶ protobuf     lists of keys and values │ the messages │ their encoding
//!                │
//!               span ──▶ context      one piece of work │ its trace, and the header `traceparent`
//! ```
//!
//! Nothing here waits for a collector but the thread of a [`Tracer`], and [`Tracer::finish`], which has a limit.

mod collector;
mod context;
mod otlp;
mod pairs;
mod protobuf;
mod settings;
mod span;
mod tracer;

pub use context::SpanContext;
pub use settings::{Settings, SettingsError};
pub use span::{Span, SpanKind, Value};
pub use tracer::{Counts, Report, Tracer, Unsent};
