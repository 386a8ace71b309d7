//! Slows down whoever guesses: an address has so many wrong passwords and tokens, and then has to wait.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many addresses are remembered is sets times ways, always. Which set an address is in, nobody can tell from
/// outside.
const SETS: usize = 4096;
const WAYS: usize = 4;

/// The addresses that were wrong lately. Only who brings something that has to be looked at, or is wrong, comes here.
#[derive(Debug)]
pub(crate) struct Throttle {
    limit: GuessLimit,
    hasher: RandomState,
    sets: Mutex<Box<[[Option<Entry>; WAYS]]>>,
}

/// How many may be wrong how fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuessLimit {
    /// How many wrong passwords and tokens of an address are looked at before it has to wait.
    pub attempts: u32,
    /// One of them is forgotten after so long, and then the next.
    pub forget_after: Duration,
}

impl Default for GuessLimit {
    /// Somebody who has forgotten a password tries a few; somebody who guesses has 2 a minute.
    fn default() -> Self {
        Self { attempts: 10, forget_after: Duration::from_secs(30) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    who: IpAddr,
    /// When everything is forgotten.
    until: Instant,
}

impl Throttle {
    pub(crate) fn new(limit: GuessLimit) -> Self {
        let sets = vec![[None; WAYS]; SETS].into_boxed_slice();
        Self { limit, hasher: RandomState::new(), sets: Mutex::new(sets) }
    }

    /// Whether something of this address is looked at; if not, how long it has to wait.
    pub(crate) fn check(&self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let who = network(from);
        let index = self.index(who);
        let entry = self.sets()[index].into_iter().flatten().find(|entry| entry.who == who);
        match entry.map(|entry| entry.until.saturating_duration_since(now)) {
            Some(left) if left > self.tolerated() => Err(left - self.tolerated()),
            _ => Ok(()),
        }
    }

    /// The address was wrong.
    pub(crate) fn wrong(&self, from: IpAddr, now: Instant) {
        let who = network(from);
        let index = self.index(who);
        let mut sets = self.sets();
        let set = &mut sets[index];
        let own = set.iter().position(|entry| entry.is_some_and(|entry| entry.who == who));
        // Room that is free, or else of the one that is forgotten first.
        let place = own.unwrap_or_else(|| {
            let until = |way: &usize| set[*way].map(|entry| entry.until);
            (0..WAYS).min_by_key(until).unwrap_or(0)
        });
        let before = set[place].filter(|entry| entry.who == who).map_or(now, |entry| entry.until.max(now));
        // Several that were looked at at once count as what is allowed.
        let until =
            (before + self.limit.forget_after).min(now + self.limit.forget_after * self.limit.attempts);
        set[place] = Some(Entry { who, until });
        drop(sets);
        if until.duration_since(now) > self.tolerated() {
            tracing::warn!(address = %from, "too many wrong passwords or tokens; it has to wait");
        }
    }

    /// How long what an address has against it may last for it to be looked at.
    fn tolerated(&self) -> Duration {
        self.limit.forget_after * self.limit.attempts.saturating_sub(1)
    }

    fn index(&self, who: IpAddr) -> usize {
        // What is left of a hash by a mask of fewer bits fits.
        self.hasher.hash_one(who) as usize % SETS
    }

    fn sets(&self) -> MutexGuard<'_, Box<[[Option<Entry>; WAYS]]>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom an address belongs to. One customer has a whole /64 of version 6.
fn network(address: IpAddr) -> IpAddr {
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
    fn an_address_that_was_wrong_too_often_waits_until_one_is_forgotten() {
        let (throttle, now, guesser) = (Throttle::new(LIMIT), Instant::now(), address("192.0.2.1"));
        for _ in 0..3 {
            assert_eq!(throttle.check(guesser, now), Ok(()));
            throttle.wrong(guesser, now);
        }
        assert_eq!(throttle.check(guesser, now), Err(Duration::from_secs(10)));
        assert_eq!(throttle.check(address("192.0.2.2"), now), Ok(()), "nobody else waits");
        let later = now + Duration::from_secs(10);
        assert_eq!(throttle.check(guesser, later), Ok(()));
        throttle.wrong(guesser, later);
        assert_eq!(
            throttle.check(guesser, later),
            Err(Duration::from_secs(10)),
            "one is forgotten at a time"
        );
        assert_eq!(throttle.check(guesser, later + Duration::from_secs(30)), Ok(()));
    }

    #[test]
    fn what_was_looked_at_at_once_is_not_held_against_anybody_for_longer() {
        let (throttle, now, guesser) = (Throttle::new(LIMIT), Instant::now(), address("192.0.2.1"));
        for _ in 0..100 {
            throttle.wrong(guesser, now);
        }
        assert_eq!(throttle.check(guesser, now), Err(Duration::from_secs(10)));
    }

    #[test]
    fn a_network_of_version_6_is_one() {
        let (throttle, now) = (Throttle::new(LIMIT), Instant::now());
        for host in ["2001:db8:0:1::1", "2001:db8:0:1:ffff::", "2001:db8:0:1::2"] {
            throttle.wrong(address(host), now);
        }
        assert!(throttle.check(address("2001:db8:0:1:abcd::9"), now).is_err());
        assert_eq!(throttle.check(address("2001:db8:0:2::1"), now), Ok(()));
        for _ in 0..3 {
            throttle.wrong(address("::ffff:192.0.2.1"), now);
        }
        assert!(throttle.check(address("192.0.2.1"), now).is_err(), "the same, written as version 6");
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_room() {
        let (throttle, now) = (Throttle::new(LIMIT), Instant::now());
        let mut last = address("192.0.2.1");
        for n in 0..50_000_u32 {
            last = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            throttle.wrong(last, now + Duration::from_millis(n.into()));
        }
        assert_eq!(throttle.sets().len() * WAYS, SETS * WAYS);
        // Whoever was wrong last is remembered.
        let now = now + Duration::from_secs(50);
        throttle.wrong(last, now);
        throttle.wrong(last, now);
        assert!(throttle.check(last, now).is_err());
    }
}
