//! Addresses as people and logs may see them.

/// A URL without user name, password, query and fragment. A query may hold a signature or a token.
pub fn url(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", after_scheme(rest)),
        None => "an address".into(),
    }
}

/// A text in which each address is shown as [`url`] shows it.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, rest_of_text) = rest.split_at(at + 3);
        out.push_str(before);
        let end = rest_of_text
            .find(|c: char| c.is_whitespace() || "'\"`".contains(c))
            .unwrap_or(rest_of_text.len());
        let (address, after) = rest_of_text.split_at(end);
        out.push_str(after_scheme(address));
        rest = after;
    }
    out.push_str(rest);
    out
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
    }
}
