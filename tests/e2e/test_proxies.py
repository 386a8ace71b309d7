"""raas behind a reverse proxy, nginx; and raas that reaches S3, registries and web servers through a forward
proxy, squid."""

import os

import pytest

from harness.certificates import Authority
from harness.process import run, wait_for
from harness.proxies import INNER_NAME, nginx_before, squid_proxy
from harness.raas import Raas, stateless_server
from harness.s3_services import moto_service
from harness.sources import company_registry
from harness.web import Cdn, status_of

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


# Values of NO_PROXY for a server on this machine, and whether squid sees its connections all the same. `*`
# counts only if it is the whole value, as curl reads it.
EXCEPTIONS = {
    "none": ("", True),
    "all": ("*", False),
    "network-and-spaces": ("10.0.0.1 127.0.0.0/8", False),
    "port": ("127.0.0.1:PORT", False),
    "other-port": ("127.0.0.1:1", True),
    "star-in-a-list": ("example.com,*", True),
}
with_exceptions = pytest.mark.parametrize(("no_proxy", "through"), EXCEPTIONS.values(), ids=EXCEPTIONS)


def tunnels(squid, before, address, expected):
    """Checks which tunnels squid has made since then: some to this address alone, or none."""
    # squid writes a line when a tunnel ends.
    if expected:
        wait_for("the line of a tunnel", lambda: len(squid.requests()) > before)
    seen = set(squid.requests()[before:])
    assert seen == ({("CONNECT", address)} if expected else set())


@pytest.fixture(scope="module")
def company(tmp_path_factory, all_samples):
    """A registry with passwords and a private authority, which has `team/app`."""
    with company_registry(tmp_path_factory.mktemp("company")) as registry:
        registry.push(f"oci:{all_samples['oci-multi'].path}:2.0", "team/app:2.0")
        registry.login()
        yield registry


@with_exceptions
def test_push_from_a_registry_through_squid(raas, squid, company, no_proxy, through):
    """A registry with TLS is reached by CONNECT, and its private authority is checked within the tunnel."""
    no_proxy = no_proxy.replace("PORT", company.host.rsplit(":")[-1])
    env = company.environment(environment(HTTPS_PROXY=squid.url, NO_PROXY=no_proxy))
    before = len(squid.requests())
    report = raas.json("push", "acme", "app", "--from", f"docker://{company.host}/team/app:2.0", env=env)
    assert report["source_kind"] == "registry"
    tunnels(squid, before, company.host, through)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@with_exceptions
def test_push_from_a_web_server_through_squid(raas, squid, authority, all_samples, no_proxy, through):
    """`--from https://…` goes through a tunnel."""
    files = authority.issue("web", "subjectAltName=IP:127.0.0.1\n")
    path = all_samples["docker-save"].path
    with Cdn(path.parent).use_tls(*files) as web:
        no_proxy = no_proxy.replace("PORT", web.address.rsplit(":")[-1])
        env = environment(HTTPS_PROXY=squid.url, NO_PROXY=no_proxy, SSL_CERT_FILE=str(authority.certificate))
        before = len(squid.requests())
        more = all_samples["docker-save"].more
        raas("push", "acme", "app", "--from", f"{web.url}/{path.name}", *more, env=env)
        tunnels(squid, before, web.address, through)


@pytest.mark.parametrize("excepted", [False, True], ids=["HTTPS_PROXY", "NO_PROXY"])
def test_doctor_through_squid(raas, squid, authority, all_samples, tmp_path, excepted):
    """The doctor examines a registry whose name squid alone can resolve."""
    sample = all_samples["docker-save"]
    raas("push", "acme", "app", *sample.push)
    certificate, key = authority.issue("inner", f"subjectAltName=DNS:{INNER_NAME}\n", days="90")
    files = ["--tls-certificate", certificate, "--tls-key", key]
    with raas.serve(tmp_path / "serve.log", "acme", *files) as server:
        address = f"{INNER_NAME}:{server.address.rsplit(':')[-1]}"
        exception = {"NO_PROXY": f".{INNER_NAME}"} if excepted else {}
        env = environment(HTTPS_PROXY=squid.url, SSL_CERT_FILE=str(authority.certificate), **exception)
        before = len(squid.requests())
        done = raas.result("doctor", f"{address}/app:{next(iter(sample.tags))}", env=env)
        assert done.returncode == (1 if excepted else 0), done
        tunnels(squid, before, address, not excepted)
