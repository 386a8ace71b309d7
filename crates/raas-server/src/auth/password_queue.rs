//! The queue of passwords that wait to be hashed.
//!
//! A hash takes a tenth of a second of a processor. Each address has one place in the queue of the site, so many guesses
//! of one address delay only that address. All places are bounded, and so is the wait. Half of the places are only for
//! addresses that have sent no wrong password recently, so guessing addresses cannot take all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::throttle::network;

/// The number of passwords that are hashed at once, so that guessing does not use up the processors.
const AT_ONCE: usize = 2;

/// The maximal number of addresses that wait. The last of them waits for some seconds.
const MAX_ADDRESSES: usize = 64;

/// The maximal number of addresses that wait and have sent a wrong password recently.
const MAX_GUESSERS: usize = MAX_ADDRESSES / 2;

/// The maximal number of passwords of one address that wait: the machines of a company that log in at the same moment.
const MAX_OF_ADDRESS: usize = 100;

/// When a client that found no place may try again.
const RETRY: Duration = Duration::from_secs(5);

/// The queue of a site.
#[derive(Debug)]
pub(super) struct PasswordQueue {
    work: Semaphore,
    addresses: Mutex<HashMap<IpAddr, Waiting>>,
}

/// The passwords of an address that wait or are being hashed.
#[derive(Debug)]
struct Waiting {
    turn: Arc<Semaphore>,
    number: usize,
    has_guessed: bool,
}

/// The right to hash a password, until this is dropped.
pub(super) struct Turn<'a> {
    _work: SemaphorePermit<'a>,
    _turn: OwnedSemaphorePermit,
    _place: Place<'a>,
}

/// A place in the queue.
struct Place<'a> {
    queue: &'a PasswordQueue,
    who: IpAddr,
}

impl PasswordQueue {
    pub(super) fn new() -> Self {
        Self { work: Semaphore::new(AT_ONCE), addresses: Mutex::default() }
    }

    /// Waits for the turn of a password from this address. `has_guessed` says whether the address has sent a wrong
    /// password recently. The error is the time after which the client may try again, if the queue is full.
    pub(super) async fn turn(&self, from: IpAddr, has_guessed: bool) -> Result<Turn<'_>, Duration> {
        let (place, turn) = self.place(network(from), has_guessed).ok_or(RETRY)?;
        let turn = turn.acquire_owned().await.expect("the semaphore is never closed");
        let work = self.work.acquire().await.expect("the semaphore is never closed");
        Ok(Turn { _work: work, _turn: turn, _place: place })
    }

    fn place(&self, who: IpAddr, has_guessed: bool) -> Option<(Place<'_>, Arc<Semaphore>)> {
        let mut addresses = self.addresses();
        let known = addresses.get(&who);
        if known.is_none() && addresses.len() >= MAX_ADDRESSES {
            return None;
        }
        // An address may have sent its first wrong password while others of it wait. It stays until these are checked.
        let becomes_guesser = has_guessed && known.is_none_or(|waiting| !waiting.has_guessed);
        let guessers = || addresses.values().filter(|waiting| waiting.has_guessed).count();
        if becomes_guesser && guessers() >= MAX_GUESSERS {
            return None;
        }
        let waiting = addresses.entry(who).or_insert_with(|| Waiting {
            turn: Arc::new(Semaphore::new(1)),
            number: 0,
            has_guessed,
        });
        waiting.has_guessed |= has_guessed;
        if waiting.number >= MAX_OF_ADDRESS {
            return None;
        }
        waiting.number += 1;
        Some((Place { queue: self, who }, Arc::clone(&waiting.turn)))
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<IpAddr, Waiting>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut addresses = self.queue.addresses();
        if let Some(waiting) = addresses.get_mut(&self.who) {
            waiting.number -= 1;
            if waiting.number == 0 {
                addresses.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    #[test]
    fn an_address_with_many_passwords_delays_only_itself() {
        let queue = PasswordQueue::new();
        let mut guesses: Vec<_> = (0..50).map(|_| Box::pin(queue.turn(address(1), false))).collect();
        let mut turns: Vec<_> = guesses.iter_mut().map(|guess| poll(guess.as_mut())).collect();
        assert_eq!(turns.iter().filter(|turn| turn.is_ready()).count(), 1);
        let mut other = pin!(queue.turn(address(2), false));
        assert!(poll(other.as_mut()).is_ready(), "before the 49 others of the first address");
        turns.clear();
        drop(guesses);
        assert!(queue.addresses().len() <= 1);
    }

    #[test]
    fn guessing_addresses_leave_places_to_others() {
        let queue = PasswordQueue::new();
        let mut guesses: Vec<_> =
            (0..MAX_ADDRESSES).map(|n| Box::pin(queue.turn(address(n as u8), true))).collect();
        let turns: Vec<_> = guesses.iter_mut().map(|guess| poll(guess.as_mut())).collect();
        let refused = turns.iter().filter(|turn| matches!(turn, Poll::Ready(Err(RETRY)))).count();
        assert_eq!(refused, MAX_ADDRESSES - MAX_GUESSERS);
        let mut others: Vec<_> = (0..MAX_ADDRESSES - MAX_GUESSERS)
            .map(|n| Box::pin(queue.turn(address(100 + n as u8), false)))
            .collect();
        for other in &mut others {
            assert!(poll(other.as_mut()).is_pending(), "it has a place, and waits behind the guesses");
        }
        assert!(matches!(poll(pin!(queue.turn(address(200), false))), Poll::Ready(Err(RETRY))));
    }

    #[test]
    fn addresses_that_turn_out_to_guess_do_not_keep_all_places() {
        let queue = PasswordQueue::new();
        let mut first: Vec<_> =
            (0..MAX_ADDRESSES).map(|n| Box::pin(queue.turn(address(n as u8), false))).collect();
        let turns: Vec<_> = first.iter_mut().map(|one| poll(one.as_mut())).collect();
        let mut more: Vec<_> =
            (0..MAX_ADDRESSES).map(|n| Box::pin(queue.turn(address(n as u8), true))).collect();
        let refused = more.iter_mut().map(|one| poll(one.as_mut())).filter(Poll::is_ready).count();
        assert_eq!(refused, MAX_ADDRESSES - MAX_GUESSERS);
        drop((turns, first));
        assert_eq!(queue.addresses().len(), MAX_GUESSERS, "the others are gone when they are checked");
    }

    #[test]
    fn a_full_queue_says_when_to_try_again() {
        let queue = PasswordQueue::new();
        let mut all: Vec<_> =
            (0..MAX_ADDRESSES).map(|n| Box::pin(queue.turn(address(n as u8), false))).collect();
        let _turns: Vec<_> = all.iter_mut().map(|one| poll(one.as_mut())).collect();
        assert!(matches!(poll(pin!(queue.turn(address(200), false))), Poll::Ready(Err(RETRY))));
        let queue = PasswordQueue::new();
        let mut all: Vec<_> = (0..MAX_OF_ADDRESS).map(|_| Box::pin(queue.turn(address(1), false))).collect();
        let _turns: Vec<_> = all.iter_mut().map(|one| poll(one.as_mut())).collect();
        assert!(matches!(poll(pin!(queue.turn(address(1), false))), Poll::Ready(Err(RETRY))));
        assert!(poll(pin!(queue.turn(address(2), false))).is_ready(), "another address has a place");
    }
}
