//! The parts of HTTP that the server reads and writes itself: hosts, headers, percent-encoding, ranges, content
//! negotiation, and the client's address behind proxies. Nothing here knows of registries.

pub(crate) mod byte_range;
pub(crate) mod forwarded;
pub(crate) mod headers;
pub(crate) mod host;
pub(crate) mod negotiate;
pub(crate) mod query;
pub(crate) mod range;
