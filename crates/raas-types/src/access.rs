//! Who may read the protected repositories of a vendor: customers with keys, and the patterns of repositories that are
//! born protected. Both are files of the metadata tree ([`crate::crane::tree`]).

mod customer;
mod names;
mod protected;
mod secret;
mod text;

pub use customer::{Customer, CustomerKey, KeySecret, KeyState, SecretState};
pub use names::{AccessNameError, CustomerName, KeyName};
pub use protected::ProtectedPatterns;
pub use secret::{SecretHash, WeakSecret};

/// The newest format of these files that this raas knows, and the format that it writes.
pub const FORMAT: u32 = 1;

/// The longest file that raas reads, in bytes. A thousand patterns and a thousand keys fit into it.
pub const MAX_SIZE: u64 = 1024 * 1024;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AccessFileError {
    /// The file is too long.
    #[error("it is longer than {MAX_SIZE} bytes")]
    TooLong,
    /// Not JSON, a key missing, or a value of the wrong type.
    #[error("it is not an access file: {0}")]
    Json(#[from] serde_json::Error),
    /// A newer raas has written it.
    #[error("it has format {0}; this raas knows formats up to {FORMAT}")]
    Newer(u32),
}

/// Reads a customer's file, or the file of patterns. The format is read first: a newer file may differ in everything
/// else.
fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, AccessFileError> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    if bytes.len() as u64 > MAX_SIZE {
        return Err(AccessFileError::TooLong);
    }
    let Head { format } = serde_json::from_slice(bytes)?;
    if format > FORMAT {
        return Err(AccessFileError::Newer(format));
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// Writes a file.
fn to_bytes(file: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(file).expect("the keys of the file are text");
    bytes.push(b'\n');
    bytes
}
