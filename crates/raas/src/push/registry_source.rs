//! Reads an image from a registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use raas_image::{Image, Limits};
use raas_sources::registry::{
    LoginSource, ReadOptions, RegistryAddress, Remote, RemoteOptions, Transport, WantedAttachments,
    WantedImages, atomic_signatures, read_images,
};
use raas_types::Tag;

use super::Options;
use super::report::Source;
use super::source::{Signatures, SourceArgument, SourceImage, note_signatures, tag_list};
use super::source_login::SourceLogin;
use crate::output::number;
use crate::progress::Progress;
use raas_base::failure::{Failure, Kind};

/// How to read from the registry of `--from`.
#[derive(Debug, Clone)]
pub(crate) struct RegistryAccess {
    login: LoginSource,
    transport: Transport,
    /// The only tags to read, if the caller has chosen them.
    only: Option<BTreeSet<Tag>>,
    /// Which attachments come along.
    attachments: WantedAttachments,
}

impl Default for RegistryAccess {
    fn default() -> Self {
        Self {
            login: LoginSource::Files,
            transport: Transport::Usual,
            only: None,
            attachments: WantedAttachments::default(),
        }
    }
}

impl RegistryAccess {
    /// Reads the login of `--src-creds`.
    ///
    /// # Errors
    /// The login cannot be read, or the source is no registry.
    pub(crate) fn new(
        login: Option<&SourceLogin>,
        plain_http: bool,
        from: &SourceArgument,
    ) -> Result<Self, Failure> {
        let is_registry = matches!(from, SourceArgument::Registry(_));
        if (login.is_some() || plain_http) && !is_registry {
            return Err(Failure::new(Kind::Usage, "--src-creds and --src-plain-http are for a registry")
                .hint("give the registry with --from docker://HOST/NAME"));
        }
        let login = match login {
            Some(login) => LoginSource::Given(login.read()?, "correct the login in --src-creds".into()),
            None => LoginSource::Files,
        };
        let transport = if plain_http { Transport::Plain } else { Transport::Usual };
        Ok(Self { login, transport, ..Self::default() })
    }

    /// Reads only some tags, with the logins of docker and podman.
    pub(crate) fn to_tags(tags: BTreeSet<Tag>, attachments: WantedAttachments) -> Self {
        Self { only: Some(tags), attachments, ..Self::default() }
    }
}

/// Reads the manifests that are asked for, and with `with_atomic` their atomic signatures, if the registry has a list of
/// them. The blobs stay in the registry.
pub(super) fn read(
    address: &RegistryAddress,
    options: &Options,
    with_atomic: bool,
    limits: &Limits,
    progress: &Progress,
) -> Result<SourceImage, Failure> {
    let RegistryAccess { login, transport, .. } = options.access.clone();
    let wanted = wanted(address, options)?;
    let remote = RemoteOptions { transport, login, say: progress.as_say(), ..RemoteOptions::default() };
    // The tag or digest of another argument names the image as the address itself does.
    let mut named = address.clone();
    match &wanted {
        WantedImages::Digest(digest, _) => named.digest = Some(*digest),
        WantedImages::Tags(tags) if tags.len() == 1 => named.tag = tags.first().cloned(),
        _ => {}
    }
    let remote = Remote::find(&named, remote)?;
    let mut source = read_remote(&remote, &address.to_string(), &wanted, options, limits, progress)?;
    if with_atomic && let Image::Manifests(set) = &source.image {
        // A registry without such signatures may answer anything, such as a page for people. An image that needs one of them
        // is rejected then, and this line says why.
        match atomic_signatures(&remote, set.manifests.keys().copied().collect()) {
            Ok(signatures) => source.signatures = signatures,
            Err(failure) => {
                let causes = failure.causes().join(": ");
                progress
                    .say(&format!("Note: no atomic signatures are read: {}: {causes}", failure.message()));
            }
        }
        note_signatures(&source.signatures, progress);
    }
    Ok(source)
}

/// Reads the wanted images of a repository.
pub(super) fn read_remote(
    remote: &Arc<Remote>,
    shown: &str,
    wanted: &WantedImages,
    options: &Options,
    limits: &Limits,
    progress: &Progress,
) -> Result<SourceImage, Failure> {
    let attachments = options.access.attachments;
    let set =
        read_images(remote, wanted, &ReadOptions { platforms: &options.platforms, limits, attachments })?;
    let tags: Vec<_> = set.tags.keys().cloned().collect();
    let manifests = number(set.manifests.len(), "manifest");
    progress.say(&format!("Read {manifests} of {shown} with {}", tag_list(&tags)));
    progress.notes(&set.notes);
    let repository = Some(remote.name().to_string());
    let source = Source { name: shown.to_owned(), kind: "registry", repository };
    let mut image = Image::Manifests(set);
    if let (Some(from), Some(to)) = (&options.source_tag, &options.image.tag) {
        image.rename_tag(from, to);
        progress.say(&format!("Its tag {from} is published as {to}"));
    }
    let signatures = Signatures::new();
    Ok(SourceImage { source, kind: None, image, private: false, export: None, signatures })
}

/// The images that the address and the other arguments ask for together.
pub(super) fn wanted(address: &RegistryAddress, options: &Options) -> Result<WantedImages, Failure> {
    if let Some(tags) = &options.access.only {
        return Ok(WantedImages::Tags(tags.clone()));
    }
    let usage = |message: String, hint: &str| Failure::new(Kind::Usage, message).hint(hint);
    if options.repository.is_some() {
        return Err(usage(
            "--repository chooses from an archive, and --from names a repository in a registry".into(),
            "leave --repository out",
        ));
    }
    let digest = match (address.digest, options.digest) {
        (Some(one), Some(other)) if one != other => {
            return Err(usage(
                format!("--from names {one}, and --digest names {other}"),
                "leave one of them out",
            ));
        }
        (one, other) => one.or(other),
    };
    let asked = options.source_tag.as_ref().or(options.image.tag.as_ref());
    let tag = match (&address.tag, asked) {
        (Some(one), Some(other)) if one != other => {
            return Err(usage(
                format!(
                    "--from names the tag `{one}`, and the image names the tag `{other}`: tags keep their names"
                ),
                "name the tag once",
            ));
        }
        (one, other) => one.as_ref().or(other).cloned(),
    };
    Ok(match (digest, tag) {
        (Some(digest), tag) => WantedImages::Digest(digest, tag),
        (None, Some(tag)) => WantedImages::Tags(BTreeSet::from([tag])),
        (None, None) => WantedImages::All,
    })
}
