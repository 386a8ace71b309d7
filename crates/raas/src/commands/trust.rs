//! `raas trust`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use raas_base::failure::{Failure, Kind};
use raas_gpg::Keyring;
use raas_types::VendorName;
use serde::Serialize;

use crate::config::{Config, KeylessSigner};
use crate::customer_policy::{CustomerPolicy, KeyKind, KeylessPolicy, PolicyFormat};
use crate::keyless::Keyless;
use crate::mirror_config::Mirror;
use crate::output;
use crate::signature_policy::SignaturePolicy;
use crate::trusted_keys::TrustedKeys;

/// Print what customers need to pull signed images only
///
/// The documents say: an image of this vendor must have a signature by the vendor's key. The keys are those of
/// `require_signature`, unless --key names others: public keys of cosign, keys of OpenPGP, certificates of Notation. A keyless
/// signature has no key, but the identity of its signer. The names are those of `registry_host`.
///
/// Without --format, raas prints all documents for these keys, each with the place that it goes to.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Example:\n  raas trust bigdatainc --format podman > policy.json\n  raas trust bigdatainc --key cosign.pub"
)]
pub(crate) struct Arguments {
    /// Print the documents of this vendor
    #[arg(value_name = "ISV")]
    pub(crate) vendor: VendorName,

    /// Trust the public keys or the certificates in this file [default: the keys of `require_signature`]
    #[arg(long = "key", value_name = "FILE")]
    keys: Vec<PathBuf>,

    /// Trust the keyless signatures of this identity [default: the identities of `require_signature`]
    ///
    /// The identity is an e-mail address, *@DOMAIN, a URI or URI*, as in `require_signature`. Their Sigstore is that of
    /// `sigstore_root`.
    #[arg(long = "identity", value_name = "IDENTITY from ISSUER")]
    identities: Vec<KeylessSigner>,

    /// Look for signatures in this registry too: clients pull from it as a mirror
    ///
    /// The option adds the mirror to the document for registries.d. It is the mirror of `raas mirror-config --to`.
    #[arg(long = "mirror", value_name = "HOST[:PORT][/PATH]")]
    mirrors: Vec<Mirror>,

    /// Print only the document of this format
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<PolicyFormat>,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What customers need.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TrustReport {
    #[cfg_attr(test, schemars(with = "String"))]
    vendor: VendorName,
    registry_hosts: Vec<String>,
    /// The SHA-256 of each public key or certificate in DER, the fingerprint of each key of OpenPGP, and each keyless
    /// identity with its issuer.
    trusted_keys: Vec<String>,
    policies: Vec<PolicyReport>,
}

/// A document for customers.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PolicyReport {
    policy_format: &'static str,
    /// The path of the file, or the command that takes the document.
    place: String,
    text: String,
}

pub(crate) fn run(config: &Config, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let (policy, trusted_keys) = policy(config, arguments)?;
    let formats = match arguments.format {
        Some(format) => vec![format],
        None => PolicyFormat::ALL.into_iter().filter(|format| policy.kind(*format).is_some()).collect(),
    };
    check_kinds(&policy, &formats, arguments.format.is_some())?;
    if policy.keys.len() > 1 && formats.contains(&PolicyFormat::Openshift) {
        let message = "a ClusterImagePolicy of OpenShift has one key; the document has the first";
        if arguments.format.is_some() {
            return Err(Failure::new(
                Kind::Usage,
                format!("{} keys are trusted: {message}", policy.keys.len()),
            )
            .hint("name the key with --key FILE"));
        }
        output::note(&format!("Note: {message}"));
    }
    check_addresses(&policy, &formats, arguments.format.is_some())?;
    let documents = formats.into_iter().map(|format| (format, policy.document(format)));
    if arguments.json {
        let report = |(format, document): (PolicyFormat, crate::customer_policy::Document)| PolicyReport {
            policy_format: format.name(),
            place: document.place,
            text: document.text,
        };
        output::json(&TrustReport {
            vendor: policy.vendor.clone(),
            registry_hosts: policy.hosts.clone(),
            trusted_keys,
            policies: documents.map(report).collect(),
        });
        return Ok(ExitCode::SUCCESS);
    }
    for (format, document) in documents {
        if arguments.format.is_none() {
            output::line(&format!("# {}: {}", format.name(), document.place));
        }
        match (document.note, arguments.format) {
            (Some(note), None) => output::line(&format!("# {note}")),
            (Some(note), Some(_)) => output::note(&format!("Note: {note}")),
            (None, _) => {}
        }
        output::line(document.text.trim_end());
        if arguments.format.is_none() {
            output::line("");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks that the documents can have the keys. `is_chosen` says whether the user has chosen the format.
fn check_kinds(policy: &CustomerPolicy, formats: &[PolicyFormat], is_chosen: bool) -> Result<(), Failure> {
    for format in formats {
        let Some(kind) = policy.kind(*format) else {
            let kinds: Vec<&str> = format.kinds().iter().map(|kind| words(*format, *kind)).collect();
            let message =
                format!("a document for {} has {}, and none is trusted", format.name(), kinds.join(" or "));
            return Err(Failure::new(Kind::Usage, message)
                .hint("name a file with such a key with --key FILE, or leave --format out"));
        };
        if policy.leaves_out(*format) {
            let message = format!(
                "the document for {} has the {} alone: clients demand a signature of each kind that it lists",
                format.name(),
                words(*format, kind)
            );
            if is_chosen {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("keys of several kinds are trusted: {message}"),
                )
                .hint("name the keys of one kind with --key FILE, or keyless signers with --identity"));
            }
            output::note(&format!("Note: {message}"));
        }
    }
    Ok(())
}

/// Checks that the documents can name the keyless signers. `is_chosen` says whether the user has chosen the format.
fn check_addresses(
    policy: &CustomerPolicy,
    formats: &[PolicyFormat],
    is_chosen: bool,
) -> Result<(), Failure> {
    let Some(keyless) = &policy.keyless else { return Ok(()) };
    let names_one = |format: &&PolicyFormat| {
        format.knows_one_address() && policy.kind(**format) == Some(KeyKind::Keyless)
    };
    let count = keyless.signers.len();
    match (formats.iter().find(names_one), count) {
        (Some(format), 2..) => {
            let message = format!(
                "podman, CRI-O and OpenShift check keyless signatures of one e-mail address; the document for {} has the \
                 first",
                format.name()
            );
            if is_chosen {
                return Err(Failure::new(Kind::Usage, format!("{count} signers are trusted: {message}"))
                    .hint("name the signer with --identity"));
            }
            output::note(&format!("Note: {message}"));
        }
        (None, _) if !is_chosen && keyless.address().is_none() => output::note(
            "Note: podman, CRI-O and OpenShift check keyless signatures of one e-mail address only, so there is no document \
             for them",
        ),
        _ => {}
    }
    Ok(())
}

/// The keys of a kind in words, as a format may have them.
fn words(format: PolicyFormat, kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Keyless if format.knows_one_address() => "a keyless signer with an e-mail address",
        KeyKind::Keyless => "keyless signers",
        KeyKind::Cosign => "public keys of cosign",
        KeyKind::OpenPgp => "keys of OpenPGP",
        KeyKind::Certificates => "certificates",
    }
}

/// The policy, and the names of its keys.
fn policy(config: &Config, arguments: &Arguments) -> Result<(CustomerPolicy, Vec<String>), Failure> {
    let vendor = &arguments.vendor;
    let settings = config.vendor(vendor);
    if settings.registry_addresses.is_empty() {
        let message = format!("{vendor} has no `registry_host`, so customers have no name to trust");
        return Err(Failure::new(Kind::Usage, message).hint(format!("set `registry_host` in [{vendor}]")));
    }
    let mut keys = TrustedKeys::load(arguments.keys.iter().map(PathBuf::as_path), "--key")?;
    keys.add_keyless(&arguments.identities, settings.sigstore_root.as_deref())?;
    // The signatures that `--key` is for may give other names than those of `require_signature`.
    let names = if keys.is_empty() { settings.signature_identity.clone() } else { Vec::new() };
    if keys.is_empty() {
        let Some(policy) = SignaturePolicy::load(vendor, &settings)? else {
            let message = format!("no key of {vendor} is known");
            return Err(Failure::new(Kind::Usage, message)
                .hint("name the public key with --key FILE, or the identity of a keyless signer with --identity")
                .hint(format!("or set `require_signature` in [{vendor}]")));
        };
        keys = policy.keys;
    }
    let hosts = settings.registry_addresses.iter().map(ToString::to_string).collect();
    let mirrors = arguments.mirrors.iter().map(Mirror::shown).collect();
    let fingerprints = keys.fingerprints();
    let open_pgp = keys.open_pgp.as_ref().map(Keyring::export).transpose();
    let open_pgp = open_pgp
        .map_err(|error| error.because_of(Kind::Environment, "cannot export the trusted keys of OpenPGP"))?
        .unwrap_or_default();
    let TrustedKeys { cosign: keys, certificates, keyless, .. } = keys;
    let keyless = keyless.as_ref().map(keyless_policy);
    let vendor = vendor.clone();
    Ok((
        CustomerPolicy { vendor, hosts, keys, open_pgp, certificates, keyless, names, mirrors },
        fingerprints,
    ))
}

fn keyless_policy(keyless: &Keyless) -> KeylessPolicy {
    KeylessPolicy {
        signers: keyless.signers().to_vec(),
        is_private: keyless.is_private(),
        authorities: keyless.authorities(),
        authority_url: keyless.authority_url(),
        log_url: keyless.log_url(),
        log_keys: keyless.log_keys(),
        certificate_log_keys: keyless.certificate_log_keys(),
    }
}
