//! The URLs that were signed in this second. Within a second, the same request gets the same signature: when a release
//! comes out, many clients ask for the same few layers, and each layer is signed once a second.
//!
//! All vendors share this memory, so it does not grow with them. A URL whose slot is taken replaces the other one.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use hyper::Method;
use raas_types::ObjectKey;

use super::credentials::Credentials;

/// The number of remembered URLs. Each takes the length of the URL and of its key, usually less than a kilobyte.
const SLOTS: usize = 256;

/// The URLs of all signers of this process.
pub(super) static RECENT: LazyLock<Recent> = LazyLock::new(Recent::default);

pub(super) struct Recent {
    slots: [Mutex<Option<Signed>>; SLOTS],
    /// Clients choose the keys, and must not know which of them share a slot.
    hasher: RandomState,
}

impl Default for Recent {
    fn default() -> Self {
        Self { slots: [const { Mutex::new(None) }; SLOTS], hasher: RandomState::new() }
    }
}

/// All that a signed URL depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    /// The number of the signer.
    pub(super) signer: u64,
    pub(super) credentials: &'a Arc<Credentials>,
    pub(super) method: &'a Method,
    pub(super) key: &'a ObjectKey,
    /// The lifetime of the URL, in seconds.
    pub(super) lifetime: u64,
    /// The second of the signature, since 1970.
    pub(super) second: u64,
}

struct Signed {
    signer: u64,
    /// Keeps the address of the credentials, but not their secret.
    credentials: Weak<Credentials>,
    method: Method,
    key: ObjectKey,
    lifetime: u64,
    second: u64,
    url: String,
}

impl Signed {
    fn answers(&self, request: Request<'_>) -> bool {
        self.second == request.second
            && self.signer == request.signer
            && self.lifetime == request.lifetime
            && self.method == *request.method
            && self.credentials.as_ptr() == Arc::as_ptr(request.credentials)
            && self.key == *request.key
    }
}

impl Recent {
    /// The URL for a request, signed by `sign` unless it was signed in this second.
    pub(super) fn url(&self, request: Request<'_>, sign: impl FnOnce() -> String) -> String {
        let slot = self.hasher.hash_one((request.signer, request.key)) as usize % SLOTS;
        // Nobody waits for another thread: signing takes a few microseconds.
        let Ok(mut found) = self.slots[slot].try_lock() else { return sign() };
        if let Some(signed) = &*found
            && signed.answers(request)
        {
            return signed.url.clone();
        }
        let url = sign();
        *found = Some(Signed {
            signer: request.signer,
            credentials: Arc::downgrade(request.credentials),
            method: request.method.clone(),
            key: request.key.clone(),
            lifetime: request.lifetime,
            second: request.second,
            url: url.clone(),
        });
        url
    }
}

#[cfg(test)]
mod tests {
    use raas_types::Digest;

    use super::*;

    fn credentials() -> Arc<Credentials> {
        Arc::new(Credentials {
            access_key_id: "KEY".into(),
            secret_access_key: "secret".into(),
            session_token: None,
            expires: None,
        })
    }

    #[test]
    fn a_url_is_signed_once_a_second_for_the_same_request() {
        let (own, others) = (credentials(), credentials());
        let key = ObjectKey::Blob("app".parse().unwrap(), Digest::of(b"app"));
        let other = ObjectKey::Blob("other".parse().unwrap(), Digest::of(b"app"));
        let recent = Recent::default();
        let request = Request {
            signer: 0,
            credentials: &own,
            method: &Method::GET,
            key: &key,
            lifetime: 300,
            second: 7,
        };
        assert_eq!(recent.url(request, || "first".into()), "first");
        assert_eq!(recent.url(request, || panic!("it is signed")), "first");
        for different in [
            Request { signer: 1, ..request },
            Request { credentials: &others, ..request },
            Request { method: &Method::HEAD, ..request },
            Request { key: &other, ..request },
            Request { lifetime: 301, ..request },
            Request { second: 8, ..request },
        ] {
            assert_eq!(recent.url(request, || "first".into()), "first");
            assert_eq!(recent.url(different, || "another".into()), "another", "{different:?}");
        }
    }
}
