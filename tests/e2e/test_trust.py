"""Signatures: `push --sign`, `require_signature`, and the policies that `raas trust` prints.

openssl checks the signatures, and podman has a policy that rejects everything else. Debian builds podman
without signatures of cosign: it reads the policy and the signature, and then rejects every image. Needs root.
"""

import json

import pytest

from harness.process import free_port, result, run
from harness.raas import Raas
from harness.signing import Key, attach_signature, client_environment, read_signatures
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
