//! A map of the last minutes, of bounded size.

use std::collections::HashMap;

use super::WINDOW;
use crate::Utc;

/// The most entries in each of two generations.
const MOST: usize = 32_768;

/// Values by a hash, in two generations. When the young generation is full, or older than [`WINDOW`], it becomes the
/// old generation, and the old one is dropped.
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
    /// The value, unless it is older than [`WINDOW`].
    pub(super) fn find(&self, key: u64, now: Utc) -> Option<&V> {
        let found = self.young.get(&key).or_else(|| self.old.get(&key));
        found.filter(|(since, _)| now.distance(*since) <= WINDOW).map(|(_, value)| value)
    }

    /// The value, or a default one. Each call renews the entry's time.
    pub(super) fn entry(&mut self, key: u64, now: Utc) -> &mut V {
        self.start_generation(now);
        let known = self.old.remove(&key).filter(|(since, _)| now.distance(*since) <= WINDOW);
        let known = known.unwrap_or_else(|| (now, V::default()));
        let found = self.young.entry(key).or_insert(known);
        if now.distance(found.0) > WINDOW {
            found.1 = V::default();
        }
        found.0 = now;
        &mut found.1
    }

    /// Whether this is the first call for the key within [`WINDOW`]; the entry keeps the time of that first call.
    pub(super) fn first(&mut self, key: u64, now: Utc) -> bool {
        if self.find(key, now).is_some() {
            return false;
        }
        self.start_generation(now);
        self.old.remove(&key);
        self.young.insert(key, (now, V::default()));
        true
    }

    /// Starts a new young generation, if it is time.
    fn start_generation(&mut self, now: Utc) {
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
    fn the_map_is_bounded_and_drops_the_oldest_first() {
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
