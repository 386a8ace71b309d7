"""Signatures of images as cosign and skopeo make them, and the configuration of clients that check them."""

import base64
import hashlib
import json
import os
import urllib.request

import nacl.secret

from harness.archives import sha256
from harness.process import result, run

PASSWORD = "correct horse"


class Key:
    """An ECDSA key of P-256, as openssl makes it, and the same key as cosign keeps it, encrypted."""

    def __init__(self, folder, name):
        self.plain, self.public = folder / f"{name}.key", folder / f"{name}.pub"
        self.cosign, self.password = folder / f"{name}.cosign.key", folder / f"{name}.password"
        run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-out", self.plain)
        run("openssl", "ec", "-in", self.plain, "-pubout", "-out", self.public)
        pkcs8 = folder / f"{name}.der"
        to_der = ["-topk8", "-nocrypt", "-outform", "DER"]
        run("openssl", "pkcs8", *to_der, "-in", self.plain, "-out", pkcs8)
        self.cosign.write_text(encrypted(pkcs8.read_bytes(), PASSWORD))
        self.password.write_text(PASSWORD)
        for file in [self.plain, self.cosign, self.password]:
            file.chmod(0o600)

    def sign(self, content):
        """A signature by openssl, in Base64."""
        return base64_of(
            result("openssl", "dgst", "-sha256", "-sign", self.plain, input=content, text=False).stdout
        )

    def signed(self, content, signature, folder):
        """Whether openssl finds that the key made this signature, which is Base64."""
        (folder / "signature").write_bytes(base64.b64decode(signature))
        verify = ["-verify", self.public, "-signature", folder / "signature"]
        return result("openssl", "dgst", "-sha256", *verify, input=content, text=False).returncode == 0


class Gnupg:
    """A GnuPG with a key, in a folder with a short path."""

    def __init__(self, folder, name):
        self.home, self.name = folder, name
        self.home.mkdir(mode=0o700)
        self.environment = {"GNUPGHOME": str(self.home), "PATH": "/usr/bin:/bin", "HOME": str(self.home)}
        batch = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase", ""]
        run(*batch, "--quick-gen-key", name, "rsa2048", "sign", "never", env=self.environment)
        self.public = self.home / "public.gpg"
        self.public.write_bytes(run("gpg", "--export", name, env=self.environment, text=False))
        listed = run("gpg", "--with-colons", "--list-keys", name, env=self.environment)
        self.fingerprint = next(line for line in listed.splitlines() if line.startswith("fpr:")).split(":")[9]

    def end(self):
        """Ends the agent."""
        result("gpgconf", "--kill", "all", env=self.environment)


PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ACCEPT = f"{MANIFEST}, {DOCKER_MANIFEST}, application/vnd.oci.image.index.v1+json"


def ask(url, method="GET", content=None, media_type=None):
    """The headers and the content of an answer."""
    headers = {"Accept": ACCEPT} | ({"Content-Type": media_type} if media_type else {})
    request = urllib.request.Request(url, content, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers, answer.read()


def signature_tag(digest):
    return digest.replace(":", "-") + ".sig"


def attach_signature(host, name, tag, key):
    """Signs an image in a registry, and stores the signature beside it, as cosign does."""
    repository = f"http://{host}/v2/{name}"
    digest = ask(f"{repository}/manifests/{tag}")[0]["Docker-Content-Digest"]
    critical = {
        "identity": {"docker-reference": f"{host}/{name}"},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    payload = json.dumps({"critical": critical, "optional": None}).encode()
    rootfs = {"type": "layers", "diff_ids": [sha256(payload)]}
    config = json.dumps({"architecture": "", "os": "", "rootfs": rootfs, "config": {}}).encode()
    for content in [payload, config]:
        place = ask(f"{repository}/blobs/uploads/", "POST", b"")[0]["Location"]
        ask(f"{place}&digest={sha256(content)}", "PUT", content, "application/octet-stream")
    layer = {"mediaType": PAYLOAD, "digest": sha256(payload), "size": len(payload)}
    config_type = "application/vnd.oci.image.config.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": config_type, "digest": sha256(config), "size": len(config)},
        "layers": [layer | {"annotations": {SIGNATURE: key.sign(payload)}}],
    }
    place = f"{repository}/manifests/{signature_tag(digest)}"
    ask(place, "PUT", json.dumps(manifest).encode(), MANIFEST)


def read_signatures(host, name, tag):
    """The digest of an image, and its signatures: each with its payload and its signature in Base64."""
    repository = f"http://{host}/v2/{name}"
    digest = ask(f"{repository}/manifests/{tag}")[0]["Docker-Content-Digest"]
    manifest = json.loads(ask(f"{repository}/manifests/{signature_tag(digest)}")[1])
    payload = lambda layer: ask(f"{repository}/blobs/{layer['digest']}")[1]  # noqa: E731
    return digest, [(payload(layer), layer["annotations"][SIGNATURE]) for layer in manifest["layers"]]


def encrypted(key, password):
    """A key in the format of cosign."""
    salt = os.urandom(32)
    made = hashlib.scrypt(password.encode(), salt=salt, n=1 << 15, r=8, p=1, dklen=32, maxmem=1 << 27)
    box = nacl.secret.SecretBox(made).encrypt(key)
    document = {
        "kdf": {"name": "scrypt", "params": {"N": 1 << 15, "r": 8, "p": 1}, "salt": base64_of(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": base64_of(box.nonce)},
        "ciphertext": base64_of(box.ciphertext),
    }
    body = base64_of(json.dumps(document).encode())
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    name = "ENCRYPTED SIGSTORE PRIVATE KEY"
    return "\n".join([f"-----BEGIN {name}-----", *lines, f"-----END {name}-----", ""])


def base64_of(content):
    return base64.b64encode(content).decode()


def client_environment(folder, policy, registries):
    """An environment in which podman and skopeo have this policy.json and this file of registries.d."""
    containers = folder / ".config" / "containers"
    (containers / "registries.d").mkdir(parents=True)
    (containers / "policy.json").write_text(policy)
    (containers / "registries.d" / "default.yaml").write_text(registries)
    return os.environ | {"HOME": str(folder)}
