//! The commands. The file of a command has its arguments and its output; other modules do the work.

pub(crate) mod access;
pub(crate) mod config;
pub(crate) mod deprecate;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod gc;
pub(crate) mod healthcheck;
pub(crate) mod lint;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod protect;
pub(crate) mod pulls;
pub(crate) mod pulp_upload;
pub(crate) mod push;
pub(crate) mod remove;
pub(crate) mod retire;
pub(crate) mod rollback;
pub(crate) mod serve;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod tag;
pub(crate) mod teardown;
pub(crate) mod undeprecate;
pub(crate) mod unprotect;
pub(crate) mod unpublish;
