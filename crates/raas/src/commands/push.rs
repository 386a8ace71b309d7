//! `raas push`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use raas_types::url::host_of;
use raas_types::{Digest, ImageArgument, Platform, Tag, VendorName};

use crate::config::Config;
use crate::output::{self, number};
use crate::platform;
use crate::progress::{Progress, bytes};
use crate::push::{
    self, Counted, MovedTag, Options, RegistryAccess, Report, SignArgument, SignByArgument, SourceArgument,
    SourceLogin, Via,
};
use crate::resolver;
use raas_base::failure::{Failure, Kind};
use raas_publish::home::Home;

/// Publish an image, or an update of an image
///
/// The source is a repository in a registry or in Pulp, a Pulp 2 or Pulp 3 export, a docker save archive, an OCI image
/// layout or a `dir:` folder of skopeo. raas recognises an archive by its content. It does not store masked layers:
/// servers redirect clients to their locations.
///
/// The push adds the tags of the source to the published tags. If the vendor is not set up yet, the push sets it up.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  raas push bigdatainc bigdata-app --from fixtures/bigdata-app.tar")]
#[command(group = ArgGroup::new("signer").multiple(true))]
pub(crate) struct Arguments {
    /// Publish for this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Publish under this name, and only the given tag of the source
    ///
    /// Tags keep their names, unless --tag names a tag of the source. A source without tags gets the given tag.
    #[arg(value_name = "IMAGE[:TAG]")]
    pub(crate) image: ImageArgument,

    /// Read this file, folder, http(s) URL or registry; `-` is standard input [default: Pulp, or IMAGE.tar]
    ///
    /// Without it, raas reads from the Pulp server of `[pulpserver]` in raas.cfg. If there is no such section, it reads
    /// IMAGE.tar in the current folder. If an export has several files, give the table of contents or the first file.
    /// Write a repository in a registry as docker://HOST/NAME for all its tags, or as docker://HOST/NAME:TAG or
    /// docker://HOST/NAME@DIGEST.
    #[arg(long, value_name = "PATH|URL|-")]
    from: Option<String>,

    /// Read from Pulp 3 through its registry, or from an export that Pulp makes now
    ///
    /// An export is read from the folder `export_path` of [pulpserver], which this machine must see.
    #[arg(long, value_enum, default_value_t)]
    via: Via,

    /// Log in at the registry of --from with the `USER:PASSWORD` in this file, or `-` for standard input
    ///
    /// Without it, raas uses the logins of `docker login` and `podman login`.
    #[arg(long, value_name = "FILE|-")]
    src_creds: Option<SourceLogin>,

    /// Speak http without TLS with the registry of --from
    #[arg(long)]
    src_plain_http: bool,

    /// Take this repository of a source with several [default: the name of the image]
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,

    /// Take the image with this tag from the source, and publish it under the tag of IMAGE:TAG
    #[arg(long = "tag", value_name = "TAG")]
    source_tag: Option<Tag>,

    /// Take the image with this digest from the source
    ///
    /// The digest is that of the manifest, or of the config in an archive without manifests. Give it for a source with
    /// several images, or for an image without a tag.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Digest>,

    /// Publish only these platforms of an image, such as linux/amd64,linux/arm64
    ///
    /// A single platform is published as its image. Several are published as an index with a digest of its own.
    #[arg(long = "platform", value_name = "OS/ARCH", value_delimiter = ',')]
    platforms: Vec<Platform>,

    /// Remove published tags that the source does not have
    #[arg(long)]
    prune: bool,

    /// Move or remove also tags that `immutable_tags` of raas.cfg protects; the log shows who did it
    #[arg(long)]
    force_tag: bool,

    /// Let only users and customers see the repository, from this publication on
    #[arg(long)]
    protected: bool,

    /// Sign the images with this key, under the name that people pull; the key is one of cosign or openssl
    ///
    /// The signature is published beside the image, under the tag that cosign, podman and policy controllers look for. The
    /// password of an encrypted key is the value of COSIGN_PASSWORD. `raas trust` prints what customers need to check the
    /// signatures.
    #[arg(long, value_name = "FILE", group = "signer")]
    sign: Option<PathBuf>,

    /// Sign the images with this key of your GnuPG, under the name and the tags that people pull
    ///
    /// The signature is a simple signature, as `skopeo copy --sign-by` makes it. raas publishes it as podman, skopeo and
    /// CRI-O look for it: by the signature API of the registry, and in the bucket as a lookaside storage. gpg's agent asks for
    /// the password of the key.
    #[arg(long, value_name = "FINGERPRINT", group = "signer")]
    sign_by: Option<String>,

    /// Read the password of the key of --sign or --sign-by from the first line of this file
    #[arg(long, value_name = "FILE", requires = "signer")]
    sign_password_file: Option<PathBuf>,

    /// Write no backup to the configuration repository
    #[arg(long)]
    nocommit: bool,

    /// Do not ask whether the masked layers are at their locations
    #[arg(long, env = "RAAS_OFFLINE")]
    offline: bool,

    /// Say what the push would do, and do nothing
    #[arg(long)]
    dry_run: bool,

    /// Print only the reference to pull
    #[arg(long, conflicts_with = "json")]
    terse: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(home: &Home, config: &Config, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments {
        vendor,
        image,
        from,
        via,
        src_creds,
        src_plain_http,
        repository,
        source_tag,
        digest,
        platforms,
        prune,
        force_tag,
        protected,
        sign,
        sign_by,
        sign_password_file,
        nocommit,
        offline,
        dry_run,
        terse,
        json,
    } = arguments;
    // clap's errors would repeat the value, which may hold a password.
    let from = from.map_or(Ok(SourceArgument::Default), |text| text.parse())?;
    let access = RegistryAccess::new(src_creds.as_ref(), src_plain_http, &from)?;
    if sign.is_some() && sign_by.is_some() && sign_password_file.is_some() {
        let message = "--sign-password-file has one password, and --sign and --sign-by have a key each";
        return Err(Failure::new(Kind::Usage, message).hint(
            "give the password of --sign in COSIGN_PASSWORD, and let gpg's agent ask for that of --sign-by",
        ));
    }
    let options = Options {
        vendor,
        image,
        from,
        via,
        access,
        repository,
        source_tag,
        digest,
        platforms,
        prune,
        protected,
        sign: sign.map(|key| SignArgument { key, password: sign_password_file.clone() }),
        sign_by: sign_by.map(|key| SignByArgument { key, password: sign_password_file }),
        force_tag,
        dry_run,
        offline,
        no_backup: nocommit,
        by_sync: false,
    };
    let progress = if terse || json { Progress::quiet() } else { Progress::shown() };
    let report = push::push(home, config, &options, &progress)?;
    if json {
        output::json(&report);
    } else if terse {
        output::line(&report.reference);
    } else {
        let is_signed = options.sign.is_some() || options.sign_by.is_some();
        print(&report, &options.vendor, is_signed, platform::is_local(config));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report, vendor: &VendorName, is_signed: bool, is_local: bool) {
    let (store, move_tag, remove) = if report.dry_run {
        ("Would store", "Would move", "Would remove")
    } else {
        ("Stored", "Moved", "Removed")
    };
    let mut totals = format!("{store} {}", counted(&report.stored));
    if report.dry_run {
        totals.push_str(" of layers and configs, then the manifests");
        if is_signed {
            totals.push_str(" and signatures");
        }
    }
    if report.present.objects > 0 {
        totals.push_str(&format!("; {} already there", counted(&report.present)));
    }
    if !report.masked.is_empty() {
        totals.push_str(&format!("; {} masked, not stored", number(report.masked.len(), "layer")));
    }
    if let Some(requests) = report.requests {
        totals.push_str(&format!("; {}", number(requests, "request")));
    }
    output::line(&format!("{totals}; {:.1} s", report.seconds));
    for (tag, MovedTag { from, to }) in &report.moved_tags {
        let to = to.map_or_else(|| "another manifest".to_owned(), |to| to.to_string());
        output::line(&format!("{move_tag} tag {tag} from {from} to {to}"));
    }
    for tag in &report.removed_tags {
        output::line(&format!("{remove} tag {tag}"));
    }
    if !report.signed_manifests.is_empty() {
        output::line(&format!("Signed {}", number(report.signed_manifests.len(), "manifest")));
    }
    if let Some(commit) = &report.commit {
        let commit = &commit[..12];
        output::line(&if report.changed {
            format!("Published as commit {commit}")
        } else {
            format!("Nothing changed: it is published already, as commit {commit}")
        });
    }
    if report.dry_run {
        output::line("Nothing was done (--dry-run)");
    } else if report.served {
        print_reference(report);
    } else if let Some(registry) = &report.registry {
        output::line(&format!(
            "{registry} does not serve it yet; check it with `raas status {vendor}`, then:"
        ));
        print_reference(report);
    } else if !is_local {
        // The platform knows the host of the registry. raas does not ask it for a push.
        output::line(&format!(
            "The servers of {vendor} read it within seconds; `raas status {vendor}` shows them and their address. With \
             `registry_host`, a push waits for them"
        ));
    } else {
        output::line(&format!("No server of {vendor} runs; start one with `raas serve {vendor}`, then:"));
        print_reference(report);
    }
}

/// Prints the command that pulls the image. docker resolves the name with the system's resolver, which may know no names
/// below `localhost`.
fn print_reference(report: &Report) {
    output::line(&format!("docker pull {}", report.reference));
    let host = host_of(report.reference.split('/').next().unwrap_or_default());
    if host.ends_with(".localhost") && resolver::resolve(host, 80).is_err() {
        output::note(&format!("hint: {}", resolver::fix(host)));
    }
}

fn counted(counted: &Counted) -> String {
    format!("{} ({})", number(counted.objects, "object"), bytes(counted.bytes))
}
