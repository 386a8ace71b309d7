//! The secret that the server's own tokens are signed with.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::Sha256;

use super::VerifiedTokens;

/// The shortest key, in bytes.
const MIN: usize = 32;

/// The longest key, in bytes.
const MAX: u64 = 64 * 1024;

/// The secret that tokens are signed with. Servers with the same key and the same file of users accept each other's
/// tokens.
#[derive(Clone)]
pub struct TokenKey {
    secret: Arc<[u8]>,
    /// The tokens of customers whose signatures were verified with this secret.
    verified: Arc<VerifiedTokens>,
}

impl PartialEq for TokenKey {
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for TokenKey {}

impl TokenKey {
    fn new(secret: &[u8]) -> Self {
        Self { secret: secret.into(), verified: Arc::new(VerifiedTokens::new()) }
    }

    /// A random key that lives as long as this process.
    pub fn of_this_process() -> Self {
        static KEY: OnceLock<TokenKey> = OnceLock::new();
        KEY.get_or_init(|| Self::new(&random())).clone()
    }

    /// Reads the key from a file. White space around it does not count.
    ///
    /// # Errors
    /// The file cannot be read, or has fewer than 32 bytes.
    pub fn read(file: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        File::open(file)?.take(MAX).read_to_end(&mut bytes)?;
        let key = bytes.trim_ascii();
        if key.len() < MIN {
            let message = format!("the key has {} bytes; at least {MIN} random bytes are needed", key.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Self::new(key))
    }

    /// Reads the key from a file that only its user can read, and creates it if it is missing.
    ///
    /// # Errors
    /// The file can neither be read nor be created.
    pub fn read_or_create(file: &Path) -> io::Result<Self> {
        match Self::read(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            read => return read,
        }
        let text = format!("{}\n", hex::encode(random()));
        // Written beside it and linked, so that no other server ever reads half a key, and the first one wins.
        let new = file.with_extension(format!("{}.new", std::process::id()));
        let written = (|| {
            let mut opened =
                OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            opened.write_all(text.as_bytes())?;
            opened.sync_all()?;
            match fs::hard_link(&new, file) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        })();
        let removed = fs::remove_file(&new);
        written.and(removed)?;
        Self::read(file)
    }

    /// The key for the tokens of users. It depends on the file of users, so a change of the file revokes their tokens.
    pub(super) fn for_users(&self, text: &[u8]) -> Hmac<Sha256> {
        let hmac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        let derived =
            hmac(&self.secret).chain_update(b"raas token ").chain_update(text).finalize().into_bytes();
        hmac(&derived)
    }

    /// The key for the tokens of a vendor's customers. Each vendor has another key, so a token for one vendor is not
    /// valid for another vendor.
    pub(super) fn for_customers(&self, vendor: &str) -> Hmac<Sha256> {
        let hmac = |key: &[u8]| Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        let derived = hmac(&self.secret).chain_update(b"raas customer token ").chain_update(vendor);
        hmac(&derived.finalize().into_bytes())
    }

    /// The tokens of customers whose signatures were verified.
    pub(super) fn verified(&self) -> &Arc<VerifiedTokens> {
        &self.verified
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the system has random bytes");
    bytes
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_created_once_and_only_its_user_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("_token_key");
        let key = TokenKey::read_or_create(&file).unwrap();
        assert_eq!(TokenKey::read_or_create(&file).unwrap(), key);
        assert_eq!(TokenKey::read(&file).unwrap(), key);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        assert!(!format!("{key:?}").contains(fs::read_to_string(&file).unwrap().trim()));
    }

    #[test]
    fn a_short_key_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        fs::write(&file, format!("{}\n\n", "x".repeat(31))).unwrap();
        assert!(TokenKey::read(&file).unwrap_err().to_string().contains("31 bytes"));
        assert!(TokenKey::read_or_create(&file).is_err(), "it is not overwritten");
    }
}
