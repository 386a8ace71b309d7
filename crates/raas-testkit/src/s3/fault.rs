//! Faults of the service.

use std::time::Duration;

/// A fault of some requests.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The operation, as S3 names it (`PutObject`), or `*`.
    pub operation: &'static str,
    /// The fault is for keys that contain this text.
    pub key: &'static str,
    /// The number of requests without the fault before it begins.
    pub after: usize,
    /// The number of requests with the fault, after which it ends.
    pub times: usize,
    /// What goes wrong.
    pub what: What,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum What {
    /// The answer is an error with this status and code, and the bucket's region if it matters.
    Refuse(u16, &'static str),
    /// The answer is an error with this status, and asks to try again after this number of seconds.
    Later(u16, u64),
    /// The answer's status is 200, and its body is an error with this code.
    Fail200(&'static str),
    /// The answer's head arrives, and its body never.
    Head(Duration),
    /// The bucket is in this region.
    Moved(&'static str),
    /// The service resets the connection after half of the request's body.
    Reset,
    /// The answer's body ends in the middle.
    Truncate,
    /// The service does the operation, and the answer's status is 200, but its body is no answer to the operation.
    Unreadable,
    /// The service does the operation and sends no answer.
    LoseAnswer,
    /// The service receives other bytes than the client sent, or sends other bytes than it has.
    Damage,
    /// The answer takes this long.
    Slow(Duration),
    /// The service's clock is ahead by this time.
    Skew(Duration),
}

impl Fault {
    /// A fault of an operation, once.
    pub fn once(operation: &'static str, what: What) -> Self {
        Self::times(operation, 1, what)
    }

    /// A fault of an operation, this number of times.
    pub fn times(operation: &'static str, times: usize, what: What) -> Self {
        Self { operation, key: "", after: 0, times, what }
    }

    /// A fault of an operation, always.
    pub fn always(operation: &'static str, what: What) -> Self {
        Self::times(operation, usize::MAX, what)
    }

    /// Whether this request has the fault.
    pub(super) fn takes(&mut self, operation: &str, key: &str) -> bool {
        let meant = (self.operation == "*" || self.operation == operation) && key.contains(self.key);
        if !meant || self.times == 0 {
            return false;
        }
        if self.after > 0 {
            self.after -= 1;
            return false;
        }
        self.times -= usize::from(self.times != usize::MAX);
        true
    }
}
