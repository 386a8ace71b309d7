//! The signer's certificate, and the chain that it begins.
//!
//! Source: Notary Project, signature-specification.md, "Certificate Requirements" and "Algorithm Selection"; RFC 5280.

use std::time::Duration;

use raas_types::Utc;
use ring::signature::{self, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage as ExtendedUsage};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{self, Decode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};

use super::certificate::TrustedCertificate;
use crate::invalid::{Invalid, legible};

/// Source: RFC 8017, RFC 5480.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// The purpose of signing code, and its encoding. Source: RFC 5280, section 4.2.1.12.
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const CODE_SIGNING_DER: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// The purposes that the certificate of a signer must not have: any, TLS servers, mail, timestamps, OCSP.
const FORBIDDEN: [ObjectIdentifier; 5] = [
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9"),
];

/// The certificate of the signer, which may sign code, and the other certificates of its chain.
pub(super) struct Leaf<'a> {
    der: &'a CertificateDer<'static>,
    others: &'a [CertificateDer<'static>],
    key: Key,
}

/// The signer's key. It alone decides the algorithm: the header of the envelope is only compared with it.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    /// Modulus and exponent, and the length of the modulus in bits.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
        bits: usize,
    },
    /// The uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl<'a> Leaf<'a> {
    /// Reads the first certificate of a chain.
    ///
    /// # Errors
    /// It is none, it may not sign code, or raas does not check signatures of its kind of key.
    pub(super) fn parse(chain: &'a [CertificateDer<'static>]) -> Result<Self, Invalid> {
        let wrong = |why: &str| Invalid::Certificate(why.to_owned());
        let unreadable = |error: der::Error| Invalid::Certificate(format!("it cannot be read: {error}"));
        let (first, others) = chain.split_first().ok_or_else(|| wrong("there is none"))?;
        let certificate = Certificate::from_der(first).map_err(unreadable)?;
        let tbs = certificate.tbs_certificate();
        let usage = tbs.get_extension::<KeyUsage>().map_err(unreadable)?;
        if !usage.is_some_and(|(_, usage)| usage.digital_signature()) {
            return Err(wrong("its key usage is not `digitalSignature`"));
        }
        if let Some((_, purposes)) = tbs.get_extension::<ExtendedKeyUsage>().map_err(unreadable)?
            && (!purposes.0.contains(&CODE_SIGNING) || purposes.0.iter().any(|one| FORBIDDEN.contains(one)))
        {
            return Err(wrong("its extended key usage is not code signing alone"));
        }
        let info = tbs.subject_public_key_info();
        let key = info.subject_public_key.as_bytes().ok_or_else(|| wrong("its key cannot be read"))?;
        let curve: Option<ObjectIdentifier> =
            info.algorithm.parameters.as_ref().and_then(|any| any.decode_as().ok());
        let key = match (info.algorithm.oid, curve) {
            (RSA, _) => Key::rsa(key).ok_or_else(|| wrong("its key cannot be read"))?,
            (EC, Some(P256)) => Key::P256(key.to_owned()),
            (EC, Some(P384)) => Key::P384(key.to_owned()),
            (EC, Some(P521)) => return Err(wrong("its key is one of P-521, which raas does not check")),
            _ => return Err(wrong("its key is neither of RSA nor of the curves P-256 and P-384")),
        };
        Ok(Self { der: first, others, key })
    }

    /// Checks that the certificate is trusted, or that its chain leads to a trusted authority, with every certificate valid
    /// at each of these times.
    ///
    /// # Errors
    /// No trusted certificate vouches for it.
    pub(super) fn leads_to(&self, trusted: &[TrustedCertificate], times: &[Utc]) -> Result<(), Invalid> {
        // The first problem with a certificate that was trusted otherwise says more than that none is trusted.
        let mut nearest = None;
        for one in trusted {
            match self.leads_to_one(one, times) {
                Ok(()) => return Ok(()),
                Err(Some(why)) => nearest = nearest.or(Some(why)),
                Err(None) => {}
            }
        }
        let why = nearest.unwrap_or_else(|| "its chain leads to no trusted certificate".into());
        Err(Invalid::Certificate(why))
    }

    /// The error is `None` if the chain does not lead to this certificate at all.
    fn leads_to_one(&self, trusted: &TrustedCertificate, times: &[Utc]) -> Result<(), Option<String>> {
        let outside = |time: &Utc| !trusted.is_valid_at(*time);
        let not_valid =
            |subject: &str, time: Utc| Some(format!("the certificate of {subject} is not valid at {time}"));
        if trusted.der() == self.der {
            return match times.iter().find(|time| outside(time)) {
                Some(time) => Err(not_valid(trusted.subject(), *time)),
                None => Ok(()),
            };
        }
        let anchor = trusted.anchor().ok_or(None::<String>)?;
        for time in times {
            match self.path(anchor, *time) {
                Ok(()) if outside(time) => return Err(not_valid(trusted.subject(), *time)),
                Ok(()) => {}
                Err(webpki::Error::UnknownIssuer) => return Err(None),
                Err(error) => return Err(Some(format!("its chain is not valid at {time}: {error}"))),
            }
        }
        Ok(())
    }

    fn path(&self, anchor: &TrustAnchor<'static>, time: Utc) -> Result<(), webpki::Error> {
        let algorithms = default_provider().signature_verification_algorithms.all;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(time.unix()));
        let usage = ExtendedUsage::required_if_present(CODE_SIGNING_DER);
        let anchors = std::slice::from_ref(anchor);
        let leaf = EndEntityCert::try_from(self.der)?;
        leaf.verify_for_usage(algorithms, anchors, self.others, time, usage, None, None).map(drop)
    }

    /// Checks that the key made this signature. `algorithm` is what the header says.
    ///
    /// # Errors
    /// It did not, or the header names another algorithm than the key's own.
    pub(super) fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> Result<(), Invalid> {
        let own = self.key.algorithm()?;
        if algorithm != own {
            let algorithm = legible(algorithm);
            return Err(Invalid::Header(format!(
                "its algorithm is `{algorithm}`, and a signature of its key has {own}"
            )));
        }
        if self.key.verifies(message, signature) { Ok(()) } else { Err(Invalid::Key) }
    }
}

impl Key {
    /// Source: RFC 8017, appendix A.1.1.
    fn rsa(key: &[u8]) -> Option<Self> {
        let numbers = |reader: &mut SliceReader<'_>| -> der::Result<(Vec<u8>, Vec<u8>)> {
            reader.sequence(|reader| {
                let (n, e) = (UintRef::decode(reader)?, UintRef::decode(reader)?);
                Ok::<_, der::Error>((n.as_bytes().to_vec(), e.as_bytes().to_vec()))
            })
        };
        let (n, e) = numbers(&mut SliceReader::new(key).ok()?).ok()?;
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        Some(Key::Rsa { n, e, bits })
    }

    /// The algorithm of the key's signatures. Source: signature-specification.md, "Algorithm Selection".
    fn algorithm(&self) -> Result<&'static str, Invalid> {
        Ok(match self {
            Key::Rsa { bits: 2048, .. } => "PS256",
            Key::Rsa { bits: 3072, .. } => "PS384",
            Key::Rsa { bits: 4096, .. } => "PS512",
            Key::Rsa { bits, .. } => {
                return Err(Invalid::Certificate(format!(
                    "its RSA key has {bits} bits, and Notation signs with 2048, 3072 or 4096"
                )));
            }
            Key::P256(_) => "ES256",
            Key::P384(_) => "ES384",
        })
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let rsa = |parameters: &'static RsaParameters, n: &[u8], e: &[u8]| {
            RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
        };
        match self {
            Key::Rsa { n, e, bits: 2048 } => rsa(&signature::RSA_PSS_2048_8192_SHA256, n, e),
            Key::Rsa { n, e, bits: 3072 } => rsa(&signature::RSA_PSS_2048_8192_SHA384, n, e),
            Key::Rsa { n, e, bits: 4096 } => rsa(&signature::RSA_PSS_2048_8192_SHA512, n, e),
            Key::Rsa { .. } => false,
            Key::P256(point) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
            Key::P384(point) => UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                .verify(message, signature)
                .is_ok(),
        }
    }
}
