//! Keeps a line of the log one line. Its fields may quote what a vendor, a bucket or a client has sent.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A line without control characters, except the newline at its end, and without characters that change the direction
/// of the text. Each becomes an escape that is valid in JSON too.
pub(super) fn escaped(line: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = match line.strip_suffix(b"\n") {
        Some(text) => (text, "\n"),
        None => (line, ""),
    };
    // A fold without an early exit is vectorized.
    if !text.iter().fold(false, |odd, byte| odd | byte.is_ascii_control() | !byte.is_ascii()) {
        return Cow::Borrowed(line);
    }
    let text = String::from_utf8_lossy(text);
    if !text.chars().any(misleads) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // All of them have four hex digits.
            character if misleads(character) => drop(write!(out, "\\u{:04x}", u32::from(character))),
            character => out.push(character),
        }
    }
    out.push_str(end);
    Cow::Owned(out.into_bytes())
}

/// Whether a character could pass for another line, color what follows, or turn its direction.
///
/// Source: Unicode Standard Annex #9, section 2, and its two separators of lines.
fn misleads(character: char) -> bool {
    let is_mark = matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}');
    let turns = matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || is_mark || turns
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_line_stays_one_line() {
        let table = [
            ("INFO a=\"b\"\n", "INFO a=\"b\"\n"),
            ("a=ü\n", "a=ü\n"),
            ("a=b\nINFO forged\r\n", "a=b\\nINFO forged\\r\n"),
            ("\u{1b}[31mred\u{9b}31m\u{7f}\t", "\\u001b[31mred\\u009b31m\\u007f\\t"),
            ("a\u{202e}b\u{2028}\u{2066}\u{200f}\n", "a\\u202eb\\u2028\\u2066\\u200f\n"),
            ("\n", "\n"),
            ("", ""),
        ];
        for (line, expected) in table {
            assert_eq!(std::str::from_utf8(&escaped(line.as_bytes())).unwrap(), expected);
        }
        let json: serde_json::Value =
            serde_json::from_slice(&escaped("{\"a\":\"\u{202e}\"}\n".as_bytes())).unwrap();
        assert_eq!(json["a"], "\u{202e}");
    }
}
