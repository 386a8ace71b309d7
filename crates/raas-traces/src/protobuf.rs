//! The wire format of Protocol Buffers, as far as OTLP needs it.
//!
//! Source: Protocol Buffers, "Encoding".

/// A message that is being written. A field with the default value need not be written.
#[derive(Debug, Default)]
pub(crate) struct Message(Vec<u8>);

/// The types of fields on the wire.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;

impl Message {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Adds a number, an enum or a truth value.
    pub(crate) fn number(&mut self, field: u64, value: u64) {
        self.key(field, VARINT);
        self.varint(value);
    }

    /// Adds a `fixed64`.
    pub(crate) fn fixed64(&mut self, field: u64, value: u64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Adds a text or bytes.
    pub(crate) fn bytes(&mut self, field: u64, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.key(field, BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Adds a message, which `write` fills.
    pub(crate) fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, inner.0);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each expected text is an example of the source.
    #[test]
    fn fields_are_written_as_in_the_specification() {
        let written = |write: &dyn Fn(&mut Message)| {
            let mut message = Message::default();
            write(&mut message);
            message.into_bytes()
        };
        assert_eq!(written(&|m| m.number(1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(written(&|m| m.bytes(2, "testing")), b"\x12\x07testing");
        assert_eq!(written(&|m| m.message(3, |m| m.number(1, 150))), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(written(&|m| m.fixed64(7, 1)), [0x39, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(written(&|m| m.number(16, u64::MAX)).len(), 12);
    }
}
