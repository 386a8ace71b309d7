//! The commands. The file of a command has its arguments and its output; other modules do the work.

pub(crate) mod config;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod gc;
pub(crate) mod lint;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod pulls;
pub(crate) mod push;
pub(crate) mod rollback;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod teardown;
pub(crate) mod unpublish;
