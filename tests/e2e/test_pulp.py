"""A real Pulp 3: its registry with and without its token server and domains, exports, signatures, uploads."""

import json

import pytest

from harness.process import result, run
from harness.pulp import pulp_server
from harness.raas import Raas
from harness.signing import Gnupg
from harness.sources import make_image, registry_on_folder

pytestmark = [pytest.mark.pulp, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def pulp(short_folder, all_samples):
    """Pulp without its token server, with the repository `acme/app`, and a worker."""
    with pulp_server(short_folder / "pulp") as pulp, pulp.worker():
        pulp.push(f"oci:{all_samples['oci-multi'].path}:2.0", "acme/app:2.0")
        yield pulp


def configured(raas, pulp, tmp_path, *more, **login):
    """The words of `raas` with a configuration for this server."""
    config = tmp_path / "raas.cfg"
    config.write_text(pulp.section(*more, **login))
    return Raas(raas.program, raas.home), ["--config", config]


def test_push_without_a_source(raas, pulp, clients, all_samples, tmp_path):
    raas, config = configured(raas, pulp, tmp_path)
    report = raas.json(*config, "push", "acme", "app")
    assert report["source_kind"] == "pulp"
    with raas.serve(tmp_path / "serve.log", "acme") as server:
        clients.pull(server.address, "app", all_samples["oci-multi"].tags)


def test_an_export_over_rest(raas, pulp, clients, all_samples, tmp_path):
    raas, config = configured(raas, pulp, tmp_path, f"export_path = {pulp.exports}")
    pushed = raas.result(*config, "push", "acme", "app", "--via", "export")
    assert pushed.returncode == 0, pushed.stderr
    assert "as Pulp 3 export" in pushed.stderr, pushed.stderr
    assert not list(pulp.exports.iterdir()), "the files of the export are removed"
    with raas.serve(tmp_path / "serve.log", "acme") as server:
        clients.pull(server.address, "app", all_samples["oci-multi"].tags)


def test_an_export_where_pulp_may_not_write(raas, pulp, tmp_path):
    raas, config = configured(raas, pulp, tmp_path, "export_path = /srv/elsewhere")
    failed = raas.result(*config, "push", "acme", "app", "--via", "export")
    assert failed.returncode == 4
    assert "is not an allowed export path" in failed.stderr, failed.stderr
    assert "ALLOWED_EXPORT_PATHS" in failed.stderr, failed.stderr


def test_sync_after_a_tag_moved(raas, pulp, all_samples, tmp_path):
    pulp.push(f"oci:{all_samples['oci-multi'].path}:2.0", "acme/moving:1")
    raas, config = configured(raas, pulp, tmp_path, "[acme]", "sync.moving = pulp")

    def image():
        return raas.json(*config, "sync")["repositories"][0]

    assert image()["changed_tags"] == ["1"]
    assert image()["outcome"] == "unchanged"
    pulp.push(f"docker-archive:{all_samples['docker-save'].path}", "acme/moving:1")
    assert image()["changed_tags"] == ["1"]
    healthy = raas.result(*config, "status", "acme", "moving", "--pulp", "--json")
    (check,) = [one for one in json.loads(healthy.stdout)["vendors"][0]["checks"] if one["name"] == "source"]
    assert check["outcome"] == "ok", check


def test_a_private_repository_is_protected(raas, pulp, all_samples, tmp_path):
    pulp.push(f"oci:{all_samples['oci-multi'].path}:2.0", "acme/secret:1.0")
    path = "/pulp/api/v3/distributions/container/container/"
    (found,) = json.loads(pulp.rest("GET", f"{path}?base_path=acme/secret"))["results"]
    pulp.rest("PATCH", found["pulp_href"], '{"private": true}')
    raas, config = configured(raas, pulp, tmp_path)
    assert raas.json(*config, "push", "acme", "secret")["protected"]


def test_content_that_pulp_fetches_on_demand(raas, pulp, tmp_path):
    """Through the registry it is published, and an export says why it is not."""
    with registry_on_folder(tmp_path / "upstream") as upstream:
        host = f"127.0.0.1:{upstream.port}"
        # Content that Pulp has from elsewhere would be exported.
        layout = make_image(tmp_path / "layout", 1, 1000)
        copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]
        run(*copy, f"oci:{layout}:1.0", f"docker://{host}/up/app:1.0")
        lazy = {"url": f"http://{host}", "upstream_name": "up/app", "policy": "on_demand"}
        remote = pulp.make("remotes/container/container/", name="lazy", **lazy)
        repository = pulp.make("repositories/container/container/", name="lazy")
        pulp.make(f"{repository.removeprefix('/pulp/api/v3/')}sync/", remote=remote)
        where = {"base_path": "acme/lazy", "repository": repository}
        pulp.make("distributions/container/container/", name="lazy", **where)
        raas, config = configured(raas, pulp, tmp_path, f"export_path = {pulp.exports}")
        failed = raas.result(*config, "push", "acme", "lazy", "--via", "export")
        assert failed.returncode == 4, failed.stderr
        assert "Remote artifacts cannot be exported" in failed.stderr, failed.stderr
        assert "`immediate`" in failed.stderr, failed.stderr
        assert not list(pulp.exports.iterdir()), "nothing is left of the export"
        assert [tag["tag"] for tag in raas.json(*config, "push", "acme", "lazy")["tags"]] == ["1.0"]


def test_a_user_without_the_rights(raas, pulp, tmp_path):
    guest = {"user": "guest", "password": "correct-horse-battery"}
    user = pulp.make("users/", username=guest["user"], password=guest["password"])
    raas, config = configured(raas, pulp, tmp_path, f"export_path = {pulp.exports}", **guest)
    export = [*config, "push", "acme", "app", "--via", "export"]

    def is_refused(what):
        failed = raas.result(*export)
        assert failed.returncode == 4, failed.stderr
        for words in (f"for {what}", "You do not have permission", "core.pulpexporter_creator"):
            assert words in failed.stderr, failed.stderr

    is_refused("the repository of the distribution")
    viewer = {"role": "container.containerrepository_viewer", "content_object": None}
    pulp.make(f"{user.removeprefix('/pulp/api/v3/')}roles/", **viewer)
    is_refused("a new exporter")


@pytest.fixture(scope="module")
def gpg(short_folder):
    """The environment of a GnuPG with a key, and the file of its public key."""
    gnupg = Gnupg(short_folder / "gpg", "signer@example.com")
    yield gnupg.environment, gnupg.public
    gnupg.end()


def test_signatures_that_podman_requires(raas, pulp, gpg, podman, all_samples, short_folder, tmp_path):
    environment, public = gpg
    sign = ["--sign-by", "signer@example.com", "--dest-tls-verify=false", "--dest-creds=admin:pw"]
    source, name = f"docker-archive:{all_samples['docker-save'].path}", f"{pulp.host}/acme/signed:1.0"
    run("skopeo", "copy", "-q", "--insecure-policy", *sign, source, f"docker://{name}", env=environment)
    pulp.push(source, "acme/unsigned:1.0")
    raas, config = configured(raas, pulp, tmp_path)
    assert "1 atomic signature" in raas.result(*config, "push", "acme", "signed").stderr
    raas(*config, "push", "acme", "unsigned")
    files = list((raas.home / "acme" / "bucket").glob("signed@sha256=*/signature-1"))
    assert len(files) == 1
    with raas.serve(tmp_path / "serve.log", "acme") as server:
        # The signature names the image as Pulp has it.
        identity = {"type": "remapIdentity", "prefix": server.address, "signedPrefix": f"{pulp.host}/acme"}
        signed_by = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": str(public)}
        policy = tmp_path / "policy.json"
        policy.write_text(
            json.dumps(
                {
                    "default": [{"type": "reject"}],
                    "transports": {"docker": {server.address: [signed_by | {"signedIdentity": identity}]}},
                }
            )
        )
        pull = podman.command("pull", "-q", "--tls-verify=false", "--signature-policy", policy)
        run(*pull, f"{server.address}/signed:1.0")
        refused = result(*pull, f"{server.address}/unsigned:1.0")
        assert refused.returncode != 0
        assert "signature" in refused.stderr, refused.stderr
        run(*podman.command("rmi", "-f", f"{server.address}/signed:1.0"))


def test_an_archive_is_uploaded(raas, pulp, clients, all_samples, tmp_path):
    raas, config = configured(raas, pulp, tmp_path)
    sample = all_samples["docker-save"]
    upload = ["pulp-upload", "acme", sample.path, "--image", "uploaded", "--json"]
    report = json.loads(raas(*config, *upload))
    assert report["pulp_repository"] == f"docker://{pulp.host}/acme/uploaded"
    raas(*config, "push", "acme", "uploaded")
    with raas.serve(tmp_path / "serve.log", "acme") as server:
        clients.pull(server.address, "uploaded", sample.tags)


def test_an_export_without_a_worker(raas, short_folder, all_samples, tmp_path):
    with pulp_server(short_folder / "idle") as pulp:
        with pulp.worker():
            pulp.push(f"oci:{all_samples['oci-multi'].path}:2.0", "acme/app:2.0")
        raas, config = configured(raas, pulp, tmp_path, f"export_path = {pulp.exports}")
        failed = raas.result(*config, "push", "acme", "app", "--via", "export", timeout=120)
        assert failed.returncode == 4, failed.stderr
        assert "worker" in failed.stderr, failed.stderr


@pytest.mark.parametrize("kind", ["token", "domains"])
def test_token_server_and_domains(kind, raas, short_folder, clients, all_samples, tmp_path):
    options = {"token_server": kind == "token", "domains": kind == "domains"}
    with pulp_server(short_folder / kind, **options) as pulp, pulp.worker():
        name = "default/acme/app" if kind == "domains" else "acme/app"
        pulp.push(f"oci:{all_samples['oci-multi'].path}:2.0", f"{name}:2.0")
        raas, config = configured(raas, pulp, tmp_path)
        raas(*config, "push", "acme", "app")
        with raas.serve(tmp_path / "serve.log", "acme") as server:
            clients.pull(server.address, "app", all_samples["oci-multi"].tags)
