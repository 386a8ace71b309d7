"""Inputs as real tools write them: each is published as it was meant, or refused with the reason.

skopeo and podman pull what was published, and skopeo reads the same file as a peer.
"""

import hashlib
import json
import subprocess

import pytest

from harness.archives import OciLayout, image_config, sha256
from harness.exports import exports
from harness.inputs import inputs, packed, plain_layer
from harness.packages import program
from harness.raas import Raas
from harness.web import Cdn

INPUTS = inputs() | exports()
PUBLISHED = [name for name, one in INPUTS.items() if one.tags]
REFUSED = [name for name, one in INPUTS.items() if not one.tags]


@pytest.fixture(scope="module")
def registry(program, tmp_path_factory):
    """A server of one vendor with every input that can be published; with `reports` of the pushes."""
    work = tmp_path_factory.mktemp("inputs")
    raas = Raas(program, work / "home")
    raas("setup", "bigdatainc")
    with raas.serve(work / "serve.log", "bigdatainc") as server:
        server.reports = {}
        for name in PUBLISHED:
            one = INPUTS[name]
            done = raas.result("push", "bigdatainc", f"inputs/{name}", "--from", one.write(work), *one.push)
            server.reports[name] = done
        yield server


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_image_is_published_as_it_was_meant(registry, podman, skopeo, name):
    one, done = INPUTS[name], registry.reports[name]
    assert done.returncode == 0, done
    for text in one.says:
        assert text in done.stderr, done.stderr
    assert skopeo.tags(f"{registry.address}/inputs/{name}") == sorted(one.tags)
    for tag, platforms in one.tags.items():
        reference = f"{registry.address}/inputs/{name}:{tag}"
        assert skopeo.pull_all(reference) == platforms
        for platform, layers in platforms.items():
            assert podman.pull(reference, platform) == layers


@pytest.mark.parametrize("name", [name for name in PUBLISHED if INPUTS[name].peer])
def test_skopeo_reads_the_same_layers(skopeo, tmp_path, name):
    one = INPUTS[name]
    (platforms,) = one.tags.values()
    assert skopeo.copy_all(one.peer.format(path=one.write(tmp_path))) == platforms


@pytest.mark.parametrize("name", INPUTS)
def test_docker_load_reads_the_same_layers_or_no_image(docker, tmp_path, name):
    """raas takes all that docker takes, but asks if an archive holds several images or contradicts itself."""
    one = INPUTS[name]
    loaded = docker.load(one.write(tmp_path)) or []
    if one.tags:
        wanted = [layers for platforms in one.tags.values() for layers in platforms.values()]
        # A push with words of its own takes one of several images. docker lists parents of v1 images too.
        starts = [layers[:count] for layers in wanted for count in range(1, len(layers) + 1)]
        assert one.push or [layers for layers in loaded if layers not in starts] == []
    else:
        reasons = {"--digest", "--digest sha256:", "--repository", "two members of this name"}
        assert not loaded or reasons & set(one.says)


@pytest.mark.parametrize("name", REFUSED)
def test_an_image_is_refused_with_the_reason(raas, tmp_path, name):
    one = INPUTS[name]
    done = raas.result("push", "bigdatainc", "app", "--from", one.write(tmp_path), *one.push)
    assert done.returncode == 3, done
    for text in one.says:
        assert text in done.stderr, done.stderr
    assert list(raas.home.glob("bigdatainc/checkout/crane/data/*")) == [], "nothing is published"


@pytest.mark.parametrize("is_there", [False, True], ids=["absent", "present"])
def test_a_foreign_layer_is_pulled_from_its_own_url(raas, podman, skopeo, tmp_path, is_there):
    """A layer that must not be redistributed stays where it is, even if the source has a copy."""
    base, top = plain_layer("base"), plain_layer("top")
    cdn_folder = tmp_path / "cdn"
    cdn_folder.mkdir()
    (cdn_folder / "base").write_bytes(packed(base))
    with Cdn(cdn_folder) as cdn:
        layout = OciLayout(tmp_path / "layout")
        docker = "application/vnd.docker."
        foreign = {"mediaType": docker + "image.rootfs.foreign.diff.tar.gzip", "urls": [f"{cdn.url}/base"]}
        foreign |= {"digest": sha256(packed(base)), "size": len(packed(base))}
        if is_there:
            layout.blob(packed(base))
        config = layout.blob(image_config([sha256(base), sha256(top)]))
        own = layout.blob(packed(top)) | {"mediaType": docker + "image.rootfs.diff.tar.gzip"}
        kind = docker + "distribution.manifest.v2+json"
        config["mediaType"] = docker + "container.image.v1+json"
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [foreign, own]}
        root = layout.blob(json.dumps(manifest).encode()) | {"mediaType": kind}
        layout.finish(root, "1")
        raas("push", "bigdatainc", "app", "--from", layout.folder)
        with raas.serve(tmp_path / "serve.log", "bigdatainc") as server:
            reference = f"{server.address}/app:1"
            cdn.asked.clear()
            assert skopeo.pull_all(reference) == {"linux/amd64": [sha256(base), sha256(top)]}
            assert "/base" in cdn.asked
            assert podman.pull(reference, "linux/amd64") == [sha256(base), sha256(top)]


def test_skopeo_cannot_copy_a_layer_of_sha512_and_raas_names_it(raas, tmp_path):
    """OCI 1.1 has sha512. If this test fails, clients have learned it, and raas should too."""
    folder = tmp_path / "layout"
    layout = OciLayout(folder)
    layer = plain_layer("file")
    digest = f"sha512:{hashlib.sha512(layer).hexdigest()}"
    blob = folder / "blobs" / digest.replace(":", "/")
    blob.parent.mkdir()
    blob.write_bytes(layer)
    config = layout.blob(image_config([sha256(layer)]), "config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": len(layer)}
        ],
    }
    layout.finish(layout.blob(json.dumps(manifest).encode(), "manifest.v1+json"), "1")
    copied = subprocess.run(
        [program("skopeo"), "--insecure-policy", "copy", f"oci:{folder}:1", f"dir:{tmp_path / 'copy'}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert copied.returncode != 0
    assert f"blob with digest {digest} saved with digest sha256:" in copied.stderr, copied.stderr
    refused = raas.result("push", "acme", "app", "--from", folder)
    assert refused.returncode == 3
    assert digest in refused.stderr, refused.stderr
