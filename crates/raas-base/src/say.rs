//! Lines for people from a library, which never prints.

use std::fmt;
use std::sync::Arc;

/// Takes lines for people: progress, or notes. The command line prints them to standard error, a test may collect them.
///
/// A clone is cheap, and every thread may use it.
#[derive(Clone)]
pub struct Say(Arc<dyn Fn(&str) + Send + Sync>);

impl Say {
    /// Passes each line to a function.
    pub fn new(take: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Drops every line.
    pub fn nothing() -> Self {
        Self::new(|_| {})
    }

    /// Passes on a line, without a line break at its end.
    pub fn line(&self, text: &str) {
        (self.0)(text);
    }
}

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Say")
    }
}
