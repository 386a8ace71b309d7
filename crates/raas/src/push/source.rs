//! The source of a push: the value of `--from`, and the image in it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use raas_image::{Archive, Image, Input, Limits, Selection, SourceKind, Store, Wanted};
use raas_sources::pulp::Export;
use raas_sources::registry::RegistryAddress;
use raas_types::{AtomicSignature, Digest, ImageReferenceError, RepositoryName, Tag};

use super::Options;
use super::earlier::EarlierManifests;
use super::image_failure::{OrFail as _, failure_of_source};
use super::report::Source;
use super::{pulp_source, registry_source};
use crate::config::Config;
use crate::output::number;
use crate::progress::Progress;
use raas_base::failure::{Failure, Kind};
use raas_base::redact;
use raas_publish::home::Home;

/// How an image is read from Pulp 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Via {
    /// Blob by blob through Pulp's registry
    #[default]
    Registry,
    /// From an export that Pulp makes now, in a folder that this machine sees
    Export,
}

/// The value of `--from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceArgument {
    /// A file or a folder.
    Path(PathBuf),
    /// An http or https URL of an archive.
    Url(String),
    /// A repository in a registry, or an image of it.
    Registry(RegistryAddress),
    /// The Pulp server of `[pulpserver]`.
    Pulp,
    /// An archive on standard input.
    Stdin,
    /// Without `--from`: the Pulp server, if one is configured. Otherwise `<name>.tar` in the current folder, where
    /// `<name>` is the last part of the image's name.
    Default,
}

impl FromStr for SourceArgument {
    type Err = SourceArgumentError;

    fn from_str(text: &str) -> Result<Self, SourceArgumentError> {
        let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.trim(), rest));
        match scheme {
            _ if text == "-" => Ok(SourceArgument::Stdin),
            _ if text.is_empty() => Err(SourceArgumentError::Empty),
            _ if RegistryAddress::is_meant_by(text.trim_start()) => {
                Ok(SourceArgument::Registry(text.trim_start().parse()?))
            }
            Some((scheme, rest)) if rest.starts_with('/') && !scheme.contains('/') && is_scheme(scheme) => {
                match (scheme.to_ascii_lowercase().as_str(), rest.strip_prefix("//")) {
                    (web @ ("http" | "https"), Some(rest)) => {
                        Ok(SourceArgument::Url(format!("{web}://{rest}")))
                    }
                    ("http" | "https", None) => Err(SourceArgumentError::Malformed),
                    _ => Err(SourceArgumentError::Scheme(scheme.to_owned())),
                }
            }
            _ => Ok(SourceArgument::Path(text.into())),
        }
    }
}

/// Source: RFC 3986, section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Why a value of `--from` cannot be used. The messages leave out the value: an address may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SourceArgumentError {
    #[error("--from expects a path, an http(s) URL, `docker://HOST/NAME`, or `-` for standard input")]
    Empty,
    #[error(
        "--from does not read addresses that begin with `{0}:`; it expects a path, an http(s) URL, `docker://HOST/NAME`, or \
         `-`"
    )]
    Scheme(String),
    #[error("the URL given to --from lacks the `//` after its scheme")]
    Malformed,
    #[error(transparent)]
    Registry(#[from] ImageReferenceError),
}

impl From<SourceArgumentError> for Failure {
    fn from(error: SourceArgumentError) -> Self {
        Failure::new(Kind::Usage, error.to_string())
    }
}

/// The image of the source, and the entry of the source in the report.
pub(super) struct SourceImage {
    pub(super) source: Source,
    /// The format of the archive; `None` for a repository in a registry.
    pub(super) kind: Option<SourceKind>,
    pub(super) image: Image,
    /// Whether only some users may pull the image at its source.
    pub(super) private: bool,
    /// The files that a Pulp server has exported for this push: they are removed with this value.
    pub(super) export: Option<Export>,
    /// The atomic signatures of its manifests.
    pub(super) signatures: Signatures,
}

impl SourceImage {
    /// Whether the source says that only some users may pull the image.
    pub(super) fn is_protected(&self) -> bool {
        self.private || self.image.is_protected()
    }
}

/// Atomic signatures by their manifests.
pub(super) type Signatures = BTreeMap<Digest, Vec<AtomicSignature>>;

/// Opens the source, recognises its format, and reads the manifests of the image that the options ask for. The layers
/// stay in the source.
pub(super) fn read_image(
    home: &Home,
    config: &Config,
    options: &Options,
    limits: &Limits,
    progress: &Progress,
) -> Result<SourceImage, Failure> {
    match &options.from {
        SourceArgument::Registry(address) if options.via == Via::Registry => {
            // It costs a request, and few registries have such signatures. They matter to a policy.
            let asks = !config.vendor(&options.vendor).require_signature.is_empty();
            return registry_source::read(address, options, asks, limits, progress);
        }
        SourceArgument::Pulp | SourceArgument::Default => {
            if let Some(pulp) = config.pulpserver.settings()? {
                return pulp_source::read(&pulp, home, options, limits, progress);
            }
        }
        _ => {}
    }
    if options.via == Via::Export {
        return Err(Failure::new(Kind::Usage, "--via export is for the Pulp server of [pulpserver]")
            .hint("set `host` in [pulpserver] and leave --from out, or leave --via out"));
    }
    let (input, size) = input(options)?;
    let given = GivenArchive { input, size, repository: options.repository.clone() };
    read_archive(home, options, given, limits, progress)
}

/// An archive to be read.
pub(super) struct GivenArchive {
    pub(super) input: Input,
    /// Its length in bytes, if it is known.
    pub(super) size: Option<u64>,
    /// The repository in it, if the source has several.
    pub(super) repository: Option<String>,
}

/// Opens an archive, and reads the image that the options ask for.
pub(super) fn read_archive(
    home: &Home,
    options: &Options,
    given: GivenArchive,
    limits: &Limits,
    progress: &Progress,
) -> Result<SourceImage, Failure> {
    let GivenArchive { input, size, repository } = given;
    home.ensure()?;
    let bar = progress.reading(size);
    let archive = raas_image::open(input, home.root(), limits, &mut |bytes| bar.advance(bytes));
    bar.done();
    let archive = archive.or_fail()?;
    progress.say(&format!("Recognised {} as {}", archive.what(), archive.kind()));
    let wanted = Wanted {
        published_as: Some((options.vendor.clone(), options.image.name.clone())),
        repository,
        tag: options.source_tag.clone().or_else(|| options.image.tag.clone()),
        digest: options.digest,
        platforms: options.platforms.clone(),
    };
    let selection = archive.choose(&wanted).or_fail()?;
    let repository = selection.repository().map(str::to_owned);
    let earlier = EarlierManifests::open(&home.vendor(&options.vendor), &options.image.name)?;
    let image = archive.read(&selection, earlier.as_ref().map(|earlier| earlier as &dyn Store));
    let mut image = image.map_err(|error| failure_of_source(error, selection.kind()))?;
    if let Some(repository) = &repository {
        progress.say(&format!("It has the repository {repository} with {}", tag_list(&image.tags())));
    }
    if let (Some(from), Some(to)) = (&options.source_tag, &options.image.tag) {
        image.rename_tag(from, to);
        progress.say(&format!("Its tag {from} is published as {to}"));
    }
    progress.notes(image.notes());
    let signatures = signatures(&archive, &selection, &image, progress)?;
    let source = Source { name: archive.what().to_owned(), kind: selection.kind().word(), repository };
    Ok(SourceImage { source, kind: Some(selection.kind()), image, private: false, export: None, signatures })
}

/// The atomic signatures that the archive has of the manifests.
fn signatures(
    archive: &Archive,
    selection: &Selection,
    image: &Image,
    progress: &Progress,
) -> Result<Signatures, Failure> {
    let Image::Manifests(set) = image else { return Ok(Signatures::new()) };
    let found = archive.signatures(selection, &set.manifests.keys().copied().collect()).or_fail()?;
    note_signatures(&found, progress);
    Ok(found)
}

/// Says how many atomic signatures the source has.
pub(super) fn note_signatures(signatures: &Signatures, progress: &Progress) {
    let count: usize = signatures.values().map(Vec::len).sum();
    if count > 0 {
        progress.say(&format!("It has {}", number(count, "atomic signature")));
    }
}

/// The tags for a line of progress: `the tag 1.0`, or `the tags 1.0, latest` with the first 20, and the number of the
/// others.
pub(super) fn tag_list(tags: &[Tag]) -> String {
    const MOST: usize = 20;
    let mut shown: Vec<String> = tags.iter().take(MOST).map(ToString::to_string).collect();
    if tags.len() > MOST {
        shown.push(format!("and {} more", tags.len() - MOST));
    }
    let noun = if tags.len() == 1 { "tag" } else { "tags" };
    format!("the {noun} {}", shown.join(", "))
}

/// The archive of the options, and its length if that is known.
fn input(options: &Options) -> Result<(Input, Option<u64>), Failure> {
    Ok(match &options.from {
        SourceArgument::Path(path) => (Input::Path(path.clone()), None),
        SourceArgument::Pulp => {
            return Err(
                Failure::new(Kind::Usage, "no Pulp server is configured").hint("set `host` in [pulpserver]")
            );
        }
        SourceArgument::Default => (Input::Path(default_path(&options.image.name)?), None),
        SourceArgument::Stdin => (Input::Stream("standard input".into(), Box::new(io::stdin())), None),
        SourceArgument::Url(url) => download(url)?,
        SourceArgument::Registry(_) => unreachable!("a registry is read without an archive"),
    })
}

/// The archive that a push reads without `--from` and without a Pulp server. It need not exist.
pub(super) fn default_archive(name: &RepositoryName) -> PathBuf {
    let last = name.parts().last().unwrap_or_default();
    PathBuf::from(format!("{last}.tar"))
}

fn default_path(name: &RepositoryName) -> Result<PathBuf, Failure> {
    let path = default_archive(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::new(
        Kind::Usage,
        format!("the current folder has no {}, and there is no --from", path.display()),
    )
    .hint("name the source of the image with --from PATH|URL|-, or set `host` in [pulpserver]"))
}

/// Begins a download. Also returns its length in bytes, if the server sends it.
fn download(url: &str) -> Result<(Input, Option<u64>), Failure> {
    let shown = redact::url(url);
    let (stream, size) = raas_sources::http::download(url).map_err(|error| {
        Failure::new(Kind::Environment, format!("cannot download {shown}")).caused_by(error).hint(
            "check the address with `curl -I`, or download the archive yourself and give its path to --from",
        )
    })?;
    Ok((Input::Stream(shown, stream), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_from_is_a_path_a_url_or_standard_input() {
        assert_eq!("-".parse(), Ok(SourceArgument::Stdin));
        assert_eq!("a/b.tar".parse(), Ok(SourceArgument::Path("a/b.tar".into())));
        assert_eq!("https://x/y.tar".parse(), Ok(SourceArgument::Url("https://x/y.tar".into())));
        assert_eq!("HTTPS://x/y.tar".parse(), Ok(SourceArgument::Url("https://x/y.tar".into())));
        let registry = "docker://x.org/app:1".parse().unwrap();
        assert_eq!("docker://x.org/app:1".parse(), Ok(SourceArgument::Registry(registry)));
        assert_eq!("./odd:/name".parse(), Ok(SourceArgument::Path("./odd:/name".into())));
        for secret in [
            "ftp://u:hunter2@x/y",
            "docker://u:hunter2@x.org/y",
            " ftp://u:hunter2@x",
            "http:/u:hunter2@x",
            "",
        ] {
            let error = secret.parse::<SourceArgument>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
