//! Headers of answers and requests, in recycled memory.

use std::cell::Cell;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

thread_local! {
    /// The empty list of an earlier answer of this thread.
    static LIST: Cell<Vec<(HeaderName, HeaderValue)>> = Cell::default();
    /// The empty map of an earlier request of this thread.
    static MAP: Cell<Option<HeaderMap>> = const { Cell::new(None) };
}

/// The headers of an answer, each name once. For so few a list is much faster than a map.
#[derive(Debug)]
pub(crate) struct Headers(Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// No headers, in the memory of an earlier answer.
    pub(crate) fn new() -> Self {
        Self(LIST.take())
    }

    /// Sets a header, and replaces its former value.
    pub(crate) fn insert(&mut self, name: HeaderName, value: HeaderValue) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// Removes a header.
    pub(crate) fn remove(&mut self, name: &HeaderName) {
        self.0.retain(|(known, _)| known != name);
    }

    /// The value of a header.
    pub(crate) fn get(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// All headers, in the order in which they were set.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
        self.0.iter()
    }

    /// Takes all headers.
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

/// An empty map with capacity, recycled if possible.
pub(crate) fn take_spare_map() -> HeaderMap {
    MAP.take().unwrap_or_else(|| HeaderMap::with_capacity(12))
}

/// Recycles the headers of a request that was answered.
pub(crate) fn recycle(mut headers: HeaderMap) {
    /// The largest map to keep. One request with thousands of headers must not use memory forever.
    const MAX: usize = 64;
    if headers.capacity() <= MAX {
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
    fn a_header_is_set_once_and_keeps_its_place() {
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
    fn recycled_headers_are_empty_and_small() {
        recycle([(HOST, value("x")), (ACCEPT, value("y"))].into_iter().collect());
        assert!(take_spare_map().is_empty());
        recycle(HeaderMap::with_capacity(10_000));
        assert!(take_spare_map().capacity() < 100);
    }
}
