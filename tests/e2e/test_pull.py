"""The main job: every sample is pushed, then pulled with docker, podman and skopeo.

Each layer's plain bytes are compared with the source.
"""

import contextlib
import json
import pathlib
import shutil
import urllib.request

import pytest

from harness.process import result, run
from harness.raas import Raas
from harness.samples import FIXTURES, MASKED, masked_layer_on_cdn, members, samples
from harness.web import Cdn, read


@pytest.fixture(scope="module")
def registry(program, all_samples, tmp_path_factory):
    """A server of one vendor, which was running before every sample was pushed; with `raas`."""
    work = tmp_path_factory.mktemp("pull")
    raas = Raas(program, work / "home")
    raas("setup", "bigdatainc")
    with raas.serve(work / "serve.log", "bigdatainc") as server:
        for sample in all_samples.values():
            raas("push", "bigdatainc", f"samples/{sample.name}", *sample.push)
        server.raas = raas
        yield server


@pytest.mark.parametrize("name", list(samples()))
def test_every_client_pulls(registry, clients, all_samples, name):
    clients.pull(registry.address, f"samples/{name}", all_samples[name].tags)


def test_status_is_healthy(registry):
    status = registry.raas.json("status", "bigdatainc")
    assert status["healthy"], status


@pytest.fixture
def names(all_samples):
    return sorted(f"samples/{name}" for name in all_samples)


def test_docker_searches(registry, docker, names):
    def search(limit):
        words = ["search", "--limit", limit, "--format", "{{.Name}}", f"{registry.address}/samples"]
        return run(*docker.command(*words)).split()

    assert sorted(search(100)) == names
    assert search(1) == [names[0]]


def test_podman_searches(registry, names):
    options = ["--tls-verify=false", "--limit", "100", "--format", "{{.Name}}"]
    found = run("podman", "search", *options, f"{registry.address}/samples").split()
    assert sorted(found) == [f"{registry.address}/{name}" for name in names]


def test_docker_v1_walk(registry):
    """The requests of a Docker v1 client, in its order."""

    def get(path):
        return read(f"http://{registry.address}{path}")

    assert get("/v1/_ping") == b"true"
    top = json.loads(get("/v1/repositories/samples/pulp2/tags/latest"))
    files = members(FIXTURES / "bigdata-app.tar")
    ancestry = json.loads(get(f"/v1/images/{top}/ancestry"))
    assert ancestry
    for image in ancestry:
        for file in ["json", "layer"]:
            assert get(f"/v1/images/{image}/{file}") == files[f"web/{image}/{file}"], f"{image}/{file}"


def test_masked_layer_stays_with_its_operator(raas, clients, all_samples, tmp_path):
    """The base layer is pulled from the operator's CDN, and never stored."""
    sample = all_samples["pulp2"]
    masked_layer_on_cdn(tmp_path / "cdn")
    with Cdn(tmp_path / "cdn") as cdn, raas.serve(tmp_path / "serve.log") as server:
        config = tmp_path / "raas.cfg"
        config.write_text(f"[redhat]\nmask_layers = {MASKED}\nlayer_url = {cdn.url}/rhel7\n")
        report = raas.json("--config", config, "push", "bigdatainc", "bigdata-app", *sample.push)
        assert [masked["digest"] for masked in report["masked_layers"]] == [MASKED], report
        clients.pull(server.address, "bigdata-app", sample.tags)
        assert [path for path in raas.home.rglob("*") if MASKED in str(path)] == []
        assert cdn.asked.count(f"/rhel7/{MASKED}/layer") >= 3, cdn.asked


def test_clients_of_a_deprecated_tag(raas, podman, tmp_path):
    """Clients pull a deprecated tag as any other. Those that show warnings of registries show this one."""
    raas("push", "acme", "app", "--from", FIXTURES / "docker-save.tar")
    (tag, *_) = raas.json("list", "acme")["vendors"][0]["repositories"][0]["tags"]
    for new in ["2.4", "2.3"]:
        raas("tag", "acme", f"app:{new}", f"app:{tag['tag']}")
    raas("deprecate", "acme", "app:2.3", "--use", "2.4", "--until", "2999-12-31")
    warning = "app:2.3 is deprecated: use app:2.4 (supported until 2999-12-31)"
    with raas.serve(tmp_path / "serve.log") as server:

        def said(tag):
            """What podman and skopeo print for a tag, and whether each shows warnings at all."""
            reference = f"{server.address}/app:{tag}"
            copy = ["skopeo", "copy", "--insecure-policy", "--src-tls-verify=false", f"docker://{reference}"]
            for command in [
                podman.command("pull", *podman.options, reference),
                [*copy, f"dir:{tmp_path / 'copied'}"],
            ]:
                done = result(*command)
                assert done.returncode == 0, done
                # The versions of Debian 12 do not know warnings; later versions print them.
                program = pathlib.Path(shutil.which(command[0])).read_bytes()
                yield done.stderr, b"Warning from registry" in program

        def header(tag):
            with urllib.request.urlopen(
                f"http://{server.address}/v2/app/manifests/{tag}", timeout=10
            ) as answer:
                return answer.headers["Warning"]

        assert header("2.3") == f'299 - "{warning}"'
        assert all((warning in text) == shows for text, shows in said("2.3"))
        assert header("2.4") is None
        assert not any("deprecated" in text for text, _ in said("2.4"))
        raas("undeprecate", "acme", "app:2.3")
        assert header("2.3") is None


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk)
    try:
        yield disk
    finally:
        run("umount", disk)


def test_full_disk(program, small_disk):
    """The disk runs full in the middle of a push, and then it is read-only."""
    raas = Raas(program, small_disk / "home")
    raas("push", "acme", "app", "--from", FIXTURES / "bigdata-app.tar")
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 16384)
    big = ["push", "acme", "big", "--from", FIXTURES / "docker-save.tar"]
    done = raas.result(*big)
    assert done.returncode == 4, done
    assert "No space left on device" in done.stderr, done
    filler.unlink()
    raas(*big)
    run("mount", "-o", "remount,ro", small_disk)
    done = raas.result("push", "acme", "third", "--from", FIXTURES / "oci-multi")
    assert done.returncode == 4, done
    assert "Read-only file system" in done.stderr, done
