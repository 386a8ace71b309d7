"""A machine installs the packages, serves, upgrades under a pull, removes and purges; vendors' data stays."""

import contextlib
import json
import random
import shutil
import subprocess
import sys
import threading

import pytest

from harness.archives import OciLayout, image_config, sha256, tar_of
from harness.clients import Skopeo
from harness.machine import machine, new_root
from harness.process import CommandFailed, result, run, running, wait_for
from harness.releases import dist, only

NEWER = "9000.1.2"
CONFIGURATION = "/etc/raas/raas.cfg"
REGISTRY = "127.0.0.1:5000"
# A layer that is larger than what lies in the buffers of a connection.
LAYER = 40 << 20
# Reads 640 KiB a second until it is told to go on, then the rest, and prints the digest.
SLOW_CLIENT = """
import hashlib, select, sys, urllib.request
answer, digest, is_slow = urllib.request.urlopen(sys.argv[1], timeout=60), hashlib.sha256(), True
print("begun", flush=True)
while part := answer.read(65536):
    digest.update(part)
    is_slow = is_slow and not select.select([sys.stdin], [], [], 0.1)[0]
print(digest.hexdigest())
"""
SERVICES = ["raas-serve.service", "raas@acme.service"]
# systemd refuses the socket of a service that runs already.
UNITS = ["raas-serve.socket", *SERVICES, "raas-sync.timer"]


@pytest.fixture(scope="module")
def packages(program, release, all_samples, tmp_path_factory):
    """A folder with the packages of two versions, and with two images."""
    folder = tmp_path_factory.mktemp("packages")
    newer = folder / "newer"
    dist(program, newer, "--version", NEWER, "--format", "deb", "--format", "rpm")
    for ending in ("deb", "rpm"):
        shutil.copy(only(release, f"*.{ending}"), folder / f"old.{ending}")
        shutil.move(only(newer, f"*.{ending}"), folder / f"new.{ending}")
    shutil.rmtree(newer)
    shutil.copy(all_samples["docker-save"].path, folder / "app.tar")
    big_image(folder / "big")
    # The user of the units reads the images there.
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def big_image(folder):
    """An image with one layer that nothing packs."""
    layout, content = OciLayout(folder), random.Random(1).randbytes(LAYER)
    layer = tar_of({"big": content})
    descriptor = layout.blob(layer, "layer.v1.tar")
    config = layout.blob(image_config([sha256(layer)]), "config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    manifest |= {"config": config, "layers": [descriptor]}
    root = layout.blob(json.dumps(manifest).encode(), "manifest.v1+json")
    layout.finish(root, "1.0")


def raas(host, *words):
    """Runs raas as the units do."""
    return host("runuser", "-u", "raas", "--", "env", "RAAS_HOME=/var/lib/raas", "raas", *words)


def apt(*words):
    return ["apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", *words]


def links(host):
    """The links that enable units."""
    return host("find", "/etc/systemd/system", "-name", "raas*", "-type", "l").split()


class Pulls(threading.Thread):
    """A client that pulls the same image again and again, and tries nothing a second time."""

    def __init__(self, client, platforms):
        super().__init__(daemon=True)
        self.client, self.platforms = client, platforms
        self.pulls, self.broken, self.over = 0, [], threading.Event()

    def run(self):
        while not self.over.is_set():
            self.pulls += 1
            try:
                assert self.client.pull_all(f"{REGISTRY}/app:1.0") == self.platforms
            except (AssertionError, CommandFailed, OSError) as error:
                self.broken.append(repr(error))

    @contextlib.contextmanager
    def going_on(self):
        self.start()
        try:
            yield
        finally:
            self.over.set()
            self.join(120)


@pytest.fixture
def platforms(all_samples):
    """What the small image has."""
    return all_samples["docker-save"].tags["1.0"]


def install(host):
    """Installs the package, and checks what is there."""
    host(*apt("install", "/packages/old.deb"))
    assert host.stat(CONFIGURATION) == "640 root raas"
    assert host.stat("/etc/raas") == "755 root root"
    assert host.stat("/var/lib/raas") == "700 raas raas"
    assert host("getent", "passwd", "raas").strip().endswith(":/var/lib/raas:/usr/sbin/nologin")
    assert host("dpkg", "--verify", "raas") == ""
    assert links(host) == []
    for unit in SERVICES:
        assert host.state(unit, "ActiveState", "LoadState") == ["inactive", "loaded"]
    assert raas(host, "config", "show") == f"# {CONFIGURATION}\n"
    raas(host, "config", "check")
    # Other users cannot read the configuration.
    refused = host.result("runuser", "-u", "nobody", "--", "cat", CONFIGURATION)
    assert "Permission denied" in refused.stderr


def serve(host):
    """Publishes two images, and serves them with every unit."""
    raas(host, "setup", "acme")
    raas(host, "push", "acme", "app", "--from", "/packages/app.tar")
    raas(host, "push", "acme", "big", "--from", "/packages/big")
    host("sh", "-c", "echo RAAS_LISTEN=127.0.0.1:5001 > /etc/raas/acme.env")
    host("mkdir", "/etc/systemd/system/raas@.service.d")
    as_json = "[Service]\nExecStart=\nExecStart=/usr/bin/raas serve %i --log json\n"
    host("tee", "/etc/systemd/system/raas@.service.d/override.conf", input=as_json)
    host("systemctl", "daemon-reload")
    host("systemctl", "enable", "--now", *UNITS, timeout=60)
    for unit in SERVICES:
        assert host.state(unit, "ActiveState", "User") == ["active", "raas"]


def pulls_in_the_journal(host):
    """The pulls that raas counts in what its unit has written, as docs/installing.md says."""
    log = host("journalctl", "--unit", "raas@acme", "--output", "cat")
    command = host.command("runuser", "-u", "raas", "--", "raas", "pulls", "acme", "-", "--json")
    (repository,) = json.loads(run(*command, input=log))["repositories"]
    return repository["pulls"]


def big_layer(packages):
    """The digest of the layer of the big image."""
    (layer,) = [path for path in (packages / "big/blobs/sha256").iterdir() if path.stat().st_size > LAYER]
    return layer.name


@contextlib.contextmanager
def slow_pull(host, layer):
    """A client that pulls a layer slowly, from the moment that it gets bytes."""
    url = f"http://{REGISTRY}/v2/big/blobs/sha256:{layer}"
    command = list(map(str, host.in_network(sys.executable, "-c", SLOW_CLIENT, url)))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as client:
        try:
            assert client.stdout.readline() == "begun\n"
            yield client
        finally:
            client.kill()


def upgrade(host, client, platforms, layer, tmp_path):
    """Installs a newer package while clients pull."""
    host("sh", "-c", f"echo '# mine' >> {CONFIGURATION}")
    before = [host.state(unit, "MainPID") for unit in SERVICES]
    pulls = Pulls(client, platforms)
    installation = running(host.command(*apt("install", "/packages/new.deb")), tmp_path / "apt.log")
    with pulls.going_on(), slow_pull(host, layer) as slow, installation as apt_get:
        wait_for(
            "the restart",
            lambda: host.state("raas-serve.service", "ActiveState") == ["deactivating"],
            seconds=60,
            process=apt_get,
        )
        # The old server still sends the layer.
        assert slow.poll() is None
        said, _ = slow.communicate("go on\n", timeout=60)
        assert said.split() == [layer]
        assert apt_get.child.wait(120) == 0, apt_get.last_lines()
        count = pulls.pulls
        wait_for("a pull after the restart", lambda: pulls.pulls > count + 1)
    assert pulls.broken == []
    assert pulls.pulls > 3
    assert host("dpkg-query", "--show", "--showformat=${Version}", "raas") == NEWER
    for unit, (old,) in zip(SERVICES, before, strict=True):
        state, new = host.state(unit, "ActiveState", "MainPID")
        assert state == "active", unit
        assert new != old, unit
    assert host("tail", "-n", "1", CONFIGURATION).strip() == "# mine"
    assert host.stat(CONFIGURATION) == "640 root raas"


def remove(host):
    """Removes the package: what runs ends, and what an operator has made stays."""
    host(*apt("remove", "raas"), timeout=120)
    assert not host.has("/usr/bin/raas")
    assert links(host) == []
    for unit in UNITS:
        assert host.state(unit, "ActiveState", "LoadState") == ["inactive", "not-found"]
    assert host.stat(CONFIGURATION) == "640 root raas"
    assert host.stat("/var/lib/raas") == "700 raas raas"


def purge(host):
    """Purges the package, and checks that nothing but the vendors' data and the operator's file stays."""
    done = host.result(*apt("purge", "raas"))
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "raas: the vendors' data stays in /var/lib/raas. To remove it: rm -r /var/lib/raas" in said
    assert "raas: /etc/raas stays, with the files that the package did not install" in said
    assert host.stat("/var/lib/raas") == "700 root root"
    assert host("ls", "/etc/raas").split() == ["acme.env"]
    for database in ("passwd", "group"):
        assert host.result("getent", database, "raas").returncode == 2, database
    left = host("find", "/", "-xdev", "-name", "*raas*", "-not", "-path", "/var/lib/raas/*").split()
    assert sorted(left) == ["/etc/raas", "/etc/systemd/system/raas@.service.d", "/var/lib/raas"]


def install_again(host):
    """Installs the package on the home of an earlier installation. Its user may have another number."""
    host("useradd", "--system", "another")
    host(*apt("install", "/packages/old.deb"))
    assert host("find", "/var/lib/raas", "-not", "-user", "raas") == ""
    host("systemctl", "start", "raas-serve.socket", "raas-serve.service", timeout=60)


def test_a_package_is_installed_upgraded_under_a_pull_removed_and_purged(platforms, packages, tmp_path):
    with machine(tmp_path, packages) as host:
        client = Skopeo(tmp_path / "copied", inside=host.in_network())
        install(host)
        serve(host)
        assert client.pull_all(f"{REGISTRY}/app:1.0") == platforms
        assert client.pull_all("127.0.0.1:5001/app:1.0") == platforms
        assert pulls_in_the_journal(host) == 1
        upgrade(host, client, platforms, big_layer(packages), tmp_path)
        remove(host)
        purge(host)
        install_again(host)
        assert client.pull_all(f"{REGISTRY}/app:1.0") == platforms
        # A home without anything is no vendor's.
        host("systemctl", "stop", "raas-serve.socket", "raas-serve.service")
        host("sh", "-c", "rm -r /var/lib/raas/* /etc/raas/acme.env")
        host(*apt("purge", "raas"))
        assert not host.has("/var/lib/raas")
        assert not host.has("/etc/raas")


def test_the_rpm_installs_upgrades_and_removes(packages, tmp_path):
    with new_root(tmp_path) as root:
        # Debian's packages are not in the database of rpm.
        rpm = ["rpm", "--root", root, "--dbpath", "/var/lib/rpm"]

        def inside(*words):
            return result("chroot", root, "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin", *words)

        def stat(path):
            return inside("stat", "--format", "%a %U %G", path).stdout.strip()

        run(*rpm, "--install", "--nodeps", packages / "old.rpm")
        assert stat(CONFIGURATION) == "640 root raas"
        assert stat("/var/lib/raas") == "700 raas raas"
        assert run(*rpm, "--verify", "--nodeps", "raas") == ""
        assert inside("raas", "version").returncode == 0
        assert inside("systemctl", "enable", "raas-serve.service", "raas@acme.service").returncode == 0
        with (root / CONFIGURATION.lstrip("/")).open("a") as configuration:
            configuration.write("# mine\n")
        (root / "var/lib/raas/acme").mkdir()
        run(*rpm, "--upgrade", "--nodeps", packages / "new.rpm")
        assert run(*rpm, "--query", "raas").startswith(f"raas-{NEWER}-1.")
        assert (root / CONFIGURATION.lstrip("/")).read_text().endswith("\n# mine\n")
        wanted = root / "etc/systemd/system/multi-user.target.wants"
        assert sorted(path.name for path in wanted.glob("raas*")) == SERVICES
        run(*rpm, "--erase", "raas")
        assert list(wanted.glob("raas*")) == []
        assert not (root / "usr/bin/raas").exists()
        assert stat("/var/lib/raas") == "700 raas raas"
        assert [path.name for path in (root / "etc/raas").iterdir()] == ["raas.cfg.rpmsave"]
