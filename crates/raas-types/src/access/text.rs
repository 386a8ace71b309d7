//! Values that a file holds as text.

use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

/// Times.
pub(super) mod time {
    use super::*;
    use crate::Utc;

    pub(in crate::access) fn serialize<S: Serializer>(time: &Utc, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(time)
    }

    pub(in crate::access) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Utc, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Times that may be missing.
pub(super) mod maybe_time {
    use super::*;
    use crate::Utc;

    pub(in crate::access) fn serialize<S: Serializer>(time: &Option<Utc>, to: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.collect_str(time),
            None => to.serialize_none(),
        }
    }

    pub(in crate::access) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Utc>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

/// Patterns of repositories.
pub(super) mod patterns {
    use super::*;
    use crate::RepositoryPattern;

    pub(in crate::access) fn serialize<S: Serializer>(
        patterns: &[RepositoryPattern],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(patterns.iter().map(ToString::to_string))
    }

    pub(in crate::access) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<RepositoryPattern>, D::Error> {
        let texts = Vec::<String>::deserialize(from)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}
