#!/usr/bin/env python3
"""Vendors in real S3 services: every sample is pushed to Garage and to moto, is there as it should be, and costs a few
requests when it is pushed again. Builds Garage on its first run, which takes about ten minutes.

usage: s3.py [garage|moto]
"""
import hashlib
import io
import json
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile

import parts
import services
import sources

MOST_REQUESTS = 6
PART = 8 << 20
PARTS = 24


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


def large(raas, config, service, work):
    """A layer in many parts, interrupted by a kill and gone on with."""
    path = work / "large.tar"
    docker_save(path, random.Random(1).randbytes(PARTS * PART - PART // 2))
    oci = work / "large-oci"
    parts.run("skopeo", "copy", "-q", "--insecure-policy", "--dest-compress-level", "1", f"docker-archive:{path}", f"oci:{oci}:1.0")
    push = ["--config", config, "push", "bigdatainc", "large", "--from", oci]
    whole = 5 + 2 * (PARTS + 1)
    if stored := getattr(service, "stored", None):
        command = [str(word) for word in [raas.program, "--home", raas.home, *push]]
        before = stored()
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        parts.wait_for("half of the layer", lambda: stored() - before > PARTS / 2 * PART)
        child.kill()
        child.wait()
        whole = PARTS
    report = json.loads(raas(*push, "--json"))
    assert report["requests"] < whole, report
    print(f"ok    {service.name}: a layer in {PARTS} parts: {report['requests']} requests, {report['seconds']:.1f} s", flush=True)
    # Packed layers go through a temporary name.
    report = json.loads(raas("--config", config, "push", "bigdatainc", "packed", "--from", path, "--json"))
    print(f"ok    {service.name}: packed: {report['requests']} requests, {report['seconds']:.1f} s", flush=True)
    checks(raas, config, "storage", "images")


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


def run(service, program, work):
    raas = parts.Raas(program, work / "home")
    config = work / "raas.cfg"
    config.write_text(service.raas_cfg("bigdatainc", "bigdata-images", "s3_prefix = registry"))
    print(raas("--config", config, "setup", "bigdatainc", "--create"), end="", flush=True)
    print(raas("--config", config, "setup", "bigdatainc", "--create"), end="", flush=True)
    samples(raas, config, service)
    large(raas, config, service, work)
    public = work / "public.cfg"
    public.write_text(service.raas_cfg("open", "open-images", "access = public"))
    print(raas("--config", public, "setup", "open", "--create"), end="", flush=True)


def main():
    parts.install()
    program = parts.build()
    wanted = sys.argv[1:] or ["garage", "moto"]
    with tempfile.TemporaryDirectory(prefix="raas-s3-") as folder:
        work = pathlib.Path(folder)
        for kind in [services.Garage, services.Moto]:
            if kind.name in wanted:
                with kind(work / kind.name) as service:
                    run(service, program, work / kind.name)
    print("all passed")


main()
