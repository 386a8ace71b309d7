//! What is wrong with a TLS connection, as far as a user can do something about it.

use std::error::Error;
use std::io;

use rustls::{CertificateError, Error as TlsError};

/// Why there is no TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsFault {
    /// No trusted authority has signed the server's certificate.
    UnknownAuthority,
    /// The certificate is for other names.
    OtherName,
    /// The certificate's time is over, or has not begun.
    OutOfTime,
    /// The server does not speak TLS.
    NoTls,
    /// The server wants a certificate of the client, or another one.
    ClientCertificate,
    /// Everything else.
    Other,
}

impl TlsFault {
    /// Finds the error of TLS among an error and its causes.
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(fault) = error.downcast_ref::<TlsError>().map(Self::of) {
                return Some(fault);
            }
            // The source of an error of the system leaves out the error that it wraps.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match wrapped {
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        None
    }

    fn of(error: &TlsError) -> Self {
        use rustls::AlertDescription as Alert;
        match error {
            TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => Self::UnknownAuthority,
            TlsError::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Self::OtherName,
            TlsError::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Self::OutOfTime,
            TlsError::InvalidMessage(_) => Self::NoTls,
            TlsError::AlertReceived(
                Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnknownCA
                | Alert::CertificateUnknown,
            ) => Self::ClientCertificate,
            _ => Self::Other,
        }
    }
}
