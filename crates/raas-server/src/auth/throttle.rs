//! Throttles addresses that guess passwords and tokens.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The table has a fixed size of sets times ways. The set of an address is random to the outside, so nobody can evict a
/// chosen address.
const SETS: usize = 4096;
const WAYS: usize = 4;

/// The addresses that recently sent wrong passwords or tokens. Requests without credentials never come here.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: GuessLimit,
    hasher: RandomState,
    sets: Mutex<Box<[[Option<Guesses>; WAYS]]>>,
}

/// How many wrong passwords and tokens an address may send, and how fast they are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuessLimit {
    /// The wrong passwords and tokens of an address that are checked before it is throttled.
    pub attempts: u32,
    /// The time until one wrong password or token is forgotten.
    pub forget_after: Duration,
}

impl Default for GuessLimit {
    /// A user who mistypes has ten attempts. A client that goes on guessing has two a minute.
    fn default() -> Self {
        Self { attempts: 10, forget_after: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Guesses {
    who: IpAddr,
    /// When all guesses of the address are forgotten.
    until: Instant,
}

impl Throttle {
    pub(crate) fn new(limit: GuessLimit) -> Self {
        let sets = vec![[None; WAYS]; SETS].into_boxed_slice();
        Self { limit, hasher: RandomState::new(), sets: Mutex::new(sets) }
    }

    /// Whether the server checks credentials of this address. If not, the error is the time until it does again.
    pub(crate) fn check(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let who = network(from);
        let index = self.index(who);
        let entry = self.sets()[index].into_iter().flatten().find(|entry| entry.who == who);
        match entry.map(|entry| entry.until.saturating_duration_since(now)) {
            Some(left) if left > self.tolerated() => Err(left - self.tolerated()),
            _ => Ok(()),
        }
    }

    /// Whether a wrong password or token of this address is remembered.
    pub(super) fn has_guessed(&self, from: IpAddr, now: Instant) -> bool {
        let who = network(from);
        let index = self.index(who);
        self.sets()[index].iter().flatten().any(|entry| entry.who == who && entry.until > now)
    }

    /// Counts a wrong password or token.
    pub(crate) fn wrong(&self, from: IpAddr, now: Instant) {
        let who = network(from);
        let index = self.index(who);
        let mut sets = self.sets();
        let set = &mut sets[index];
        let own = set.iter().position(|entry| entry.is_some_and(|entry| entry.who == who));
        // A free way, or the way that is forgotten first.
        let place = own.unwrap_or_else(|| {
            let until = |way: &usize| set[*way].map(|entry| entry.until);
            (0..WAYS).min_by_key(until).unwrap_or(0)
        });
        let before = set[place].filter(|entry| entry.who == who).map_or(now, |entry| entry.until.max(now));
        // Requests that were checked at the same time count no more than the allowed attempts.
        let until =
            (before + self.limit.forget_after).min(now + self.limit.forget_after * self.limit.attempts);
        set[place] = Some(Guesses { who, until });
        drop(sets);
        if until.duration_since(now) > self.tolerated() {
            tracing::warn!(address = %from, "too many wrong passwords or tokens from this address; it is throttled");
        }
    }

    /// An address is throttled if its guesses are remembered for longer than this.
    fn tolerated(&self) -> Duration {
        self.limit.forget_after * self.limit.attempts.saturating_sub(1)
    }

    fn index(&self, who: IpAddr) -> usize {
        // The remainder is below `SETS`, so truncating the hash is harmless.
        self.hasher.hash_one(who) as usize % SETS
    }

    fn sets(&self) -> MutexGuard<'_, Box<[[Option<Guesses>; WAYS]]>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The network that shares one counter. An IPv6 customer has a whole /64.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & 0xffff_ffff_ffff_ffff_0000_0000_0000_0000))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: GuessLimit = GuessLimit { attempts: 3, forget_after: Duration::from_secs(10) };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_throttled_address_waits_until_one_attempt_is_forgotten() {
        let (throttle, now, guesser) = (Throttle::new(LIMIT), Instant::now(), address("192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(throttle.check(guesser, now), Ok(()));
            throttle.wrong(guesser, now);
        }
        assert_eq!(throttle.check(guesser, now), Err(Duration::from_secs(10)));
        assert_eq!(throttle.check(address("192.0.2.2"), now), Ok(()), "no other address waits");
        assert!(throttle.has_guessed(guesser, now) && !throttle.has_guessed(address("192.0.2.2"), now));
        assert!(!throttle.has_guessed(guesser, now + Duration::from_secs(31)));
        let later = now + Duration::from_secs(10);
        assert_eq!(throttle.check(guesser, later), Ok(()));
        throttle.wrong(guesser, later);
        assert_eq!(
            throttle.check(guesser, later),
            Err(Duration::from_secs(10)),
            "one attempt is forgotten at a time"
        );
        assert_eq!(throttle.check(guesser, later + Duration::from_secs(30)), Ok(()));
    }

    #[test]
    fn concurrent_attempts_do_not_prolong_the_wait() {
        let (throttle, now, guesser) = (Throttle::new(LIMIT), Instant::now(), address("192.0.2.1"));
        for _ in 0..100 {
            throttle.wrong(guesser, now);
        }
        assert_eq!(throttle.check(guesser, now), Err(Duration::from_secs(10)));
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let (throttle, now) = (Throttle::new(LIMIT), Instant::now());
        for host in ["2001:db8:0:1::1", "2001:db8:0:1:ffff::", "2001:db8:0:1::2"] {
            throttle.wrong(address(host), now);
        }
        assert!(throttle.check(address("2001:db8:0:1:abcd::9"), now).is_err());
        assert_eq!(throttle.check(address("2001:db8:0:2::1"), now), Ok(()));
        for _ in 0..3 {
            throttle.wrong(address("::ffff:192.0.2.1"), now);
        }
        assert!(throttle.check(address("192.0.2.1"), now).is_err(), "the same address in IPv6 form");
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory() {
        let (throttle, now) = (Throttle::new(LIMIT), Instant::now());
        let mut last = address("192.0.2.1");
        for n in 0..50_000_u32 {
            last = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            throttle.wrong(last, now + Duration::from_millis(n.into()));
        }
        assert_eq!(throttle.sets().len() * WAYS, SETS * WAYS);
        // The most recent address is still remembered.
        let now = now + Duration::from_secs(50);
        throttle.wrong(last, now);
        throttle.wrong(last, now);
        assert!(throttle.check(last, now).is_err());
    }
}
