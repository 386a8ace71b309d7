"""raas behind a reverse proxy, nginx, and raas that reaches S3 through a forward proxy, squid."""

import os

import pytest

from harness.process import run, wait_for
from harness.proxies import nginx_before, squid_proxy
from harness.raas import Raas, stateless_server
from harness.s3_services import moto_service
from harness.web import status_of

PROXY_VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"]


@pytest.fixture
def behind_nginx(raas, all_samples, tmp_path):
    """A server that trusts nginx, with a sample as `app`; has the `address` of nginx."""
    raas("push", "acme", "app", *all_samples["docker-save"].push)
    log = tmp_path / "serve.log"
    with (
        raas.serve(log, "acme", "--trusted-proxies", "127.0.0.1") as server,
        nginx_before(server.address, tmp_path) as address,
    ):
        server.address = address
        yield server


def test_pull_through_nginx(behind_nginx, clients, all_samples):
    clients.pull(behind_nginx.address, "app", all_samples["docker-save"].tags)


def test_address_of_a_client_behind_nginx(behind_nginx):
    """The log has the address that nginx saw, and not the one that the client claims."""
    claim = ["-H", "X-Forwarded-For: 192.0.2.66", "--interface", "127.0.0.7"]
    run("curl", "-sSf", *claim, f"http://{behind_nginx.address}/v2/app/tags/list")
    line = wait_for(
        "a line of the access log",
        lambda: [line for line in behind_nginx.log.read_text().splitlines() if "tags/list" in line],
    )[0]
    assert "127.0.0.7" in line
    assert "192.0.2.66" not in line


@pytest.fixture(scope="module")
def moto(tmp_path_factory):
    with moto_service(tmp_path_factory.mktemp("moto")) as service:
        yield service


@pytest.fixture(scope="module")
def squid(short_folder):
    with squid_proxy(short_folder / "squid") as squid:
        yield squid


def environment(**proxies):
    """The variables of this process with other proxies; the lower-case names are the same variables."""
    others = {name: value for name, value in os.environ.items() if name.upper() not in PROXY_VARIABLES}
    return others | proxies


@pytest.mark.parametrize("excepted", [False, True], ids=["HTTP_PROXY", "NO_PROXY"])
def test_push_to_s3_through_squid(program, moto, squid, all_samples, tmp_path, excepted):
    """squid sees every request of a push, and none if NO_PROXY names the service."""
    raas, config = Raas(program, tmp_path / "home"), tmp_path / "raas.cfg"
    bucket = f"squid-{excepted}".lower()
    config.write_text(moto.raas_cfg("acme", bucket))
    exception = {"NO_PROXY": "127.0.0.1"} if excepted else {}
    through = environment(HTTP_PROXY=squid.url, **exception)
    before = len(squid.requests())
    raas("--config", config, "setup", "acme", "--create", env=through)
    push = ["--config", config, "push", "acme", "app", *all_samples["docker-save"].push]
    report = raas.json(*push, env=through)
    seen = squid.requests()[before:]
    if excepted:
        assert seen == []
    else:
        assert len(seen) >= report["requests"]
        assert {address.startswith(moto.url) for _, address in seen} == {True}, seen


@pytest.mark.parametrize(
    "excepted",
    [None, "127.0.0.1", "10.0.0.1 127.0.0.0/8"],
    ids=["HTTP_PROXY", "NO_PROXY", "NO_PROXY-network-and-spaces"],
)
def test_server_fetches_through_squid(program, moto, squid, clients, all_samples, tmp_path, excepted):
    """`raas serve` fetches metadata and layers through squid, and directly if NO_PROXY names the service."""
    raas, config, sample = Raas(program, tmp_path / "home"), tmp_path / "raas.cfg", all_samples["docker-save"]
    bucket = f"server-{len(excepted or '')}"
    config.write_text(moto.raas_cfg("acme", bucket))
    direct = environment()
    raas("--config", config, "setup", "acme", "--create", env=direct)
    raas("--config", config, "push", "acme", "app", *sample.push, env=direct)
    place = ["--s3-endpoint", moto.url, "--s3-region", moto.region, "--s3-path-style"]
    arguments = ["acme", "--metadata", f"s3://{bucket}", *place, "--access", "proxy"]
    exception = {"NO_PROXY": excepted} if excepted else {}
    through = environment(HTTP_PROXY=squid.url, **exception) | moto.credentials()
    before = len(squid.requests())
    with stateless_server(program, tmp_path / "serve.log", *arguments, env=through) as server:
        ready = f"http://{server.address}/-/readyz"
        wait_for("the server is ready", lambda: status_of(ready)[0] == 200, process=server)
        clients.pull(server.address, "app", sample.tags)
    seen = [address for _, address in squid.requests()[before:]]
    if excepted:
        assert seen == []
    else:
        assert any("_metadata" in address for address in seen), seen
        assert any("/blobs/" in address for address in seen), seen
