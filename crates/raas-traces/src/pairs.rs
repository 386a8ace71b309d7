//! Lists of keys and values in the environment: `key=value,key2=value2`, with percent-encoded values.
//!
//! Source: OpenTelemetry, "Resource SDK" and "OTLP exporter configuration", which refer to W3C Baggage, section 3.3.1.

/// The pairs of a list. None if the list is invalid. A caller must not show the text, which may hold secrets.
pub(crate) fn parse(list: &str) -> Option<Vec<(String, String)>> {
    let pairs = list.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = key.trim();
            (!key.is_empty()).then_some((key.to_owned(), decode(value.trim())?))
        })
        .collect()
}

/// Decodes percent-encoding. None if a `%` has no two hex digits behind it, or the result is no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            other => other,
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_pairs_is_decoded() {
        let pairs = |list: &[(&str, &str)]| {
            Some(list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
        };
        assert_eq!(parse(""), pairs(&[]));
        assert_eq!(parse("a=b, c = d%20e=f ,"), pairs(&[("a", "b"), ("c", "d e=f")]));
        assert_eq!(parse("api-key=%C3%BC"), pairs(&[("api-key", "ü")]));
        for bad in ["a", "a=b,c", "=b", "a=%", "a=%g0", "a=%ff"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
