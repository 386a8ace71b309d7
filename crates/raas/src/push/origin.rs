//! Where `--from` leads.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use raas_image::{Archive, Input, Limits};
use raas_types::RepositoryName;

use super::image_failure::OrFail as _;
use super::{Options, Progress};
use raas_base::failure::{Failure, Kind};
use raas_base::redact;
use raas_publish::home::Home;

/// The value of `--from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A file or a folder.
    Path(PathBuf),
    /// An http or https URL of an archive.
    Url(String),
    /// An archive on standard input.
    Stdin,
    /// Nothing was said: `<image>.tar` in the current folder, the name without its slashes.
    Default,
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.trim(), rest));
        match scheme {
            _ if text == "-" => Ok(Origin::Stdin),
            _ if text.is_empty() => Err(OriginError::Empty),
            Some((scheme, rest)) if rest.starts_with('/') && !scheme.contains('/') && is_scheme(scheme) => {
                match (scheme.to_ascii_lowercase().as_str(), rest.strip_prefix("//")) {
                    (web @ ("http" | "https"), Some(rest)) => Ok(Origin::Url(format!("{web}://{rest}"))),
                    ("http" | "https", None) => Err(OriginError::Malformed),
                    _ => Err(OriginError::Scheme(scheme.to_owned())),
                }
            }
            _ => Ok(Origin::Path(text.into())),
        }
    }
}

/// Source: RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// A value of `--from` that says nothing. The value itself is not told: an address may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OriginError {
    #[error("--from expects a path, an http(s) URL, or `-` for standard input")]
    Empty,
    #[error("--from does not read `{0}:` addresses; it expects a path, an http(s) URL, or `-`")]
    Scheme(String),
    #[error("the URL given to --from has no `//` behind its scheme")]
    Malformed,
}

impl From<OriginError> for Failure {
    fn from(error: OriginError) -> Self {
        Failure::new(Kind::Usage, error.to_string())
    }
}

/// Opens the source.
pub(super) fn open(
    home: &Home,
    options: &Options,
    limits: &Limits,
    progress: &Progress,
) -> Result<Archive, Failure> {
    let (input, size) = match &options.from {
        Origin::Path(path) => (Input::Path(path.clone()), None),
        Origin::Default => (Input::Path(default_path(&options.image.name)?), None),
        Origin::Stdin => (Input::Stream("standard input".into(), Box::new(io::stdin())), None),
        Origin::Url(url) => download(url)?,
    };
    home.ensure()?;
    let bar = progress.reading(size);
    let archive = raas_image::open(input, home.root(), limits, &mut |bytes| bar.advance(bytes));
    bar.done();
    archive.or_fail()
}

fn default_path(name: &RepositoryName) -> Result<PathBuf, Failure> {
    let last = name.parts().last().unwrap_or_default();
    let path = PathBuf::from(format!("{last}.tar"));
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::new(Kind::Usage, format!("there is no {} in the current folder", path.display()))
        .hint("say where the image comes from: --from PATH|URL|-"))
}

/// Begins a download; its length, where the server says it.
fn download(url: &str) -> Result<(Input, Option<u64>), Failure> {
    let shown = redact::url(url);
    let (stream, size) = raas_sources::http::download(url).map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot download {shown}")).caused_by(error).hint(
            "check the address with `curl -I`; a private one may be downloaded first and given as a path",
        )
    })?;
    Ok((Input::Stream(shown, stream), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_from_is_told_apart() {
        assert_eq!("-".parse(), Ok(Origin::Stdin));
        assert_eq!("a/b.tar".parse(), Ok(Origin::Path("a/b.tar".into())));
        assert_eq!("https://x/y.tar".parse(), Ok(Origin::Url("https://x/y.tar".into())));
        assert_eq!("HTTPS://x/y.tar".parse(), Ok(Origin::Url("https://x/y.tar".into())));
        assert_eq!("./odd:/name".parse(), Ok(Origin::Path("./odd:/name".into())));
        for secret in ["ftp://u:hunter2@x/y", " ftp://u:hunter2@x", "http:/u:hunter2@x", ""] {
            let error = secret.parse::<Origin>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
