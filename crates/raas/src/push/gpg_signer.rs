//! `--sign-by`: makes atomic signatures of the images of a push, with a key of the user's own GnuPG, under the names that
//! people pull.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::SystemTime;

use raas_base::failure::{Failure, Kind};
use raas_gpg::{GpgError, Keyring, SigningKey};
use raas_signatures::simple_signing;
use raas_types::{AtomicSignature, Digest, Manifest, RepositoryName, Tag, Utc};

use super::published_signatures::{PublishedSignatures, add_atomic};
use super::signer::{SignedImages, images_of, password_of, public_names};
use super::transfer::Stored;
use crate::config::RegistryAddress;

/// The values of `--sign-by` and `--sign-password-file`.
#[derive(Debug, Clone)]
pub(crate) struct SignByArgument {
    pub(crate) key: String,
    pub(crate) password: Option<PathBuf>,
}

/// Signs images with gpg.
#[derive(Debug)]
pub(super) struct GpgSigner {
    key: SigningKey,
    /// The key alone, with which the signatures that it has made before are known.
    own: Keyring,
    names: Vec<String>,
}

impl GpgSigner {
    /// Finds the key.
    ///
    /// # Errors
    /// gpg has no such key, or the vendor's registry has no name to sign.
    pub(super) fn open(
        argument: &SignByArgument,
        addresses: &[RegistryAddress],
        name: &RepositoryName,
    ) -> Result<Self, Failure> {
        let names = public_names("--sign-by", addresses, name)?;
        let password = argument.password.as_deref().map(password_of).transpose()?;
        let unusable = |error: GpgError| {
            let is_unknown = matches!(error, GpgError::NotOneKey(..));
            let hint = is_unknown.then_some("give the fingerprint of one key: `gpg --list-secret-keys`");
            let message = format!("cannot use {}, the key of --sign-by", argument.key);
            error.because_of(Kind::Usage, message).hint_if(hint)
        };
        let key = SigningKey::find(&argument.key, password).map_err(unusable)?;
        let mut own = Keyring::new().map_err(unusable)?;
        own.add(&key.public().map_err(unusable)?).map_err(unusable)?;
        Ok(Self { key, own, names })
    }

    /// The fingerprint of the key.
    pub(super) fn fingerprint(&self) -> &str {
        self.key.fingerprint()
    }

    /// The names that it signs.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Signs every image of the push, and adds the signatures to it. A valid signature that the repository or the source
    /// has is not made again, so that the same push again changes nothing.
    ///
    /// # Errors
    /// gpg fails, or an image has too many signatures.
    pub(super) fn sign(
        &self,
        stored: &mut Stored,
        published: &PublishedSignatures,
    ) -> Result<SignedImages, Failure> {
        let images = images_of(stored);
        let tags = tags_of(stored);
        let mut new = Vec::new();
        for image in &images {
            let tags = tags.get(image);
            let with_tags = |name: &String| -> Vec<String> {
                match tags {
                    Some(tags) => tags.iter().map(|tag| format!("{name}:{tag}")).collect(),
                    None => vec![name.clone()],
                }
            };
            let references: BTreeSet<String> = self.names.iter().flat_map(with_tags).collect();
            if self.sign_one(image, references, stored, published)? {
                new.push(*image);
            }
        }
        Ok(SignedImages { all: images, new })
    }

    /// Adds the signatures of one image. Returns whether it has made any.
    fn sign_one(
        &self,
        image: &Digest,
        mut missing: BTreeSet<String>,
        stored: &mut Stored,
        published: &PublishedSignatures,
    ) -> Result<bool, Failure> {
        for signature in stored.signatures.get(image).into_iter().flatten() {
            if let Some(reference) = self.own_reference(image, signature)? {
                missing.remove(&reference);
            }
        }
        for signature in published.atomic(image) {
            let reference = self.own_reference(image, signature)?;
            if reference.is_some_and(|reference| missing.remove(&reference)) {
                add_atomic(stored, image, signature);
            }
        }
        for reference in &missing {
            let signature = self.make(image, reference)?;
            add_atomic(stored, image, &signature);
        }
        let stays = |signature: &&AtomicSignature| {
            published.stay()
                && !stored.signatures.get(image).into_iter().flatten().any(|one| one.is_same(signature))
        };
        let count = published.atomic(image).iter().filter(stays).count()
            + stored.signatures.get(image).map_or(0, Vec::len);
        if count > AtomicSignature::MAX_COUNT {
            let message = format!(
                "{image} would have {count} atomic signatures, but podman reads at most {}",
                AtomicSignature::MAX_COUNT
            );
            return Err(Failure::new(Kind::Refused, message)
                .hint("publish the image with fewer tags, or remove the old signatures with --prune"));
        }
        Ok(!missing.is_empty())
    }

    /// The name in a signature by this key. `None` for other signatures.
    fn own_reference(&self, image: &Digest, signature: &AtomicSignature) -> Result<Option<String>, Failure> {
        let limit = simple_signing::MAX_PAYLOAD as usize;
        let checked = self.own.verify(&signature.bytes(), limit).map_err(|error| {
            error.because_of(Kind::Environment, format!("cannot check an atomic signature of {image}"))
        })?;
        Ok(checked.ok().and_then(|signed| simple_signing::read_atomic(&signed.content, image).ok()))
    }

    fn make(&self, image: &Digest, reference: &str) -> Result<AtomicSignature, Failure> {
        let creator = concat!("raas ", env!("CARGO_PKG_VERSION"));
        let payload = simple_signing::atomic_payload(reference, image, creator, Utc::of(SystemTime::now()));
        let failed = || format!("cannot sign {reference} with the key {}", self.fingerprint());
        let signed = self.key.sign(&payload).map_err(|error| {
            let hint = matches!(error, GpgError::Failed(_) | GpgError::TimedOut(_)).then_some(
                "give the password of the key with --sign-password-file, or let gpg's agent ask for it: \
                 `export GPG_TTY=$(tty)`",
            );
            error.because_of(Kind::Environment, failed()).hint_if(hint)
        })?;
        AtomicSignature::of_bytes(image, &signed)
            .map_err(|error| Failure::new(Kind::Environment, failed()).caused_by(error))
    }
}

/// The tags of each manifest: its own, and those of the indexes that list it.
fn tags_of(stored: &Stored) -> BTreeMap<Digest, BTreeSet<Tag>> {
    let mut found: BTreeMap<Digest, BTreeSet<Tag>> = BTreeMap::new();
    for (tag, digest) in &stored.tags {
        let mut waiting = vec![*digest];
        while let Some(digest) = waiting.pop() {
            if !found.entry(digest).or_default().insert(tag.clone()) {
                continue;
            }
            let manifest = stored.manifests.get(&digest);
            let manifest = manifest.and_then(|one| Manifest::parse(&one.bytes, Some(&one.media_type)).ok());
            waiting
                .extend(manifest.iter().flat_map(|manifest| manifest.children()).map(|child| child.digest));
        }
    }
    found
}
