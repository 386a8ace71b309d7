//! Bytes that can be read at any offset: a file, a file in chunks, a stream that was written to a file.

pub(crate) mod chunks;
pub(crate) mod content;
mod read_at;
pub(crate) mod spool;

pub(crate) use read_at::{FileAt, ReadAt, Section};
