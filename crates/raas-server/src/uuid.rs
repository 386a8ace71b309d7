//! UUIDs that follow from names, so that several servers give one thing the same id.

use raas_types::Digest;

/// The UUID of a thing with these names.
///
/// Source: RFC 9562, "UUID Version 8".
pub(crate) fn uuid_of(names: &[&str]) -> String {
    let digest = Digest::of(names.join("\n").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_follows_from_the_names() {
        let one = uuid_of(&["a", "b"]);
        assert_eq!((one.len(), one.as_bytes()[14]), (36, b'8'));
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
        assert_eq!(one, uuid_of(&["a", "b"]));
        assert_ne!(one, uuid_of(&["a", "c"]));
    }
}
