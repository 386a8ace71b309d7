"""Images from a registry as companies run them: passwords, a private authority, a line that cuts, delays and
corrupts."""

import json
import os
import random
import shutil

import pytest

from harness.archives import sha256, tar_of
from harness.certificates import Authority
from harness.process import result, run
from harness.raas import Raas
from harness.sources import PASSWORD, USER, company_registry, make_image, tls_server
from harness.web import Quiet, WebServer

LAYERS, LAYER = 3, 3 << 20
# More than raas may need for it: whoever keeps two layers in memory is found out.
HUGE_LAYERS, HUGE_LAYER = 6, 48 << 20


@pytest.fixture(scope="module")
def registry(tmp_path_factory, all_samples):
    """The registry with `team/app`, for two platforms, and `team/large`, whose layers do not pack."""
    folder = tmp_path_factory.mktemp("company")
    with company_registry(folder) as registry:
        registry.push(f"oci:{all_samples['oci-multi'].path}:2.0", "team/app:2.0")
        registry.push(f"oci:{make_image(folder / 'large', LAYERS, LAYER)}:1.0", "team/large:1.0")
        registry.login()
        yield registry


@pytest.fixture
def line(registry):
    """The line between nginx and the registry, which is good again afterwards."""
    yield registry.line
    registry.line.cut, registry.line.silence, registry.line.corrupt = None, 0, False
    registry.line.redirect = None
    registry.line.were_cut.clear()
    registry.line.ranges.clear()


@pytest.fixture
def environment(registry):
    return registry.environment(os.environ)


def test_an_image_behind_a_login_and_a_private_authority(
    raas, registry, environment, clients, all_samples, tmp_path
):
    source = f"docker://{registry.host}/team/app"
    report = raas.json("push", "acme", "app", "--from", source, env=environment)
    assert report["source_kind"] == "registry"
    with raas.serve(tmp_path / "serve.log", "acme") as server:
        clients.pull(server.address, "app", all_samples["oci-multi"].tags)


def test_a_login_from_a_file(raas, registry, environment, tmp_path):
    login = tmp_path / "login"
    login.write_text(f"{USER}:{PASSWORD}\n")
    environment = environment | {"REGISTRY_AUTH_FILE": "/nonexistent"}
    push = ["push", "acme", "app", "--from", f"docker://{registry.host}/team/app:2.0"]
    failed = raas.result(*push, env=environment)
    assert (failed.returncode, "requires a login" in failed.stderr) == (2, True), failed.stderr
    raas(*push, "--src-creds", login, env=environment)
    login.write_text(f"{USER}:wrong\n")
    failed = raas.result(*push, "--src-creds", login, env=environment)
    assert (failed.returncode, "does not accept the login" in failed.stderr) == (2, True), failed.stderr


def test_an_unknown_authority_is_explained(raas, registry, environment, tmp_path):
    home = tmp_path / "other-home"
    home.mkdir()
    environment = environment | {"HOME": str(home)}
    push = ["push", "acme", "app", "--from", f"docker://{registry.host}/team/app:2.0"]
    # Without a folder of certificates, a registry on this machine is asked without TLS.
    shutil.copytree(registry.certificates, home / ".config/containers/certs.d" / registry.host)
    for certificate in home.rglob("*.crt"):
        certificate.unlink()
    failed = raas.result(*push, env=environment)
    assert failed.returncode == 4, failed.stderr
    assert f"/etc/containers/certs.d/{registry.host}/ca.crt" in failed.stderr, failed.stderr


def test_faults_of_tls_are_explained(raas, registry, tmp_path):
    other = Authority(tmp_path, "other")
    ours = registry.authority
    name = "subjectAltName=IP:127.0.0.1\n"
    good = ours.issue("good", name)
    table = [
        (
            "another name",
            ours.issue("elsewhere", "subjectAltName=DNS:elsewhere.example\n"),
            "a name that its",
        ),
        ("out of time", ours.issue("over", name, days="-1"), "renew the server's certificate"),
        ("another authority", other.issue("stranger", name), "/ca.crt"),
    ]
    for what, pair, hint in table:
        with tls_server(*pair) as server:
            failed = push_from(raas, registry, server.address, tmp_path / what)
            assert (failed.returncode, hint in failed.stderr) == (4, True), f"{what}: {failed.stderr}"
    with tls_server(*good, client_authority=other.certificate) as server:
        failed = push_from(raas, registry, server.address, tmp_path / "client")
        assert (failed.returncode, "client.cert and client.key" in failed.stderr) == (4, True), failed.stderr
        certificate, key = other.issue("client", "extendedKeyUsage=clientAuth\n")
        folder = tmp_path / "client" / ".config/containers/certs.d" / server.address
        shutil.copy(certificate, folder / "client.cert")
        shutil.copy(key, folder / "client.key")
        failed = push_from(raas, registry, server.address, tmp_path / "client")
        assert "the repository team/app of" in failed.stderr, "the server answers now"
    with WebServer(Quiet) as server:
        failed = push_from(raas, registry, server.address, tmp_path / "plain")
        assert (failed.returncode, "--src-plain-http" in failed.stderr) == (4, True), failed.stderr


def push_from(raas, registry, host, home):
    """A push from a host whose authority is the registry's, for a user with this home."""
    certificates = home / ".config/containers/certs.d" / host
    certificates.mkdir(parents=True, exist_ok=True)
    shutil.copy(registry.authority.certificate, certificates / "ca.crt")
    environment = os.environ | {"HOME": str(home), "REGISTRY_AUTH_FILE": "/nonexistent"}
    return raas.result("push", "acme", "app", "--from", f"docker://{host}/team/app", env=environment)


def test_pulp_gets_a_certificate_in_place_of_a_password(raas, registry, tmp_path):
    other = Authority(tmp_path, "other")
    ours = registry.authority
    certificate, key = ours.issue("client", "extendedKeyUsage=clientAuth\n")
    pair = other.issue("stranger", "subjectAltName=IP:127.0.0.1\n")
    with tls_server(*pair, client_authority=ours.certificate) as server:
        config = tmp_path / "raas.cfg"
        shows = [f"client_certificate = {certificate}", f"client_key = {key}"]
        for lines, words in [
            (["verify_ssl = no"], "set `client_certificate` and `client_key` in [pulpserver]"),
            (shows, "/ca.crt"),
            ([*shows, "verify_ssl = no"], "is no Pulp server"),
        ]:
            config.write_text("\n".join(["[pulpserver]", f"host = {server.address}", *lines, ""]))
            failed = raas.result("--config", config, "push", "acme", "app")
            assert (failed.returncode, words in failed.stderr) == (4, True), f"{lines}: {failed.stderr}"


def test_a_redirect_to_http_is_refused(raas, registry, line, environment):
    push = ["push", "acme", "large", "--from", f"docker://{registry.host}/team/large"]
    with WebServer(Quiet) as elsewhere:
        line.redirect = f"{elsewhere.url}/bucket/blob"
        failed = raas.result(*push, env=environment)
        assert failed.returncode == 3, failed.stderr
        assert "redirects from https to http" in failed.stderr, failed.stderr


def test_cut_transfers_go_on_where_they_stopped(raas, registry, line, environment, skopeo, tmp_path):
    line.cut = LAYER // 2
    raas("push", "acme", "large", "--from", f"docker://{registry.host}/team/large", env=environment)
    begun = sorted(int(wanted.removeprefix("bytes=").split("-")[0]) for wanted in line.ranges)
    assert len(begun) >= LAYERS, line.ranges
    assert begun[-1] > 0, "the rest is asked for, not the whole"
    with raas.serve(tmp_path / "serve.log", "acme") as server:
        (layers,) = skopeo.pull_all(f"{server.address}/large:1.0").values()
    expected = [sha256(tar_of({"noise": random.Random(n).randbytes(LAYER)})) for n in range(LAYERS)]
    assert layers == expected


def test_a_slow_line_is_waited_for(raas, registry, line, environment):
    line.silence = 1.5
    raas("push", "acme", "app", "--from", f"docker://{registry.host}/team/app:2.0", env=environment)


def test_corrupted_bytes_are_not_published(raas, registry, line, environment):
    line.corrupt = True
    push = ["push", "acme", "large", "--from", f"docker://{registry.host}/team/large:1.0"]
    failed = raas.result(*push, env=environment)
    assert failed.returncode == 3, failed.stderr
    assert "damaged or changed" in failed.stderr, failed.stderr
    assert raas("log", "acme").strip() in ("", "Nothing is published"), "nothing is published"
    line.corrupt = False
    assert raas.json(*push, env=environment)["changed"]


def test_sync_publishes_what_moved(program, registry, environment, skopeo, all_samples, tmp_path):
    raas = Raas(program, tmp_path / "home")
    source = f"oci:{all_samples['oci-multi'].path}:2.0"
    for tag in ("1.0", "1.1", "2.0-rc1"):
        registry.push(source, f"team/moving:{tag}")
    config = tmp_path / "raas.cfg"
    config.write_text(f"[acme]\nsync.app = docker://{registry.host}/team/moving\n    tags = >=1.0 <2\n")
    sync = ["--config", config, "sync"]

    def synced(code=0):
        done = raas.result(*sync, "--json", env=environment)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)["repositories"][0]

    assert synced()["changed_tags"] == ["1.0", "1.1"]
    unchanged = synced()
    assert (unchanged["outcome"], unchanged["requests"]) == ("unchanged", 4)
    registry.push(f"oci:{registry.folder / 'large'}:1.0", "team/moving:1.1")
    assert synced()["changed_tags"] == ["1.1"]
    assert len(run(*raas.command("log", "acme")).splitlines()) >= 2
    # One failure does not stop the others.
    config.write_text(f"{config.read_text()}sync.gone = docker://{registry.host}/team/gone\n")
    done = raas.result(*sync, "--json", env=environment)
    assert done.returncode == 1
    assert [one["outcome"] for one in json.loads(done.stdout)["repositories"]] == ["unchanged", "failed"]


def test_an_image_comes_from_a_mirror(raas, registry, environment, tmp_path):
    """`registries.conf` is read as podman and skopeo read it."""
    folder = tmp_path / "with-mirror"
    shutil.copytree(registry.folder / "home", folder)
    settings = folder / ".config/containers/registries.conf"
    settings.write_text(
        f'[[registry]]\nlocation = "registry.invalid"\n[[registry.mirror]]\nlocation = "{registry.host}"\n'
    )
    environment = environment | {"HOME": str(folder), "CONTAINERS_REGISTRIES_CONF": str(settings)}
    name = "registry.invalid/team/app:2.0"
    inspected = result("skopeo", "inspect", "--no-tags", f"docker://{name}", env=environment)
    assert inspected.returncode == 0, inspected.stderr
    pushed = raas.result("push", "acme", "app", "--from", f"docker://{name}", env=environment)
    assert pushed.returncode == 0, pushed.stderr
    assert f"is read from its mirror docker://{registry.host}/team/app:2.0" in pushed.stderr


def test_memory_of_a_push_from_a_registry(program, registry, environment, tmp_path):
    """Nothing is spooled, and memory does not grow with the image."""
    registry.push(f"oci:{make_image(tmp_path / 'huge', HUGE_LAYERS, HUGE_LAYER)}:1.0", "team/huge:1.0")
    command = [program, "--home", tmp_path / "home", "push", "acme", "huge"]
    command += ["--from", f"docker://{registry.host}/team/huge", "--terse"]
    script = (
        "import resource,subprocess,sys;"
        "subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    environment = environment | {"TMPDIR": "/nonexistent"}
    peak = int(run("python3", "-c", script, *command, env=environment)) * 1024
    assert peak <= 64 << 20, f"{peak >> 20} MiB"
