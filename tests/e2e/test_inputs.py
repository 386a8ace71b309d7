"""Inputs as real tools write them: each is published as it was meant, or refused with the reason.

skopeo and podman pull what was published, and skopeo reads the same file as a peer.
"""

import pytest

from harness.inputs import inputs
from harness.raas import Raas

INPUTS = inputs()
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
        # A push with words of its own takes one of several images.
        assert one.push or [layers for layers in loaded if layers not in wanted] == []
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
