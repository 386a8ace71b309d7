//! Bytes that can be read at any place: a file, a file in chunks, a spooled stream.

pub(crate) mod chunks;
pub(crate) mod content;
mod read_at;
pub(crate) mod spool;

pub(crate) use read_at::{FileAt, ReadAt, Section};
