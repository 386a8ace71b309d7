//! Whether a URL serves content to everybody, found without a download.

use raas_http::{Agent, Response};

/// The answer of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// The content is there, with this length if the server says it.
    There(Option<u64>),
    /// The server requires a credential. This is its status.
    Refused(u16),
    /// Every other answer, in words.
    Missing(String),
}

/// Asks a URL with HEAD. If the server does not allow that, as for URLs that are signed for GET, it asks with GET for the
/// first byte.
pub fn ask(agent: &Agent, url: &str) -> Presence {
    let head = match agent.head(url).call() {
        Ok(head) => head,
        Err(error) => return Presence::Missing(error.to_string()),
    };
    if !matches!(head.status().as_u16(), 401 | 403 | 405 | 501) {
        return judge(&head, || number(&head, "content-length"));
    }
    match agent.get(url).header("range", "bytes=0-0").call() {
        // bytes 0-0/<length>
        Ok(part) if part.status() == 206 => judge(&part, || {
            let range = part.header("content-range")?;
            range.rsplit('/').next()?.trim().parse().ok()
        }),
        Ok(whole) => judge(&whole, || number(&whole, "content-length")),
        Err(error) => Presence::Missing(error.to_string()),
    }
}

fn judge(response: &Response, length: impl Fn() -> Option<u64>) -> Presence {
    let status = response.status();
    match status.as_u16() {
        200..=299 => Presence::There(length()),
        401 | 403 => Presence::Refused(status.as_u16()),
        _ => Presence::Missing(format!("it answers {status}")),
    }
}

fn number(response: &Response, header: &str) -> Option<u64> {
    response.header(header)?.trim().parse().ok()
}
