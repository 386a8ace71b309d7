//! Tokens of another issuer.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use raas_server::TokenIssuer;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::server::{SECRET, Started, ask, start};

/// What a token must say of who made it.
const ISSUER: &str = "auth.example.com";

/// The issuer's key: of a fuzzer's server there is nothing to steal.
static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed"));

/// A server that lives as long as the process.
static SERVER: LazyLock<Started> = LazyLock::new(|| {
    start(|home, site| {
        let keys = home.join("keys");
        let x = URL_SAFE_NO_PAD.encode(KEY.public_key());
        let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"one","x":"{x}"}}]}}"#);
        std::fs::write(&keys, set).expect("a file");
        let issuer = TokenIssuer::new("https://auth.example.com/token", "acme", ISSUER, &keys);
        site.issuer = Some(issuer.expect("an issuer"));
    })
});

/// A token: a line with its header, one with its claims, and perhaps one with its signature; without, it is signed with the
/// issuer's key. It opens what is protected only if it is, and only if it says who made it.
pub fn token(bytes: &[u8]) {
    let mut lines = bytes.splitn(3, |byte| *byte == b'\n');
    let mut part = || lines.next().unwrap_or_default();
    let (header, claims) = (part(), part());
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let forged = lines.next();
    let signature = match forged {
        Some(signature) => URL_SAFE_NO_PAD.encode(signature),
        None => URL_SAFE_NO_PAD.encode(KEY.sign(signed.as_bytes())),
    };
    let request = format!(
        "GET /v2/hidden/app/manifests/1.0 HTTP/1.1\r\nHost: registry.example.com\r\nAuthorization: Bearer {signed}.{signature}\r\n\r\n"
    );
    let answer = ask(&SERVER, request.as_bytes());
    let status = answer.get(9..12).unwrap_or_default();
    let is_open = answer.windows(SECRET.len()).any(|part| part == SECRET);
    let shown = || bytes.escape_ascii().to_string();
    // A head that is too long has no more of an answer.
    assert!([&b"200"[..], b"401", b"431"].contains(&status), "{}: {}", answer.escape_ascii(), shown());
    assert_eq!(is_open, status == b"200", "{}", shown());
    // Where there is a backslash, any letter may be written so.
    let says = |word: &str| {
        claims.contains(&b'\\') || claims.windows(word.len()).any(|part| part == word.as_bytes())
    };
    assert!(!is_open || (forged.is_none() && says(ISSUER) && says("hidden/app")), "it opens: {}", shown());
}
