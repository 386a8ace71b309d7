//! What a push does about signatures: it checks those that the vendor's images need, and makes those of `--sign` and
//! `--sign-by`.

use std::collections::BTreeSet;

use raas_base::failure::Failure;
use raas_image::Image;
use raas_publish::home::Vendor;
use raas_publish::storage::Storage;
use raas_types::{Digest, RepositoryName};

use super::Options;
use super::gpg_signer::GpgSigner;
use super::published_signatures::{PublishedSignatures, Put};
use super::report::Report;
use super::signature_check::{Coming, SignatureCheck, ValidSignatures};
use super::signer::{SignedImages, Signer};
use super::source::SourceImage;
use super::transfer::Stored;
use crate::config::Config;
use crate::signature_policy::SignaturePolicy;

/// The policy of the vendor, and the keys of the push.
pub(super) struct Signing {
    policy: Option<SignaturePolicy>,
    signer: Option<Signer>,
    gpg: Option<GpgSigner>,
}

impl Signing {
    /// Reads the keys.
    ///
    /// # Errors
    /// A key cannot be used.
    pub(super) fn prepare(config: &Config, options: &Options) -> Result<Self, Failure> {
        let settings = config.vendor(&options.vendor);
        let policy = SignaturePolicy::load(&options.vendor, &settings)?;
        let (addresses, name) = (&settings.registry_addresses, &options.image.name);
        let signer = options.sign.as_ref().map(|argument| Signer::open(argument, addresses, name));
        let gpg = options.sign_by.as_ref().map(|argument| GpgSigner::open(argument, addresses, name));
        Ok(Self { policy, signer: signer.transpose()?, gpg: gpg.transpose()? })
    }

    /// The manifests of the source that are signed as the policy demands. None without a policy.
    ///
    /// # Errors
    /// An image has no valid signature.
    pub(super) fn check(
        &self,
        options: &Options,
        source: &SourceImage,
        vendor: &Vendor,
        storage: &dyn Storage,
        say: &dyn Fn(&str),
    ) -> Result<ValidSignatures, Failure> {
        let Some(policy) = &self.policy else { return Ok(ValidSignatures::default()) };
        let name = &options.image.name;
        let image = &source.image;
        let published = match image {
            Image::Manifests(set) => {
                PublishedSignatures::read(vendor, name, set.manifests.keys(), options.prune)?
            }
            Image::Saved(_) | Image::V1(_) => PublishedSignatures::default(),
        };
        let option = match &policy.keys {
            keys if !keys.cosign.is_empty() => Some("--sign KEY"),
            keys if keys.open_pgp.is_some() => Some("--sign-by FINGERPRINT"),
            // raas makes no signatures of Notation.
            _ => None,
        };
        let to_sign = option.map(|option| options.by_hand(option));
        let coming = self.coming();
        let check = SignatureCheck {
            policy,
            name,
            coming,
            published: &published,
            storage,
            to_sign: to_sign.as_deref(),
        };
        let valid = check.run(image, &source.signatures)?;
        if let (Image::Manifests(set), false) = (image, self.signs()) {
            let is_bare = |digest: &Digest| !valid.images.contains(digest);
            let listed = valid.images.iter().filter_map(|digest| set.manifests.get(digest));
            if listed.flat_map(|item| item.manifest.children()).any(|child| is_bare(&child.digest)) {
                say(
                    "Note: an index is signed, and not every image that it lists. podman and CRI-O check the signature of the \
                     image for their platform: `cosign sign --recursive` and `raas push --sign` sign all of them",
                );
            }
        }
        Ok(valid)
    }

    /// Whether the push signs.
    fn signs(&self) -> bool {
        self.signer.is_some() || self.gpg.is_some()
    }

    /// Whether the signatures of the push count. The policy may trust neither the keys nor the names.
    fn coming(&self) -> Coming {
        let Some(policy) = &self.policy else { return Coming::None };
        let of_signer = |signer: &Signer| {
            let is_trusted = policy.keys.cosign.contains(signer.public_key());
            coming_of(policy, "--sign", &signer.file().display().to_string(), is_trusted, signer.names())
        };
        let of_gpg = |gpg: &GpgSigner| {
            let trusted = policy.keys.open_pgp.iter().flat_map(raas_gpg::Keyring::fingerprints);
            let is_trusted = trusted.into_iter().any(|trusted| trusted == gpg.fingerprint());
            coming_of(policy, "--sign-by", gpg.fingerprint(), is_trusted, gpg.names())
        };
        match (self.signer.as_ref().map(of_signer), self.gpg.as_ref().map(of_gpg)) {
            (Some(Coming::Counts), _) | (_, Some(Coming::Counts)) => Coming::Counts,
            (Some(does_not), _) | (None, Some(does_not)) => does_not,
            (None, None) => Coming::None,
        }
    }

    /// Keeps the published signatures by which images count as signed, and makes those of `--sign` and `--sign-by`. `put`
    /// stores a small object.
    ///
    /// # Errors
    /// The storage fails, or an image has too many signatures.
    pub(super) fn sign(
        &self,
        name: &RepositoryName,
        stored: &mut Stored,
        published: &PublishedSignatures,
        valid: &ValidSignatures,
        put: Put<'_>,
    ) -> Result<SignedImages, Failure> {
        published.keep(&valid.published, &valid.referrers, name, stored, put)?;
        let mut signed = match &self.signer {
            Some(signer) => signer.sign(name, stored, published, put)?,
            None => SignedImages::default(),
        };
        if let Some(gpg) = &self.gpg {
            let by_gpg = gpg.sign(stored, published)?;
            signed.all = by_gpg.all;
            let new: BTreeSet<Digest> = signed.new.iter().chain(&by_gpg.new).copied().collect();
            signed.new = new.into_iter().collect();
        }
        Ok(signed)
    }

    /// The manifests with a signature that the policy trusts, after the push has signed these.
    pub(super) fn verified(&self, valid: ValidSignatures, signed: &SignedImages) -> BTreeSet<Digest> {
        let mut verified = valid.images;
        if self.coming() == Coming::Counts {
            verified.extend(&signed.all);
        }
        verified
    }

    /// The lines for the message of the publication.
    pub(super) fn notes(&self, report: &Report) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(policy) = &self.policy {
            let keys = policy.keys.fingerprints();
            let count = report.verified_manifests.len();
            notes.push(format!(
                "Signatures: {count} verified, as require_signature demands, with {}",
                keys.join(", ")
            ));
        }
        if let Some(signer) = &self.signer {
            let key = signer.public_key().fingerprint();
            notes.push(format!("Signed: as {} with {key}", signer.names().join(", ")));
        }
        if let Some(gpg) = &self.gpg {
            notes.push(format!("Signed: as {} with {}", gpg.names().join(", "), gpg.fingerprint()));
        }
        notes
    }
}

/// Whether the signatures of one of these options count. `key` is how messages call the key.
fn coming_of(
    policy: &SignaturePolicy,
    option: &str,
    key: &str,
    is_trusted: bool,
    names: &[String],
) -> Coming {
    let vendor = &policy.vendor;
    if !is_trusted {
        return Coming::DoesNot {
            why: format!(
                "the signature of {option} would not count: {key} is none of the keys that `require_signature` of \
                 [{vendor}] trusts"
            ),
            hint: format!(
                "sign with a key that `require_signature` trusts, or add the public key of {key} to it"
            ),
        };
    }
    if names.iter().any(|name| policy.check_name(Some(name)).is_ok()) {
        return Coming::Counts;
    }
    let names = names.join(", ");
    Coming::DoesNot {
        why: format!(
            "the signature of {option} would not count: it names the image {names}, which `signature_identity` of \
             [{vendor}] does not allow"
        ),
        hint: format!(
            "add {names} to `signature_identity` of [{vendor}], or HOST/* for all images of a host"
        ),
    }
}
