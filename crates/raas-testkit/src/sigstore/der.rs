//! DER, as far as the small Sigstore writes and reads it.
//!
//! Source: ITU-T X.690, sections 8 and 10.

/// A sequence.
pub(super) const SEQUENCE: u8 = 0x30;
/// An integer.
pub(super) const INTEGER: u8 = 0x02;
/// A string of bytes.
pub(super) const OCTET_STRING: u8 = 0x04;
/// A string of text.
pub(super) const UTF8_STRING: u8 = 0x0c;

/// A value with this tag, shorter than 64 KiB.
pub(super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..128 => vec![tag, length as u8],
        128..256 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, content.to_vec()].concat()
}

/// A sequence of these values.
pub(super) fn sequence(values: &[&[u8]]) -> Vec<u8> {
    der(SEQUENCE, &values.concat())
}

/// What is in a set of these values: they are in the order of their bytes.
pub(super) fn sorted(mut values: Vec<Vec<u8>>) -> Vec<u8> {
    values.sort();
    values.concat()
}

/// A set of one value.
pub(super) fn set_of_one(value: &[u8]) -> Vec<u8> {
    der(0x31, value)
}

/// A value with an explicit tag of its context.
pub(super) fn in_context(number: u8, value: &[u8]) -> Vec<u8> {
    der(0xa0 | number, value)
}

/// The name of an object.
pub(super) fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let digits = (1..10).take_while(|digit| arc >> (7 * digit) > 0).count();
        content.extend((0..=digits).rev().map(|digit| {
            let more = if digit > 0 { 0x80 } else { 0 };
            more | (arc >> (7 * digit)) as u8 & 0x7f
        }));
    }
    der(0x06, &content)
}

/// The values in a sequence.
pub(super) fn values(sequence: &[u8]) -> Vec<&[u8]> {
    let mut values = Vec::new();
    let mut rest = &sequence[head(sequence).0..];
    while !rest.is_empty() {
        let (start, length) = head(rest);
        let (value, behind) = rest.split_at(start + length);
        values.push(value);
        rest = behind;
    }
    values
}

/// Where the content of a value begins, and its length.
fn head(value: &[u8]) -> (usize, usize) {
    match value[1] {
        short @ 0..128 => (2, usize::from(short)),
        long => {
            let bytes = &value[2..2 + usize::from(long & 0x7f)];
            (2 + bytes.len(), bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    }
}
