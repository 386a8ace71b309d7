#!/usr/bin/env python3
"""Peak resident memory of whole processes, a row each; exit code 1 if one is over its limit.

`raas push` of an image with one layer of 2 GiB, in each form that raas handles differently, and `raas serve`
with a thousand repositories under requests.
"""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import tempfile

from harness.archives import add, docker_save, image_config
from harness.measure import MIB, memory
from harness.process import CommandFailed
from harness.raas import Raas, build
from harness.samples import FIXTURES

LAYER = 2 << 30
PUSH_LIMIT, SERVE_LIMIT = 64 * MIB, 32 * MIB


def main():
    program = build()
    with tempfile.TemporaryDirectory(prefix="raas-memory-") as folder:
        work = pathlib.Path(folder)
        rows = [*serve(program, work), *push(program, work)]
    for what, peak, limit in rows:
        print(f"{'ok' if peak <= limit else 'OVER':4}  {peak / MIB:6.1f} MiB of {limit // MIB}  {what}")
    sys.exit(any(peak > limit for _, peak, limit in rows))


def serve(program, work):
    """Pulls from a server with a thousand repositories."""
    raas = Raas(program, work / "many")
    for n in range(1000):
        raas("push", "acme", f"team{n % 10}/app{n}", "--from", FIXTURES / "oci-multi", "--terse")
    with raas.serve(work / "serve.log") as server:
        host, port = server.address.rsplit(":", 1)
        with contextlib.closing(http.client.HTTPConnection(host, int(port), timeout=60)) as connection:
            for n in range(20_000):
                name = f"team{n % 10}/app{n % 1000}"
                connection.request("GET", f"/v2/{name}/manifests/2.0")
                answer = connection.getresponse()
                body = answer.read()
                assert answer.status == 200, (name, answer.status, body)
        peak = memory(server.pid, "VmHWM")
    yield "serve: 1000 repositories of 3 manifests, 20,000 requests", peak, SERVE_LIMIT


def push(program, work):
    """Pushes one layer in every form, twice each."""
    layer, packed, archive = work / "layer.tar", work / "layer.tar.gz", work / "image.tar"
    diff_id = layer_file(layer)
    with packed.open("wb") as out:
        subprocess.run(["gzip", "-1", "-c", layer], stdout=out, check=True)
    makers = {
        "docker save, plain layer": lambda: docker_save(archive, "big:1", layer, diff_id),
        "Pulp 2, plain layer": lambda: pulp2(archive, layer),
        "OCI layout, gzipped layer": lambda: oci(archive, packed, diff_id),
    }
    words = [program, "--home", work / "home", "push", "acme"]
    for n, (what, make) in enumerate(makers.items()):
        make()
        for again in ["", ", again"]:
            peak = peak_of([*words, f"big{n}", "--from", archive, "--terse"])
            yield f"push: {what}{again}", peak, PUSH_LIMIT
    # The whole archive is packed: raas unpacks it to a file first.
    subprocess.run(["gzip", "-1", "-f", archive], check=True)
    peak = peak_of([*words, "spooled", "--from", f"{archive}.gz", "--terse"])
    yield "push: OCI layout in a gzipped tar", peak, PUSH_LIMIT


def peak_of(command):
    """Runs a command and returns its peak resident memory in bytes.

    A child begins as a copy of this program, so a peak below this program's own 15 MiB shows as that.
    """
    pid = os.spawnvp(os.P_NOWAIT, str(command[0]), [str(word) for word in command])
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise CommandFailed(f"{command} failed: {status}")
    return usage.ru_maxrss * 1024


def layer_file(path):
    """Writes a layer tar of one file of 2 GiB, half of which packs well; returns its digest."""
    block = random.Random(1).randbytes(MIB // 2) + bytes(MIB // 2)
    info = tarfile.TarInfo("data")
    info.size = LAYER
    digest = hashlib.sha256()
    with path.open("wb") as out:
        for piece in layer_pieces(info.tobuf(), block):
            out.write(piece)
            digest.update(piece)
    return "sha256:" + digest.hexdigest()


def layer_pieces(head, block):
    yield head
    for n in range(LAYER // MIB):
        yield n.to_bytes(8, "big") + block[8:]
    yield bytes(1024)


def oci(path, packed, diff_id):
    """Writes an OCI layout in a tar, without holding the layer in memory."""
    config = image_config([diff_id])
    sha = hashlib.sha256()
    with packed.open("rb") as file:
        while piece := file.read(MIB):
            sha.update(piece)

    def describe(kind, digest, size):
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": size}

    config_digest, layer_digest = hashlib.sha256(config).hexdigest(), sha.hexdigest()
    manifest = {
        "schemaVersion": 2,
        "config": describe("config.v1+json", config_digest, len(config)),
        "layers": [describe("layer.v1.tar+gzip", layer_digest, packed.stat().st_size)],
    }
    manifest = json.dumps(manifest).encode()
    manifest_digest = hashlib.sha256(manifest).hexdigest()
    root = describe("manifest.v1+json", manifest_digest, len(manifest))
    root["annotations"] = {"org.opencontainers.image.ref.name": "1"}
    with tarfile.open(path, "w") as tar:
        add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [root]}).encode())
        for digest, content in [(config_digest, config), (layer_digest, packed), (manifest_digest, manifest)]:
            add(tar, f"blobs/sha256/{digest}", content)


def pulp2(path, layer):
    """Writes an export of Pulp 2."""
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


if __name__ == "__main__":
    main()
