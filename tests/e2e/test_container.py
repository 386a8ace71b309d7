"""The container image of the server: without any privilege, pulled from itself, replaced under load.

RAAS_IMAGE_OUTPUT names what `deploy/image.py` has made already.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

from harness import packages
from harness.process import free_port, result, run, wait_for
from harness.puller import RANGES, Puller, one_layer
from harness.raas import Raas
from harness.s3_services import moto_service
from harness.samples import oci
from harness.switch import Switch, is_ready
from harness.web import read

# As long as the switch may take to notice that a server stops being ready, and more.
DRAIN = 1
NO_PRIVILEGE = ["--network=host", "--read-only", "--cap-drop=ALL"]
# The build machines have no CAP_SYS_RESOURCE, which podman's own limits need.
LIMITS = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=20000:20000"]


@pytest.fixture(scope="session")
def layout():
    """The OCI layout with the image, its SBOM and its provenance."""
    if given := os.environ.get("RAAS_IMAGE_OUTPUT"):
        return pathlib.Path(given).resolve() / "layout"
    folder = packages.TARGET / "image-output"
    script = packages.ROOT / "deploy" / "image.py"
    subprocess.run([sys.executable, script, "--profile", "e2e", folder], check=True, timeout=3600)
    return folder / "layout"


@pytest.fixture(scope="session")
def tags(layout):
    """Tag to platform to digests of the layers."""
    return oci(layout)


class Engine:
    """Containers of docker or podman; each is gone at the end of its `with`."""

    def __init__(self, client, image, options=()):
        self.client, self.image, self.options = client, image, options

    def run(self, *words, options=()):
        """Runs a container to its end."""
        command = ["run", "--rm", *NO_PRIVILEGE, *self.options, *options, self.image, *words]
        return result(*self.client.command(*command), timeout=60)

    @contextlib.contextmanager
    def running(self, name, *words, options=()):
        command = ["run", "--detach", "--name", name, *NO_PRIVILEGE, *self.options, *options, self.image]
        run(*self.client.command(*command, *words))
        try:
            yield
        finally:
            result(*self.client.command("rm", "--force", name))

    def stop(self, name):
        """Stops a container as a cluster does, and returns its exit code."""
        run(*self.client.command("stop", "--time", "60", name), timeout=90)
        return int(run(*self.client.command("inspect", "--format", "{{.State.ExitCode}}", name)))

    def logs(self, name):
        done = result(*self.client.command("logs", name))
        return done.stdout + done.stderr


@pytest.fixture
def podman_engine(podman, layout, tags):
    (tag,) = tags
    image = run(*podman.command("pull", "--quiet", f"oci:{layout}:{tag}")).strip()
    # crun and systemd's groups want more than a build machine gives.
    podman_run = type(podman)(podman.folder.parent / "podman-run")
    podman_run.command = lambda *words: [
        "podman",
        *["--cgroup-manager=cgroupfs", "--runtime", "runc"],
        *podman.command(*words)[1:],
    ]
    yield Engine(podman_run, image, LIMITS)
    podman_run.folder.rmdir()


@pytest.fixture
def docker_engine(docker, layout, tags, tmp_path):
    (tag,) = tags
    archive = tmp_path / "raas.tar"
    places = [f"oci:{layout}:{tag}", f"docker-archive:{archive}:raas:{tag}"]
    run("skopeo", "copy", "-q", "--insecure-policy", *places)
    run(*docker.command("load", "--input", archive))
    return Engine(docker, f"raas:{tag}")


def test_the_image_is_pulled_from_itself(program, layout, tags, podman_engine, clients, tmp_path):
    config = tmp_path / "raas.cfg"
    with moto_service(tmp_path) as service:
        config.write_text(service.raas_cfg("acme", "acme-images"))
        config.chmod(0o644)
        raas = Raas(program, tmp_path / "home")
        raas("--config", config, "setup", "acme", "--create")
        raas("--config", config, "push", "acme", "raas", "--from", layout)
        port = free_port()
        options = ["--volume", f"{config}:/etc/raas/raas.cfg:ro", "--env", f"RAAS_LISTEN=127.0.0.1:{port}"]
        with podman_engine.running("raas-itself", options=options):
            try:
                wait_for("the container", lambda: is_ready(port))
            except AssertionError as error:
                raise AssertionError(podman_engine.logs("raas-itself")) from error
            address = f"127.0.0.1:{port}"
            clients.pull(address, "raas", tags)
            for words in (["healthcheck", str(port)], ["healthcheck", "--ready", address]):
                done = podman_engine.run(*words)
                assert (done.returncode, done.stdout) == (0, "ok\n"), done
            attached(address, layout)
        done = podman_engine.run("healthcheck", str(port))
        assert done.returncode == 1, done
        assert "is not alive" in done.stderr


def attached(address, layout):
    """The SBOM and the provenance are referrers of the image, and name it."""
    index = json.loads((layout / "index.json").read_text())
    (image,) = [one for one in index["manifests"] if "annotations" in one]
    listed = json.loads(read(f"http://{address}/v2/raas/referrers/{image['digest']}"))["manifests"]
    found = {}
    for one in listed:
        manifest = json.loads(read(f"http://{address}/v2/raas/manifests/{one['digest']}"))
        (layer,) = manifest["layers"]
        found[one["artifactType"]] = json.loads(read(f"http://{address}/v2/raas/blobs/{layer['digest']}"))
    sbom, provenance = found["application/vnd.cyclonedx+json"], found["application/vnd.in-toto+json"]
    names = {component["name"] for component in sbom["components"]}
    assert {"raas-server", "rustls", "hyper"} <= names
    assert not {"aws-sdk-s3", "kube", "kube-client"} & names
    digest = image["digest"].removeprefix("sha256:")
    assert sbom["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    assert provenance["subject"] == [{"name": "raas", "digest": {"sha256": digest}}]


def test_the_image_only_serves_and_says_what_it_is(layout, tags, podman_engine):
    (tag,) = tags
    config = json.loads(run("skopeo", "inspect", "--config", f"oci:{layout}:{tag}"))["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/raas"]
    said = ["title", "description", "licenses", "source", "version", "revision", "created"]
    assert {f"org.opencontainers.image.{name}" for name in said} <= set(config["Labels"])
    done = podman_engine.run("push", "acme", "app")
    assert done.returncode == 2, done
    done = podman_engine.run("serve", "acme")
    assert done.returncode == 2, done
    assert "this raas only serves what others publish" in done.stderr
    assert "hint: serve the vendors of a configuration with --from-config" in done.stderr


def test_containers_are_replaced_under_a_pulling_client(docker_engine, tmp_path):
    image = one_layer(tmp_path)
    places = [f"--volume={tmp_path / name}:/{name}:ro" for name in ("tree", "bucket")]
    words = ["serve", "acme", "--metadata", "/tree", "--bucket", "/bucket", "--no-access-log"]

    def start(stack, switch, number):
        port, name = free_port(), f"raas-rolling-{number}"
        options = [*places, f"--env=RAAS_LISTEN=127.0.0.1:{port}", f"--env=RAAS_DRAIN_DELAY={DRAIN}"]
        stack.enter_context(docker_engine.running(name, *words, options=options))
        switch.add(port)
        wait_for(name, lambda: port in switch.ready)
        return port, name

    with contextlib.ExitStack() as stack:
        switch = stack.enter_context(Switch())
        servers = [start(stack, switch, number) for number in range(2)]
        clients = [Puller(switch.port, image) for _ in range(3)]
        for client in clients:
            client.start()
        try:
            for number in range(2, 6):
                servers.append(start(stack, switch, number))
                port, name = servers.pop(0)
                assert docker_engine.stop(name) == 0, docker_engine.logs(name)
                switch.remove(port)
        finally:
            for client in clients:
                client.over.set()
            for client in clients:
                client.join(60)
    pulls, broken = sum(client.pulls for client in clients), [b for client in clients for b in client.broken]
    print(f"4 containers replaced, {pulls} pulls of {RANGES} ranges, {len(broken)} broken")
    assert pulls > 4
    assert broken == []
