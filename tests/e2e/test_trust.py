"""Signatures: `push --sign` and `--sign-by`, `require_signature`, and the policies that `raas trust` prints.

openssl checks the signatures of cosign, and podman has a policy that rejects everything else. Debian builds
podman without signatures of cosign: it reads the policy and the signature, and then rejects every image.
podman and skopeo check simple signatures of OpenPGP. Needs root.
"""

import json
import os

import pytest

from harness.process import free_port, result, run
from harness.raas import Raas
from harness.signing import Gnupg, Key, attach_signature, client_environment, read_signatures
from harness.sources import registry_on_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("trust")


@pytest.fixture(scope="module")
def key(work):
    return Key(work, "acme")


@pytest.fixture(scope="module")
def other_key(work):
    return Key(work, "other")


class Site:
    """A registry of signed and unsigned images, and clients that trust the key of the vendor alone."""

    def __init__(self, host, environment, podman):
        self.host, self.environment, self.podman = host, environment, podman

    def pull(self, name):
        """What podman says to a pull, with a policy of the environment's."""
        # An image that is there would be taken without a check.
        result(*self.podman.command("rmi", "-f", "--all"))
        command = self.podman.command("pull", "-q", *self.podman.options, f"{self.host}/{name}")
        return result(*command, env=self.environment)


@pytest.fixture(scope="module")
def site(program, work, key, other_key, podman, all_samples):
    host = f"127.0.0.1:{free_port()}"
    config = work / "raas.cfg"
    config.write_text(f"[acme]\nregistry_host = {host}\n")
    raas = Raas(program, work / "home", config)
    single, several = all_samples["docker-save"].push, all_samples["oci-multi"].push
    raas("setup", "acme")
    with raas.serve(work / "serve.log", "acme", listen=host):
        raas("push", "acme", "signed", *single, "--sign", key.plain)
        raas("push", "acme", "encrypted", *single, "--sign", key.cosign, "--sign-password-file", key.password)
        raas("push", "acme", "several", *several, "--sign", key.plain)
        raas("push", "acme", "unsigned", *single)
        raas("push", "acme", "foreign", *single, "--sign", other_key.plain)
        trust = ["trust", "acme", "--key", key.public, "--format"]
        policy, registries = raas(*trust, "podman"), raas(*trust, "registries-d")
        assert json.loads(policy)["default"] == [{"type": "reject"}]
        yield Site(host, client_environment(work / "customer", policy, registries), podman)


def tag_of(all_samples, name):
    return sorted(all_samples[name].tags)[0]


# What Debian's podman says in place of a check.
DISABLED = "sigstore disabled"


@pytest.mark.parametrize("name", ["signed", "encrypted", "several"])
def test_an_image_that_a_push_signed_passes(site, all_samples, key, other_key, tmp_path, name):
    tag = tag_of(all_samples, "oci-multi" if name == "several" else "docker-save")
    digest, [(payload, signature)] = read_signatures(site.host, name, tag)
    assert key.signed(payload, signature, tmp_path)
    assert not other_key.signed(payload, signature, tmp_path)
    critical = json.loads(payload)["critical"]
    assert critical["image"]["docker-manifest-digest"] == digest
    assert critical["identity"]["docker-reference"] == f"{site.host}/{name}"
    pulled = site.pull(f"{name}:{tag}")
    assert pulled.returncode == 0 or DISABLED in pulled.stderr, pulled.stderr


@pytest.mark.parametrize("name", ["unsigned", "foreign"])
def test_podman_rejects_an_image_without_a_signature_of_the_vendor(site, all_samples, name):
    pulled = site.pull(f"{name}:{tag_of(all_samples, 'docker-save')}")
    assert pulled.returncode != 0
    assert "ignature" in pulled.stderr or DISABLED in pulled.stderr, pulled.stderr


def test_podman_rejects_a_signed_image_under_another_name(site, all_samples, program, work, key):
    """A signature is for one repository. raas publishes it beside the image of another one."""
    tag = tag_of(all_samples, "docker-save")
    config = work / "raas.cfg"
    raas = Raas(program, work / "home", config)
    raas("push", "acme", "renamed", "--from", f"docker://{site.host}/signed", "--src-plain-http")
    pulled = site.pull(f"renamed:{tag}")
    assert pulled.returncode != 0
    assert any(word in pulled.stderr for word in ["ignature", "dentity", DISABLED]), pulled.stderr


@pytest.fixture(scope="module")
def source(work, key, other_key, all_samples):
    """docker-registry with a signed image, an unsigned one, and one that somebody else has signed."""
    with registry_on_folder(work / "source") as registry:
        registry.host = f"127.0.0.1:{registry.port}"
        for name in ["signed", "foreign", "unsigned"]:
            image = [f"oci:{all_samples['oci-multi'].path}:2.0", f"docker://{registry.host}/team/{name}:1.0"]
            run("skopeo", "copy", "-q", "--all", "--insecure-policy", "--dest-tls-verify=false", *image)
        attach_signature(registry.host, "team/signed", "1.0", key)
        attach_signature(registry.host, "team/foreign", "1.0", other_key)
        yield registry


def test_a_push_takes_images_that_the_vendor_has_signed_and_no_others(program, tmp_path, source, key):
    config, home = tmp_path / "raas.cfg", tmp_path / "home"
    settings = f"require_signature = {key.public}\nsignature_identity = {source.host}/team/*\n"
    config.write_text(f"[acme]\n{settings}")
    raas = Raas(program, home, config)

    def push(name):
        address = f"docker://{source.host}/team/{name}"
        return raas.result("push", "acme", "app", "--from", address, "--src-plain-http")

    for name, reason in [("unsigned", "has no signature"), ("foreign", "none of the trusted keys made it")]:
        refused = push(name)
        assert refused.returncode == 3, refused.stderr
        assert reason in refused.stderr, refused.stderr
        assert not (home / "acme").exists()
    taken = push("signed")
    assert taken.returncode == 0, taken.stderr
    stored = sorted(str(path) for path in (home / "acme" / "bucket").rglob("*"))
    # The source has the same image without its signature, which is published and counts.
    again = push("unsigned")
    assert again.returncode == 0, again.stderr
    assert stored == sorted(str(path) for path in (home / "acme" / "bucket").rglob("*"))
    config.write_text(f"[acme]\nrequire_signature = {key.public}\nsignature_identity = {source.host}/other\n")
    # What is published stays publishable, so a home that has not published it.
    raas = Raas(program, tmp_path / "other", config)
    assert "`signature_identity` does not allow" in push("signed").stderr


@pytest.fixture(scope="module")
def gnupg(short_folder):
    gnupg = Gnupg(short_folder / "gnupg-trust", "operator@example.com")
    yield gnupg
    gnupg.end()


@pytest.fixture(scope="module")
def stranger(short_folder):
    gnupg = Gnupg(short_folder / "gnupg-other", "stranger@example.com")
    yield gnupg
    gnupg.end()


@pytest.fixture(scope="module")
def simply_signed(program, work, gnupg, stranger, podman, all_samples):
    """A registry of images with simple signatures, and clients that trust the key of the operator alone."""
    host = f"127.0.0.1:{free_port()}"
    config = work / "simple.cfg"
    config.write_text(f"[acme]\nregistry_host = {host}\n")
    raas = Raas(program, work / "simple-home", config)
    single, several = all_samples["docker-save"].push, all_samples["oci-multi"].push
    raas("setup", "acme")
    with raas.serve(work / "simple-serve.log", "acme", listen=host):
        environment = os.environ | {"GNUPGHOME": str(gnupg.home)}
        raas("push", "acme", "signed", *single, "--sign-by", gnupg.fingerprint, env=environment)
        raas("push", "acme", "several", *several, "--sign-by", gnupg.name, env=environment)
        raas("push", "acme", "unsigned", *single)
        foreign = os.environ | {"GNUPGHOME": str(stranger.home)}
        raas("push", "acme", "foreign", *single, "--sign-by", stranger.fingerprint, env=foreign)
        policy = raas("trust", "acme", "--key", gnupg.public, "--format", "podman")
        yield Site(host, client_environment(work / "simple-customer", policy, "docker: {}\n"), podman)


@pytest.mark.parametrize("name", ["signed", "several"])
def test_podman_and_skopeo_accept_a_simple_signature_of_a_push(simply_signed, all_samples, tmp_path, name):
    tag = tag_of(all_samples, "oci-multi" if name == "several" else "docker-save")
    pulled = simply_signed.pull(f"{name}:{tag}")
    assert pulled.returncode == 0, pulled.stderr
    source = f"docker://{simply_signed.host}/{name}:{tag}"
    copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", "--all", source, f"dir:{tmp_path}/copied"]
    copied = result(*copy, env=simply_signed.environment)
    assert copied.returncode == 0, copied.stderr


def test_a_policy_that_compares_the_tag_accepts_it_too(simply_signed, gnupg, all_samples, tmp_path):
    """The policy of `podman image trust set` has no `signedIdentity`."""
    rule = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(gnupg.public)}
    docker = {simply_signed.host: [rule]}
    policy = json.dumps({"default": [{"type": "reject"}], "transports": {"docker": docker}})
    environment = client_environment(tmp_path, policy, "docker: {}\n")
    site = Site(simply_signed.host, environment, simply_signed.podman)
    pulled = site.pull(f"signed:{tag_of(all_samples, 'docker-save')}")
    assert pulled.returncode == 0, pulled.stderr


@pytest.mark.parametrize("name", ["unsigned", "foreign"])
def test_podman_rejects_an_image_without_a_simple_signature_of_the_operator(simply_signed, all_samples, name):
    pulled = simply_signed.pull(f"{name}:{tag_of(all_samples, 'docker-save')}")
    assert pulled.returncode != 0
    assert "ignature" in pulled.stderr, pulled.stderr


def test_a_push_takes_an_image_with_a_simple_signature_of_skopeo(program, tmp_path, gnupg, all_samples):
    """Newer skopeo signs while it copies into a folder; every skopeo makes the same file by hand."""
    copied = tmp_path / "copied"
    source = f"docker-archive:{all_samples['docker-save'].path}"
    run("skopeo", "copy", "-q", "--insecure-policy", source, f"dir:{copied}")
    config = tmp_path / "raas.cfg"
    allowed = "signature_identity = registry.example.com/acme/*"
    config.write_text(f"[acme]\nrequire_signature = {gnupg.public}\n{allowed}\n")
    raas = Raas(program, tmp_path / "home", config)
    refused = raas.result("push", "acme", "app:1.0", "--from", copied)
    assert refused.returncode == 3, refused.stderr
    assert "has no signature" in refused.stderr
    sign = ["skopeo", "standalone-sign", "--output", copied / "signature-1", copied / "manifest.json"]
    name = "registry.example.com/acme/app:1.0"
    run(*sign, name, gnupg.fingerprint, env=os.environ | {"GNUPGHOME": str(gnupg.home)})
    report = raas.json("push", "acme", "app:1.0", "--from", copied)
    assert len(report["verified_manifests"]) == 1
