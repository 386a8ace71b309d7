//! What every part of raas needs and what belongs to no domain: failures, files, signals, secrets.
//!
//! | module | holds |
//! |---|---|
//! | [`failure`] | why a command failed: message, causes, hints, exit code |
//! | [`files`] | files that appear whole or not at all |
//! | [`run_folder`] | a folder that goes with the run, or is swept by the next one |
//! | [`scratch`] | a private run folder |
//! | [`interrupt`] | what is cleaned up when the command is interrupted |
//! | [`parallel`] | the same work on several threads |
//! | [`redact`] | addresses without passwords and tokens |
//! | [`Secret`] | a value that is never shown |
//! | [`Say`] | how a library tells people something without printing it |

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
