//! A memory of the last minutes, of bounded size.

use std::collections::HashMap;

use super::WINDOW;
use crate::Utc;

/// As many as are remembered by each of two generations.
const MOST: usize = 32_768;

/// What is known by a hash. Two generations: when the young one is full, or as old as anything is of use, it becomes the
/// old one, and the old one is forgotten.
#[derive(Debug)]
pub(super) struct Recent<V> {
    begun: Utc,
    young: HashMap<u64, (Utc, V)>,
    old: HashMap<u64, (Utc, V)>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { begun: Utc::from_unix(0), young: HashMap::new(), old: HashMap::new() }
    }
}

impl<V: Default> Recent<V> {
    /// What is known, unless it is too long ago.
    pub(super) fn find(&self, key: u64, now: Utc) -> Option<&V> {
        let found = self.young.get(&key).or_else(|| self.old.get(&key));
        found.filter(|(since, _)| now.distance(*since) <= WINDOW).map(|(_, value)| value)
    }

    /// What is known, or nothing yet; either is remembered from now on, as long as it is asked for.
    pub(super) fn entry(&mut self, key: u64, now: Utc) -> &mut V {
        self.turn(now);
        let known = self.old.remove(&key).filter(|(since, _)| now.distance(*since) <= WINDOW);
        let known = known.unwrap_or_else(|| (now, V::default()));
        let found = self.young.entry(key).or_insert(known);
        if now.distance(found.0) > WINDOW {
            found.1 = V::default();
        }
        found.0 = now;
        &mut found.1
    }

    /// Whether it is for the first time, or the first after long; remembered from that time.
    pub(super) fn first(&mut self, key: u64, now: Utc) -> bool {
        if self.find(key, now).is_some() {
            return false;
        }
        self.turn(now);
        self.old.remove(&key);
        self.young.insert(key, (now, V::default()));
        true
    }

    fn turn(&mut self, now: Utc) {
        if self.young.len() >= MOST || now.distance(self.begun) > WINDOW {
            self.old = std::mem::take(&mut self.young);
            self.begun = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_the_oldest_go_first() {
        let mut recent: Recent<()> = Recent::default();
        let now = Utc::from_unix(1_000_000);
        for key in 0..3 * MOST as u64 {
            assert!(recent.first(key, now));
            assert!(!recent.first(key, now));
            assert!(recent.young.len() + recent.old.len() <= 2 * MOST);
        }
        assert!(recent.find(0, now).is_none() && recent.find(3 * MOST as u64 - 1, now).is_some());
    }
}
