"""Images from a registry as companies run them: passwords, a private authority, a line that cuts, delays and
corrupts."""

import json
import os
import random
import shutil

import pytest

from harness.archives import OciLayout, image_config, sha256, tar_of
from harness.process import result, run
from harness.raas import Raas
from harness.sources import PASSWORD, USER, company_registry

LAYERS, LAYER = 3, 3 << 20


@pytest.fixture(scope="module")
def registry(tmp_path_factory, all_samples):
    """The registry with `team/app`, for two platforms, and `team/large`, whose layers do not pack."""
    folder = tmp_path_factory.mktemp("company")
    with company_registry(folder) as registry:
        registry.push(f"oci:{all_samples['oci-multi'].path}:2.0", "team/app:2.0")
        registry.push(f"oci:{large_image(folder / 'large')}:1.0", "team/large:1.0")
        registry.login()
        yield registry


def large_image(folder):
    layout = OciLayout(folder)
    plain = [tar_of({"noise": random.Random(n).randbytes(LAYER)}) for n in range(LAYERS)]
    config = layout.blob(image_config([sha256(layer) for layer in plain]), "config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layout.blob(layer, "layer.v1.tar") for layer in plain],
    }
    layout.finish(layout.blob(json.dumps(manifest).encode(), "manifest.v1+json"), "1.0")
    return folder


@pytest.fixture
def line(registry):
    """The line between nginx and the registry, which is good again afterwards."""
    yield registry.line
    registry.line.cut, registry.line.silence, registry.line.corrupt = None, 0, False
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
    assert report["source"]["kind"] == "registry"
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

    def image(code=0):
        done = raas.result(*sync, "--json", env=environment)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)["images"][0]

    assert image()["changed"] == ["1.0", "1.1"]
    unchanged = image()
    assert (unchanged["outcome"], unchanged["requests"]) == ("unchanged", 4)
    registry.push(f"oci:{registry.folder / 'large'}:1.0", "team/moving:1.1")
    assert image()["changed"] == ["1.1"]
    assert len(run(*raas.command("log", "acme")).splitlines()) >= 2
    # One failure does not stop the others.
    config.write_text(f"{config.read_text()}sync.gone = docker://{registry.host}/team/gone\n")
    done = raas.result(*sync, "--json", env=environment)
    assert done.returncode == 1
    assert [one["outcome"] for one in json.loads(done.stdout)["images"]] == ["unchanged", "failed"]


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
    command = [program, "--home", tmp_path / "home", "push", "acme", "large"]
    command += ["--from", f"docker://{registry.host}/team/large", "--terse"]
    script = (
        "import resource,subprocess,sys;"
        "subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    peak = int(run("python3", "-c", script, *command, env=environment)) * 1024
    assert peak <= 64 << 20, f"{peak >> 20} MiB"
