//! What reading a reference to a publication finds. Absent, unreadable and there are three things.
//!
//! A branch, a checkout's revision or a pointer that cannot be read says nothing about what is published. A command that took
//! it for an absent one would remove or withdraw everything. So [`Reading`] has no way from `Unreadable` to an empty
//! `Option`: a caller handles it, or fails with its reason.

use raas_base::failure::Failure;

/// The result of reading a reference to a publication.
#[derive(Debug)]
#[must_use]
pub enum Reading<T> {
    /// It is certain that there is none.
    Absent,
    /// There is something, or there may be something, and nobody can know what it says.
    Unreadable(Failure),
    /// There is one, and this is what it says.
    There(T),
}

impl<T> Reading<T> {
    /// The value, or `None` if there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn readable(self) -> Result<Option<T>, Failure> {
        match self {
            Reading::Absent => Ok(None),
            Reading::Unreadable(failure) => Err(failure),
            Reading::There(value) => Ok(Some(value)),
        }
    }

    /// The value, if it is there. The reasons of the others do not matter to the caller, since it makes the reference anew.
    pub fn to_replace(self) -> Option<T> {
        match self {
            Reading::Absent | Reading::Unreadable(_) => None,
            Reading::There(value) => Some(value),
        }
    }
}
