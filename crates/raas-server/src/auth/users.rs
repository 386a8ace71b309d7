//! The users of a site, from a file as `htpasswd -B` writes it, and the server's own tokens.
//!
//! A token holds its expiry and its kind, signed with a key that is derived from the server's token key and from the
//! file. So every server with the same token key and the same file accepts the token, no server stores it, and a
//! changed password revokes it. A thief of the file alone cannot make a token.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use hmac::{Hmac, Mac as _};
use raas_types::{Digest, Utc};
use tokio::task::spawn_blocking;

use super::password_queue::PasswordQueue;
use super::{LEEWAY, Login, TOKEN_LIFETIME, TokenKey, TokenVerdict, Visitor, decode, encode};
use crate::files::FileVersion;

/// The longest file, in bytes.
const MAX_SIZE: u64 = 4 * 1024 * 1024;

/// A hash that belongs to no password, for a file without users.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu";

/// How long a right password is accepted again without hashing it.
const PASSWORD_CACHE_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// The users of a site, as the file is now.
#[derive(Debug)]
pub(crate) struct Users {
    file: PathBuf,
    token_key: TokenKey,
    known: ArcSwap<UserFile>,
    queue: PasswordQueue,
    /// The last error of the file. The same error is logged once.
    last_error: Mutex<Option<String>>,
}

struct UserFile {
    version: Option<FileVersion>,
    hashes: BTreeMap<String, String>,
    /// Chooses the hash for an unknown user.
    hasher: RandomState,
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
    fn new(
        version: Option<FileVersion>,
        text: &[u8],
        token_key: &TokenKey,
        previous_key: Option<Hmac<sha2::Sha256>>,
    ) -> Self {
        let lines = String::from_utf8_lossy(text);
        let user = |line: &str| {
            let (name, hash) = line.trim().split_once(':')?;
            // Only bcrypt: other hashes of htpasswd are too weak.
            (hash.starts_with("$2") && !name.starts_with('#')).then(|| (name.to_owned(), hash.to_owned()))
        };
        Self {
            version,
            hashes: lines.lines().filter_map(user).collect(),
            hasher: RandomState::new(),
            key: token_key.for_users(text),
            previous_key,
            right: Mutex::default(),
        }
    }
}

impl UserFile {
    /// The hash to check a user's password with, and whether there is such a user. An unknown name always gets the hash
    /// of the same other user. So the time of the check does not tell whether a user exists, even if the costs of the
    /// hashes differ.
    fn hash_for(&self, name: &str) -> (String, bool) {
        if let Some(hash) = self.hashes.get(name) {
            return (hash.clone(), true);
        }
        let valid = |hash: &&String| bcrypt_cost(hash).is_some();
        let number = self.hashes.values().filter(valid).count().max(1);
        let chosen = self.hasher.hash_one(name) as usize % number;
        let hash = self.hashes.values().filter(valid).nth(chosen);
        (hash.map_or(NOBODY, String::as_str).to_owned(), false)
    }
}

/// The cost of a hash that bcrypt can check.
fn bcrypt_cost(hash: &str) -> Option<u32> {
    hash.parse::<bcrypt::HashParts>().ok().map(|parts| parts.get_cost())
}

impl Users {
    /// Reads the file. [`poll`](Self::poll) reads it again.
    pub(crate) fn new(file: &Path, token_key: &TokenKey) -> Self {
        let users = Self {
            file: file.to_owned(),
            known: ArcSwap::from_pointee(UserFile::new(None, b"", token_key, None)),
            token_key: token_key.clone(),
            queue: PasswordQueue::new(),
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

    /// Whether the file could not be read at the last poll.
    pub(super) fn is_unreadable(&self) -> bool {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).is_some()
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
        Ok(Some(UserFile::new(Some(version), &text, &self.token_key, previous_key)))
    }

    /// Whether a user has this password. The password is checked only if `check` allows it. `check` is asked again
    /// after the wait in the queue, so of many concurrent guesses few are checked. `has_guessed` says whether the address
    /// has sent a wrong password recently. The error is the time after which the client may try again.
    pub(super) async fn verify(
        &self,
        from: IpAddr,
        has_guessed: bool,
        name: String,
        password: String,
        check: impl Fn() -> Result<(), Duration>,
    ) -> Result<bool, Duration> {
        check()?;
        let known = self.known.load_full();
        let both = Digest::of(format!("{}\0{password}", encode(name.as_bytes())).as_bytes());
        let remembered = || known.right.lock().unwrap_or_else(PoisonError::into_inner);
        let is_remembered =
            || remembered().get(&both).is_some_and(|when| when.elapsed() < PASSWORD_CACHE_LIFETIME);
        if is_remembered() {
            return Ok(true);
        }
        let _turn = self.queue.turn(from, has_guessed).await?;
        // Machines that log in at the same moment often have the same password.
        if is_remembered() {
            return Ok(true);
        }
        check()?;
        let (hash, is_user) = known.hash_for(&name);
        let hashing = spawn_blocking(move || bcrypt::verify(&password, &hash).unwrap_or(false) && is_user);
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
        let kind = if *visitor == Visitor::User(Login::Password) { "user" } else { "guest" };
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
        let (end, now) = (end.parse::<u64>().ok()?, Utc::of(now).unix());
        // No token of any server is valid for longer.
        let last = now + TOKEN_LIFETIME.as_secs() + LEEWAY.as_secs();
        if end <= now || end > last {
            return Some(TokenVerdict::Stale);
        }
        match kind {
            "user" if !known.hashes.is_empty() => Some(TokenVerdict::Valid(Visitor::User(Login::Token))),
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
        let key = TokenKey::of_this_process();
        let users = Users::new(&file, &key);
        let now = SystemTime::now();
        let user = Visitor::User(Login::Password);
        let token = users.token(&user, now);
        let other = Users::new(&file, &key);
        assert_eq!(
            other.check_token(&token, now),
            TokenVerdict::Valid(Visitor::User(Login::Token)),
            "another server with the same file and key accepts it"
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
        let empty = Users::new(&folder.path().join("none"), &key);
        assert_eq!(empty.check_token(&empty.token(&user, now), now), TokenVerdict::Forged);
    }

    #[test]
    fn a_token_needs_the_key_of_the_server_and_a_lifetime_that_servers_give() {
        let folder = tempfile::tempdir().unwrap();
        let (file, secret) = (folder.path().join("htpasswd"), folder.path().join("key"));
        std::fs::write(&file, "one:$2y$05$x\n").unwrap();
        std::fs::write(&secret, "another secret of at least 32 bytes").unwrap();
        let users = Users::new(&file, &TokenKey::of_this_process());
        let other = Users::new(&file, &TokenKey::read(&secret).unwrap());
        let (user, now) = (Visitor::User(Login::Password), SystemTime::now());
        assert_eq!(other.check_token(&users.token(&user, now), now), TokenVerdict::Forged);
        let late = users.token(&user, now + Duration::from_secs(2 * 60));
        assert_eq!(users.check_token(&late, now), TokenVerdict::Stale);
    }

    #[test]
    fn a_token_makes_no_token_of_a_user() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("htpasswd");
        std::fs::write(&file, "one:$2y$05$x\n").unwrap();
        let (users, now) = (Users::new(&file, &TokenKey::of_this_process()), SystemTime::now());
        for login in [Login::Token, Login::Certificate] {
            let token = users.token(&Visitor::User(login), now);
            assert_eq!(users.check_token(&token, now), TokenVerdict::Valid(Visitor::Guest));
        }
    }

    #[test]
    fn an_unknown_user_takes_the_cost_of_the_users() {
        let hash = |cost| bcrypt::hash_with_salt("x", cost, [7; 16]).unwrap().to_string();
        let text = format!("one:{}\ntwo:{}\nbroken:$2y$05$x\n", hash(5), hash(4));
        let file = UserFile::new(None, text.as_bytes(), &TokenKey::of_this_process(), None);
        let cost = |name: &str| bcrypt_cost(&file.hash_for(name).0);
        let unknown: std::collections::BTreeSet<_> = (0..100).map(|n| cost(&format!("nobody{n}"))).collect();
        assert_eq!(unknown, [Some(4), Some(5)].into(), "as many kinds as there are among the users");
        assert_eq!((file.hash_for("nobody").1, file.hash_for("one").1), (false, true));
        assert_eq!(cost("nobody"), cost("nobody"));
        let empty = UserFile::new(None, b"", &TokenKey::of_this_process(), None);
        assert_eq!(empty.hash_for("x").0, NOBODY);
    }

    #[test]
    fn the_hash_for_unknown_users_is_valid_bcrypt() {
        assert_eq!(bcrypt::verify("x", NOBODY).ok(), Some(false));
    }
}
