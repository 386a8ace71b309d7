//! Ways to misbehave.

use std::time::Duration;

/// A way to misbehave, for some requests.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The operation, as S3 names it (`PutObject`), or `*`.
    pub operation: &'static str,
    /// Only for keys that contain this.
    pub key: &'static str,
    /// So many requests are let through before.
    pub after: usize,
    /// How often; it ends then.
    pub times: usize,
    /// How.
    pub what: What,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub enum What {
    /// An error answer: status and code, and the bucket's region if there is something to say of it.
    Refuse(u16, &'static str),
    /// The bucket is in this region.
    Moved(&'static str),
    /// The connection is reset when half of the body has come.
    Reset,
    /// The answer's body ends in the middle.
    Truncate,
    /// Everything is done, and the answer never comes.
    LoseAnswer,
    /// Other bytes arrive than were sent.
    Damage,
    /// It takes this long.
    Slow(Duration),
    /// The clock of the service is ahead by this much.
    Skew(Duration),
}

impl Fault {
    /// A fault of an operation, once.
    pub fn once(operation: &'static str, what: What) -> Self {
        Self::times(operation, 1, what)
    }

    /// A fault of an operation, so many times.
    pub fn times(operation: &'static str, times: usize, what: What) -> Self {
        Self { operation, key: "", after: 0, times, what }
    }

    /// A fault of an operation, always.
    pub fn always(operation: &'static str, what: What) -> Self {
        Self::times(operation, usize::MAX, what)
    }

    /// Whether this request is one that goes wrong.
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
