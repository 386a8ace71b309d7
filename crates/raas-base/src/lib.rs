//! Parts that every crate of raas needs, and that belong to no domain: failures, files, signals, secrets.
//!
//! | module | holds |
//! |---|---|
//! | [`failure`] | why a command failed: message, causes, hints, exit code |
//! | [`eager_file`] | a file whose bytes go to the disk while more come |
//! | [`files`] | files that are written whole or not at all |
//! | [`run_folder`] | a folder that is removed at the end of the run, or by the next run |
//! | [`scratch`] | a private run folder |
//! | [`interrupt`] | the clean-up after an interrupt |
//! | [`parallel`] | the same work on several threads |
//! | [`redact`] | addresses without passwords and tokens, for people |
//! | [`Secret`] | a value that is never shown |
//! | [`Say`] | where a library sends lines for people, which it never prints itself |

pub mod eager_file;
pub mod failure;
pub mod files;
pub mod interrupt;
pub mod parallel;
pub mod redact;
pub mod run_folder;
mod say;
pub mod scratch;
mod secret;

pub use say::Say;
pub use secret::Secret;
