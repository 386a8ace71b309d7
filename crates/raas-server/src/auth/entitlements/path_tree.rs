//! A tree of granted paths.

use super::{Limited, PathsError};

/// Granted paths. A node without edges is the end of a path. Several edges may lead to a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathTree {
    /// The words of the edges, sorted.
    words: Box<[Box<str>]>,
    /// Sorted by node and word.
    edges: Box<[Edge]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: u32,
    word: u32,
    to: u32,
}

/// The node where all paths begin.
pub(super) const ROOT: u32 = 0;

/// The word of a variable, such as `$releasever`, which stands for any segment.
const ANY: u32 = u32::MAX;

impl PathTree {
    /// The tree with these edges: the node, the word, the next node. A word with `$` in front is a variable.
    pub(super) fn new(edges: &[(u32, &str, u32)]) -> Result<Self, PathsError> {
        Limited::Edges.check(edges.len())?;
        let mut words: Vec<&str> =
            edges.iter().map(|(_, word, _)| *word).filter(|word| !is_any(word)).collect();
        words.sort_unstable();
        words.dedup();
        Limited::Bytes.check(words.iter().map(|word| word.len()).sum())?;
        let number = |word: &str| match words.binary_search(&word) {
            Ok(at) => u32::try_from(at).expect("there are fewer words than edges"),
            Err(_) => ANY,
        };
        let edge = |(from, word, to): &(u32, &str, u32)| Edge { from: *from, word: number(word), to: *to };
        let mut edges: Vec<Edge> = edges.iter().map(edge).collect();
        edges.sort_unstable();
        Ok(Self { words: words.into_iter().map(Box::from).collect(), edges: edges.into() })
    }

    /// The tree of these paths. A path without segments is left out.
    pub(super) fn of_paths(paths: &[Vec<&str>]) -> Result<Self, PathsError> {
        let mut edges = Vec::new();
        let mut last = ROOT;
        for path in paths {
            let mut from = ROOT;
            for word in path {
                last += 1;
                edges.push((from, *word, last));
                from = last;
            }
            Limited::Edges.check(edges.len())?;
        }
        Self::new(&edges)
    }

    /// Whether a path begins with a path of the tree.
    ///
    /// All nodes that a beginning of the path leads to are followed at once. So the work is at most the length of the
    /// path times the size of the tree, whatever the tree.
    pub(super) fn covers(&self, path: &[&str]) -> bool {
        let mut at = vec![ROOT];
        for part in path {
            let word = self.words.binary_search_by(|word| (**word).cmp(part)).ok();
            let word = word.and_then(|word| u32::try_from(word).ok());
            let mut next: Vec<u32> = at
                .iter()
                .flat_map(|node| word.into_iter().chain([ANY]).flat_map(move |word| self.edges(*node, word)))
                .map(|edge| edge.to)
                .collect();
            next.sort_unstable();
            next.dedup();
            if next.iter().any(|node| self.is_end(*node)) {
                return true;
            }
            if next.is_empty() {
                return false;
            }
            at = next;
        }
        false
    }

    fn edges(&self, from: u32, word: u32) -> &[Edge] {
        let begin = self.edges.partition_point(|edge| (edge.from, edge.word) < (from, word));
        let rest = &self.edges[begin..];
        &rest[..rest.partition_point(|edge| (edge.from, edge.word) == (from, word))]
    }

    fn is_end(&self, node: u32) -> bool {
        let at = self.edges.partition_point(|edge| edge.from < node);
        self.edges.get(at).is_none_or(|edge| edge.from != node)
    }
}

fn is_any(word: &str) -> bool {
    word.starts_with('$')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<&str> {
        text.split('/').filter(|part| !part.is_empty()).collect()
    }

    #[test]
    fn a_path_covers_everything_below_it_in_whole_parts() {
        let paths = ["a/b", "c/$x/d", "e", "e/f/g", "", "h/$y"].map(path);
        let tree = PathTree::of_paths(&paths).unwrap();
        let table = [
            ("a/b", true),
            ("a/b/c/d", true),
            ("a", false),
            ("a/bc", false),
            ("c/1/d", true),
            ("c/2/d/x", true),
            ("c/d", false),
            ("c/1/2/d", false),
            ("c/$x/d", true),
            ("e", true),
            ("e/x", true),
            ("h", false),
            ("h/1", true),
            ("", false),
            ("other", false),
        ];
        for (text, expected) in table {
            assert_eq!(tree.covers(&path(text)), expected, "{text}");
        }
        assert!(!PathTree::of_paths(&[]).unwrap().covers(&["a"]), "no paths grant nothing");
        assert!(!PathTree::of_paths(&[Vec::new()]).unwrap().covers(&["a"]), "an empty path grants nothing");
    }

    #[test]
    fn a_tree_with_many_ways_is_searched_in_bounded_time() {
        // Each node has edges to itself and to the next by the same word: 2^40 ways.
        let edges: Vec<(u32, &str, u32)> =
            (0..40).flat_map(|node| [(node, "a", node), (node, "$a", node + 1)]).collect();
        let tree = PathTree::new(&edges).unwrap();
        assert!(tree.covers(&["a"; 60]) && !tree.covers(&["a"; 39]));
    }

    #[test]
    fn sizes_have_limits() {
        let long = "a".repeat(Limited::Bytes.limit() + 1);
        assert_eq!(PathTree::of_paths(&[vec![&long]]), Err(PathsError::TooMany(Limited::Bytes)));
        let many = vec![vec!["a"]; Limited::Edges.limit() + 1];
        assert_eq!(PathTree::of_paths(&many), Err(PathsError::TooMany(Limited::Edges)));
    }
}
