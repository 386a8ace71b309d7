//! Query strings and percent-encoding.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// Decodes percent-encoding. None if a `%` is not followed by two hex digits, if the result is not UTF-8, or if it has
/// control characters, which no name, tag or digest has. Text without a `%` is not copied.
///
/// Source: RFC 3986, section 2.1.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    // A fold without an early exit is vectorized.
    let odd = text.bytes().fold(false, |odd, b| odd | (b == b'%') | b.is_ascii_control());
    if !odd {
        return Some(Cow::Borrowed(text));
    }
    let decoded = decode_all(text)?;
    (!decoded.bytes().any(|b| b.is_ascii_control())).then_some(Cow::Owned(decoded))
}

fn decode_all(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    String::from_utf8(out).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// The first value of a key in a query string. `Some(None)` means that the value cannot be decoded.
pub(crate) fn parameter<'a>(query: Option<&'a str>, key: &str) -> Option<Option<Cow<'a, str>>> {
    query?.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (name == key).then(|| decode(value))
    })
}

/// The bytes that are not encoded in a part of a URL.
pub(crate) type SafeBytes = [bool; 256];

/// The bytes that are not encoded in the value of a query: RFC 3986's unreserved characters.
pub(crate) const QUERY_VALUE: &SafeBytes = &safe_bytes(b"");

/// The unreserved characters and `more`, as a table: each redirect looks up a hundred bytes.
pub(crate) const fn safe_bytes(more: &[u8]) -> SafeBytes {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    let mut at = 0;
    while at < more.len() {
        table[more[at] as usize] = true;
        at += 1;
    }
    table
}

/// Encodes a text as a value in a query string.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text, QUERY_VALUE);
    out
}

/// A writer that appends percent-encoded text.
pub(crate) struct Encoding<'a> {
    pub(crate) out: &'a mut String,
    pub(crate) kept: &'a SafeBytes,
}

impl fmt::Write for Encoding<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        encode_into(self.out, text, self.kept);
        Ok(())
    }
}

/// Appends a text, with all bytes encoded that are not `kept`.
pub(crate) fn encode_into(out: &mut String, text: &str, kept: &SafeBytes) {
    let stands = |byte: u8| kept[usize::from(byte)];
    // Nearly all texts need no encoding. A fold without an early exit is vectorized.
    if text.bytes().fold(true, |all, byte| all & stands(byte)) {
        return out.push_str(text);
    }
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !stands(byte)) {
        let (run, more) = rest.split_at(at);
        out.push_str(run);
        let odd = more.chars().next().map_or(0, char::len_utf8);
        for byte in more[..odd].bytes() {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        rest = &more[odd..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_accepts_only_complete_triplets_of_utf_8() {
        let table = [
            ("plain", Some("plain")),
            ("sha256%3Aab", Some("sha256:ab")),
            ("%c3%A4", Some("ä")),
            ("a%2Fb", Some("a/b")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
            ("%00", None),
            ("%0d%0a", None),
        ];
        for (text, decoded) in table {
            assert_eq!(decode(text).as_deref(), decoded, "{text}");
        }
    }

    #[test]
    fn the_first_value_of_a_key_counts() {
        let query = Some("n=2&last=a%2Db&n=3&flag");
        assert_eq!(parameter(query, "n"), Some(Some("2".into())));
        assert_eq!(parameter(query, "last"), Some(Some("a-b".into())));
        assert_eq!(parameter(query, "flag"), Some(Some("".into())));
        assert_eq!(parameter(query, "other"), None);
        assert_eq!(parameter(Some("n=%"), "n"), Some(None));
        assert_eq!(parameter(None, "n"), None);
    }

    #[test]
    fn decoding_reverses_encoding() {
        let text = "a b&c=ä/+%";
        assert_eq!(decode(&encode(text)).as_deref(), Some(text));
    }
}
