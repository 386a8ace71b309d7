#!/usr/bin/env python3
"""Vendors in real S3 services: every sample is pushed to Garage and to moto, is there as it should be, costs a few
requests when it is pushed again, and is pulled with docker, podman and skopeo through the redirects. Builds Garage on
its first run, which takes about ten minutes. Needs root.

usage: s3.py [garage|moto]
"""
import hashlib
import http.client
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.parse
import urllib.request

import parts
import services
import sources
from pulls import pull_everywhere

MOST_REQUESTS = 7
PART = 8 << 20
# For a layer of 4 GiB: E2E_PARTS=512.
PARTS = int(os.environ.get("E2E_PARTS", 24))


def checks(raas, config, *names):
    command = [raas.program, "--home", raas.home, "--config", config, "status", "bigdatainc", "--json"]
    status = json.loads(subprocess.run([str(w) for w in command], capture_output=True, text=True).stdout)
    found = {check["name"]: check for check in status["checks"]}
    for name in names:
        assert found[name]["outcome"] == "ok", found[name]


def samples(raas, config, service):
    most = 0
    for name, path, more, _ in sources.samples():
        push = ["--config", config, "push", "bigdatainc", f"samples/{name}", "--json", "--from", path, *more]
        first = json.loads(raas(*push))
        assert first["changed"], first
        again = json.loads(raas(*push))
        assert not again["changed"] and again["stored"]["objects"] == 0, again
        assert again["requests"] <= MOST_REQUESTS, again
        most = max(most, again["requests"])
    checks(raas, config, "storage", "record", "metadata", "images")
    print(f"ok    {service.name}: every sample is stored; the same again costs at most {most} requests", flush=True)


def redirect_of(address, name):
    """Where the first layer of an image is served from: the status and the location."""
    connection = http.client.HTTPConnection(*address.rsplit(":", 1))

    def get(path):
        connection.request("GET", path, headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location"), answer.read()

    layer = json.loads(get(f"/v2/{name}/manifests/1.0")[2])["layers"][0]["digest"]
    status, location, _ = get(f"/v2/{name}/blobs/{layer}")
    return status, location


def pulled(raas, config, service, clients, skopeo, work):
    """Every sample, through signed redirects; then what gc leaves."""
    with raas.serve(work / "serve.log", "bigdatainc", "--config", config) as server:
        pulls = 0
        for name, _, _, tags in sources.samples():
            pulls += pull_everywhere(clients, skopeo, server.address, f"samples/{name}", tags)
        status, location = redirect_of(server.address, "samples/docker-save")
        assert status == 307 and location.startswith(service.url) and "X-Amz-Signature=" in location, (status, location)
        print(f"ok    {service.name}: {pulls} pulls through signed redirects", flush=True)
        # Another image under the same name leaves the first one's content to be collected.
        name, path, more, tags = next(sample for sample in sources.samples() if sample[0] == "base-new")
        raas("--config", config, "push", "bigdatainc", "samples/docker-save", "--prune", "--from", path, *more)
        time.sleep(1.1)
        gc = ["--config", config, "gc", "bigdatainc", "--keep-days", "0", "--grace-hours", "0", "--json"]
        found = json.loads(raas(*gc))
        removed = json.loads(raas(*gc, "--yes"))
        assert found["garbage"] and removed["garbage"] == found["garbage"] and removed["removed"], (found, removed)
        pull_everywhere(clients, skopeo, server.address, "samples/docker-save", tags)
        whole = json.loads(raas("--config", config, "status", "bigdatainc", "--deep", "--json"))
        assert whole["healthy"] and not [c for c in whole["checks"] if c["outcome"] != "ok"], whole
        print(f"ok    {service.name}: gc removed {len(removed['garbage'])} objects, and what is published pulls", flush=True)


def without_a_home(raas, program, config, service, clients, skopeo, work):
    """A server that knows the bucket alone, and follows what is published there."""
    port = services.free_port()
    command = [program, "serve", "bigdatainc", "--listen", f"127.0.0.1:{port}", "--metadata", "s3://bigdata-images/registry",
               "--s3-endpoint", service.url, "--s3-region", service.region, "--s3-path-style"]
    environment = service.environment() | {"HOME": "/nonexistent"}
    environment.pop("AWS_ENDPOINT_URL")
    with parts.Process(command, work / "alone.log", env=environment):
        address = f"127.0.0.1:{port}"
        tags = lambda name: json.loads(urllib.request.urlopen(f"http://{address}/v2/{name}/tags/list").read())["tags"]

        def has(name, tag):
            try:
                return tag in tags(name)
            except OSError:
                return False

        parts.wait_for("the server without a home", lambda: has("samples/pulp2", "latest"))
        name, path, more, expected = next(iter(sources.samples()))
        raas("--config", config, "push", "bigdatainc", "later", "--from", path, *more)
        parts.wait_for("a publication in the bucket", lambda: has("later", "latest"))
        pull_everywhere(clients, skopeo, address, "later", expected)
    print(f"ok    {service.name}: a server without a home follows the bucket", flush=True)


def other_access(service, program, clients, skopeo, work, access, *more_settings):
    """A vendor whose objects are public, or pass through the server."""
    folder = "-".join([access, *(setting.split(" ")[0].replace("_", "-") for setting in more_settings)])
    raas = parts.Raas(program, work / folder)
    config = work / f"{folder}.cfg"
    config.write_text(service.raas_cfg("open", f"{folder}-images", f"access = {access}", *more_settings))
    print(raas("--config", config, "setup", "open", "--create"), end="", flush=True)
    name, path, more, tags = next(sample for sample in sources.samples() if sample[0] == "docker-save")
    raas("--config", config, "push", "open", "app", "--from", path, *more)
    with raas.serve(work / f"{folder}.log", "open", "--config", config) as server:
        status, location = redirect_of(server.address, "app")
        expected = (200, None) if access == "proxy" else (307, location)
        assert (status, location) == expected and "X-Amz" not in (location or ""), (status, location)
        if access == "proxy" or service.name == "moto":
            pull_everywhere(clients, skopeo, server.address, "app", tags)
    if more_settings:
        layer = urllib.parse.urlsplit(location).path.removeprefix(f"/{folder}-images/")
        acl = json.loads(services.aws(service, "s3api", "get-object-acl", "--bucket", f"{folder}-images", "--key", urllib.parse.unquote(layer)))
        everybody = [grant["Permission"] for grant in acl["Grants"] if grant["Grantee"].get("URI", "").endswith("/AllUsers")]
        assert everybody == ["READ"], acl
    print(f"ok    {service.name}: access = {access} {' '.join(more_settings)}", flush=True)


def large(raas, config, service, work):
    """A layer in many parts, interrupted by a kill and gone on with."""
    path = work / "large.tar"
    docker_save(path, random.Random(1).randbytes(PARTS * PART - PART // 2))
    oci = work / "large-oci"
    parts.run("skopeo", "copy", "-q", "--insecure-policy", "--dest-compress-level", "1", f"docker-archive:{path}", f"oci:{oci}:1.0")
    push = ["--config", config, "push", "bigdatainc", "large", "--from", oci]
    whole = 20 + 2 * (PARTS + 1)
    if stored := getattr(service, "stored", None):
        command = [str(word) for word in [raas.program, "--home", raas.home, *push]]
        before = stored()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # Of what the service has, some is of parts that are not whole yet.
        parts.wait_for("most of the layer", lambda: stored() - before > PARTS * 2 / 3 * PART)
        child.kill()
        child.wait()
        # Half of the parts are there whole; what is not about parts takes about twenty-four.
        whole = PARTS // 2 + 28
    report = json.loads(raas(*push, "--json"))
    assert report["requests"] < whole, report
    print(f"ok    {service.name}: a layer in {PARTS} parts: {report['requests']} requests, {report['seconds']:.1f} s", flush=True)
    # Packed layers go through a temporary name.
    report = json.loads(raas("--config", config, "push", "bigdatainc", "packed", "--from", path, "--json"))
    print(f"ok    {service.name}: packed: {report['requests']} requests, {report['seconds']:.1f} s", flush=True)
    checks(raas, config, "storage", "images")


def operators(raas, program, config, service, clients, skopeo, work):
    """Four operators with homes of their own publish to one bucket at once, two of them twice the same large image."""
    homes = [raas, *(parts.Raas(program, work / f"operator-{n}") for n in range(3))]
    before = json.loads(raas("--config", config, "log", "bigdatainc", "--json"))
    some = [sample for sample in sources.samples() if sample[0] in ("docker-save", "oci-multi", "pulp2")]
    oci = work / "large-oci"
    running, names = [], []
    for n, home in enumerate(homes):
        for name, path, more, _ in some:
            names.append(f"operators/{n}/{name}")
            running.append((home, names[-1], path, more))
        # Of one image, all at once: the uploads of those that run are nobody else's.
        running += [(home, "operators/large", oci, [])] * 2
    names.append("operators/large")
    commands = [[home.program, "--home", home.home, "--config", config, "push", "bigdatainc", name, "--from", path, *more]
                for home, name, path, more in running]
    children = [subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                for command in commands]
    for child, command in zip(children, commands):
        _, said = child.communicate()
        assert child.returncode == 0, (command, said)
    for home in homes:
        listed = json.loads(home("--config", config, "list", "bigdatainc", "--json"))["vendors"][0]["repositories"]
        missing = set(names) - {repository["name"] for repository in listed}
        assert not missing, missing
    log = json.loads(homes[-1]("--config", config, "log", "bigdatainc", "--json"))
    assert len(log) == len(before) + len(names), (len(before), len(log), len(names))
    checks(homes[-1], config, "storage", "record", "metadata", "images", "snapshot")
    with homes[1].serve(work / "operator.log", "bigdatainc", "--config", config) as server:
        for n in range(len(homes)):
            for name, _, _, tags in some:
                pull_everywhere(clients, skopeo, server.address, f"operators/{n}/{name}", tags)
    print(f"ok    {service.name}: {len(running)} pushes of {len(homes)} homes at once, and nothing is lost", flush=True)


def docker_save(path, noise):
    """An archive of one layer."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        add(tar, "noise", noise)
    layer = layer.getvalue()
    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [diff_id]},
                         "history": [{"created_by": "e2e"}]}).encode()
    with tarfile.open(path, "w") as tar:
        add(tar, "layer.tar", layer)
        add(tar, "config.json", config)
        add(tar, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["large:1.0"], "Layers": ["layer.tar"]}]).encode())


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def run(service, program, clients, skopeo, work):
    raas = parts.Raas(program, work / "home")
    config = work / "raas.cfg"
    config.write_text(service.raas_cfg("bigdatainc", "bigdata-images", "s3_prefix = registry"))
    print(raas("--config", config, "setup", "bigdatainc", "--create"), end="", flush=True)
    print(raas("--config", config, "setup", "bigdatainc", "--create"), end="", flush=True)
    samples(raas, config, service)
    large(raas, config, service, work)
    pulled(raas, config, service, clients, skopeo, work)
    operators(raas, program, config, service, clients, skopeo, work)
    without_a_home(raas, program, config, service, clients, skopeo, work)
    for access in ["public", "proxy"]:
        other_access(service, program, clients, skopeo, work, access)
    if service.name == "moto":
        other_access(service, program, clients, skopeo, work, "public", "s3_public_acl = yes")


def main():
    parts.install()
    program = parts.build()
    wanted = sys.argv[1:] or ["garage", "moto"]
    with tempfile.TemporaryDirectory(prefix="raas-s3-") as folder:
        work = pathlib.Path(folder)
        with parts.clients(work) as (clients, skopeo):
            for kind in [services.Garage, services.Moto]:
                if kind.name in wanted:
                    with kind(work / kind.name) as service:
                        run(service, program, clients, skopeo, work / kind.name)
    print("all passed")


main()
