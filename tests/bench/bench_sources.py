#!/usr/bin/env python3
"""Publishing from a registry, beside skopeo.

The source is Debian's docker-registry on a folder. The image of 1 GiB in sixteen layers goes to a folder and
to a bucket in Garage; skopeo copies it to a second docker-registry on a folder or on the same Garage. Then
come a repository of 200 tags that share layers, and a run of `raas sync` over 1,000 unchanged tags,
beside `skopeo sync`. Prints wall time and peak memory, and the parts of skopeo's time that raas may take at
most.

usage: bench_sources.py [ROUNDS [ROW...]]      rows are folder, bucket, tags, unchanged; all without one
"""

import contextlib
import gzip
import json
import multiprocessing
import pathlib
import random
import statistics
import sys
import tempfile
import urllib.request

from bench_s3 import BUCKET, Measured, make_image, registry_on_bucket

from harness.archives import OciLayout, image_config, sha256, tar_of
from harness.measure import MIB
from harness.process import free_port, run, running
from harness.raas import build
from harness.s3_services import garage_service
from harness.web import answers

TAGS, MANY_TAGS = 200, 1000
SHARED, LAYER = 8, 1 << 20
MOST_MEMORY = 64 * MIB
MOST_REQUESTS = 1010
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
COPY = ["--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    wanted = sys.argv[2:] or ["folder", "bucket", "tags", "unchanged"]
    program = build()
    too_slow = []
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder, contextlib.ExitStack() as stack:
        work = pathlib.Path(folder)
        # In processes of their own: the commands that a process starts count its own peak memory as theirs.
        for make, name in ((make_image, "image"), (make_tags, "tags")):
            maker = multiprocessing.Process(target=make, args=(work / name,))
            maker.start()
            maker.join()
        source = stack.enter_context(registry_on_folder(work / "source"))
        fill(source, work, wanted)
        for row, name, most, contenders in (
            ("folder", "1 GiB to a folder", 0.5, to_folder("app")),
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
            too_slow += report(name, most, pairs)
    sys.exit(bool(too_slow))


@contextlib.contextmanager
def registry_on_folder(folder):
    """docker-registry on a folder, with `port`."""
    folder.mkdir(parents=True)
    port, config = free_port(), folder / "registry.yml"
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    config.write_text(json.dumps(settings))
    url = f"http://127.0.0.1:{port}/v2/"
    command = ["docker-registry", "serve", config]
    with running(command, folder / "registry.log", ready=lambda: answers(url)) as registry:
        registry.port = port
        yield registry


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


def to_folder(repository):
    def contenders(program, source, here):
        address = f"127.0.0.1:{source.port}/{repository}"
        push = [program, "--home", here / "home", "push", "bench", "app", "--from", f"docker://{address}"]
        raas = Measured([*push, "--terse"])
        with registry_on_folder(here / "target") as target:
            return raas, Measured(skopeo(address, repository, target)), None

    return contenders


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
                return raas, Measured(skopeo(address, repository, target)), None

    return contenders


def unchanged(repository):
    def contenders(program, source, here):
        address = f"127.0.0.1:{source.port}/{repository}"
        config = here / "raas.cfg"
        config.write_text(f"[bench]\nsync.app = docker://{address}\n")
        sync = [program, "--home", here / "home", "--config", config, "sync", "--json"]
        Measured(sync)
        raas = Measured(sync)
        requests = json.loads(raas.output)["images"][0]["requests"]
        with registry_on_folder(here / "target") as target:
            again = ["skopeo", "sync", *COPY, "--src", "docker", "--dest", "docker"]
            again += [address, f"127.0.0.1:{target.port}"]
            Measured(again)
            return raas, Measured(again), requests

    return contenders


def skopeo(address, repository, target):
    """One image is copied, a repository of many tags is synchronised."""
    if repository == "app":
        copy = ["skopeo", "copy", "-q", "--all", *COPY, f"docker://{address}:1.0"]
        return [*copy, f"docker://127.0.0.1:{target.port}/app:1.0"]
    sync = ["skopeo", "sync", "--all", *COPY, "--src", "docker", "--dest", "docker", address]
    return [*sync, f"127.0.0.1:{target.port}"]


def report(name, most, pairs):
    """Prints the medians; returns what is over its limit."""
    raas, other = (statistics.median(pair[n].wall for pair in pairs) for n in (0, 1))
    peak = max(pair[0].peak for pair in pairs)
    requests = max((pair[2] or 0) for pair in pairs)
    shown = f"  {requests} requests" if requests else ""
    print(
        f"{name:22} raas {raas:7.2f} s  skopeo {other:7.2f} s  {raas / other:5.2f} of {most:.2f}"
        f"  {peak / MIB:4.0f} MiB{shown}",
        flush=True,
    )
    limits = ((raas / other, most), (peak, MOST_MEMORY), (requests, MOST_REQUESTS))
    return [f"{name}: {found} is over {limit}" for found, limit in limits if found > limit]


if __name__ == "__main__":
    main()
