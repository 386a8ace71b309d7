//! Optional parts of JSON, which programs in Go write as `null`.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Reads a value and takes `null` for its default: an empty list, an empty text, zero.
///
/// Go writes an empty list or map as `null`, and reads `null` as an empty one. With `#[serde(default)]` beside it, an
/// absent key is the default too.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Index {
///     #[serde(default, deserialize_with = "raas_types::null_as_default")]
///     manifests: Vec<String>,
/// }
///
/// for text in ["{}", r#"{"manifests": null}"#, r#"{"manifests": []}"#] {
///     assert!(serde_json::from_str::<Index>(text)?.manifests.is_empty());
/// }
/// # Ok::<(), serde_json::Error>(())
/// ```
///
/// # Errors
/// The value is neither `null` nor of the type.
pub fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a map of texts that may be absent or `null`, and takes values of `null` for the empty text.
pub(crate) fn optional_texts<'de, D>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error>
where
    D: Deserializer<'de>,
{
    let texts = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?;
    Ok(texts.map(|texts| texts.into_iter().map(|(key, text)| (key, text.unwrap_or_default())).collect()))
}
