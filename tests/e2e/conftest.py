"""Fixtures that several suites share, and the logs of a failing test."""

import pathlib
import signal

import pytest
from harness import process
from harness.clients import Clients, Podman, Skopeo, docker_daemon
from harness.raas import Raas, release_build
from harness.samples import samples


def pytest_addoption(parser):
    parser.addoption(
        "--raas", metavar="PATH", type=pathlib.Path, help="the program to test (a release build by default)"
    )
    parser.addoption(
        "--pictures", metavar="FOLDER", type=pathlib.Path, help="where the pictures of the pages go"
    )


def pytest_configure():
    # A time limit from outside ends the tests as Ctrl-C does, so that the fixtures end what they started.
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))


def pytest_runtest_setup():
    process.STARTED[:] = [one for one in process.STARTED if one.child.poll() is None]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.failed:
        report.sections += [(f"log of {one.name}, {one.log}", one.last_lines()) for one in process.STARTED]
    return report


@pytest.fixture(scope="session")
def program(request):
    """The program that all suites test."""
    if given := request.config.getoption("raas"):
        assert given.is_file(), f"--raas {given}: there is no such program"
        return given.resolve()
    return release_build()


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
def podman(tmp_path_factory):
    return Podman(tmp_path_factory.mktemp("podman"))


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
