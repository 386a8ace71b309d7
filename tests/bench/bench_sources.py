#!/usr/bin/env python3
"""Publishing from a registry, beside skopeo.

The source is Debian's docker-registry on a folder. The image of 1 GiB in sixteen layers goes to a folder and
to a bucket in Garage; skopeo copies it to a second docker-registry on a folder or on the same Garage. Then
come a repository of 200 tags that share layers, and a run of `raas sync` over 1,000 unchanged tags,
beside `skopeo sync`. Prints medians of the rounds: wall time, processor time and peak memory (skopeo's with
those of the registry that it writes to, which raas does not need), the requests of `raas sync`, the ratios of
the wall times, and what falls short of the goals. raas returns when the disk has everything, and
docker-registry before: so the first row also has the time of skopeo with a `sync` after it, and the time in
which the disk takes the files of the image, which no program beats.

usage: bench_sources.py [ROUNDS [ROW...]]      rows are folder, bucket, tags, unchanged; all without one
"""

import contextlib
import gzip
import json
import multiprocessing
import os
import pathlib
import random
import statistics
import sys
import tempfile
import urllib.request

from bench_s3 import BUCKET, Measured, make_image, registry_on_bucket

from harness.archives import OciLayout, image_config, sha256, tar_of
from harness.measure import MIB
from harness.process import run
from harness.raas import build
from harness.s3_services import garage_service
from harness.sources import registry_on_folder

TAGS, MANY_TAGS = 200, 1000
SHARED, LAYER = 8, 1 << 20
MOST_MEMORY = 64 * MIB
MOST_REQUESTS = 1010
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
COPY = ["--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    wanted = sys.argv[2:] or ["folder", "bucket", "tags", "unchanged"]
    if unknown := set(wanted) - {"folder", "bucket", "tags", "unchanged"}:
        sys.exit(f"there is no row {', '.join(sorted(unknown))}\n{__doc__}")
    program = build()
    short = []
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder, contextlib.ExitStack() as stack:
        work = pathlib.Path(folder)
        # In processes of their own: the commands that a process starts count its own peak memory as theirs.
        for make, name in ((make_image, "image"), (make_tags, "tags")):
            maker = multiprocessing.Process(target=make, args=(work / name,))
            maker.start()
            maker.join()
        source = stack.enter_context(registry_on_folder(work / "source"))
        fill(source, work, wanted)
        print(f"medians of {rounds} rounds")
        print(f"{'':26} {'wall s':>7} {'cpu s':>7} {'peak MiB':>9} {'requests':>9}", flush=True)
        for row, name, most, contenders in (
            ("folder", "1 GiB to a folder", 0.5, to_folder("app", work / "image")),
            ("bucket", "1 GiB to a bucket", 0.6, to_bucket("app")),
            ("tags", f"{TAGS} tags", 0.3, to_folder("tags")),
            ("unchanged", f"{MANY_TAGS} unchanged tags", 0.2, unchanged("many")),
        ):
            if row not in wanted:
                continue
            pairs = []
            for _ in range(rounds):
                with tempfile.TemporaryDirectory(dir=work) as here:
                    pairs.append(contenders(program, source, pathlib.Path(here)))
            short += report(name, most, pairs)
    print("\n".join(short) or "every goal is reached")
    sys.exit(bool(short))


def make_tags(folder):
    """Images that share all layers but one."""
    layout = OciLayout(folder)
    shared = [tar_of({f"shared-{n}": random.Random(n).randbytes(LAYER)}) for n in range(SHARED)]
    packed = [layout.blob(gzip.compress(plain, 0, mtime=0), "layer.v1.tar+gzip") for plain in shared]
    for n in range(TAGS):
        own = tar_of({"own": random.Random(1000 + n).randbytes(16 << 10)})
        diff_ids = [*map(sha256, shared), sha256(own)]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": layout.blob(image_config(diff_ids, history=True), "config.v1+json"),
            "layers": [*packed, layout.blob(gzip.compress(own, 0, mtime=0), "layer.v1.tar+gzip")],
        }
        layout.finish(layout.blob(json.dumps(manifest).encode(), "manifest.v1+json"), f"1.{n}")


def fill(source, work, wanted):
    """Stores what the wanted rows read."""
    base = f"docker://127.0.0.1:{source.port}"
    if {"folder", "bucket"} & set(wanted):
        run("skopeo", "copy", "-q", *COPY, f"oci:{work / 'image'}:1.0", f"{base}/app:1.0")
    for repository, row in (("tags", "tags"), ("many", "unchanged")):
        if row not in wanted:
            continue
        for n in range(TAGS):
            image = f"{repository}:1.{n}"
            run("skopeo", "copy", "-q", *COPY, f"oci:{work / 'tags'}:1.{n}", f"{base}/{image}")
    for n in range(TAGS, MANY_TAGS) if "unchanged" in wanted else ():
        url = f"http://127.0.0.1:{source.port}/v2/many/manifests/1."
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}{n % TAGS}", headers={"Accept": MANIFEST})
        ) as answer:
            manifest = answer.read()
        put = urllib.request.Request(
            f"{url}{n}", data=manifest, method="PUT", headers={"Content-Type": MANIFEST}
        )
        urllib.request.urlopen(put).close()


def to_folder(repository, image=None):
    def contenders(program, source, here):
        address = f"127.0.0.1:{source.port}/{repository}"
        push = [program, "--home", here / "home", "push", "bench", "app", "--from", f"docker://{address}"]
        # Nobody waits for what the disk has not written yet of others.
        os.sync()
        raas = Measured([*push, "--terse"])
        os.sync()
        with registry_on_folder(here / "target") as target:
            copied = Measured(skopeo(address, repository, target), server=target.pid)
            if image is None:
                return raas, copied, None
            durable = copied.wall + Measured(["sync", "-f", here]).wall
            return raas, copied, None, durable, written(image, here)

    return contenders


def written(image, here):
    """The seconds in which the disk takes the files of the image."""
    copy = ["cp", "--recursive", "--reflink=never", image, here / "copy"]
    return Measured(copy).wall + Measured(["sync", "-f", here]).wall


def to_bucket(repository):
    def contenders(program, source, here):
        address = f"127.0.0.1:{source.port}/{repository}"
        (here / "garage").mkdir()
        with garage_service(here / "garage") as service:
            run("aws", "s3", "mb", f"s3://{BUCKET}", env=service.environment())
            config = here / "raas.cfg"
            config.write_text(service.raas_cfg("bench", BUCKET))
            push = [program, "--home", here / "home", "--config", config]
            push += ["push", "bench", "app", "--from", f"docker://{address}", "--terse"]
            raas = Measured(push)
            run("aws", "s3", "rm", "--recursive", "--quiet", f"s3://{BUCKET}", env=service.environment())
            with registry_on_bucket(service, here) as target:
                return raas, Measured(skopeo(address, repository, target), server=target.pid), None

    return contenders


def unchanged(repository):
    def contenders(program, source, here):
        address = f"127.0.0.1:{source.port}/{repository}"
        config = here / "raas.cfg"
        config.write_text(f"[bench]\nsync.app = docker://{address}\n")
        sync = [program, "--home", here / "home", "--config", config, "sync", "--json"]
        Measured(sync)
        raas = Measured(sync)
        requests = json.loads(raas.output)["repositories"][0]["requests"]
        with registry_on_folder(here / "target") as target:
            again = ["skopeo", "sync", *COPY, "--src", "docker", "--dest", "docker"]
            again += [address, f"127.0.0.1:{target.port}"]
            Measured(again)
            return raas, Measured(again, server=target.pid), requests

    return contenders


def skopeo(address, repository, target):
    """One image is copied, a repository of many tags is synchronised."""
    if repository == "app":
        copy = ["skopeo", "copy", "-q", "--all", *COPY, f"docker://{address}:1.0"]
        return [*copy, f"docker://127.0.0.1:{target.port}/app:1.0"]
    sync = ["skopeo", "sync", "--all", *COPY, "--src", "docker", "--dest", "docker", address]
    return [*sync, f"127.0.0.1:{target.port}"]


def report(name, most, pairs):
    """Prints the medians; returns what falls short of the goals."""
    walls = []
    requests = max((pair[2] or 0) for pair in pairs)
    for n, who in enumerate((name, "  skopeo")):
        wall, processor, peak = (
            statistics.median(getattr(pair[n], what) for pair in pairs)
            for what in ("wall", "processor", "peak")
        )
        walls.append(wall)
        shown = f"{requests:9}" if requests and n == 0 else ""
        print(f"{who:26} {wall:7.2f} {processor:7.2f} {peak / MIB:9.0f} {shown}".rstrip(), flush=True)
    if len(pairs[0]) > 3:
        for n, who in ((3, "  skopeo, then sync"), (4, "  cp and sync of the image")):
            wall = statistics.median(pair[n] for pair in pairs)
            print(f"{who:26} {wall:7.2f}   (raas: {walls[0] / wall:.2f})", flush=True)
    ratio, peak = walls[0] / walls[1], max(pair[0].peak for pair in pairs)
    print(f"{'  ratio':26} {ratio:7.2f}   (goal: {most:.2f} at most)", flush=True)
    short = [f"{name}: {ratio:.2f} of skopeo's wall time, over {most:.2f}"] if ratio > most else []
    short += [f"{name}: {peak / MIB:.0f} MiB, over {MOST_MEMORY / MIB:.0f}"] if peak > MOST_MEMORY else []
    short += [f"{name}: {requests} requests, over {MOST_REQUESTS}"] if requests > MOST_REQUESTS else []
    return short


if __name__ == "__main__":
    main()
