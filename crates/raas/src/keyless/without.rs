//! The place of `keyless.rs` in a build without the feature `keyless`: each trusted identity is an error that names the
//! feature.

use std::path::Path;

use raas_base::failure::{Failure, Kind};
use raas_types::{Descriptor, Digest};

use crate::config::KeylessSigner;

/// There are no trusted signers.
#[derive(Debug)]
pub(crate) enum Keyless {}

impl Keyless {
    pub(crate) fn load(signers: Vec<KeylessSigner>, _root: Option<&Path>) -> Result<Self, Failure> {
        let signers: Vec<String> = signers.iter().map(ToString::to_string).collect();
        let message = format!(
            "{} makes keyless signatures, but this raas was built without the feature `keyless`",
            signers.join(", ")
        );
        Err(Failure::new(Kind::Usage, message)
            .hint("build raas with its default features: cargo install --path crates/raas --locked"))
    }

    pub(crate) fn signers(&self) -> &[KeylessSigner] {
        match *self {}
    }

    pub(crate) fn is_private(&self) -> bool {
        match *self {}
    }

    pub(crate) fn authorities(&self) -> String {
        match *self {}
    }

    pub(crate) fn authority_url(&self) -> String {
        match *self {}
    }

    pub(crate) fn log_url(&self) -> String {
        match *self {}
    }

    pub(crate) fn log_keys(&self) -> Vec<String> {
        match *self {}
    }

    pub(crate) fn certificate_log_keys(&self) -> Vec<String> {
        match *self {}
    }

    pub(crate) fn verify_bundle(
        &self,
        _bundle: &[u8],
        _image: &Digest,
        _manifest: &[u8],
    ) -> Result<Option<String>, String> {
        match *self {}
    }

    pub(crate) fn verify_payload(
        &self,
        _payload: &[u8],
        _layer: &Descriptor,
        _image: &Digest,
    ) -> Result<Option<String>, String> {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyless_signer_in_the_configuration_is_an_error_that_says_how_to_build() {
        let signer = "a@b.example from https://c.example".parse().unwrap();
        let failure = Keyless::load(vec![signer], None).unwrap_err();
        assert!(failure.message().contains("a@b.example from https://c.example"), "{failure}");
        assert!(failure.hints()[0].contains("default features"), "{failure}");
    }
}
