//! Headers of answers and of requests, made of those that are over.

use std::cell::Cell;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

thread_local! {
    /// The list of an answer that is over on this thread, emptied.
    static LIST: Cell<Vec<(HeaderName, HeaderValue)>> = Cell::default();
    /// The map of a request that is over on this thread, emptied.
    static MAP: Cell<Option<HeaderMap>> = const { Cell::new(None) };
}

/// The headers of an answer, each name once. They are so few that a list is much quicker than a map.
#[derive(Debug)]
pub(crate) struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// No headers yet. They take no memory but that of an answer that is over.
    pub(crate) fn new() -> Self {
        Self(LIST.take())
    }

    /// Says a header, in place of what was said under its name.
    pub(crate) fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes a header back, if it was said.
    pub(crate) fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|(known, _)| known != name);
    }

    /// What is said under a name.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All of them, in the order in which they were said.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    /// All of them, taken out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        self.0.drain(..)
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        self.0.clear();
        LIST.set(std::mem::take(&mut self.0));
    }
}

/// An empty map that has room, made of one that is not needed any more if there is one.
pub(crate) fn take_spare_map() -> HeaderMap {
    MAP.take().unwrap_or_else(|| HeaderMap::with_capacity(12))
}

/// Keeps the headers of a request that is over.
pub(crate) fn recycle(mut headers: HeaderMap) {
    /// No more than this: one request with thousands of headers must not be remembered for ever.
    const MOST: usize = 64;
    if headers.capacity() <= MOST {
        headers.clear();
        MAP.set(Some(headers));
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{ACCEPT, ETAG, HOST, LOCATION};

    use super::*;

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn a_name_is_said_once_and_in_its_place() {
        let mut headers = Headers::new();
        headers.insert(ETAG, value("a"));
        headers.insert(LOCATION, value("b"));
        headers.insert(ETAG, value("c"));
        assert_eq!(headers.get(&ETAG), Some(&value("c")));
        assert!(headers.iter().map(|(name, _)| name).eq([&ETAG, &LOCATION]));
        headers.remove(&ETAG);
        assert_eq!((headers.get(&ETAG), headers.iter().count()), (None, 1));
        drop(headers);
        assert_eq!(Headers::new().iter().count(), 0);
    }

    #[test]
    fn nothing_of_a_request_stays_in_what_is_kept() {
        recycle([(HOST, value("x")), (ACCEPT, value("y"))].into_iter().collect());
        assert!(take_spare_map().is_empty());
        recycle(HeaderMap::with_capacity(10_000));
        assert!(take_spare_map().capacity() < 100);
    }
}
