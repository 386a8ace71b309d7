//! The result of reading a reference to a publication: the reference is absent, unreadable, or there.
//!
//! A branch, a checkout's revision or a pointer that cannot be read says nothing about what is published. A command
//! that took an unreadable reference for an absent one would remove or withdraw everything. So [`Reading`] has no way
//! from `Unreadable` to an empty `Option`: a caller handles the case, or fails with its reason.

use raas_base::failure::Failure;

/// The result of reading a reference to a publication.
#[derive(Debug)]
#[must_use]
pub enum Reading<T> {
    /// The reference certainly does not exist.
    Absent,
    /// The reference exists or may exist, and its value is not known.
    Unreadable(Failure),
    /// The reference exists, and has this value.
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

    /// The value if the reference is there, for a caller that writes the reference anew in all other cases.
    pub fn to_replace(self) -> Option<T> {
        match self {
            Reading::Absent | Reading::Unreadable(_) => None,
            Reading::There(value) => Some(value),
        }
    }
}
