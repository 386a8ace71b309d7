"""Vendors in real S3 services; moto by default, `-m garage` takes Garage.

Every sample is stored, costs a few requests when it is pushed again, and is pulled with docker, podman and
skopeo through the redirects.
"""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import random
import subprocess
import time
import urllib.parse

import pytest

from harness.archives import docker_save, sha256, tar_of
from harness.process import run, running, wait_for, words
from harness.raas import Raas, check_outcomes, stateless_server
from harness.s3_services import SERVICES, Service
from harness.web import read

MOST_REQUESTS = 7
PART = 5 << 20
# For a layer of 4 GiB: E2E_PARTS=512.
PARTS = int(os.environ.get("E2E_PARTS", "24"))
BUCKET, PREFIX = "bigdata-images", "registry"


@dataclasses.dataclass
class Vendor:
    """A vendor in a bucket of a service."""

    service: Service
    raas: Raas
    config: pathlib.Path
    work: pathlib.Path

    def __call__(self, *arguments):
        return self.raas("--config", self.config, *arguments)

    def json(self, *arguments):
        return self.raas.json("--config", self.config, *arguments)

    def check(self, *names):
        """Asserts that some checks of status are ok."""
        done = self.raas.result("--config", self.config, "status", "bigdatainc", "--json")
        check_outcomes(json.loads(done.stdout), *names)

    def serve(self, log):
        return self.raas.serve(log, "bigdatainc", "--config", self.config)


@pytest.fixture(scope="module", params=["moto", pytest.param("garage", marks=pytest.mark.garage)])
def service(request, tmp_path_factory):
    with SERVICES[request.param](tmp_path_factory.mktemp(request.param)) as service:
        yield service


@pytest.fixture(scope="module")
def vendor(service, program, tmp_path_factory):
    """A vendor whose bucket `setup --create` made; a second run of it changes nothing."""
    work = tmp_path_factory.mktemp("vendor")
    config = work / "raas.cfg"
    config.write_text(service.raas_cfg("bigdatainc", BUCKET, f"s3_prefix = {PREFIX}"))
    vendor = Vendor(service, Raas(program, work / "home"), config, work)
    for _ in range(2):
        vendor("setup", "bigdatainc", "--create")
    return vendor


@pytest.fixture(scope="module")
def stored(vendor, all_samples):
    """The vendor after each sample was pushed twice; the reports of the pushes by sample."""
    reports = {}
    for sample in all_samples.values():
        push = ["push", "bigdatainc", f"samples/{sample.name}", *sample.push]
        reports[sample.name] = [vendor.json(*push) for _ in range(2)]
    return reports


def test_every_sample_is_stored(vendor, stored):
    for name, (first, again) in stored.items():
        assert first["changed"], (name, first)
        assert not again["changed"], (name, again)
        assert again["stored"]["objects"] == 0, (name, again)
        assert again["requests"] <= MOST_REQUESTS, (name, again)
    vendor.check("storage", "record", "metadata", "images")


def push_until_killed(vendor, push):
    """Kills a push after two thirds of the layer are in the service."""
    command = words(vendor.raas.command("--config", vendor.config, *push))
    before = vendor.service.bytes_on_disk()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        # A part that is not whole yet counts as well.
        enough = PARTS * 2 / 3 * PART
        wait_for("most of the layer", lambda: vendor.service.bytes_on_disk() - before > enough, 300)
    finally:
        child.kill()
        child.wait()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A large layer as a `docker save` archive and as an OCI layout, gzipped."""
    work = tmp_path_factory.mktemp("large")
    archive, oci = work / "large.tar", work / "large-oci"
    layer = tar_of({"noise": random.Random(1).randbytes(PARTS * PART - PART // 2)})
    docker_save(archive, "large:1.0", layer, sha256(layer), history=True)
    copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-compress-level", "1"]
    run(*copy, f"docker-archive:{archive}", f"oci:{oci}:1.0")
    return archive, oci


def test_layer_in_many_parts(vendor, stored, large):
    """A large layer; on Garage after a push of it was killed."""
    archive, oci = large
    push = ["push", "bigdatainc", "large", "--from", oci]
    most = 20 + 2 * (PARTS + 1)
    if vendor.service.data:
        push_until_killed(vendor, push)
        # Half of the parts are there whole; the rest of a push takes about twenty-four requests.
        most = PARTS // 2 + 28
    report = vendor.json(*push)
    assert report["requests"] < most, report
    # A layer that raas packs goes through a temporary name.
    vendor("push", "bigdatainc", "packed", "--from", archive)
    vendor.check("storage", "images")


def redirect_of(address, name):
    """The status and the location of the first layer of an image."""
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    with contextlib.closing(http.client.HTTPConnection(*address.rsplit(":", 1), timeout=30)) as connection:

        def get(path):
            connection.request("GET", path, headers=accept)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Location"), answer.read()

        layer = json.loads(get(f"/v2/{name}/manifests/1.0")[2])["layers"][0]["digest"]
        status, location, _ = get(f"/v2/{name}/blobs/{layer}")
    return status, location


def test_pull_through_signed_redirects(vendor, stored, clients, all_samples, tmp_path):
    with vendor.serve(tmp_path / "serve.log") as server:
        for sample in all_samples.values():
            clients.pull(server.address, f"samples/{sample.name}", sample.tags)
        status, location = redirect_of(server.address, "samples/docker-save")
        assert status == 307
        assert location.startswith(vendor.service.url)
        assert "X-Amz-Signature=" in location


def test_gc_keeps_what_is_published(vendor, stored, clients, all_samples, tmp_path):
    """Another image under the same name leaves the content of the first one as garbage."""
    with vendor.serve(tmp_path / "serve.log") as server:
        sample = all_samples["base-new"]
        vendor("push", "bigdatainc", "replaced", *all_samples["docker-save"].push)
        vendor("push", "bigdatainc", "replaced", "--prune", *sample.push)
        # Ages are in whole seconds, and gc keeps what is younger than one.
        time.sleep(1.1)
        gc = ["gc", "bigdatainc", "--keep-days", "0", "--grace-hours", "0"]
        found, removed = vendor.json(*gc), vendor.json(*gc, "--yes")
        assert found["garbage"]
        assert removed["garbage"] == found["garbage"]
        assert not removed["dry_run"], removed
        clients.pull(server.address, "replaced", sample.tags)
        status = vendor.json("status", "bigdatainc", "--deep")
        assert status["healthy"], status
        assert [check for check in status["vendors"][0]["checks"] if check["outcome"] != "ok"] == []


def test_four_operators_publish_at_once(vendor, stored, large, program, clients, all_samples, tmp_path):
    """Four homes publish to one bucket at once, and each of them publishes one large image twice."""
    raas, (_, oci) = vendor.raas, large
    homes = [raas, *(Raas(program, tmp_path / f"operator-{n}") for n in range(3))]
    operators = [dataclasses.replace(vendor, raas=home) for home in homes]
    before = vendor.json("log", "bigdatainc")["publications"]
    some = [all_samples[name] for name in ["docker-save", "oci-multi", "pulp2"]]
    pushes, names = [], {"operators/large"}
    for n, home in enumerate(homes):
        for sample in some:
            name = f"operators/{n}/{sample.name}"
            names.add(name)
            pushes.append((home, name, sample.push))
        # The uploads of a push that runs belong to nobody else.
        pushes += [(home, "operators/large", ["--from", oci])] * 2
    run_at_once(
        [
            home.command("--config", vendor.config, "push", "bigdatainc", name, *more)
            for home, name, more in pushes
        ],
        tmp_path,
    )
    for operator in operators:
        listed = operator.json("list", "bigdatainc")["vendors"][0]["repositories"]
        assert names <= {listing["repository"] for listing in listed}
    log = operators[-1].json("log", "bigdatainc")["publications"]
    assert len(log) == len(before) + len(names)
    operators[-1].check("storage", "record", "metadata", "images", "snapshot")
    with operators[1].serve(tmp_path / "serve.log") as server:
        for n in range(len(homes)):
            for sample in some:
                clients.pull(server.address, f"operators/{n}/{sample.name}", sample.tags)


def run_at_once(commands, work):
    """Runs commands side by side; all must succeed."""
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(running(command, work / f"push-{n}.log"))
            for n, command in enumerate(commands)
        ]
        for one in processes:
            assert one.child.wait(300) == 0, f"{one.child.args}:\n{one.last_lines()}"


def test_server_without_a_home_follows_the_bucket(vendor, program, clients, all_samples, tmp_path):
    sample, service = all_samples["pulp2"], vendor.service
    vendor("push", "bigdatainc", "earlier", *sample.push)
    environment = os.environ | service.credentials() | {"HOME": "/nonexistent"}
    place = ["--s3-endpoint", service.url, "--s3-region", service.region, "--s3-path-style"]
    arguments = ["bigdatainc", "--metadata", f"s3://{BUCKET}/{PREFIX}", *place]
    with stateless_server(program, tmp_path / "serve.log", *arguments, env=environment) as server:

        def has(name, tag):
            with contextlib.suppress(OSError):
                return tag in json.loads(read(f"http://{server.address}/v2/{name}/tags/list"))["tags"]
            return False

        wait_for("what was published", lambda: has("earlier", "latest"), process=server)
        vendor("push", "bigdatainc", "later", *sample.push)
        wait_for("what is published now", lambda: has("later", "latest"), process=server)
        clients.pull(server.address, "later", sample.tags)


@pytest.fixture
def open_vendor(service, program, tmp_path):
    """Makes a vendor with other settings, with a sample as `app`; returns it and the name of its bucket."""

    def make(bucket, sample, *settings):
        config = tmp_path / "raas.cfg"
        config.write_text(service.raas_cfg("open", bucket, *settings))
        raas = Raas(program, tmp_path / "home")
        raas("--config", config, "setup", "open", "--create")
        raas("--config", config, "push", "open", "app", *sample.push)
        return raas.serve(tmp_path / "serve.log", "open", "--config", config)

    return make


def test_proxied_objects(open_vendor, clients, all_samples):
    sample = all_samples["docker-save"]
    with open_vendor("proxy-images", sample, "access = proxy") as server:
        assert redirect_of(server.address, "app") == (200, None)
        clients.pull(server.address, "app", sample.tags)


@pytest.mark.parametrize("acl", [False, True], ids=["bucket-policy", "object-acl"])
def test_public_objects(open_vendor, service, clients, all_samples, acl):
    """Garage has neither anonymous reads nor ACLs: there the redirect is all that can be seen."""
    if acl and service.name == "garage":
        pytest.skip("Garage has no ACLs")
    sample, bucket = all_samples["docker-save"], f"public-{acl}-images".lower()
    settings = ["access = public", *(["s3_public_acl = yes"] if acl else [])]
    with open_vendor(bucket, sample, *settings) as server:
        status, location = redirect_of(server.address, "app")
        assert status == 307
        assert "X-Amz" not in location
        if service.name == "moto":
            clients.pull(server.address, "app", sample.tags)
    if acl:
        key = urllib.parse.unquote(urllib.parse.urlsplit(location).path.removeprefix(f"/{bucket}/"))
        assert permissions_of_everybody(service, bucket, key) == ["READ"]


def permissions_of_everybody(service, bucket, key):
    """What the ACL of an object lets everybody do."""
    import boto3  # of moto, so only in the environment of the tests

    client = boto3.client(
        "s3",
        endpoint_url=service.url,
        region_name=service.region,
        aws_access_key_id=service.key,
        aws_secret_access_key=service.secret,
    )
    grants = client.get_object_acl(Bucket=bucket, Key=key)["Grants"]
    return [grant["Permission"] for grant in grants if grant["Grantee"].get("URI", "").endswith("/AllUsers")]
