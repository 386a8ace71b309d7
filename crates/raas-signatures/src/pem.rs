//! Sections of PEM files whose names rustls does not know.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The content of the first section with this name. `None` if there is none; an error if it is no Base64.
pub(crate) fn section(text: &[u8], name: &str) -> Option<Result<Vec<u8>, base64::DecodeError>> {
    let text = str::from_utf8(text).ok()?;
    let (_, rest) = text.split_once(&format!("-----BEGIN {name}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {name}-----"))?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some(STANDARD.decode(body))
}

/// A section of a PEM file.
pub(crate) fn write(name: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {name}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(str::from_utf8(line).expect("Base64 is ASCII"));
        text.push('\n');
    }
    text.push_str(&format!("-----END {name}-----\n"));
    text
}
