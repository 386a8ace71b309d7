//! What a push does about signatures: it checks those that the vendor's images need, and makes those of `--sign`.

use std::collections::BTreeSet;

use raas_base::failure::Failure;
use raas_image::Image;
use raas_publish::home::Vendor;
use raas_publish::storage::Storage;
use raas_types::{Digest, RepositoryName};

use super::Options;
use super::published_signatures::{PublishedSignatures, Put};
use super::report::Report;
use super::signature_check::{Coming, SignatureCheck, ValidSignatures};
use super::signer::{SignedImages, Signer};
use super::source::SourceImage;
use super::transfer::Stored;
use crate::config::Config;
use crate::signature_policy::SignaturePolicy;

/// The policy of the vendor, and the key of the push.
pub(super) struct Signing {
    policy: Option<SignaturePolicy>,
    pub(super) signer: Option<Signer>,
}

impl Signing {
    /// Reads the keys.
    ///
    /// # Errors
    /// A key cannot be used.
    pub(super) fn prepare(config: &Config, options: &Options) -> Result<Self, Failure> {
        let settings = config.vendor(&options.vendor);
        let policy = SignaturePolicy::load(&options.vendor, &settings)?;
        let open = |argument| Signer::open(argument, &settings.registry_addresses, &options.image.name);
        let signer = options.sign.as_ref().map(open).transpose()?;
        Ok(Self { policy, signer })
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
        let to_sign = options.by_hand("--sign KEY");
        let coming = self.coming();
        let check =
            SignatureCheck { policy, name, coming, published: &published, storage, to_sign: &to_sign };
        let valid = check.run(image, &source.signatures)?;
        if let (Image::Manifests(set), None) = (image, &self.signer) {
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

    /// Whether the signatures of `--sign` count. The policy may trust neither the key nor the names.
    fn coming(&self) -> Coming {
        let (Some(policy), Some(signer)) = (&self.policy, &self.signer) else { return Coming::None };
        let vendor = &policy.vendor;
        let file = signer.file().display();
        if !policy.keys.contains(signer.public_key()) {
            return Coming::DoesNot {
                why: format!(
                    "the signature of --sign would not count: {file} is none of the keys that `require_signature` of \
                     [{vendor}] trusts"
                ),
                hint: format!(
                    "sign with a key that `require_signature` trusts, or add the public key of {file} to it"
                ),
            };
        }
        match signer.coming().find_map(|one| policy.check_name(&one).ok()) {
            Some(()) => Coming::Counts,
            None => {
                let names = signer.names().join(", ");
                Coming::DoesNot {
                    why: format!(
                        "the signature of --sign would not count: it names the image {names}, which `signature_identity` of \
                         [{vendor}] does not allow"
                    ),
                    hint: format!(
                        "add {names} to `signature_identity` of [{vendor}], or HOST/* for all images of a host"
                    ),
                }
            }
        }
    }

    /// Keeps the published signatures by which images count as signed, and makes those of `--sign`. `put` stores a small
    /// object.
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
        published.keep(&valid.published, name, stored, put)?;
        match &self.signer {
            Some(signer) => signer.sign(name, stored, published, put),
            None => Ok(SignedImages::default()),
        }
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
            let keys: Vec<String> = policy.keys.iter().map(|key| key.fingerprint().to_string()).collect();
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
        notes
    }
}
