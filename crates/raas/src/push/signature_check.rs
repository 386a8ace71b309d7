//! Checks that an image is signed as its vendor demands, before anything of it is stored.
//!
//! A valid signature of an index counts for everything that the index lists: its digest decides the digests of all of
//! them. cosign and policy controllers check the index too. podman checks the manifest of its platform instead, so the
//! signatures of all manifests that an index lists also count.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::time::SystemTime;

use raas_base::failure::{Context as _, Failure, Kind};
use raas_base::parallel;
use raas_image::{Image, ManifestSet};
use raas_publish::storage::Storage;
use raas_signatures::signature_manifest::{CERTIFICATE, SIGNATURE};
use raas_signatures::{Invalid, bundle, notation, simple_signing};
use raas_types::{AtomicSignature, Descriptor, Digest, ObjectKey, RepositoryName, Tag, Utc};

use super::found_signature::{self, Found, FoundKind};
use super::image_failure::OrFail as _;
use super::published_signatures::{PublishedReferrer, PublishedSignatures};
use super::runnable::{is_image, is_runnable};
use super::source::Signatures;
use crate::keyless::Keyless;
use crate::signature_policy::SignaturePolicy;

/// How many images are checked at once: the payloads of a registry's image are requests.
const AT_ONCE: usize = 16;

/// How many images an error names, and how many signatures of each.
const MOST_IMAGES: usize = 5;
const MOST_REASONS: usize = 5;

/// What decides whether an image may be published.
pub(super) struct SignatureCheck<'a> {
    pub(super) policy: &'a SignaturePolicy,
    pub(super) name: &'a RepositoryName,
    /// The signatures that `--sign` will make. They are for every image of the push.
    pub(super) coming: Coming,
    pub(super) published: &'a PublishedSignatures,
    /// The bucket that has the published signatures.
    pub(super) storage: &'a dyn Storage,
    /// What pushes the image with a signature. `None` if raas makes no signature that could count.
    pub(super) to_sign: Option<&'a str>,
}

/// Whether the signatures of `--sign` count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Coming {
    /// There is no `--sign`.
    None,
    /// They count.
    Counts,
    /// They do not count.
    DoesNot { why: String, hint: String },
}

/// The images with a valid signature.
#[derive(Debug, Default)]
pub(super) struct ValidSignatures {
    /// All of them.
    pub(super) images: BTreeSet<Digest>,
    /// Those without a valid signature in the source. The repository publishes the signature already.
    pub(super) published: BTreeSet<Digest>,
    /// The published referrers with a valid signature of these.
    pub(super) referrers: Vec<PublishedReferrer>,
}

/// Where the content of a signature is.
#[derive(Clone, Copy)]
enum Place {
    /// In the source.
    Source,
    /// In the bucket, where the repository publishes it.
    Bucket,
}

impl SignatureCheck<'_> {
    /// Checks all images of the source, and returns the manifests that have a valid signature, in the source or published
    /// beside them. A manifest that the repository publishes already needs none.
    ///
    /// # Errors
    /// A client could run a new manifest that no valid signature covers.
    pub(super) fn run(&self, image: &Image, atomic: &Signatures) -> Result<ValidSignatures, Failure> {
        let will_sign = self.coming == Coming::Counts;
        let set = match image {
            Image::Manifests(set) => set,
            _ if will_sign => return Ok(ValidSignatures::default()),
            Image::Saved(_) | Image::V1(_) => return Err(self.without_manifests()),
        };
        let found = found_signature::find(set, atomic);
        let outcomes: Outcomes = self.verify_all(set, found)?;
        let is_valid = |digest: &Digest| outcomes.get(digest).is_some_and(Result::is_ok);
        let (mut images, unsigned): (BTreeSet<Digest>, BTreeSet<Digest>) =
            set.manifests.keys().partition(|digest| is_valid(digest));
        let mut valid =
            ValidSignatures { referrers: self.valid_referrers(set, &unsigned)?, ..Default::default() };
        for digest in unsigned {
            let has_referrer = valid.referrers.iter().any(|referrer| referrer.subject == digest);
            if has_referrer || self.has_valid_published(set, &digest)? {
                images.insert(digest);
                valid.published.insert(digest);
            }
        }
        valid.images = images;
        let covered = with_everything_listed(set, &valid.images);
        let mut missing = Vec::new();
        for (digest, item) in &set.manifests {
            let comes = will_sign && is_image(&item.manifest);
            let needs_none = covered.contains(digest) || comes || self.published.has(digest);
            if !needs_none && is_runnable(item, set)? {
                missing.push(*digest);
            }
        }
        if missing.is_empty() { Ok(valid) } else { Err(self.refusal(set, &missing, &outcomes)) }
    }

    /// Whether the repository publishes a valid signature of the image, beside those in referrers.
    fn has_valid_published(&self, set: &ManifestSet, image: &Digest) -> Result<bool, Failure> {
        for found in found_signature::in_layers(self.published.layers(image), "the published signatures") {
            if self.verify(set, image, &found, Place::Bucket)?.is_ok() {
                return Ok(true);
            }
        }
        for signature in self.published.atomic(image) {
            if self.verify_atomic(image, signature)?.is_ok() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The published referrers of these images with a valid signature.
    fn valid_referrers(
        &self,
        set: &ManifestSet,
        images: &BTreeSet<Digest>,
    ) -> Result<Vec<PublishedReferrer>, Failure> {
        let mut valid = Vec::new();
        for referrer in self.published.referrers(images)? {
            for found in found_signature::in_referrer(&referrer.manifest, "a published referrer") {
                if self.verify(set, &referrer.subject, &found, Place::Bucket)?.is_ok() {
                    valid.push(referrer);
                    break;
                }
            }
        }
        Ok(valid)
    }

    /// Whether an atomic signature counts, or why it does not.
    fn verify_atomic(
        &self,
        image: &Digest,
        signature: &AtomicSignature,
    ) -> Result<Result<(), String>, Failure> {
        let Some(keyring) = &self.policy.keys.open_pgp else {
            return Ok(Err(
                "it is an OpenPGP signature, and none of the trusted keys is one of OpenPGP".into()
            ));
        };
        let checked = keyring.verify(&signature.bytes(), simple_signing::MAX_PAYLOAD as usize);
        let checked = checked.map_err(|error| {
            error.because_of(Kind::Environment, format!("cannot check an atomic signature of {image}"))
        })?;
        Ok(match checked {
            Ok(signed) => simple_signing::read_atomic(&signed.content, image)
                .map_err(|invalid| invalid.to_string())
                .and_then(|name| self.policy.check_name(Some(&name))),
            Err(bad) => Err(bad.to_string()),
        })
    }

    fn verify_all(
        &self,
        set: &ManifestSet,
        found: BTreeMap<Digest, Vec<Found>>,
    ) -> Result<Outcomes, Failure> {
        let outcomes =
            parallel::each(AT_ONCE, found.into_iter().collect(), |(image, found): (Digest, Vec<Found>)| {
                let mut reasons = Vec::new();
                for one in found {
                    match self.verify(set, &image, &one, Place::Source)? {
                        Ok(()) => return Ok((image, Ok(()))),
                        Err(reason) => reasons.push(format!("{}: {reason}", one.what)),
                    }
                }
                Ok((image, Err(reasons)))
            })?;
        Ok(outcomes.into_iter().collect())
    }

    /// Whether a signature counts, or why it does not.
    fn verify(
        &self,
        set: &ManifestSet,
        image: &Digest,
        found: &Found,
        place: Place,
    ) -> Result<Result<(), String>, Failure> {
        let (layer, limit) = match &found.kind {
            FoundKind::Payload(layer) => (layer, simple_signing::MAX_PAYLOAD),
            FoundKind::Bundle(layer) => (layer, bundle::MAX_BUNDLE),
            FoundKind::Notation(_) if self.policy.keys.certificates.is_empty() => {
                let why = "it is a signature of Notation, and none of the trusted keys is a certificate";
                return Ok(Err(why.into()));
            }
            FoundKind::Notation(layer) => (layer, notation::MAX_ENVELOPE),
            FoundKind::Atomic(signature) => return self.verify_atomic(image, signature),
            FoundKind::Unknown(reason) => return Ok(Err(reason.clone())),
        };
        let read = match place {
            Place::Source => read_source(set, layer, limit)?,
            Place::Bucket => self.read_bucket(layer, limit)?,
        };
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Err(why)),
        };
        // The source is not trusted: the transfer compares the digest too, but only later.
        if Digest::of(&bytes) != layer.digest {
            return Ok(Err(format!("its content does not have the digest {}", layer.digest)));
        }
        let name = match &found.kind {
            FoundKind::Notation(_) => return Ok(self.verify_notation(set, image, &bytes)),
            FoundKind::Bundle(_) => self.verify_bundle(set, image, &bytes),
            _ => self.verify_payload(layer, image, &bytes),
        };
        Ok(name.and_then(|name| self.policy.check_name(name.as_deref())))
    }

    /// The content of a published signature, or why it does not count.
    fn read_bucket(&self, layer: &Descriptor, limit: u64) -> Result<Result<Vec<u8>, String>, Failure> {
        let key = ObjectKey::Blob(self.name.clone(), layer.digest);
        let Some(content) = self.storage.read(&key)? else {
            return Ok(Err(format!("the bucket does not have its content, {}", layer.digest)));
        };
        let mut bytes = Vec::new();
        let read = content.take(limit + 1).read_to_end(&mut bytes);
        read.context(|| format!("cannot read {key} of {}", self.storage.display_name()))?;
        Ok(if bytes.len() as u64 > limit { Err(too_long(bytes.len() as u64, limit)) } else { Ok(bytes) })
    }

    /// The name that a bundle gives to the image: none. Or why it does not count.
    fn verify_bundle(
        &self,
        set: &ManifestSet,
        image: &Digest,
        bytes: &[u8],
    ) -> Result<Option<String>, String> {
        let keys = &self.policy.keys;
        let by_key = bundle::verify(bytes, image, &keys.cosign).map(|verified| verified.reference);
        self.or_keyless(by_key, bundle::has_certificate(bytes), |keyless| {
            let item = set.manifests.get(image).ok_or("the source does not have the image")?;
            keyless.verify_bundle(bytes, image, &item.bytes)
        })
    }

    /// The name that a payload of cosign gives to the image, or why it does not count.
    fn verify_payload(
        &self,
        layer: &Descriptor,
        image: &Digest,
        bytes: &[u8],
    ) -> Result<Option<String>, String> {
        let keys = &self.policy.keys;
        let by_key = match layer.annotation(SIGNATURE) {
            Some(signature) => simple_signing::verify(bytes, signature, image, &keys.cosign),
            None => Err(Invalid::Annotation(SIGNATURE)),
        };
        let has_certificate = layer.annotation(CERTIFICATE).is_some_and(|pem| !pem.is_empty());
        self.or_keyless(by_key.map(|verified| verified.reference), has_certificate, |keyless| {
            keyless.verify_payload(bytes, layer, image)
        })
    }

    /// What the keys say of a signature with a certificate, or else the keyless signers.
    fn or_keyless(
        &self,
        by_key: Result<Option<String>, Invalid>,
        has_certificate: bool,
        by_keyless: impl FnOnce(&Keyless) -> Result<Option<String>, String>,
    ) -> Result<Option<String>, String> {
        match (by_key, &self.policy.keys.keyless) {
            (Ok(name), _) => Ok(name),
            (Err(_), Some(keyless)) if has_certificate => by_keyless(keyless),
            (Err(Invalid::Key), None) if has_certificate => Err(
                "it is a keyless signature, or one with another key, and `require_signature` trusts keys alone"
                    .into(),
            ),
            (Err(invalid), _) => Err(invalid.to_string()),
        }
    }

    /// Whether an envelope of Notation counts, or why it does not.
    fn verify_notation(&self, set: &ManifestSet, image: &Digest, envelope: &[u8]) -> Result<(), String> {
        let Some(item) = set.manifests.get(image) else {
            return Err("the source does not have the image".into());
        };
        let (media_type, size) = (item.manifest.media_type.as_str(), item.bytes.len() as u64);
        let target = notation::Target { digest: image, media_type, size };
        let now = Utc::of(SystemTime::now());
        notation::verify(envelope, &target, &self.policy.keys.certificates, now)
            .map_err(|invalid| invalid.to_string())?;
        // The payload gives the image no name.
        self.policy.check_name(None)
    }

    fn without_manifests(&self) -> Failure {
        let message = format!(
            "{} cannot have a signature, and `require_signature` of [{}] demands one: the source has no manifest, so raas \
             makes one, and nobody can have signed it",
            self.name, self.policy.vendor
        );
        let failure = Failure::new(Kind::Refused, message);
        match &self.coming {
            Coming::DoesNot { why, hint } => {
                failure.caused_by(why.clone()).hint(format!("{hint}; nothing was stored"))
            }
            _ => {
                let signed = "push a signed image from a registry or an OCI image layout";
                match self.to_sign {
                    Some(command) => {
                        failure.hint(format!("{command}; nothing was stored")).hint(format!("or {signed}"))
                    }
                    None => failure.hint(format!("{signed}; nothing was stored")),
                }
            }
        }
    }

    /// The commands with which a vendor makes signatures that count.
    fn at_the_source(&self) -> String {
        let keys = &self.policy.keys;
        let commands = [
            (!keys.cosign.is_empty(), "`cosign sign --recursive --key KEY IMAGE`"),
            (keys.keyless.is_some(), "`cosign sign --recursive IMAGE` with a trusted identity"),
            (keys.open_pgp.is_some(), "`skopeo copy --all --sign-by FINGERPRINT`"),
            (!keys.certificates.is_empty(), "`notation sign IMAGE`"),
        ];
        let commands: Vec<&str> =
            commands.iter().filter(|(counts, _)| *counts).map(|(_, name)| *name).collect();
        commands.join(" or ")
    }

    fn refusal(&self, set: &ManifestSet, missing: &[Digest], outcomes: &Outcomes) -> Failure {
        let parents = parents(set);
        let mut told: Vec<String> = Vec::new();
        for digest in missing.iter().take(MOST_IMAGES) {
            told.push(describe(set, digest, &parents, outcomes));
        }
        if missing.len() > MOST_IMAGES {
            told.push(format!("and {} more", missing.len() - MOST_IMAGES));
        }
        let what = if missing.len() == 1 { "an image" } else { "images" };
        let message = format!(
            "{} has {what} without a valid signature, and `require_signature` of [{}] demands one",
            self.name, self.policy.vendor
        );
        let failure = Failure::new(Kind::Refused, message);
        match &self.coming {
            Coming::DoesNot { why, hint } => failure
                .caused_by(format!("{why}; {}", told.join("; ")))
                .hint(format!("{hint}; nothing was stored")),
            _ => failure
                .caused_by(told.join("; "))
                .hint(format!(
                    "sign it at its source, {}, and push it again with its signatures; nothing was stored",
                    self.at_the_source()
                ))
                .hint_if(self.to_sign.map(|command| {
                    format!("or sign it with a key that `require_signature` trusts: {command}")
                })),
        }
    }
}

/// The content of a signature in the source, or why it does not count.
fn read_source(
    set: &ManifestSet,
    layer: &Descriptor,
    limit: u64,
) -> Result<Result<Vec<u8>, String>, Failure> {
    let Some(content) = set.blobs.get(&layer.digest).and_then(|blob| blob.content.as_ref()) else {
        return Ok(Err(format!("the source does not have its content, {}", layer.digest)));
    };
    match content.size() > limit {
        true => Ok(Err(too_long(content.size(), limit))),
        false => Ok(Ok(content.read_all(limit).or_fail()?)),
    }
}

fn too_long(size: u64, limit: u64) -> String {
    format!("it is {size} bytes long, and raas reads at most {limit}")
}

/// For each manifest with signatures: whether one of them is valid, or why each of them is not.
type Outcomes = BTreeMap<Digest, Result<(), Vec<String>>>;

/// These manifests, and all that indexes among them list, at any depth.
fn with_everything_listed(set: &ManifestSet, signed: &BTreeSet<Digest>) -> BTreeSet<Digest> {
    let mut covered = BTreeSet::new();
    let mut waiting: Vec<Digest> = signed.iter().copied().collect();
    while let Some(digest) = waiting.pop() {
        if covered.insert(digest)
            && let Some(item) = set.manifests.get(&digest)
        {
            waiting.extend(item.manifest.children().iter().map(|child| child.digest));
        }
    }
    covered
}

/// For each manifest: the indexes that list it.
fn parents(set: &ManifestSet) -> BTreeMap<Digest, BTreeSet<Digest>> {
    let mut parents: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
    for (digest, item) in &set.manifests {
        for child in item.manifest.children() {
            parents.entry(child.digest).or_default().insert(*digest);
        }
    }
    parents
}

/// An image without a valid signature in words: its name, and why each of the signatures does not count.
fn describe(
    set: &ManifestSet,
    digest: &Digest,
    parents: &BTreeMap<Digest, BTreeSet<Digest>>,
    outcomes: &Outcomes,
) -> String {
    // An index that lists the image could have been signed too.
    let mut related = BTreeSet::from([*digest]);
    let mut waiting = vec![*digest];
    while let Some(one) = waiting.pop() {
        for parent in parents.get(&one).into_iter().flatten() {
            if related.insert(*parent) {
                waiting.push(*parent);
            }
        }
    }
    let tags: Vec<&str> = set
        .tags
        .iter()
        .filter(|(_, tagged)| related.contains(*tagged))
        .map(|(tag, _): (&Tag, _)| tag.as_str())
        .take(3)
        .collect();
    let platform = set.manifests.get(digest).and_then(|item| item.platform.as_ref());
    let mut text = digest.to_string();
    if let Some(platform) = platform {
        text.push_str(&format!(" for {platform}"));
    }
    if !tags.is_empty() {
        text.push_str(&format!(" ({})", tags.join(", ")));
    }
    let reasons = related.iter().filter_map(|one| outcomes.get(one)?.as_ref().err()).flatten();
    let reasons: Vec<&str> = reasons.map(String::as_str).collect();
    match reasons.len() {
        0 => text.push_str(" has no signature"),
        count => {
            let more = match count.saturating_sub(MOST_REASONS) {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            let shown: Vec<&str> = reasons.into_iter().take(MOST_REASONS).collect();
            text.push_str(&format!(": {}{more}", shown.join(", ")));
        }
    }
    text
}
