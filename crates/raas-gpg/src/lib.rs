//! Running the `gpg` program: signatures of OpenPGP, checked with the keys that are trusted, or made with a key of the
//! user's.
//!
//! ```text
//! keyring ──▶ status  ──▶ program ──▶ error
//! signing_key ──▶ program
//! ```
//!
//! Every gpg command of raas runs here. No Rust library of OpenPGP comes without a crate that has an open advisory, or a
//! library in C. What checks signatures is apart from the user's own GnuPG: it has a folder of its own, reads no settings,
//! starts no agent, and asks no key server. Each command has a limit of time and of output.

mod error;
mod keyring;
mod program;
mod signing_key;
mod status;

pub use error::GpgError;
pub use keyring::{Keyring, Signed};
pub use signing_key::SigningKey;
pub use status::BadSignature;
