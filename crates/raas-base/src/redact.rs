//! What of an address may be shown.

/// A URL without user name, password and query, which may hold a signature or a token.
pub fn url(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", behind_scheme(rest)),
        None => "an address".into(),
    }
}

/// A text with each address in it as [`url`] shows it.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        out.push_str(before);
        let end = behind.find(|c: char| c.is_whitespace() || "'\"`".contains(c)).unwrap_or(behind.len());
        let (address, after) = behind.split_at(end);
        out.push_str(behind_scheme(address));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What stands before an `@` is never shown, at the cost of a path that has one: a password may hold a slash or a
/// question mark though it must not.
fn behind_scheme(address: &str) -> &str {
    let shown = address.rsplit_once('@').map_or(address, |(_, shown)| shown);
    shown.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_an_address_are_not_shown() {
        assert_eq!(url("https://u:p@x.org/a.tar?sig=1#f"), "https://x.org/a.tar");
        assert_eq!(url("https://x.org"), "https://x.org");
        assert_eq!(url("https://u:p/q@x.org/a"), "https://x.org/a");
        assert_eq!(url("https://u:p?q@x.org/a"), "https://x.org/a");
        assert_eq!(url("u:p@x.org"), "an address");
    }

    #[test]
    fn addresses_in_a_text_are_not_told_whole() {
        assert_eq!(text("at 'https://u:p@h/x?t=1', then ssh://h2/y"), "at 'https://h/x', then ssh://h2/y");
        assert_eq!(text("nothing to hide"), "nothing to hide");
    }
}
