//! The commands, a file each: arguments, what is said, and nothing of how it is done.

pub(crate) mod gc;
pub(crate) mod lint;
pub(crate) mod push;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod status;
