#!/usr/bin/env python3
"""Peak resident memory, whole processes: `raas push` of an image with one layer of 2 GiB, in each form that is handled
differently, and `raas serve` with a thousand repositories under requests. Prints a row each; exit code 1 if one is
over its limit.
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

import parts
import sources

MIB = 1 << 20
LAYER = 2 << 30


def peak_of(command):
    """Runs a command and gives its peak resident memory in bytes. (A child begins as a copy of this program, so what is
    below this program's own 15 MiB shows as that.)"""
    pid = os.spawnvp(os.P_NOWAIT, str(command[0]), [str(word) for word in command])
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"{command} failed: {status}")
    return usage.ru_maxrss * 1024


def layer_file(path):
    """A layer tar of one file of 2 GiB, half of which packs well."""
    block = random.Random(1).randbytes(MIB // 2) + bytes(MIB // 2)
    info = tarfile.TarInfo("data")
    info.size = LAYER
    digest = hashlib.sha256()
    with path.open("wb") as out:

        def write(piece):
            out.write(piece)
            digest.update(piece)

        write(info.tobuf())
        for n in range(LAYER // MIB):
            write(n.to_bytes(8, "big") + block[8:])
        write(bytes(1024))
    return "sha256:" + digest.hexdigest()


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    if isinstance(content, pathlib.Path):
        info.size = content.stat().st_size
        with content.open("rb") as file:
            tar.addfile(info, file)
    else:
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


def docker_save(path, layer, diff_id):
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    with tarfile.open(path, "w") as tar:
        add(tar, name, config)
        add(tar, "layer.tar", layer)
        add(
            tar,
            "manifest.json",
            json.dumps([{"Config": name, "RepoTags": ["big:1"], "Layers": ["layer.tar"]}]).encode(),
        )


def oci(path, packed, diff_id):
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    ).encode()
    sha = hashlib.sha256()
    with packed.open("rb") as file:
        while piece := file.read(MIB):
            sha.update(piece)
    describe = lambda kind, digest, size: {
        "mediaType": f"application/vnd.oci.image.{kind}",
        "digest": f"sha256:{digest}",
        "size": size,
    }
    config_digest, layer_digest = hashlib.sha256(config).hexdigest(), sha.hexdigest()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "config": describe("config.v1+json", config_digest, len(config)),
            "layers": [describe("layer.v1.tar+gzip", layer_digest, packed.stat().st_size)],
        }
    ).encode()
    root = describe("manifest.v1+json", hashlib.sha256(manifest).hexdigest(), len(manifest))
    root["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    with tarfile.open(path, "w") as tar:
        add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [root]}).encode())
        for digest, content in [
            (config_digest, config),
            (layer_digest, packed),
            (root["digest"][7:], manifest),
        ]:
            add(tar, f"blobs/sha256/{digest}", content)


def pulp2(path, layer):
    image = "a" * 64
    document = {
        "type": "pulp-docker-redirect",
        "version": 1,
        "repository": "big",
        "repo-registry-id": "big",
        "url": "https://pulp.example.com/big/",
        "images": [{"id": image}],
        "tags": {"latest": image},
    }
    with tarfile.open(path, "w") as tar:
        add(tar, "big.json", json.dumps(document).encode())
        add(tar, f"web/{image}/ancestry", json.dumps([image]).encode())
        add(tar, f"web/{image}/json", json.dumps({"id": image, "created": "2014-10-24T12:00:00Z"}).encode())
        add(tar, f"web/{image}/layer", layer)


def push(program, work, rows):
    layer = work / "layer.tar"
    diff_id = layer_file(layer)
    packed = work / "layer.tar.gz"
    with packed.open("wb") as out:
        subprocess.run(["gzip", "-1", "-c", layer], stdout=out, check=True)
    home = work / "home"
    archive = work / "image.tar"
    makers = [
        ("docker save, plain layer", lambda: docker_save(archive, layer, diff_id)),
        ("Pulp 2, plain layer", lambda: pulp2(archive, layer)),
        ("OCI layout, gzipped layer", lambda: oci(archive, packed, diff_id)),
    ]
    for n, (what, make) in enumerate(makers):
        make()
        for again in ["", ", again"]:
            peak = peak_of([program, "--home", home, "push", "acme", f"big{n}", "--from", archive, "--terse"])
            rows.append((f"push: {what}{again}", peak, 64 * MIB))
    # The whole archive packed: it is spooled first.
    subprocess.run(["gzip", "-1", "-f", archive], check=True)
    peak = peak_of([program, "--home", home, "push", "acme", "spooled", "--from", f"{archive}.gz", "--terse"])
    rows.append(("push: OCI layout in a gzipped tar", peak, 64 * MIB))


def serve(program, work, rows):
    home = work / "many"
    raas = parts.Raas(program, home)
    oci_multi = sources.FIXTURES / "oci-multi"
    for n in range(1000):
        raas("push", "acme", f"team{n % 10}/app{n}", "--from", oci_multi, "--terse")
    with raas.serve(work / "serve.log") as server:
        host, port = server.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port))
        for n in range(20_000):
            name = f"team{n % 10}/app{n % 1000}"
            connection.request("GET", f"/v2/{name}/manifests/2.0")
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, (name, answer.status, body)
        status = pathlib.Path(f"/proc/{server.child.pid}/status").read_text()
        peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
    rows.append(("serve: 1000 repositories of 3 manifests, 20,000 requests", peak, 32 * MIB))


def main():
    program = parts.build()
    rows = []
    with tempfile.TemporaryDirectory(prefix="raas-memory-") as folder:
        work = pathlib.Path(folder)
        serve(program, work, rows)
        push(program, work, rows)
    for what, peak, limit in rows:
        print(f"{'ok' if peak <= limit else 'OVER':4}  {peak / MIB:6.1f} MiB of {limit // MIB}  {what}")
    sys.exit(any(peak > limit for _, peak, limit in rows))


main()
