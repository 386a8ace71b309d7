"""Kills, faults, signals, operators and losses of power for minutes; `just chaos` does the same for hours."""

import contextlib

import pytest

from chaos.run import Options, run
from harness import process
from harness.archives import docker_save, sha256, tar_of
from harness.process import running, wait_for
from harness.raas import Raas, address_in
from harness.web import status_of

# `--minutes` of `just chaos` has no limit.
MINUTES = 10
# A quarter of what a machine with two processors does in that time. If there are fewer, something keeps
# trials from being made.
LEAST = {"kills": 100, "faults": 40, "flips": 35, "signals": 5, "rounds": 1, "prefixes": 1}


@pytest.mark.timeout(1200)
def test_nothing_is_lost_or_half_published(program, tmp_path):
    report = run(Options(program, tmp_path, seed=20, seconds=MINUTES * 60))
    print(report)
    assert not report.violations, str(report)
    for kind, least in LEAST.items():
        assert report.counts[kind] >= least, str(report)


@contextlib.contextmanager
def small_disk(folder):
    """A file system of 8 MiB in memory, mounted at a folder."""
    folder.mkdir()
    process.run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder)
    try:
        yield
    finally:
        process.run("umount", folder)


@pytest.mark.parametrize("state", ["full", "read-only"])
def test_a_server_starts_on_a_full_disk_and_on_a_read_only_home(program, tmp_path, state):
    layer = tar_of({"data": b"x" * 1000})
    docker_save(tmp_path / "app.tar", "app:latest", layer, sha256(layer))
    disk = tmp_path / "disk"
    with small_disk(disk):
        raas = Raas(program, disk / "home")
        raas("push", "acme", "app", "--from", tmp_path / "app.tar")
        if state == "full":
            with contextlib.suppress(OSError), (disk / "rest").open("wb", buffering=0) as rest:
                while True:
                    rest.write(b"x" * 4096)
        else:
            process.run("mount", "-o", "remount,ro", disk)
        log = tmp_path / "serve.log"
        with running(raas.command("serve", "acme", "--listen", "127.0.0.1:0"), log) as server:
            address = wait_for("raas serve", lambda: address_in(server), process=server)
            tags = f"http://{address}/v2/app/tags/list"
            wait_for("the registry", lambda: status_of(tags)[0] == 200, process=server)
        assert "other commands of this machine do not find this server" in log.read_text()
