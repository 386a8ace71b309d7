//! Huffman codes of a list of values, in which each value weighs one more than the value before it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The codes of the values 0, 1, 2, …, of which value `n` has the weight `n + 1`.
pub(super) struct Codes {
    /// The number of values. Values are the nodes below this number.
    values: usize,
    /// The children of each node behind the values.
    inner: Vec<[usize; 2]>,
}

impl Codes {
    /// The codes of so many values. None for less than two: the code of a single value would have no bits.
    ///
    /// Of nodes with the same weight, the one that was made first has the shorter or smaller code.
    pub(super) fn new(values: usize) -> Option<Self> {
        if values < 2 {
            return None;
        }
        let mut queue: BinaryHeap<_> = (0..values).map(|node| Reverse((node as u64 + 1, node))).collect();
        let mut inner = Vec::with_capacity(values - 1);
        while let (Some(Reverse((left, zero))), Some(Reverse((right, one)))) = (queue.pop(), queue.pop()) {
            queue.push(Reverse((left + right, values + inner.len())));
            inner.push([zero, one]);
            if inner.len() == values - 1 {
                break;
            }
        }
        Some(Self { values, inner })
    }

    /// The next value. None if the bits end.
    pub(super) fn decode(&self, bits: &mut impl Iterator<Item = bool>) -> Option<usize> {
        let mut node = self.values + self.inner.len() - 1;
        while let Some(at) = node.checked_sub(self.values) {
            node = self.inner[at][usize::from(bits.next()?)];
        }
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code of each value, by trying all codes.
    fn codes(values: usize) -> Vec<String> {
        let codes = Codes::new(values).unwrap();
        let mut found = vec![String::new(); values];
        let mut open = vec![String::new()];
        while let Some(code) = open.pop() {
            match codes.decode(&mut code.bytes().map(|bit| bit == b'1')) {
                Some(value) => found[value] = code,
                None => open.extend([format!("{code}0"), format!("{code}1")]),
            }
        }
        found
    }

    #[test]
    fn heavier_values_have_shorter_codes() {
        assert_eq!(codes(2), ["0", "1"]);
        // 1 and 2 make 3, which comes behind the value of weight 3: 3 and 3 make 6.
        assert_eq!(codes(3), ["10", "11", "0"]);
        assert_eq!(codes(4), ["110", "111", "10", "0"]);
        assert!(Codes::new(1).is_none() && Codes::new(0).is_none());
        assert_eq!(Codes::new(4).unwrap().decode(&mut [true, true].into_iter()), None, "the bits end");
    }
}
