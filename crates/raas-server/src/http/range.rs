//! Parses the `Range` header.

/// What a `Range` header requests of content with a certain length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestedRange {
    /// The whole content: no range, an invalid one, or several, which a server may ignore.
    Whole,
    /// One range of bytes.
    Part {
        /// The first byte.
        start: u64,
        /// The number of bytes, at least one.
        length: u64,
    },
    /// Bytes beyond the end.
    Unsatisfiable,
}

/// Parses a `Range` header. Several ranges are answered with the whole content, as S3 does; every client accepts that.
///
/// Source: RFC 9110, section 14.1.2 (byte ranges) and section 14.2 (a server may ignore the header).
pub(crate) fn parse(header: Option<&[u8]>, size: u64) -> RequestedRange {
    let Some(text) = header.and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
        return RequestedRange::Whole;
    };
    let Some((unit, range)) = text.split_once('=') else { return RequestedRange::Whole };
    let Some((first, last)) = range.split_once('-') else { return RequestedRange::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return RequestedRange::Whole;
    }
    match (number(first), number(last)) {
        // The order is checked before the length: a range that ends before it begins is invalid, wherever it is.
        (Number::Some(first), Number::Some(last)) if last < first => RequestedRange::Whole,
        (Number::Some(first), Number::None | Number::Some(_)) if first >= size => {
            RequestedRange::Unsatisfiable
        }
        (Number::Some(start), Number::None) => RequestedRange::Part { start, length: size - start },
        (Number::Some(start), Number::Some(last)) => {
            RequestedRange::Part { start, length: last.min(size - 1) - start + 1 }
        }
        (Number::None, Number::Some(0)) => RequestedRange::Unsatisfiable,
        (Number::None, Number::Some(_)) if size == 0 => RequestedRange::Unsatisfiable,
        (Number::None, Number::Some(suffix)) => {
            let length = suffix.min(size);
            RequestedRange::Part { start: size - length, length }
        }
        _ => RequestedRange::Whole,
    }
}

enum Number {
    None,
    Some(u64),
    Bad,
}

fn number(text: &str) -> Number {
    let text = text.trim_matches([' ', '\t']);
    if text.is_empty() {
        Number::None
    } else if text.bytes().all(|b| b.is_ascii_digit()) {
        // A number that does not fit is beyond the end of any content.
        Number::Some(text.parse().unwrap_or(u64::MAX))
    } else {
        Number::Bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_range_is_parsed() {
        let part = |start, length| RequestedRange::Part { start, length };
        let table = [
            ("bytes=0-0", 10, part(0, 1)),
            ("bytes=0-9", 10, part(0, 10)),
            ("bytes=0-10", 10, part(0, 10)),
            ("bytes=3-", 10, part(3, 7)),
            ("bytes=9-", 10, part(9, 1)),
            ("bytes=-3", 10, part(7, 3)),
            ("bytes=-30", 10, part(0, 10)),
            ("BYTES = 2-4 ", 10, part(2, 3)),
            ("bytes=2-99999999999999999999999", 10, part(2, 8)),
            ("bytes=10-", 10, RequestedRange::Unsatisfiable),
            ("bytes=10-12", 10, RequestedRange::Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, RequestedRange::Unsatisfiable),
            ("bytes=-0", 10, RequestedRange::Unsatisfiable),
            ("bytes=0-", 0, RequestedRange::Unsatisfiable),
            ("bytes=-1", 0, RequestedRange::Unsatisfiable),
            ("bytes=4-2", 10, RequestedRange::Whole),
            ("bytes=14-12", 10, RequestedRange::Whole),
            ("bytes=0-1,3-4", 10, RequestedRange::Whole),
            ("bytes=-", 10, RequestedRange::Whole),
            ("bytes=a-b", 10, RequestedRange::Whole),
            ("bytes=20-b", 10, RequestedRange::Whole),
            ("bytes=+1-2", 10, RequestedRange::Whole),
            ("bytes 0-1", 10, RequestedRange::Whole),
            ("items=0-1", 10, RequestedRange::Whole),
            ("", 10, RequestedRange::Whole),
        ];
        for (header, size, span) in table {
            assert_eq!(parse(Some(header.as_bytes()), size), span, "{header} of {size}");
        }
        assert_eq!(parse(None, 10), RequestedRange::Whole);
        assert_eq!(parse(Some(b"bytes=\xff-"), 10), RequestedRange::Whole);
    }
}
