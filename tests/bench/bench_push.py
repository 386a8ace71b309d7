#!/usr/bin/env python3
"""Publishing to a folder, beside skopeo with docker-registry on a folder.

The inputs are a `docker save` of real programs and libraries of this machine in plain layers, one of which
half does not compress, an OCI layout of the first with gzipped layers, and each of them a second time. raas
checks every diff id, skopeo does not. Prints wall time, processor time (without that of docker-registry),
peak memory and stored bytes, medians of the rounds, the ratios of the wall times, and what falls short of
the goals. A packed layer is stored as it is by both.

usage: bench_push.py [ROUNDS [ROW...]], a row by any part of its name
"""

import dataclasses
import gzip
import json
import multiprocessing
import os
import pathlib
import random
import statistics
import sys
import tarfile
import tempfile

from bench_s3 import Measured

from harness.archives import OciLayout, add, image_config, sha256
from harness.measure import MIB
from harness.raas import build
from harness.sources import registry_on_folder

PROGRAMS = ("/usr/lib", "/usr/bin", "/usr/share")
LAYER, LAYERS = 320 * MIB, 4
HALF_RANDOM = 298 * MIB
MOST_MEMORY = 64 * MIB
# What raas stores beside the layers: the record, and the metadata for servers. Images do not change it much.
RECORD = MIB


@dataclasses.dataclass
class Row:
    """An input, and what raas may take of skopeo's wall time."""

    name: str
    source: str
    goal: float
    again: bool = False


ROWS = [
    Row("docker save, programs", "docker-archive:programs.tar", 0.5),
    Row("the same again", "docker-archive:programs.tar", 0.5, again=True),
    Row("docker save, half random", "docker-archive:random.tar", 0.6),
    Row("OCI layout, programs", "oci:layout", 0.6),
    Row("the same layout again", "oci:layout", 0.5, again=True),
]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    wanted = sys.argv[2:] or [""]
    program = build()
    short = []
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder:
        work = pathlib.Path(folder)
        # In a process of its own: the commands that a process starts count its own peak memory as theirs.
        maker = multiprocessing.Process(target=make_inputs, args=(work,))
        maker.start()
        maker.join()
        print(f"medians of {rounds} rounds")
        print(f"{'':26} {'wall s':>7} {'cpu s':>7} {'peak MiB':>9} {'stored MB':>10}")
        for row in ROWS:
            if any(part in row.name for part in wanted):
                pairs = []
                for _ in range(rounds):
                    with tempfile.TemporaryDirectory(dir=work) as here:
                        pairs.append(one_round(row, program, work, pathlib.Path(here)))
                short += report(row, pairs)
    print("\n".join(short) or "every goal is reached")
    sys.exit(bool(short))


def make_inputs(work):
    layers = [work / f"layer-{n}.tar" for n in range(LAYERS)]
    files = iter(program_files())
    for layer in layers:
        with tarfile.open(layer, "w") as tar:
            while layer.stat().st_size < LAYER and (file := next(files, None)):
                add(tar, str(file).lstrip("/"), file)
                tar.fileobj.flush()
    docker_save(work / "programs.tar", layers)
    layout = OciLayout(work / "layout")
    packed, diff_ids = [], []
    for layer in layers:
        content = layer.read_bytes()
        diff_ids.append(sha256(content))
        packed.append(layout.blob(gzip.compress(content, 6, mtime=0), "layer.v1.tar+gzip"))
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": layout.blob(image_config(diff_ids), "config.v1+json"),
        "layers": packed,
    }
    layout.finish(layout.blob(json.dumps(manifest).encode(), "manifest.v1+json"), "1.0")
    half = work / "half.tar"
    with layers[0].open("rb") as source, tarfile.open(half, "w") as tar:
        add(tar, "random", random.Random(1).randbytes(HALF_RANDOM // 2))
        add(tar, "programs", source.read(HALF_RANDOM // 2))
    docker_save(work / "random.tar", [half])


def program_files():
    """Programs and libraries of this machine, always in the same order."""
    for folder in PROGRAMS:
        for parent, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                file = pathlib.Path(parent, name)
                if file.is_file() and not file.is_symlink():
                    yield file


def docker_save(path, layers):
    """A `docker save` archive of plain layers, which are files; they are hashed in pieces."""
    config = image_config([digest_of(layer) for layer in layers])
    config_name = sha256(config).removeprefix("sha256:") + ".json"
    entry = {"Config": config_name, "RepoTags": ["app:1.0"], "Layers": [layer.name for layer in layers]}
    with tarfile.open(path, "w") as tar:
        add(tar, config_name, config)
        for layer in layers:
            add(tar, layer.name, layer)
        add(tar, "manifest.json", json.dumps([entry]).encode())


def digest_of(path):
    return sha256(path.read_bytes())


def one_round(row, program, work, here):
    """Measures of raas and of skopeo: both as the commands, and the bytes that they stored."""
    kind, _, name = row.source.partition(":")
    source = work / name
    push = [program, "--home", here / "home", "push", "bench", "app", "--from", source, "--terse"]
    tag = ":1.0" if kind == "oci" else ""
    with registry_on_folder(here / "registry") as registry:
        target = f"docker://127.0.0.1:{registry.port}/app:1.0"
        copy = [
            "skopeo",
            "copy",
            "-q",
            "--insecure-policy",
            "--dest-tls-verify=false",
            f"{kind}:{source}{tag}",
            target,
        ]
        found = []
        for command, stored in (
            (push, here / "home" / "bench" / "bucket"),
            (copy, here / "registry" / "data"),
        ):
            measured = Measured(command)
            if row.again:
                measured = Measured(command)
            measured.stored = size_of(stored)
            found.append(measured)
        return found


def size_of(folder):
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def report(row, pairs):
    """Prints the medians; returns what falls short of the goals."""
    medians = []
    for n, name in enumerate((row.name, "  skopeo")):
        wall, processor, peak, stored = (
            statistics.median(getattr(pair[n], what) for pair in pairs)
            for what in ("wall", "processor", "peak", "stored")
        )
        medians.append((wall, stored))
        print(f"{name:26} {wall:7.2f} {processor:7.2f} {peak / MIB:9.0f} {stored / 1e6:10.0f}", flush=True)
    ours, other = medians
    ratio, peak = ours[0] / other[0], max(pair[0].peak for pair in pairs)
    print(f"{'  ratio':26} {ratio:7.2f}   (goal: {row.goal:.2f} at most)", flush=True)
    short = [f"{row.name}: {ratio:.2f} of skopeo's wall time"] if ratio > row.goal else []
    short += [f"{row.name}: stores more than skopeo"] if ours[1] > other[1] + RECORD else []
    return short + ([f"{row.name}: {peak / MIB:.0f} MiB"] if peak > MOST_MEMORY else [])


if __name__ == "__main__":
    main()
