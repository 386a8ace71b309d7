//! The paths of an entitlement certificate of version 3.
//!
//! The extension has three parts: the words of the paths, packed by zlib and each ended by a zero byte; the number of
//! the nodes of the tree; and the edges of each node, in bits: the code of a word, the code of the next node, and so on,
//! until the code of the empty word. Both codes are Huffman codes, in which the words and the nodes weigh more the later
//! they come. The first node is the root. No edge leads to it, so it has no code.
//!
//! The JSON with the products of the certificate is no part of the certificate: it stands beside it in the file, and no
//! client sends it.
//!
//! Source: "V3 Certificates" of the candlepin project, and its encoder (`X509V3ExtensionUtil`).

use flate2::{Decompress, FlushDecompress, Status};

use super::bits::Bits;
use super::huffman::Codes;
use super::{Limited, PathTree, PathsError};

/// Reads the extension.
pub(super) fn read(payload: &[u8]) -> Result<PathTree, PathsError> {
    let (text, rest) = unpacked(payload)?;
    let words = text.split(|byte| *byte == 0).map(std::str::from_utf8);
    let words: Vec<&str> = words.collect::<Result<_, _>>().map_err(|_| PathsError::Damaged)?;
    let (nodes, rest) = node_count(rest).ok_or(PathsError::Damaged)?;
    Limited::Nodes.check(nodes)?;
    // Without words there are no edges, and without edges no paths.
    let Some(word_codes) = Codes::new(words.len()) else { return PathTree::new(&[]) };
    let node_codes = Codes::new(nodes.saturating_sub(1)).ok_or(PathsError::Damaged)?;
    let mut bits = Bits::new(rest);
    let mut edges = Vec::new();
    for node in 0..nodes {
        loop {
            // A tree that ends too early would have ends of paths where the paths go on.
            let word = words[word_codes.decode(&mut bits).ok_or(PathsError::Damaged)?];
            if word.is_empty() {
                break;
            }
            let to = node_codes.decode(&mut bits).ok_or(PathsError::Damaged)? + 1;
            Limited::Edges.check(edges.len() + 1)?;
            edges.push((number(node), word, number(to)));
        }
    }
    PathTree::new(&edges)
}

fn number(node: usize) -> u32 {
    u32::try_from(node).expect("the number of nodes has a limit")
}

/// The words, and what stands behind them.
fn unpacked(payload: &[u8]) -> Result<(Vec<u8>, &[u8]), PathsError> {
    let mut text = Vec::with_capacity(Limited::Bytes.limit() + 1);
    let mut zlib = Decompress::new(true);
    let status = zlib.decompress_vec(payload, &mut text, FlushDecompress::Finish);
    Limited::Bytes.check(text.len())?;
    if !matches!(status, Ok(Status::StreamEnd)) {
        return Err(PathsError::Damaged);
    }
    text.shrink_to_fit();
    let read = usize::try_from(zlib.total_in()).unwrap_or(usize::MAX);
    Ok((text, payload.get(read..).unwrap_or_default()))
}

/// The number of nodes, and what stands behind it. A number from 128 on is in bytes, of which the first byte says how
/// many there are.
fn node_count(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let Some(length) = first.checked_sub(128) else { return Some((usize::from(*first), rest)) };
    let (number, rest) = rest.split_at_checked(usize::from(length))?;
    let add = |sum: usize, byte: &u8| sum.saturating_mul(256).saturating_add(usize::from(*byte));
    Some((number.iter().fold(0, add), rest))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn packed(words: &[&str]) -> Vec<u8> {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
        words.iter().for_each(|word| zlib.write_all(format!("{word}\0").as_bytes()).unwrap());
        zlib.finish().unwrap()
    }

    /// `/foo/path/never` and `/foo/path/always`: words of weight 1 to 4, the end of weight 5; a root, two nodes, the end.
    ///
    /// Words: 1+2=3; 3 (always) and 3 (new) … see [`Codes`]. Nodes: two leaves and the end.
    fn example() -> Vec<u8> {
        let mut payload = packed(&["foo", "path", "never", "always"]);
        payload.push(4);
        // Codes of the five words by weight: 1 → 010, 2 → 011, 3 → 00, 4 → 10, end → 11.
        // Codes of the nodes 1, 2, 3: 10, 11, 0.
        let bits = ["010", "10", "11", "011", "11", "11", "00", "0", "10", "0", "11", "11"].concat();
        let bits = format!("{bits:0<24}");
        payload.extend(
            bits.as_bytes()
                .chunks(8)
                .map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap()),
        );
        payload
    }

    #[test]
    fn the_paths_of_a_payload_are_read() {
        let tree = read(&example()).unwrap();
        for (path, expected) in [
            (&["foo", "path", "never"][..], true),
            (&["foo", "path", "always", "more"], true),
            (&["foo", "path"], false),
            (&["foo", "path", "other"], false),
            (&["foo", "never"], false),
        ] {
            assert_eq!(tree.covers(path), expected, "{path:?}");
        }
    }

    #[test]
    fn a_payload_that_ends_early_grants_nothing() {
        let whole = example();
        for length in 0..whole.len() {
            assert_eq!(read(&whole[..length]), Err(PathsError::Damaged), "{length}");
        }
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[at] ^= 1 << bit;
                _ = read(&damaged);
            }
        }
    }

    #[test]
    fn a_payload_without_paths_grants_nothing() {
        let tree = read(&[packed(&[]), vec![1]].concat()).unwrap();
        assert!(!tree.covers(&["foo"]) && !tree.covers(&[]));
    }

    #[test]
    fn numbers_of_nodes_have_one_or_more_bytes() {
        assert_eq!(node_count(&[127, 9]), Some((127, &[9][..])));
        assert_eq!(node_count(&[130, 1, 2, 9]), Some((258, &[9][..])));
        assert_eq!(node_count(&[130, 1]), None);
        assert_eq!(node_count(&[255; 200]).map(|(count, _)| count), Some(usize::MAX));
        assert_eq!(node_count(&[]), None);
    }

    #[test]
    fn what_is_made_of_a_payload_has_limits() {
        let bomb = "a".repeat(Limited::Bytes.limit());
        assert_eq!(read(&packed(&[&bomb])), Err(PathsError::TooMany(Limited::Bytes)));
        let nodes = [packed(&["a"]), vec![131, 0, 255, 255], vec![0; 9000]].concat();
        assert_eq!(read(&nodes), Err(PathsError::TooMany(Limited::Nodes)));
        // Two words have the codes 0 and 1, and so have two nodes: each pair of zeros is an edge.
        let edges = [packed(&["a"]), vec![3], vec![0; Limited::Edges.limit() / 4 + 1]].concat();
        assert_eq!(read(&edges), Err(PathsError::TooMany(Limited::Edges)));
    }
}
