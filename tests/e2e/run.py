#!/usr/bin/env python3
"""Real clients pull what raas publishes: every sample is pushed, then pulled with docker, podman and skopeo, and each
layer's plain bytes are compared with the source's. Installs what it needs from Debian; needs root.

usage: run.py [NAME ...]    only the samples whose names begin so
"""
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import urllib.request

import parts
import sources
from pulls import compare, pull_everywhere

MASKED = "e1f5733f050b2488a17b7630cb038bfbea8b7bdfa9bdfb99e63a33117e28d02f"


def samples(raas, clients, skopeo, wanted, log):
    raas("setup", "bigdatainc")
    with raas.serve(log, "bigdatainc") as server:
        pushed = []
        is_wanted = lambda name: not wanted or any(name.startswith(word) for word in wanted)
        for name, path, more, tags in sources.samples():
            if not is_wanted(name):
                continue
            raas("push", "bigdatainc", f"samples/{name}", "--from", path, *more)
            pulls = pull_everywhere(clients, skopeo, server.address, f"samples/{name}", tags)
            pushed.append(f"samples/{name}")
            print(f"ok    {name}: {len(tags)} tags, {pulls} pulls", flush=True)
        search(clients, server.address, pushed)
        status = json.loads(raas("status", "bigdatainc", "--json"))
        assert status["healthy"], status
        if is_wanted("pulp2"):
            v1(server.address)


def search(clients, address, names):
    """docker still asks the old API, and podman does so too."""
    docker, podman = clients
    found = parts.run(*docker.command("search", "--limit", "100", "--format", "{{.Name}}", f"{address}/samples")).split()
    compare("docker search", sorted(found), sorted(names))
    one = parts.run(*docker.command("search", "--limit", "1", "--format", "{{.Name}}", f"{address}/samples")).split()
    compare("docker search --limit 1", one, [min(names)])
    found = parts.run("podman", "search", "--tls-verify=false", "--limit", "100", "--format", "{{.Name}}", f"{address}/samples").split()
    compare("podman search", sorted(found), sorted(f"{address}/{name}" for name in names))
    print(f"ok    search: {len(names)} repositories", flush=True)


def v1(address):
    """What a Docker v1 client asks for, in its order, of the brief's image."""
    get = lambda path: urllib.request.urlopen(f"http://{address}{path}").read()
    assert get("/v1/_ping") == b"true"
    name = "samples/pulp2"
    top = json.loads(get(f"/v1/repositories/{name}/tags/latest"))
    files = sources.members(sources.FIXTURES / "bigdata-app.tar")
    for image in json.loads(get(f"/v1/images/{top}/ancestry")):
        for file in ["json", "layer"]:
            compare(f"v1 {image}/{file}", get(f"/v1/images/{image}/{file}"), files[f"web/{image}/{file}"])
    print("ok    Docker v1 walk", flush=True)


def federation(program, work, clients, skopeo):
    """The brief's transcript: the base layer stays where the operator serves it."""
    folder = work / "cdn"
    with tarfile.open(sources.FIXTURES / "bigdata-app.tar") as tar:
        for member in tar:
            if MASKED in member.name:
                target = folder / "rhel7" / member.name.removeprefix("web/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())
    tags = sources.pulp2(sources.FIXTURES / "bigdata-app.tar")
    raas = parts.Raas(program, work / "masked")
    with parts.Cdn(folder) as cdn, raas.serve(work / "masked.log") as server:
        config = work / "raas.cfg"
        config.write_text(f"[redhat]\nmask_layers = {MASKED}\nlayer_url = {cdn.url}/rhel7\n")
        push = ["--config", config, "push", "bigdatainc", "bigdata-app", "--from", sources.FIXTURES / "bigdata-app.tar"]
        report = json.loads(raas(*push, "--json"))
        assert [masked["layer"] for masked in report["masked"]] == [MASKED], report
        pull_everywhere(clients, skopeo, server.address, "bigdata-app", tags)
        stored = [str(path) for path in (work / "masked").rglob("*") if MASKED in str(path)]
        assert not stored, stored
        assert cdn.asked.count(f"/rhel7/{MASKED}/layer") >= 3, cdn.asked
    print(f"ok    masked layer: {len(cdn.asked)} requests to the CDN", flush=True)


def full_disk(program, work):
    """A disk of a few MiB runs full in the middle of a push, and then may not be written at all."""
    disk = work / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=True)
    try:
        raas = parts.Raas(program, disk / "home")
        raas("push", "acme", "app", "--from", sources.FIXTURES / "bigdata-app.tar")
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 16384)
            except OSError:
                pass
        command = [program, "--home", disk / "home", "push", "acme", "big", "--from", sources.FIXTURES / "docker-save.tar"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert done.returncode == 4 and "No space left on device" in done.stderr, done
        filler.unlink()
        raas("push", "acme", "big", "--from", sources.FIXTURES / "docker-save.tar")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        command[4:] = ["acme", "third", "--from", sources.FIXTURES / "oci-multi"]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert done.returncode == 4 and "Read-only file system" in done.stderr, done
    finally:
        subprocess.run(["umount", disk], check=True)
    print("ok    no space left, read-only", flush=True)


def main():
    parts.install()
    program = parts.build()
    wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="raas-e2e-") as folder:
        work = pathlib.Path(folder)
        with parts.clients(work) as (clients, skopeo):
            samples(parts.Raas(program, work / "home"), clients, skopeo, wanted, work / "serve.log")
            if not wanted:
                federation(program, work, clients, skopeo)
                full_disk(program, work)
    print("all passed")


if __name__ == "__main__":
    main()
