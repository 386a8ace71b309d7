//! A private key of the user's own GnuPG.

use std::io::Write as _;
use std::time::Duration;

use raas_base::Secret;

use crate::error::{GpgError, printed};
use crate::program::Program;

/// How long gpg may list and export keys.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a signature may take: the agent may ask a person for the password, or a token for a touch.
const PATIENCE_TO_SIGN: Duration = Duration::from_secs(300);

/// The most bytes that gpg prints for a list, an export or a signature.
const MAX_OUTPUT: usize = 1024 * 1024;

/// A private key that gpg signs with.
#[derive(Debug, Clone)]
pub struct SigningKey {
    fingerprint: String,
    password: Option<Secret>,
}

impl SigningKey {
    /// The private key of the user with this fingerprint, or another name that gpg knows. Without a password, gpg's agent
    /// asks for one if it needs one.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn find(name: &str, password: Option<Secret>) -> Result<Self, GpgError> {
        let list = Program::new(PATIENCE, MAX_OUTPUT).args(["--with-colons", "--list-secret-keys", "--"]);
        let output = list.args([name]).run(Vec::new())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let found = fingerprints(&text);
        match found.as_slice() {
            [one] => Ok(Self { fingerprint: one.clone(), password }),
            several => Err(GpgError::NotOneKey(several.len(), name.to_owned())),
        }
    }

    /// The fingerprint of the primary key.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The public key in binary.
    ///
    /// # Errors
    /// gpg fails.
    pub fn public(&self) -> Result<Vec<u8>, GpgError> {
        let export =
            ["--no-armor", "--export-options", "export-minimal", "--export", "--", &self.fingerprint];
        let output = Program::new(PATIENCE, MAX_OUTPUT).args(export).run(Vec::new())?;
        match output.is_success && !output.stdout.is_empty() {
            true => Ok(output.stdout),
            false => Err(GpgError::Failed(printed(&output.stderr))),
        }
    }

    /// A message with this content and a signature.
    ///
    /// # Errors
    /// gpg has no password, or a wrong one, or its agent does not answer in time.
    pub fn sign(&self, content: &[u8]) -> Result<Vec<u8>, GpgError> {
        // The standard input has the password, so the content is in a file.
        let mut file = tempfile::NamedTempFile::new().map_err(GpgError::Run)?;
        file.write_all(content).map_err(GpgError::Run)?;
        let mut program = Program::new(PATIENCE_TO_SIGN, MAX_OUTPUT);
        program = program.args(["--no-armor", "--local-user", &self.fingerprint, "--set-filename", ""]);
        let mut input = Vec::new();
        if let Some(password) = &self.password {
            program = program.args(["--pinentry-mode", "loopback", "--passphrase-fd", "0"]);
            input.extend_from_slice(password.expose().as_bytes());
            input.push(b'\n');
        }
        let program = program.args(["--output", "-", "--sign", "--"]).args([file.path()]);
        let output = program.run(input)?;
        match output.is_success && !output.stdout.is_empty() {
            true => Ok(output.stdout),
            false => Err(GpgError::Failed(printed(&output.stderr))),
        }
    }
}

/// The fingerprints of the primary keys in a list. Source: GnuPG, doc/DETAILS, "Format of the colon listings".
fn fingerprints(list: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_primary = false;
    for line in list.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        match fields[0] {
            "sec" => is_primary = true,
            "fpr" if is_primary => {
                found.extend(fields.get(9).map(|fingerprint| (*fingerprint).to_owned()));
                is_primary = false;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_the_primary_keys() {
        let list = "sec:u:255:22:60895DC3CDD70FEA:1796005310:::u:::scSC:::+::ed25519:::0:\n\
            fpr:::::::::0846AD590D95E5455955F22C60895DC3CDD70FEA:\ngrp:::::::::70394ED9:\nuid:u::::1796005310::BD::a::\n\
            ssb:u:255:22:AAAA:1796005310::::::s:::+::ed25519::\nfpr:::::::::BBBB:\n\
            sec:u:255:22:7650C94D5DC76376:1:::u:::scSC:::+::ed25519:::0:\nfpr:::::::::CCCC:\n";
        assert_eq!(fingerprints(list), ["0846AD590D95E5455955F22C60895DC3CDD70FEA", "CCCC"]);
        assert!(fingerprints("").is_empty());
    }
}
