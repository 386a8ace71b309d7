//! A stream of bits, the highest of each byte first.

/// The bits that are left.
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    /// How many bits of the first byte are read.
    read: u8,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, read: 0 }
    }
}

impl Iterator for Bits<'_> {
    type Item = bool;

    fn next(&mut self) -> Option<bool> {
        let (first, rest) = self.rest.split_first()?;
        let bit = first & (0x80 >> self.read) != 0;
        self.read += 1;
        if self.read == 8 {
            (self.rest, self.read) = (rest, 0);
        }
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bit_comes_first() {
        let bits: String =
            Bits::new(&[0b1010_0001, 0b1000_0000]).map(|bit| if bit { '1' } else { '0' }).collect();
        assert_eq!(bits, "1010000110000000");
    }
}
