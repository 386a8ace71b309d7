//! Addresses as people and logs may see them.

/// A URL without user name, password, query and fragment. A query may hold a signature or a token.
pub fn url(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", after_scheme(rest)),
        None => "an address".into(),
    }
}

/// A text that is one address. Everything before its last `@` is hidden, whatever characters a password has. An address
/// without a scheme, such as `git@host:path`, is shown as it is.
pub fn address(address: &str) -> String {
    match address.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", after_scheme(rest)),
        None => address.to_owned(),
    }
}

/// A text in which each address is shown as [`url`] shows it. Where a password may have a space or a quote, more of the
/// text may be hidden than the address.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, rest_of_text) = rest.split_at(at + 3);
        out.push_str(before);
        let (address, after) = rest_of_text.split_at(end_of_address(rest_of_text));
        out.push_str(after_scheme(address));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The end of the address at the start of a text. The scheme of the address is cut off already.
fn end_of_address(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || "'\"`".contains(c);
    let word = |from: usize| text[from..].find(ends).map_or(text.len(), |at| from + at);
    // A `:` comes before a password, or before a port.
    let authority = text.find(|c: char| ends(c) || "/?#".contains(c)).unwrap_or(text.len());
    if !text[..authority].contains(':') {
        return word(0);
    }
    // The password ends at an `@` before the end of the line or the next address, and may hold spaces and quotes.
    let line = text.find('\n').unwrap_or(text.len());
    let scope = text[..line].find("://").unwrap_or(line);
    text[..scope].rfind('@').map_or_else(|| word(0), |at| word(at + 1))
}

/// The part of an address after its scheme that may be shown. Everything before the last `@` is hidden, because a
/// password may hold a slash or a question mark. That also hides a part of a path with an `@`.
fn after_scheme(address: &str) -> &str {
    let shown = address.rsplit_once('@').map_or(address, |(_, shown)| shown);
    shown.split(['?', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_a_url_are_hidden() {
        assert_eq!(url("https://u:p@x.org/a.tar?sig=1#f"), "https://x.org/a.tar");
        assert_eq!(url("https://x.org"), "https://x.org");
        assert_eq!(url("https://u:p/q@x.org/a"), "https://x.org/a");
        assert_eq!(url("https://u:p?q@x.org/a"), "https://x.org/a");
        assert_eq!(url("u:p@x.org"), "an address");
    }

    #[test]
    fn the_secrets_of_addresses_in_a_text_are_hidden() {
        assert_eq!(text("at 'https://u:p@h/x?t=1', then ssh://h2/y"), "at 'https://h/x', then ssh://h2/y");
        assert_eq!(text("nothing to hide"), "nothing to hide");
        assert_eq!(text("https://h:8080/x and\nmail a@b"), "https://h:8080/x and\nmail a@b");
    }

    #[test]
    fn a_password_may_have_any_characters() {
        for password in ["a'b", "a\"b", "a`b", "a b", "1 2", "a/'b", "a@ b", "a:b'c", "a\tb?#"] {
            let whole = format!("https://user:{password}@x.org/a.git");
            assert_eq!(address(&whole), "https://x.org/a.git", "{password}");
            let said = format!("fatal: cannot read '{whole}', see https://y.org/b?token=1\nbye");
            assert_eq!(
                text(&said),
                "fatal: cannot read 'https://x.org/a.git', see https://y.org/b\nbye",
                "{password}"
            );
        }
        assert_eq!(address("git@x.org:a/b"), "git@x.org:a/b");
    }
}
