//! What a client accepts, and what it has already.

use hyper::header::{ACCEPT, HeaderMap, IF_NONE_MATCH};
use raas_types::media_type;

/// Whether a client that requests a tag gets an index as it is, rather than the index's linux/amd64 manifest.
///
/// Clients without `Accept`, and clients that name no manifest type (browsers, probes), get the index. A client that
/// names manifest types but not the index's type does not know indexes. It gets the linux/amd64 manifest, as from
/// Crane.
///
/// Source: RFC 9110, section 12.5.1. A type with `q=0` is not accepted.
pub(crate) fn accepts_index(headers: &HeaderMap, index_type: &str) -> bool {
    let mut names_manifests = false;
    for kind in accepted(headers) {
        let is = |other: &str| kind.eq_ignore_ascii_case(other);
        if is(index_type) || is("*/*") || is("application/*") {
            return true;
        }
        names_manifests |= MANIFEST_TYPES.into_iter().any(is);
    }
    !names_manifests
}

/// Whether a client names exactly this type.
pub(crate) fn names(headers: &HeaderMap, media_type: &str) -> bool {
    accepted(headers).any(|kind| kind.eq_ignore_ascii_case(media_type))
}

/// The types that a client names and does not exclude with `q=0`.
fn accepted(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let refused = parts.any(|p| p.split_once('=').is_some_and(|(key, q)| is_q(key) && is_zero(q)));
        (!refused).then_some(kind)
    })
}

const MANIFEST_TYPES: [&str; 6] = [
    media_type::OCI_INDEX,
    media_type::OCI_MANIFEST,
    media_type::DOCKER_LIST,
    media_type::DOCKER_MANIFEST,
    media_type::DOCKER_SCHEMA1_SIGNED,
    media_type::DOCKER_SCHEMA1,
];

fn is_q(key: &str) -> bool {
    key.trim().eq_ignore_ascii_case("q")
}

fn is_zero(q: &str) -> bool {
    q.trim().parse::<f32>() == Ok(0.0)
}

/// Whether the client has the content already. `etag` has quotes.
///
/// Source: RFC 9110, section 13.1.2. The comparison is weak.
pub(crate) fn has_already(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers.get_all(IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|b| *b == b',')).any(
        |candidate| {
            let candidate = candidate.trim_ascii();
            candidate == b"*" || candidate.strip_prefix(b"W/").unwrap_or(candidate) == etag
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_goes_to_clients_that_know_indexes() {
        let (index, list, image) =
            (media_type::OCI_INDEX, media_type::DOCKER_LIST, media_type::DOCKER_MANIFEST);
        let both = format!("{image}, {index}");
        let refused = format!("{image}, {index};q=0");
        let refused_all = format!("{image}, */*;q=0.000");
        let preferred = format!("{image}, {index};q=0.5");
        let spelled = index.to_uppercase();
        let table: [(&[&str], bool); 12] = [
            (&[], true),
            (&["text/html"], true),
            (&["*/*"], true),
            (&[image, "application/*"], true),
            (&[image, index], true),
            (&[&both], true),
            (&[&preferred], true),
            (&[&spelled], true),
            (&[image], false),
            (&[image, list], false),
            (&[&refused], false),
            (&[&refused_all], false),
        ];
        for (accepts, expected) in table {
            let mut headers = HeaderMap::new();
            for accept in accepts {
                headers.append(ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(accepts_index(&headers, index), expected, "{accepts:?}");
        }
    }

    #[test]
    fn entity_tags_are_compared_whole_and_weakly() {
        let table = [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
            ("\"ab\"", false),
        ];
        for (header, expected) in table {
            let headers: HeaderMap = [(IF_NONE_MATCH, header.parse().unwrap())].into_iter().collect();
            assert_eq!(has_already(&headers, b"\"a\""), expected, "{header}");
        }
        assert!(!has_already(&HeaderMap::new(), b"\"a\""));
    }
}
