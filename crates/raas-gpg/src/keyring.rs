//! The keys that are trusted, in a folder of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use raas_base::interrupt::{self, PrivateFolder};
use tempfile::TempDir;

use crate::error::{GpgError, printed};
use crate::program::Program;
use crate::status::{self, BadSignature};

/// How long gpg may read keys, or check a signature.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most bytes of the keys that gpg exports.
const MAX_KEYS: usize = 16 * 1024 * 1024;

/// The most bytes that gpg says for programs.
const MAX_STATUS: u64 = 64 * 1024;

/// Public keys of OpenPGP. They are in a private folder, which is removed with this value.
#[derive(Debug)]
pub struct Keyring {
    folder: TempDir,
    _interrupted: PrivateFolder,
    fingerprints: Vec<String>,
}

/// The content of a message with a good signature, and the key that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The content.
    pub content: Vec<u8>,
    /// The fingerprint of the primary key.
    pub fingerprint: String,
}

impl Keyring {
    /// A keyring without keys.
    ///
    /// # Errors
    /// The folder for temporary files cannot be used.
    pub fn new() -> Result<Self, GpgError> {
        interrupt::make(|| {
            // The folder is private: mode 0700.
            let folder = tempfile::Builder::new().prefix("raas-gpg-").tempdir()?;
            let interrupted = PrivateFolder::new(folder.path().to_owned());
            Ok(Self { folder, _interrupted: interrupted, fingerprints: Vec::new() })
        })
        .map_err(GpgError::Run)
    }

    /// Adds the keys of a file, which is armoured or binary.
    ///
    /// # Errors
    /// gpg finds no public key in it.
    pub fn add(&mut self, file: &[u8]) -> Result<(), GpgError> {
        let status = StatusFile::new(self.folder.path())?;
        let program = self.program(MAX_KEYS).args(status.arguments()).args(["--import"]);
        let output = program.run(file.to_vec())?;
        let status = status.read()?;
        // `IMPORT_OK <reasons> <fingerprint>`, also for a key that is there already.
        let found = status.lines().filter_map(|line| line.strip_prefix("[GNUPG:] IMPORT_OK "));
        let found: Vec<&str> = found.filter_map(|rest| rest.split(' ').nth(1)).collect();
        if found.is_empty() {
            return Err(GpgError::NoKey(printed(&output.stderr)));
        }
        for fingerprint in found {
            if !self.fingerprints.iter().any(|known| known == fingerprint) {
                self.fingerprints.push(fingerprint.to_owned());
            }
        }
        Ok(())
    }

    /// The fingerprints of the primary keys.
    pub fn fingerprints(&self) -> &[String] {
        &self.fingerprints
    }

    /// All keys as one binary file.
    ///
    /// # Errors
    /// gpg fails.
    pub fn export(&self) -> Result<Vec<u8>, GpgError> {
        let program = self.program(MAX_KEYS).args(["--export-options", "export-minimal", "--export", "--"]);
        let output = program.args(&self.fingerprints).run(Vec::new())?;
        match output.is_success && !output.stdout.is_empty() {
            true => Ok(output.stdout),
            false => Err(GpgError::Failed(printed(&output.stderr))),
        }
    }

    /// The content of a message with one signature, which one of the keys must have made. `limit` is the most bytes of the
    /// content. The inner error says why the signature does not count.
    ///
    /// # Errors
    /// gpg cannot be run, or takes too long.
    pub fn verify(&self, message: &[u8], limit: usize) -> Result<Result<Signed, BadSignature>, GpgError> {
        let status = StatusFile::new(self.folder.path())?;
        let program = self.program(limit).args(status.arguments()).args(["--output", "-", "--verify", "-"]);
        let output = match program.run(message.to_vec()) {
            Err(GpgError::TooLong(limit)) => return Ok(Err(BadSignature::TooLong(limit))),
            output => output?,
        };
        let fingerprint = match status::signer(&status.read()?) {
            Ok(fingerprint) => fingerprint,
            Err(BadSignature::Unchecked(_)) => {
                return Ok(Err(BadSignature::Unchecked(printed(&output.stderr))));
            }
            Err(bad) => return Ok(Err(bad)),
        };
        if !output.is_success {
            return Ok(Err(BadSignature::Unchecked(printed(&output.stderr))));
        }
        if !self.fingerprints.contains(&fingerprint) {
            return Ok(Err(BadSignature::UnknownKey(fingerprint)));
        }
        Ok(Ok(Signed { content: output.stdout, fingerprint }))
    }

    /// A command that knows these keys alone, and nothing of the user's GnuPG.
    fn program(&self, limit: usize) -> Program {
        let keys = self.folder.path().join("trusted.kbx");
        Program::new(PATIENCE, limit)
            .env_remove("GNUPGHOME")
            .args([Path::new("--homedir"), self.folder.path()])
            .args(["--no-options", "--no-permission-warning", "--no-default-keyring"])
            .args([Path::new("--keyring"), keys.as_path()])
            // No agent, no key server. The keys are trusted because they are here.
            .args(["--no-autostart", "--disable-dirmngr", "--no-auto-key-locate", "--trust-model", "always"])
    }
}

/// A file to which gpg writes what it says for programs.
struct StatusFile(PathBuf);

impl StatusFile {
    fn new(folder: &Path) -> Result<Self, GpgError> {
        let file = tempfile::Builder::new().prefix("status-").tempfile_in(folder).map_err(GpgError::Run)?;
        let (_, path) = file.keep().map_err(|error| GpgError::Run(error.error))?;
        Ok(Self(path))
    }

    fn arguments(&self) -> [&Path; 2] {
        [Path::new("--status-file"), &self.0]
    }

    fn read(&self) -> Result<String, GpgError> {
        let read = || -> io::Result<String> {
            let mut text = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(fs::File::open(&self.0)?, MAX_STATUS), &mut text)?;
            Ok(String::from_utf8_lossy(&text).into_owned())
        };
        read().map_err(GpgError::Run)
    }
}

impl Drop for StatusFile {
    fn drop(&mut self) {
        // The folder is removed in any case.
        drop(fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use raas_testkit::gpg::Gpg;

    use super::*;

    #[test]
    fn a_message_counts_with_its_key_alone() {
        let gpg = Gpg::new();
        let (one, two) = (gpg.key("one@example.com"), gpg.key("two@example.com"));
        let mut keyring = Keyring::new().unwrap();
        keyring.add(&gpg.armoured(&one)).unwrap();
        assert_eq!(keyring.fingerprints(), std::slice::from_ref(&one));
        let message = gpg.sign(&one, b"content");
        let signed = Signed { content: b"content".to_vec(), fingerprint: one.clone() };
        assert_eq!(keyring.verify(&message, 100).unwrap(), Ok(signed));
        assert_eq!(keyring.verify(&message, 3).unwrap(), Err(BadSignature::TooLong(3)));
        let foreign = keyring.verify(&gpg.sign(&two, b"content"), 100).unwrap().unwrap_err();
        assert!(matches!(foreign, BadSignature::UnknownKey(_)), "{foreign}");
        keyring.add(&gpg.public(&two)).unwrap();
        assert_eq!(keyring.verify(&gpg.sign(&two, b"content"), 100).unwrap().unwrap().fingerprint, two);
        let mut again = Keyring::new().unwrap();
        again.add(&keyring.export().unwrap()).unwrap();
        assert_eq!(again.fingerprints(), [one, two]);
    }

    #[test]
    fn other_messages_do_not_count() {
        let gpg = Gpg::new();
        let key = gpg.key("one@example.com");
        let mut keyring = Keyring::new().unwrap();
        keyring.add(&gpg.public(&key)).unwrap();
        let check = |message: &[u8]| keyring.verify(message, 1000).unwrap();
        let good = gpg.sign(&key, b"content");
        let unsigned = gpg.run(&["--store"], b"other");
        for (name, message) in [
            ("empty", Vec::new()),
            ("junk", b"junk".to_vec()),
            ("cut", good[..good.len() - 20].to_vec()),
            ("unsigned", unsigned.clone()),
            ("detached", gpg.run(&["--local-user", &key, "--detach-sign"], b"content")),
            ("unsigned before", [unsigned, good.clone()].concat()),
        ] {
            assert!(check(&message).is_err(), "{name}: {:?}", check(&message));
        }
        // Any bit of a message that is not compressed.
        let plain = gpg.run(&["--local-user", &key, "--compress-algo", "none", "--sign"], b"content");
        assert_eq!(check(&plain).unwrap().content, b"content");
        let place = plain.windows(7).position(|bytes| bytes == b"content").unwrap();
        let mut changed = plain;
        changed[place] ^= 1;
        assert!(matches!(check(&changed), Err(BadSignature::Changed(_))), "{:?}", check(&changed));
    }

    #[test]
    fn files_without_a_public_key_are_rejected() {
        let mut keyring = Keyring::new().unwrap();
        for file in [&b""[..], b"junk", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n"] {
            assert!(matches!(keyring.add(file), Err(GpgError::NoKey(_))));
        }
        let folder = keyring.folder.path().to_owned();
        drop(keyring);
        assert!(!folder.exists());
    }
}
