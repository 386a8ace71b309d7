//! Which proxy a request goes through, as the environment says.
//!
//! | variable | means |
//! |---|---|
//! | `http_proxy` | the proxy for `http` URLs; `HTTP_PROXY` too, but not in a CGI script, whose clients can set it |
//! | `https_proxy`, `HTTPS_PROXY` | the proxy for `https` URLs |
//! | `all_proxy`, `ALL_PROXY` | the proxy for both, where the scheme has none of its own |
//! | `no_proxy`, `NO_PROXY` | what is asked directly: names, `.names`, addresses, networks, each with or without a port, or `*` |
//!
//! The lower-case form comes first. Source: curl(1), section "Environment".

use std::collections::BTreeMap;
use std::fmt;

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// The proxies of the environment.
pub struct ForwardProxies {
    matcher: Option<Matcher>,
    /// The hosts that are asked directly at one port alone. A host is in the list exactly if the matcher finds *no*
    /// proxy for it.
    direct_at: BTreeMap<u16, Matcher>,
}

/// A proxy, and how to log in to it.
#[derive(Debug, Clone)]
pub struct ForwardProxy(Intercept);

/// A variable of the environment that is not the URL of a proxy. The value is not shown: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the environment variable {variable} is not the URL of a proxy, such as http://proxy.example.com:3128"
)]
pub struct ProxyError {
    variable: &'static str,
}

impl ForwardProxies {
    /// No proxy for anything.
    pub fn none() -> Self {
        Self { matcher: None, direct_at: BTreeMap::new() }
    }

    /// The proxies that the environment of this process names.
    ///
    /// # Errors
    /// A variable is set to something else than the URL of a proxy.
    pub fn from_environment() -> Result<Self, ProxyError> {
        Self::from_variables(&|name| std::env::var(name).ok())
    }

    /// The same, with a function that reads a variable.
    ///
    /// # Errors
    /// As [`from_environment`](Self::from_environment).
    pub fn from_variables(read: &dyn Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let read =
            |name: &str| read(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let is_cgi = read("REQUEST_METHOD").is_some();
        let proxy = |lower: &'static str, upper: &'static str| {
            let variable = if read(lower).is_some() { lower } else { upper };
            match read(variable) {
                Some(value) if is_proxy(&value) => Ok(Some(value)),
                Some(_) => Err(ProxyError { variable }),
                None => Ok(None),
            }
        };
        let http =
            if is_cgi { proxy("http_proxy", "http_proxy")? } else { proxy("http_proxy", "HTTP_PROXY")? };
        let https = proxy("https_proxy", "HTTPS_PROXY")?;
        let all = proxy("all_proxy", "ALL_PROXY")?;
        let no = read("no_proxy").or_else(|| read("NO_PROXY")).unwrap_or_default();
        let (everywhere, at_ports) = direct(&no);
        let matcher = Matcher::builder()
            .http(http.unwrap_or_default())
            .https(https.unwrap_or_default())
            .all(all.unwrap_or_default())
            .no(everywhere)
            .build();
        let direct_at = at_ports
            .into_iter()
            .map(|(port, hosts)| (port, Matcher::builder().all("http://proxy").no(hosts.join(",")).build()));
        Ok(Self { matcher: Some(matcher), direct_at: direct_at.collect() })
    }

    /// The proxy for a URL; `None` if it is asked directly.
    pub fn for_url(&self, url: &Uri) -> Option<ForwardProxy> {
        let default = if url.scheme_str() == Some("http") { 80 } else { 443 };
        let port = url.port_u16().unwrap_or(default);
        let direct = self.direct_at.get(&port).is_some_and(|matcher| matcher.intercept(url).is_none());
        if direct { None } else { self.matcher.as_ref()?.intercept(url).map(ForwardProxy) }
    }
}

impl fmt::Debug for ForwardProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardProxies").field("matcher", &self.matcher).finish_non_exhaustive()
    }
}

impl ForwardProxy {
    /// The proxy's URL, without user name and password.
    pub fn url(&self) -> &Uri {
        self.0.uri()
    }

    /// The header `Proxy-Authorization` for an HTTP proxy with a user name.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.0.basic_auth()
    }

    /// The user name and password for a SOCKS proxy.
    pub(crate) fn socks_login(&self) -> Option<(&str, &str)> {
        self.0.raw_auth()
    }

    pub(crate) fn is_socks(&self) -> bool {
        self.url().scheme_str().is_some_and(|scheme| scheme.starts_with("socks"))
    }
}

/// Whether the matcher takes a value for a proxy.
fn is_proxy(value: &str) -> bool {
    let probe = Uri::from_static("http://probe.invalid/");
    Matcher::builder().all(value).build().intercept(&probe).is_some()
}

/// The entries of `no_proxy` for every port, separated by commas, and those for one port.
fn direct(list: &str) -> (String, BTreeMap<u16, Vec<String>>) {
    if list == "*" {
        // To a matcher `*` means all names, and no addresses.
        return ("*,0.0.0.0/0,::/0".to_owned(), BTreeMap::new());
    }
    let (mut everywhere, mut at_ports) = (Vec::new(), BTreeMap::<u16, Vec<String>>::new());
    for entry in list.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()) {
        // `*.example.com` is not curl's, and can mean one thing only.
        let entry = entry.strip_prefix("*.").unwrap_or(entry);
        // Among others, `*` is a host of this name to curl, and there is none.
        if entry == "*" {
            continue;
        }
        let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let with_port = entry.rsplit_once(':').filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
        match with_port.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) => at_ports.entry(port).or_default().push(bare(host)),
            None => everywhere.push(bare(entry)),
        }
    }
    (everywhere.join(","), at_ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Result<ForwardProxies, ProxyError> {
        ForwardProxies::from_variables(&|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn proxy_of(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let found = proxies(variables).unwrap().for_url(&url.parse().unwrap());
        found.map(|proxy| proxy.url().authority().unwrap().to_string())
    }

    #[test]
    fn the_scheme_chooses_the_proxy_and_lower_case_comes_first() {
        let all = [("HTTP_PROXY", "http://a:1"), ("https_proxy", "b:2"), ("HTTPS_PROXY", "http://c:3")];
        assert_eq!(proxy_of(&all, "http://x.org/").as_deref(), Some("a:1"));
        assert_eq!(proxy_of(&all, "https://x.org/").as_deref(), Some("b:2"));
        assert_eq!(
            proxy_of(&[("all_proxy", "socks5h://s:1080")], "https://x.org/").as_deref(),
            Some("s:1080")
        );
        assert_eq!(proxy_of(&[("http_proxy", " ")], "http://x.org/"), None);
        // A client of a CGI script can set this variable by a header `Proxy`.
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "http://evil:1")];
        assert_eq!(proxy_of(&cgi, "http://x.org/"), None);
    }

    #[test]
    fn no_proxy_is_read_as_curl_reads_it() {
        let table = [
            ("x.org", "https://x.org/", true),
            ("x.org", "https://a.x.org/", true),
            (".x.org", "https://a.x.org/", true),
            (".x.org", "https://x.org/", true),
            ("*.x.org", "https://a.x.org/", true),
            ("x.org", "https://badx.org/", false),
            ("a.org, x.org", "https://x.org/", true),
            ("a.org x.org", "https://x.org/", true),
            ("*", "https://x.org/", true),
            ("*", "https://10.1.2.3/", true),
            ("*", "https://[2001:db8::1]:8443/", true),
            ("a.org, *", "https://x.org/", false),
            ("a.org,*", "https://[2001:db8::1]:8443/", false),
            ("*,a.org", "https://a.org/", true),
            ("10.0.0.0/8", "https://10.1.2.3/", true),
            ("10.0.0.0/8", "https://11.1.2.3/", false),
            ("10.1.2.3", "https://10.1.2.3:8443/", true),
            ("[::1]", "https://[::1]/", true),
            ("::1", "https://[::1]:5000/", true),
            ("x.org:8443", "https://x.org:8443/", true),
            ("x.org:8443", "https://x.org/", false),
            ("x.org:443", "https://x.org/", true),
            ("x.org:80", "http://x.org/", true),
            ("[::1]:5000", "https://[::1]:5000/", true),
            ("[::1]:5000", "https://[::1]:5001/", false),
            ("10.0.0.0/8:5000", "https://10.1.1.1:5000/", true),
        ];
        for (no, url, direct) in table {
            let variables = [("https_proxy", "http://p:1"), ("http_proxy", "http://p:1"), ("no_proxy", no)];
            assert_eq!(proxy_of(&variables, url).is_none(), direct, "{no} {url}");
        }
    }

    #[test]
    fn a_proxy_that_is_none_is_an_error_without_its_password() {
        for value in ["ftp://u:hunter2@p", "http://", "http://u:hunter2 x@p:1"] {
            let error = proxies(&[("HTTPS_PROXY", value)]).unwrap_err().to_string();
            assert!(error.contains("HTTPS_PROXY") && !error.contains("hunter2"), "{error}");
        }
        let shown = format!("{:?}", proxies(&[("https_proxy", "http://u:hunter2@p:1")]).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn the_login_is_of_the_proxy() {
        let proxies = proxies(&[("http_proxy", "http://jane:a%20b@p:1")]).unwrap();
        let proxy = proxies.for_url(&Uri::from_static("http://x.org/")).unwrap();
        assert_eq!(proxy.url(), "http://p:1/");
        assert_eq!(proxy.authorization().unwrap(), "Basic amFuZTphIGI=");
    }
}
