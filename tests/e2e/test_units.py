"""The units of systemd: they are valid, they expose little, and they have the same hardening."""

import shutil
import subprocess

import pytest

from harness.packages import ROOT
from harness.packages import program as installed

UNITS = ROOT / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
# systemd's own measure of what a service could reach: 0 is nothing, 10 is all of the machine.
MOST_EXPOSED = 2.0


def hardening(name):
    """The lines of a service that say what it may do."""
    text = (UNITS / name).read_text()
    block = text[text.index("# What the service may do") :]
    return block.partition("\n\n")[0].rstrip().splitlines()


@pytest.fixture
def units(tmp_path, program):
    """The units with the program of the tests, and without manual pages, which only a package installs."""
    for path in UNITS.iterdir():
        text = path.read_text().replace("/usr/bin/raas", str(program))
        lines = [line for line in text.splitlines(keepends=True) if not line.startswith("Documentation=")]
        (tmp_path / path.name).write_text("".join(lines))
    return tmp_path


def test_systemd_takes_every_unit(units):
    # An instance of the template for each vendor.
    shutil.copy(units / "raas@.service", units / "raas@bigdatainc.service")
    names = sorted(path for path in units.iterdir() if "@." not in path.name)
    done = subprocess.run(
        [installed("systemd-analyze"), "verify", *names], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_exposes_little(name):
    threshold = f"--threshold={MOST_EXPOSED * 10:.0f}"
    done = subprocess.run(
        [installed("systemd-analyze"), "security", "--offline=true", threshold, UNITS / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


def test_all_services_have_the_same_hardening():
    assert len(SERVICES) == 3
    first, *others = [hardening(name) for name in SERVICES]
    assert len(first) > 30
    for other in others:
        assert other == first
