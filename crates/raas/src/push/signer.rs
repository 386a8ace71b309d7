//! `--sign`: signs the images of a push under the names that people pull.

use std::env;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use raas_base::Secret;
use raas_base::failure::{Failure, Kind};
use raas_signatures::signature_manifest::{self, PAYLOAD, SIGNATURE};
use raas_signatures::{KeyFile, PublicKey, SigningKey, SigningKeyError, simple_signing};
use raas_types::{Descriptor, Digest, Manifest, ObjectKey, RepositoryName};

use super::published_signatures::{PublishedSignatures, Put, blob_entry, layers_of, publish_signatures};
use super::runnable::is_image;
use super::transfer::{Stored, StoredManifest};
use crate::config::RegistryAddress;

/// The values of `--sign` and `--sign-password-file`.
#[derive(Debug, Clone)]
pub(crate) struct SignArgument {
    pub(crate) key: PathBuf,
    pub(crate) password: Option<PathBuf>,
}

/// The variable with the password of the key, as cosign names it.
const PASSWORD: &str = "COSIGN_PASSWORD";

/// How many bytes of a file raas reads.
const MAX_FILE: u64 = 64 * 1024;

/// Signs images.
#[derive(Debug)]
pub(super) struct Signer {
    key: SigningKey,
    /// The file of the key.
    file: PathBuf,
    /// What people pull: the vendor's hosts, each with the name of the repository.
    names: Vec<String>,
}

/// The images of a signed push.
#[derive(Debug, Default)]
pub(super) struct SignedImages {
    /// All of them. Each has a signature by the key.
    pub(super) all: Vec<Digest>,
    /// Those whose signature this push has made.
    pub(super) new: Vec<Digest>,
}

impl Signer {
    /// Reads the key.
    ///
    /// # Errors
    /// The key cannot be used, others may read it, or the vendor's registry has no name to sign.
    pub(super) fn open(
        argument: &SignArgument,
        addresses: &[RegistryAddress],
        name: &RepositoryName,
    ) -> Result<Self, Failure> {
        let names = public_names("--sign", addresses, name)?;
        Ok(Self { key: read_key(argument)?, file: argument.key.clone(), names })
    }

    /// The key that signs.
    pub(super) fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    /// The file of the key.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The names that it signs.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Signs every image of the push, and adds the signatures to it. `published` are the signatures that the repository has
    /// so far: a signature that is there already stays, so that the same push again changes nothing.
    ///
    /// # Errors
    /// The storage fails, or an image has too many signatures.
    pub(super) fn sign(
        &self,
        name: &RepositoryName,
        stored: &mut Stored,
        published: &PublishedSignatures,
        put: Put<'_>,
    ) -> Result<SignedImages, Failure> {
        let images = images_of(stored);
        let mut new = Vec::new();
        for image in &images {
            if self.sign_one(name, image, stored, published, put)? {
                new.push(*image);
            }
        }
        Ok(SignedImages { all: images, new })
    }

    /// Adds the signatures of one image. Returns whether it has made any.
    fn sign_one(
        &self,
        name: &RepositoryName,
        image: &Digest,
        stored: &mut Stored,
        published: &PublishedSignatures,
        put: Put<'_>,
    ) -> Result<bool, Failure> {
        let tag = signature_manifest::tag(image);
        let of_source = stored.tags.get(&tag).copied();
        let known = published.layers(image);
        let mut layers = match of_source.and_then(|digest| stored.manifests.get(&digest)) {
            Some(manifest) => layers_of(&manifest.bytes),
            None if published.stay() => known.to_vec(),
            None => Vec::new(),
        };
        let (mut is_changed, mut is_new) = (false, false);
        for reference in &self.names {
            let payload = simple_signing::payload(reference, image);
            let is_same = |layer: &&Descriptor| self.is_own(layer, &payload, image);
            if layers.iter().any(|layer| is_same(&layer)) {
                continue;
            }
            let layer = match known.iter().find(is_same) {
                Some(layer) => layer.clone(),
                None => {
                    let signed = simple_signing::sign(payload.clone(), &self.key).map_err(|error| {
                        Failure::new(Kind::Environment, format!("cannot sign {reference}")).caused_by(error)
                    })?;
                    is_new = true;
                    signature_manifest::layer(&signed)
                }
            };
            put(&ObjectKey::Blob(name.clone(), layer.digest), &payload)?;
            stored.blobs.insert(layer.digest, blob_entry(payload.len()));
            layers.push(layer);
            is_changed = true;
        }
        if !is_changed && of_source.is_some() {
            return Ok(false);
        }
        publish_signatures(name, image, &layers, stored, put)?;
        Ok(is_new)
    }

    /// Whether a layer is this key's signature of this payload.
    fn is_own(&self, layer: &Descriptor, payload: &[u8], image: &Digest) -> bool {
        layer.digest == Digest::of(payload)
            && layer.media_type == PAYLOAD
            && layer.annotation(SIGNATURE).is_some_and(|signature| {
                let keys = std::slice::from_ref(self.public_key());
                simple_signing::verify(payload, signature, image, keys).is_ok()
            })
    }
}

/// The names that people pull: the vendor's hosts, each with the name of the repository. `option` signs them.
///
/// # Errors
/// The vendor has no host.
pub(super) fn public_names(
    option: &str,
    addresses: &[RegistryAddress],
    name: &RepositoryName,
) -> Result<Vec<String>, Failure> {
    if addresses.is_empty() {
        let message =
            format!("{option} signs the name that people pull, and the vendor has no `registry_host`");
        return Err(Failure::new(Kind::Usage, message).hint("set `registry_host` in the vendor's section"));
    }
    Ok(addresses.iter().map(|address| format!("{address}/{name}")).collect())
}

/// The images of a push, which are signed.
pub(super) fn images_of(stored: &Stored) -> Vec<Digest> {
    let parse = |stored: &StoredManifest| Manifest::parse(&stored.bytes, Some(&stored.media_type)).ok();
    let images = stored.manifests.iter();
    let images = images.filter(|(_, manifest)| parse(manifest).is_some_and(|manifest| is_image(&manifest)));
    images.map(|(digest, _)| *digest).collect()
}

/// Reads the key, and decrypts it.
///
/// # Errors
/// The key cannot be used, or others may read it.
pub(super) fn read_key(argument: &SignArgument) -> Result<SigningKey, Failure> {
    let file = &argument.key;
    let bytes = read_private(file, "--sign")?;
    let unusable = |error: SigningKeyError| {
        let failure = Failure::new(Kind::Usage, format!("cannot use {}, the key of --sign", file.display()));
        let failure = failure.caused_by(error);
        match error {
            SigningKeyError::Password => failure.hint("correct the password"),
            SigningKeyError::Cipher => failure.hint(format!(
                "encrypt it with AES: `openssl pkcs8 -topk8 -v2 aes-256-cbc -in {} -out NEW`",
                file.display()
            )),
            _ => failure.hint(
                "give a key as `cosign generate-key-pair` or `openssl ecparam -name prime256v1 -genkey` makes it",
            ),
        }
    };
    match KeyFile::read(bytes.expose().as_bytes()).map_err(unusable)? {
        KeyFile::Plain(key) => Ok(key),
        KeyFile::Encrypted(key) => {
            let password = password(argument.password.as_deref(), file)?;
            key.open(password.expose().as_bytes()).map_err(unusable)
        }
    }
}

/// The password of an encrypted key: the first line of the file, or the value of the variable.
fn password(file: Option<&Path>, key: &Path) -> Result<Secret, Failure> {
    if let Some(file) = file {
        return password_of(file);
    }
    match env::var(PASSWORD) {
        Ok(password) => Ok(Secret::new(password)),
        Err(_) => Err(Failure::new(
            Kind::Usage,
            format!("{} is encrypted, and there is no password", key.display()),
        )
        .hint(format!(
            "give the password in the variable {PASSWORD}, or in a file with --sign-password-file"
        ))),
    }
}

/// The first line of the file of `--sign-password-file`.
pub(super) fn password_of(file: &Path) -> Result<Secret, Failure> {
    let text = read_private(file, "--sign-password-file")?;
    Ok(Secret::new(text.expose().lines().next().unwrap_or_default()))
}

/// Reads a file that only its owner and its group may read.
fn read_private(path: &Path, option: &str) -> Result<Secret, Failure> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        Failure::new(Kind::of_named_file(&error), format!("cannot read {shown}, the file of {option}"))
            .caused_by(error)
            .hint("correct the path, or make the file readable for this user")
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode();
    if mode & 0o007 != 0 {
        let message = format!("every user of this machine may use {shown}, the file of {option}");
        return Err(Failure::new(Kind::Usage, message).hint(format!("run `chmod 600 {shown}`")));
    }
    let mut text = String::new();
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    Ok(Secret::new(text))
}
