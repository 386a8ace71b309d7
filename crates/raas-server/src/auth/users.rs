//! The users of a site, from a file as `htpasswd -B` writes it, and the server's own tokens.
//!
//! A token holds its expiry and its kind, signed with a key that is derived from the file. So every server with the
//! same file accepts it, no server stores it, and a changed password revokes it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit, Mac};
use raas_types::{Digest, Utc};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{TOKEN_LIFETIME, TokenVerdict, Visitor, decode, encode};
use crate::files::FileVersion;

/// The longest file, in bytes.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// A hash that no password has. An unknown user takes as long as a wrong password.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";

/// How long a right password is accepted again without hashing it.
const PASSWORD_CACHE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The users of a site, as the file is now.
#[derive(Debug)]
pub(crate) struct Users {
    file: PathBuf,
    known: ArcSwap<UserFile>,
    /// Limits how many passwords are hashed at once, so that guessing does not use up the processors.
    work: Semaphore,
    /// The last error of the file. The same error is logged once.
    last_error: Mutex<Option<String>>,
}

struct UserFile {
    version: Option<FileVersion>,
    hashes: BTreeMap<String, String>,
    key: Hmac<sha2::Sha256>,
    /// The key of the previous file. A token of that key does not count as a guess.
    previous_key: Option<Hmac<sha2::Sha256>>,
    /// Hashes of the names and passwords that were right, and when.
    right: Mutex<HashMap<Digest, Instant>>,
}

impl std::fmt::Debug for UserFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserFile").field("users", &self.hashes.len()).finish_non_exhaustive()
    }
}

impl UserFile {
    fn new(version: Option<FileVersion>, text: &[u8], previous_key: Option<Hmac<sha2::Sha256>>) -> Self {
        let lines = String::from_utf8_lossy(text);
        let user = |line: &str| {
            let (name, hash) = line.trim().split_once(':')?;
            // Only bcrypt: other hashes of htpasswd are too weak.
            (hash.starts_with("$2") && !name.starts_with('#')).then(|| (name.to_owned(), hash.to_owned()))
        };
        let key = Digest::of(&[b"raas token ".as_slice(), text].concat());
        Self {
            version,
            hashes: lines.lines().filter_map(user).collect(),
            key: Hmac::new_from_slice(key.to_string().as_bytes()).expect("HMAC takes a key of any length"),
            previous_key,
            right: Mutex::default(),
        }
    }
}

impl Users {
    /// Reads the file. [`poll`](Self::poll) reads it again.
    pub(crate) fn new(file: &Path) -> Self {
        let users = Self {
            file: file.to_owned(),
            known: ArcSwap::from_pointee(UserFile::new(None, b"", None)),
            work: Semaphore::new(2),
            last_error: Mutex::default(),
        };
        users.poll();
        users
    }

    /// The file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file if it has changed. A file that cannot be read changes nothing.
    pub(crate) fn poll(&self) {
        let mut last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        match self.read() {
            Ok(Some(known)) => {
                tracing::info!(file = %self.file.display(), users = known.hashes.len(), "users loaded");
                self.known.store(Arc::new(known));
                *last_error = None;
            }
            Ok(None) => *last_error = None,
            Err(error) => {
                let new = error.to_string();
                if last_error.as_ref() != Some(&new) {
                    tracing::error!(file = %self.file.display(), %error, "cannot read the users");
                    *last_error = Some(new);
                }
            }
        }
    }

    fn read(&self) -> io::Result<Option<UserFile>> {
        let file = File::open(&self.file)?;
        let version = FileVersion::from(&file.metadata()?);
        if self.known.load().version == Some(version) {
            return Ok(None);
        }
        let mut text = Vec::new();
        file.take(MAX_SIZE).read_to_end(&mut text)?;
        let previous_key = Some(self.known.load().key.clone());
        Ok(Some(UserFile::new(Some(version), &text, previous_key)))
    }

    /// Whether a user has this password. The password is checked only if `check` allows it. `check` is asked again
    /// after the wait for a permit, so of many concurrent guesses few are checked.
    pub(super) async fn verify<E>(
        &self,
        name: String,
        password: String,
        check: impl Fn() -> Result<(), E>,
    ) -> Result<bool, E> {
        check()?;
        let known = self.known.load_full();
        let both = Digest::of(format!("{}\0{password}", encode(name.as_bytes())).as_bytes());
        let remembered = || known.right.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered().get(&both).is_some_and(|when| when.elapsed() < PASSWORD_CACHE_LIFETIME) {
            return Ok(true);
        }
        let _work = self.work.acquire().await.expect("the semaphore is never closed");
        check()?;
        let hash = known.hashes.get(&name).cloned();
        let hashing = spawn_blocking(move || {
            let right = bcrypt::verify(&password, hash.as_deref().unwrap_or(NOBODY)).unwrap_or(false);
            right && hash.is_some()
        });
        let right = hashing.await.unwrap_or(false);
        if right {
            let mut remembered = remembered();
            remembered.retain(|_, when| when.elapsed() < PASSWORD_CACHE_LIFETIME);
            remembered.insert(both, Instant::now());
        }
        Ok(right)
    }

    /// A token for a user, or for a guest.
    pub(crate) fn token(&self, visitor: &Visitor, now: SystemTime) -> String {
        let kind = if *visitor == Visitor::User { "user" } else { "guest" };
        let payload = format!("{kind} {}", Utc::of(now + TOKEN_LIFETIME).unix());
        let signature = self.known.load().key.clone().chain_update(&payload).finalize().into_bytes();
        format!("{}.{}", encode(payload.as_bytes()), encode(&signature))
    }

    /// The verdict about a token.
    pub(super) fn check_token(&self, token: &str, now: SystemTime) -> TokenVerdict {
        self.read_token(token, now).unwrap_or(TokenVerdict::Forged)
    }

    fn read_token(&self, token: &str, now: SystemTime) -> Option<TokenVerdict> {
        let (payload, signature) = token.split_once('.')?;
        let payload = decode(payload)?;
        let (known, signature) = (self.known.load(), decode(signature)?);
        // The comparison takes constant time.
        let verifies = |key: &Hmac<_>| key.clone().chain_update(&payload).verify_slice(&signature).is_ok();
        if !verifies(&known.key) {
            return known.previous_key.as_ref().is_some_and(verifies).then_some(TokenVerdict::Stale);
        }
        let (kind, end) = std::str::from_utf8(&payload).ok()?.split_once(' ')?;
        if end.parse::<u64>().ok()? <= Utc::of(now).unix() {
            return Some(TokenVerdict::Stale);
        }
        match kind {
            // The key of a file without users is not secret.
            "user" if !self.known.load().hashes.is_empty() => Some(TokenVerdict::Valid(Visitor::User)),
            "guest" => Some(TokenVerdict::Valid(Visitor::Guest)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_end_when_they_expire_and_when_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, "one:$2y$05$x\n").unwrap();
        let users = Users::new(&file);
        let now = SystemTime::now();
        let token = users.token(&Visitor::User, now);
        let other = Users::new(&file);
        assert_eq!(
            other.check_token(&token, now),
            TokenVerdict::Valid(Visitor::User),
            "another server with the same file accepts it"
        );
        assert_eq!(
            users.check_token(&users.token(&Visitor::Anonymous, now), now),
            TokenVerdict::Valid(Visitor::Guest)
        );
        assert_eq!(users.check_token(&token, now + TOKEN_LIFETIME), TokenVerdict::Stale);
        for forged in ["", ".", "a.b", &token[1..], &token.replace('.', "x."), &format!("{token}A")] {
            assert_eq!(users.check_token(forged, now), TokenVerdict::Forged, "{forged}");
        }
        std::fs::write(&file, "one:$2y$05$another\n").unwrap();
        users.poll();
        assert_eq!(users.check_token(&token, now), TokenVerdict::Stale);
        let empty = Users::new(&folder.path().join("none"));
        assert_eq!(empty.check_token(&empty.token(&Visitor::User, now), now), TokenVerdict::Forged);
    }

    #[test]
    fn the_hash_for_unknown_users_is_valid_bcrypt() {
        assert_eq!(bcrypt::verify("x", NOBODY).ok(), Some(false));
    }
}
