"""Fixtures that several suites share, and the logs of a failing test."""

import pathlib
import signal
import tempfile

import pytest

from harness import packages, process
from harness.clients import Clients, Podman, Skopeo, docker_daemon
from harness.raas import Raas, build
from harness.releases import dist
from harness.samples import samples

PROGRAM = pytest.StashKey()


def pytest_addoption(parser):
    parser.addoption(
        "--raas",
        metavar="PATH",
        type=pathlib.Path,
        help="the program to test; by default it is built with the profile e2e",
    )
    parser.addoption(
        "--pictures", metavar="FOLDER", type=pathlib.Path, help="where the pictures of the pages go"
    )


def pytest_configure():
    # A time limit from outside ends the tests as Ctrl-C does, so that the fixtures end what they started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_runtestloop(session):
    """Builds what is missing before any time limit of a test begins."""
    if session.config.option.collectonly:
        return
    given = session.config.getoption("raas")
    if given and not given.is_file():
        raise pytest.UsageError(f"--raas {given}: there is no such file")
    session.config.stash[PROGRAM] = given.resolve() if given else build("e2e")
    if any(item.get_closest_marker("garage") for item in session.items):
        packages.garage()


def pytest_runtest_setup():
    process.STARTED[:] = [one for one in process.STARTED if one.child.poll() is None]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.failed:
        report.sections += [(f"log of {one.name}, {one.log}", one.last_lines()) for one in process.STARTED]
    return report


@pytest.fixture(scope="session")
def program(pytestconfig):
    """The program that all suites test."""
    return pytestconfig.stash[PROGRAM]


@pytest.fixture(scope="session")
def release(program, tmp_path_factory):
    """A release of the program."""
    return dist(program, tmp_path_factory.mktemp("release") / "output")


@pytest.fixture
def raas(program, tmp_path):
    """`raas` with an empty home."""
    return Raas(program, tmp_path / "home")


@pytest.fixture(scope="session")
def docker(tmp_path_factory):
    """docker with a daemon that all suites share."""
    with docker_daemon(tmp_path_factory.mktemp("docker")) as client:
        yield client


@pytest.fixture(scope="session")
def short_folder():
    """A folder with a short path: podman's runroot may have 50 characters at most."""
    with tempfile.TemporaryDirectory(prefix="raas-e2e-") as folder:
        yield pathlib.Path(folder)


@pytest.fixture(scope="session")
def podman(short_folder):
    """podman with a storage that all suites share."""
    return Podman(short_folder / "podman")


@pytest.fixture(scope="session")
def skopeo(tmp_path_factory):
    return Skopeo(tmp_path_factory.mktemp("skopeo") / "copied")


@pytest.fixture(scope="session")
def clients(docker, podman, skopeo):
    """docker, podman and skopeo."""
    return Clients([docker, podman], skopeo)


@pytest.fixture(scope="session")
def all_samples():
    """Every sample by its name."""
    return samples()
