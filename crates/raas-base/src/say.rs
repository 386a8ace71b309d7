//! How a library tells people something without printing it.

use std::fmt;
use std::sync::Arc;

/// Takes a line for people: progress, or a note. The command line prints it to standard error; a test may collect it.
/// It is cheap to clone and may be called from any thread.
#[derive(Clone)]
pub struct Say(Arc<dyn Fn(&str) + Send + Sync>);

impl Say {
    /// Gives each line to a function.
    pub fn new(take: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Drops every line.
    pub fn nothing() -> Self {
        Self::new(|_| {})
    }

    /// Tells a line, which ends without a line break.
    pub fn line(&self, text: &str) {
        (self.0)(text);
    }
}

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Say")
    }
}
