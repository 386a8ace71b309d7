//! Headers of requests and answers.

use std::cell::RefCell;

use hyper::header::HeaderMap;

thread_local! {
    /// The headers of the last request that was answered on this thread, and of its answer, emptied.
    static SPARE: RefCell<[Option<HeaderMap>; 2]> = const { RefCell::new([None, None]) };
}

/// An empty map that has room. It is made of one that is not needed any more if there is one, so that requests and answers
/// take no memory for their headers.
pub(crate) fn empty() -> HeaderMap {
    let spare = SPARE.with_borrow_mut(|spare| spare.iter_mut().find_map(Option::take));
    spare.unwrap_or_else(|| HeaderMap::with_capacity(12))
}

/// Keeps headers that are not needed any more.
pub(crate) fn keep(mut headers: HeaderMap) {
    /// No more than this: one request with thousands of headers must not be remembered for ever.
    const MOST: usize = 64;
    if headers.capacity() <= MOST {
        headers.clear();
        SPARE.with_borrow_mut(|spare| {
            if let Some(free) = spare.iter_mut().find(|spare| spare.is_none()) {
                *free = Some(headers);
            }
        });
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
