//! Keyless signatures: the signer has a certificate of the authority Fulcio, which is valid for ten minutes and names an
//! identity and its issuer. The log Rekor has the signature. It, or a timestamp authority, says that the signature was made
//! in these minutes.
//!
//! ```text
//! trusted_root.json ──▶ SigstoreRoot ──▶ bundle or payload of cosign 2 ──▶ Signer: identity, issuer
//! ```
//!
//! The crate checks signatures without a service: all that is needed is in the signature and in the root. `sigstore-verify`
//! checks them, with ring for the arithmetic. The crate reads no file, and does not decide which identities are trusted.

mod payload;
mod provider;
mod refusal;
mod root;
mod signer;
#[cfg(test)]
mod tests;

pub use root::{RootError, SigstoreRoot};
pub use signer::{Identity, Signer};
