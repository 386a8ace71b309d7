"""Ways in which bytes reach clients: CDNs that check tokens, files of a Crane, layers in parts.

The tokens are checked with Python's hmac and with the openssl program. Pulled with podman and skopeo.
"""

import base64
import fnmatch
import hmac
import json
import tempfile
import time
import urllib.parse

import pytest

from harness import chunked
from harness.clients import Clients
from harness.packages import ROOT
from harness.process import result, run, wait_for
from harness.raas import Raas, stateless_server
from harness.web import Cdn, status_of

KEYS = ROOT / "crates" / "raas-server" / "tests" / "data"
AKAMAI_KEY = "abc123def4567890"
CLOUDFRONT_KEY_ID = "K2JCJMDEHXQW5F"


@pytest.fixture(scope="module")
def home(program, all_samples, tmp_path_factory):
    """A home whose vendor `acme` has a sample as `app`."""
    raas = Raas(program, tmp_path_factory.mktemp("delivery") / "home")
    raas("push", "acme", "app", *all_samples["docker-save"].push)
    return raas


@pytest.fixture(scope="module")
def without_docker(podman, skopeo):
    return Clients([podman], skopeo)


def wait_until_ready(server):
    ready = f"http://{server.address}/-/readyz"
    wait_for("the server is ready", lambda: status_of(ready)[0] == 200, process=server)


def akamai(algorithm):
    """Checks a token as Akamai does."""

    def allows(_, target):
        path, _, query = target.partition("?")
        expires, token = query.removeprefix("_auth_=exp=").split("~hmac=") if "~hmac=" in query else ("0", "")
        signed = f"exp={expires}~url={path}".encode()
        expected = hmac.new(bytes.fromhex(AKAMAI_KEY), signed, algorithm).hexdigest()
        return hmac.compare_digest(token, expected) and int(expires) > time.time() + 200

    return allows


def decoded(text):
    """CloudFront's base64."""
    return base64.b64decode(text.replace("-", "+").replace("_", "=").replace("~", "/"))


def cloudfront(work, key):
    """Checks a signed URL as CloudFront does."""
    public = work / f"{key}.pub"
    run("openssl", "pkey", "-in", KEYS / key, "-pubout", "-out", public)

    def allows(url, target):
        path, _, query = target.partition("?")
        words = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        if words.get("Hash-Algorithm") != "SHA256" or words.get("Key-Pair-Id") != CLOUDFRONT_KEY_ID:
            return False
        policy = decoded(words["Policy"])
        # A client asks for several layers at once.
        with tempfile.NamedTemporaryFile(dir=work) as signature:
            signature.write(decoded(words["Signature"]))
            signature.flush()
            verify = ["openssl", "dgst", "-sha256", "-verify", public, "-signature", signature.name]
            if result(*verify, input=policy, text=False).returncode != 0:
                return False
        (statement,) = json.loads(policy)["Statement"]
        expires = statement["Condition"]["DateLessThan"]["AWS:EpochTime"]
        return fnmatch.fnmatchcase(url + path, statement["Resource"]) and expires > time.time() + 300

    return allows


@pytest.fixture(params=["akamai-sha256", "akamai-sha1", "akamai-md5", "cloudfront-rsa", "cloudfront-ec"])
def checked(request, tmp_path):
    """A check of tokens, and the settings of raas for it."""
    kind, _, variant = request.param.partition("-")
    if kind == "cloudfront":
        key = f"{request.param}.pem"
        settings = [f"cdn_cloudfront_key_id = {CLOUDFRONT_KEY_ID}", f"cdn_cloudfront_key = {KEYS / key}"]
        return cloudfront(tmp_path, key), settings
    settings = [f"cdn_akamai_secret = {AKAMAI_KEY}"]
    if variant != "sha256":
        settings.append(f"cdn_akamai_algo = {variant}")
    return akamai(variant), settings


def test_cdn_checks_tokens(program, home, checked, without_docker, all_samples, tmp_path):
    bucket, checkout = home.home / "acme" / "bucket", home.home / "acme" / "checkout"
    allows, settings = checked
    config = tmp_path / "raas.cfg"
    with Cdn(bucket, allows) as cdn:
        config.write_text("\n".join(["[acme]", "access = cdn", f"cdn_url = {cdn.url}", *settings, ""]))
        arguments = ["acme", "--config", config, "--metadata", checkout, "--bucket", cdn.url]
        with stateless_server(program, tmp_path / "serve.log", *arguments) as server:
            wait_until_ready(server)
            without_docker.pull(server.address, "app", all_samples["docker-save"].tags)
    assert cdn.asked
    assert not cdn.refused
    log = server.log.read_text()
    assert not [secret for secret in [AKAMAI_KEY, "Signature=", "hmac="] if secret in log]


def test_crane(program, home, without_docker, all_samples, tmp_path):
    """Files of a layout as Pulp publishes it, links among them, by a document that names another place."""
    data, content = tmp_path / "data", tmp_path / "content"
    (data / "deep").mkdir(parents=True)
    content.mkdir()
    published = home.home / "acme"
    document = json.loads((published / "checkout" / "crane" / "data" / "app.json").read_text())
    document["url"] = "https://cdn.invalid/app/"
    (data / "deep" / "app.json").write_text(json.dumps(document))
    (content / document["repository"]).symlink_to(published / "bucket" / "app" / "_v2")
    conf = tmp_path / "crane.conf"
    conf.write_text(
        f"[general]\ndata_dir: {data}\n[serve_content]\nenable: true\ncontent_dir_v2: {content}\n"
    )
    with stateless_server(program, tmp_path / "serve.log", "--crane-config", conf) as server:
        wait_until_ready(server)
        without_docker.pull(server.address, "app", all_samples["docker-save"].tags)


@pytest.fixture(scope="module")
def chunked_home(program, tmp_path_factory):
    """A home with two versions of an image whose layers are zstd:chunked."""
    work = tmp_path_factory.mktemp("chunked")
    raas = Raas(program, work / "home")
    raas("push", "acme", "chunked", "--from", chunked.layout(work))
    return raas


@pytest.mark.parametrize("origin", ["folder", "proxy"])
def test_layers_in_parts(program, chunked_home, origin, tmp_path):
    """podman takes zstd:chunked layers in parts, from a folder and through the server."""
    bucket, checkout = chunked_home.home / "acme" / "bucket", chunked_home.home / "acme" / "checkout"
    podman = chunked.Podman(tmp_path / "podman")
    # This web server knows no ranges, so raas has to answer with the whole in any case.
    with Cdn(bucket) as cdn:
        place = [bucket] if origin == "folder" else [cdn.url, "--access", "proxy"]
        arguments = ["acme", "--log", "json", "--metadata", checkout, "--bucket", *place]
        with stateless_server(program, tmp_path / "serve.log", *arguments) as server:
            wait_until_ready(server)
            # Some parts of the second version are here already.
            for version in chunked.VERSIONS:
                podman.pull(f"{server.address}/chunked:{version}", version)
            podman.forget()
