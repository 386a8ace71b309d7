//! Tokens whose signatures were verified. A client sends the same token with each request of a pull, and verifying it costs
//! more than finding the manifest.
//!
//! Only what the signature proves is remembered: what the token says. Whether it has expired, whether its key is still
//! valid, and what the key grants, is decided anew for each request.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, OnceLock};

use raas_types::VendorName;

use super::RequestedScope;

/// What a customer's token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claims {
    /// The first second at which the token is not valid, as Unix time.
    pub(super) end: u64,
    pub(super) holder: Holder,
}

/// Who has a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Holder {
    Guest,
    Customer {
        /// The id of the secret that the token was made for.
        secret: u128,
        asked: Arc<RequestedScope>,
    },
}

/// The number of tokens that are remembered: less than 8 MiB of tokens of usual length.
const SLOTS: usize = 16_384;

/// The longest token that is remembered, in bytes.
const MAX_LENGTH: usize = 512;

/// Remembers some verified tokens. A token that comes a second time takes the place of another one in the same slot, so
/// that no client can make the server remember more.
pub(super) struct VerifiedTokens {
    /// With random keys: nobody can choose the slot of a token.
    hasher: RandomState,
    /// Made with the first token.
    slots: OnceLock<Box<[Mutex<Slot>]>>,
}

#[derive(Default)]
struct Slot {
    /// The hash of the last token that was verified. A token that is used once takes no memory.
    last: u64,
    entry: Option<Box<Entry>>,
}

struct Entry {
    vendor: VendorName,
    token: Box<str>,
    claims: Claims,
}

impl VerifiedTokens {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), slots: OnceLock::new() }
    }

    /// What a token of this vendor says, if it is remembered or `verify` finds that its signature is right.
    pub(super) fn claims(
        &self,
        vendor: &VendorName,
        token: &str,
        verify: impl FnOnce() -> Option<Claims>,
    ) -> Option<Claims> {
        if token.len() > MAX_LENGTH {
            return verify();
        }
        let slots = self.slots.get_or_init(|| (0..SLOTS).map(|_| Mutex::default()).collect());
        let hash = self.hasher.hash_one((vendor.as_str(), token));
        // The remainder is less than the number of slots.
        let slot = &slots[usize::try_from(hash % SLOTS as u64).unwrap_or_default()];
        // A request does not wait for another one: it can verify the token itself.
        if let Some(entry) = slot.try_lock().ok().as_ref().and_then(|slot| slot.entry.as_ref())
            && *entry.token == *token
            && entry.vendor == *vendor
        {
            return Some(entry.claims.clone());
        }
        let claims = verify()?;
        if let Ok(mut slot) = slot.try_lock()
            && std::mem::replace(&mut slot.last, hash) == hash
        {
            let entry = Entry { vendor: vendor.clone(), token: token.into(), claims: claims.clone() };
            slot.entry = Some(Box::new(entry));
        }
        Some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bounded_number_of_tokens_is_remembered_each_for_its_vendor() {
        const COUNT: u64 = 3 * SLOTS as u64;
        let verified = VerifiedTokens::new();
        let [acme, other]: [VendorName; 2] = ["acme", "other"].map(|name| name.parse().unwrap());
        let claims = |n| Some(Claims { end: n, holder: Holder::Guest });
        let remembered = |vendor, token: &str| verified.claims(vendor, token, || None);
        for n in 0..COUNT {
            let token = format!("token {n}");
            assert_eq!(verified.claims(&acme, &token, || claims(n)), claims(n));
            assert_eq!(remembered(&acme, &token), None, "it came once");
            assert_eq!(verified.claims(&acme, &token, || claims(n)), claims(n));
            assert_eq!(remembered(&acme, &token), claims(n));
            assert_eq!(remembered(&other, &token), None);
            assert_eq!(remembered(&acme, &token[1..]), None);
        }
        let count = (0..COUNT).filter(|n| remembered(&acme, &format!("token {n}")).is_some()).count();
        assert!((SLOTS / 2..=SLOTS).contains(&count), "{count}");
        let long = "x".repeat(MAX_LENGTH + 1);
        for _ in 0..2 {
            assert_eq!(verified.claims(&acme, &long, || claims(1)), claims(1));
        }
        assert_eq!(remembered(&acme, &long), None);
    }
}
