//! Headers of answers.

use std::cell::Cell;

use hyper::header::HeaderMap;

thread_local! {
    /// The headers of the last request that was answered on this thread, emptied.
    static SPARE: Cell<Option<HeaderMap>> = const { Cell::new(None) };
}

/// An empty map that has room. It is made of one that is not needed any more if there is one, so that an answer takes no
/// memory for its headers: hyper does the same with those of the answer for those of the next request.
pub(crate) fn empty() -> HeaderMap {
    SPARE.take().unwrap_or_else(|| HeaderMap::with_capacity(12))
}

/// Keeps the headers of a request that is answered.
pub(crate) fn keep(mut headers: HeaderMap) {
    /// No more than this: one request with thousands of headers must not be remembered for ever.
    const MOST: usize = 64;
    if headers.capacity() <= MOST {
        headers.clear();
        SPARE.set(Some(headers));
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{ACCEPT, HOST, HeaderValue};

    use super::*;

    #[test]
    fn nothing_of_a_request_stays_in_what_is_kept() {
        let (host, accept) = (HeaderValue::from_static("x"), HeaderValue::from_static("y"));
        keep([(HOST, host), (ACCEPT, accept)].into_iter().collect());
        assert!(empty().is_empty());
        keep(HeaderMap::with_capacity(10_000));
        assert!(empty().capacity() < 100);
    }
}
