//! When a certificate is valid, so that raas can warn before it expires, and the extensions of a certificate.
//!
//! This module reads the few fields itself. A library for X.509 refuses a certificate with any wrong field, such as a
//! serial number of more than 20 bytes, while TLS accepts such certificates.

use crate::Utc;

/// The time in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub not_before: Utc,
    /// The last second.
    pub not_after: Utc,
}

impl Validity {
    /// Reads the validity of a certificate in DER; `None` for bytes that are not a certificate.
    ///
    /// Source: RFC 5280, section 4.1: `Certificate`, `TBSCertificate`, `Validity`.
    pub fn of(certificate: &[u8]) -> Option<Self> {
        let mut validity = Der(signed_from_validity(certificate)?.take(SEQUENCE)?);
        Some(Self { not_before: validity.time()?, not_after: validity.time()? })
    }
}

/// An extension of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateExtension<'a> {
    /// The content of the object identifier: each number in base 128.
    pub id: &'a [u8],
    /// The value, in DER.
    pub value: &'a [u8],
}

impl<'a> CertificateExtension<'a> {
    /// Reads the extensions of a certificate in DER; `None` for bytes that are not a certificate.
    ///
    /// Source: RFC 5280, section 4.1: `TBSCertificate`, `Extensions`.
    pub fn all_of(certificate: &'a [u8]) -> Option<Vec<Self>> {
        const OBJECT_IDENTIFIER: u8 = 0x06;
        const BOOLEAN: u8 = 0x01;
        /// The unique identifiers of the issuer and of the subject.
        const UNIQUE_IDS: [u8; 2] = [0x81, 0x82];
        const EXTENSIONS: u8 = 0xa3;
        let mut signed = signed_from_validity(certificate)?;
        // The validity, the subject, and the subject's public key.
        for _ in 0..3 {
            signed.take(SEQUENCE)?;
        }
        for tag in UNIQUE_IDS {
            signed.take_optional(tag)?;
        }
        let Some(extensions) = signed.take_optional(EXTENSIONS)? else { return Some(Vec::new()) };
        let mut rest = Der(Der(extensions).take(SEQUENCE)?);
        let mut found = Vec::new();
        while !rest.0.is_empty() {
            let mut extension = Der(rest.take(SEQUENCE)?);
            let id = extension.take(OBJECT_IDENTIFIER)?;
            // Whether the extension is critical.
            extension.take_optional(BOOLEAN)?;
            found.push(Self { id, value: extension.take(OCTET_STRING)? });
        }
        Some(found)
    }

    /// The bytes of a value that is a text in UTF-8, or a string of octets.
    pub fn string(&self) -> Option<&'a [u8]> {
        const UTF8_STRING: u8 = 0x0c;
        let mut value = Der(self.value);
        match value.take_optional(UTF8_STRING)? {
            Some(text) => Some(text),
            None => value.take(OCTET_STRING),
        }
    }
}

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;

/// What is left of the signed part of a certificate, from its validity on.
fn signed_from_validity(certificate: &[u8]) -> Option<Der<'_>> {
    const INTEGER: u8 = 0x02;
    const VERSION: u8 = 0xa0;
    let mut signed = Der(Der(Der(certificate).take(SEQUENCE)?).take(SEQUENCE)?);
    // Version 1 has no version field.
    signed.take_optional(VERSION)?;
    signed.take(INTEGER)?;
    // The algorithm of the signature, then the issuer.
    signed.take(SEQUENCE)?;
    signed.take(SEQUENCE)?;
    Some(signed)
}

/// What is left of a sequence of values.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The content of the next value, which has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (first, mut rest) = rest.split_first()?;
        let length = match usize::from(*first) {
            short @ 0..=127 => short,
            // A length of up to four bytes; no certificate is longer.
            long @ 129..=132 => {
                let (bytes, behind) = rest.split_at_checked(long - 128)?;
                rest = behind;
                bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (*found == tag).then_some(content)
    }

    /// The content of the next value if it has this tag. The outer value is None if the bytes are not DER.
    fn take_optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        match self.0.first() {
            Some(found) if *found == tag => self.take(tag).map(Some),
            _ => Some(None),
        }
    }

    /// Source: RFC 5280, section 4.1.2.5: years before 2050 have two digits.
    fn time(&mut self) -> Option<Utc> {
        const UTC_TIME: u8 = 0x17;
        const GENERALIZED_TIME: u8 = 0x18;
        let text = match *self.0.first()? {
            UTC_TIME => {
                let text = std::str::from_utf8(self.take(UTC_TIME)?).ok()?;
                let century = if text.as_bytes().first()? < &b'5' { "20" } else { "19" };
                format!("{century}{text}")
            }
            _ => std::str::from_utf8(self.take(GENERALIZED_TIME)?).ok()?.to_owned(),
        };
        let (day, time) = text.split_at_checked(8)?;
        Utc::parse_basic(&format!("{day}T{time}")).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            short @ 0..=127 => out.push(short as u8),
            long => out.extend([0x82, (long >> 8) as u8, long as u8]),
        }
        out.extend(content);
        out
    }

    fn certificate(version: bool, times: [(u8, &str); 2]) -> Vec<u8> {
        let mut signed = if version { value(0xa0, &value(2, &[2])) } else { Vec::new() };
        signed.extend(value(2, &[1]));
        signed.extend(value(0x30, &[]));
        // Long enough that its length takes two bytes.
        signed.extend(value(0x30, &[0; 300]));
        signed.extend(value(0x30, &times.map(|(tag, text)| value(tag, text.as_bytes())).concat()));
        signed.extend(value(0x30, b"the subject and all behind it"));
        value(0x30, &value(0x30, &signed))
    }

    #[test]
    fn both_forms_of_time_are_read() {
        let whole = certificate(true, [(0x17, "240229120000Z"), (0x18, "20500101000000Z")]);
        let found = Validity::of(&whole).unwrap();
        assert_eq!(found.not_before.to_string(), "2024-02-29T12:00:00Z");
        assert_eq!(found.not_after.to_string(), "2050-01-01T00:00:00Z");
        assert!(
            Validity::of(&certificate(false, [(0x17, "990101000000Z"), (0x17, "491231235959Z")])).is_some()
        );
    }

    #[test]
    fn extensions_are_read_with_and_without_the_optional_fields() {
        let sequence = |content: &[u8]| value(0x30, content);
        let extension = |id: &[u8], critical: &[u8], text: &[u8]| {
            sequence(&[value(6, id), critical.to_vec(), value(4, text)].concat())
        };
        let begin = [value(0xa0, &value(2, &[2])), value(2, &[1]), sequence(&[])].concat();
        // The issuer, the validity, the subject, and the key.
        let fields = sequence(&[]).repeat(4);
        let extensions = [
            extension(&[85, 4], &[], &value(0x0c, b"text")),
            extension(&[85, 5], &[1, 1, 255], &value(4, b"octets")),
        ];
        let extensions = value(0xa3, &sequence(&extensions.concat()));
        for unique in [Vec::new(), value(0x81, &[0]), [value(0x81, &[0]), value(0x82, &[0])].concat()] {
            let signed = [begin.clone(), fields.clone(), unique, extensions.clone()].concat();
            let whole = sequence(&sequence(&signed));
            let found = CertificateExtension::all_of(&whole).unwrap();
            let found: Vec<_> = found.iter().map(|one| (one.id, one.string().unwrap())).collect();
            assert_eq!(found, [(&[85, 4][..], &b"text"[..]), (&[85, 5], b"octets")]);
            for length in 0..whole.len() {
                assert_eq!(CertificateExtension::all_of(&whole[..length]), None);
            }
            for at in 0..whole.len() {
                let mut damaged = whole.clone();
                damaged[at] ^= 0xff;
                let found = CertificateExtension::all_of(&damaged).unwrap_or_default();
                found.iter().for_each(|extension| _ = extension.string());
            }
        }
        let without = sequence(&sequence(&[begin, fields].concat()));
        assert_eq!(CertificateExtension::all_of(&without), Some(Vec::new()));
    }

    #[test]
    fn damaged_certificates_give_none_and_no_panic() {
        let whole = certificate(true, [(0x17, "240229120000Z"), (0x18, "20500101000000Z")]);
        for length in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..length]), None);
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = Validity::of(&damaged);
        }
        assert_eq!(Validity::of(&certificate(true, [(0x17, "24022912000Z"), (0x17, "ü")])), None);
    }
}
