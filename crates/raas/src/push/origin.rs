//! Where `--from` leads.

use std::io::{self, Read};
use std::path::PathBuf;
use std::str::FromStr;

use raas_image::{Archive, Input, Limits};
use raas_types::RepositoryName;

use super::{Options, Progress};
use crate::failure::{Failure, Kind};
use crate::home::Home;

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
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            _ if text == "-" => Ok(Origin::Stdin),
            Some(("http" | "https", _)) => Ok(Origin::Url(text.to_owned())),
            Some((scheme, _)) => {
                Err(format!("`{scheme}://` is not read: expected a path, an http(s) URL, or `-`"))
            }
            None if text.is_empty() => Err("expected a path, an http(s) URL, or `-`".into()),
            None => Ok(Origin::Path(text.into())),
        }
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
    Ok(archive?)
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
    let shown = crate::http::without_credentials(url);
    let response = crate::http::agent().get(url).call().map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot download {shown}")).caused_by(error).hint(
            "check the address with `curl -I`; a private one may be downloaded first and given as a path",
        )
    })?;
    let size = response.body().content_length();
    let stream: Box<dyn Read + Send> = Box::new(response.into_body().into_reader());
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
        assert!("docker://x/y".parse::<Origin>().is_err());
        assert!("".parse::<Origin>().is_err());
    }
}
