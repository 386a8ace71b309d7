//! Signatures of images.
//!
//! ```text
//! key files ──▶ PublicKey ──▶ simple_signing, bundle: does a document sign this image?
//!           ├─▶ SigningKey ──▶ simple_signing ──▶ signature_manifest: what a registry holds
//!           └─▶ TrustedCertificate ──▶ notation: does an envelope sign this image?
//! ```
//!
//! A *signature* is a document about a manifest, with the digest of the manifest in it, and the signature of that document
//! by a key. The crate checks and makes such documents. It reads no file and asks no service.
//!
//! Keys are ECDSA keys of P-256, as `cosign generate-key-pair` and `openssl ecparam -name prime256v1` make them. A
//! signature is one of SHA-256, in ASN.1. Certificates of Notation have other keys too. ring does the arithmetic.

pub mod bundle;
pub mod dsse;
mod encrypted_key;
mod invalid;
mod key_file;
pub mod notation;
mod pem;
mod public_key;
pub mod signature_manifest;
mod signing_key;
pub mod simple_signing;

pub use encrypted_key::EncryptedKey;
pub use invalid::{Invalid, MAX_SIGNATURE, Verified, legible};
pub use key_file::KeyFile;
pub use notation::{CertificateError, TrustedCertificate};
pub use public_key::{KeyError, PublicKey};
pub use signing_key::{SigningKey, SigningKeyError};
