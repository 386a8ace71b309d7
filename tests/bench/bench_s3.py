#!/usr/bin/env python3
"""Publishing to S3, beside the tools that people use for it.

An image of 1 GiB in sixteen layers that do not compress goes from an OCI layout to one Garage on loopback:
with raas, with skopeo through docker-registry's S3 driver, and as plain files with `aws s3 cp`. Prints wall
time, processor time (of the client, and of the registry that it needs), peak memory and, for the second push
of the same, requests. Rounds take turns; the median counts.

usage: bench_s3.py [ROUNDS]
"""

import contextlib
import gzip
import json
import multiprocessing
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

from harness.archives import OciLayout, image_config, sha256, tar_of
from harness.measure import MIB, memory, processor_seconds
from harness.process import CommandFailed, free_port, run, running, words
from harness.raas import build
from harness.s3_services import garage_service
from harness.web import answers

LAYERS, LAYER = 16, 64 << 20
MOST_MEMORY = 96 * MIB
BUCKET = "bench-images"


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    contenders = {"raas": with_raas, "skopeo + docker-registry": with_skopeo, "aws s3 cp": with_aws}
    results = {name: [] for name in contenders}
    program = build()
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder:
        work = pathlib.Path(folder)
        # In a process of its own: the commands that a process starts count its own peak memory as theirs.
        maker = multiprocessing.Process(target=make_image, args=(work / "image",))
        maker.start()
        maker.join()
        for _ in range(rounds):
            for name, contender in contenders.items():
                with tempfile.TemporaryDirectory(dir=work) as here:
                    results[name].append(one_round(contender, program, work / "image", pathlib.Path(here)))
    sys.exit(report(results) > MOST_MEMORY)


def one_round(contender, program, image, here):
    """With a service of its own: its disk does not grow from one round to the next."""
    (here / "garage").mkdir()
    with garage_service(here / "garage") as service:
        run("aws", "s3", "mb", f"s3://{BUCKET}", env=service.environment())
        return contender(program, service, image, here)


def make_image(folder):
    layout = OciLayout(folder)
    layers, diff_ids = [], []
    for n in range(LAYERS):
        plain = tar_of({f"data-{n}": random.Random(n).randbytes(LAYER)})
        diff_ids.append(sha256(plain))
        layers.append(layout.blob(gzip.compress(plain, 0, mtime=0), "layer.v1.tar+gzip"))
    config = layout.blob(image_config(diff_ids, history=True), "config.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    }
    layout.finish(layout.blob(json.dumps(manifest).encode(), "manifest.v1+json"), "1.0")


class Measured:
    """Wall seconds, processor seconds and peak bytes of a command, and of a server that works for it."""

    def __init__(self, command, environment=None, server=None):
        before = processor_seconds(server) if server else 0
        begun = time.perf_counter()
        child = subprocess.Popen(
            words(command), env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.output = child.stdout.read().decode()
        _, child.returncode, usage = os.wait4(child.pid, 0)
        self.wall = time.perf_counter() - begun
        if child.returncode != 0:
            raise CommandFailed(f"{command} failed:\n{self.output}")
        self.processor = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss * 1024
        if server:
            self.processor += processor_seconds(server) - before
            self.peak += memory(server, "VmHWM")


def with_raas(program, service, image, work):
    config = work / "raas.cfg"
    config.write_text(service.raas_cfg("bench", BUCKET))
    words = [program, "--home", work / "home", "--config", config]
    push = [*words, "push", "bench", "app", "--from", image, "--json"]
    first, second = (Measured(push) for _ in range(2))
    return first, second, json.loads(second.output)["requests"]


@contextlib.contextmanager
def registry_on_bucket(service, folder):
    """docker-registry on the bucket, with `port`."""
    port = free_port()
    config = folder / "registry.yml"
    driver = {
        "accesskey": service.key,
        "secretkey": service.secret,
        "region": service.region,
        "regionendpoint": service.url,
        "bucket": BUCKET,
        "secure": False,
        "v4auth": True,
    }
    settings = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"s3": driver, "redirect": {"disable": True}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    config.write_text(json.dumps(settings))
    # A bundle of certificates that is set for other programs stops this one.
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    command = ["docker-registry", "serve", config]
    url = f"http://127.0.0.1:{port}/v2/"
    with running(command, folder / "registry.log", environment, ready=lambda: answers(url)) as registry:
        registry.port = port
        yield registry


def with_skopeo(_, service, image, work):
    with registry_on_bucket(service, work) as registry:
        copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]
        copy += [f"oci:{image}:1.0", f"docker://127.0.0.1:{registry.port}/app:1.0"]
        first, second = (Measured(copy, server=registry.pid) for _ in range(2))
        return first, second, None


def with_aws(_, service, image, work):
    copy = ["aws", "s3", "cp", "--recursive", "--only-show-errors", image, f"s3://{BUCKET}/"]
    return Measured(copy, service.environment()), None, None


def report(results):
    """Prints a row for each contender; returns the peak memory of raas in bytes."""
    base = None
    print(
        f"{'1 GiB, 16 layers':26} {'wall s':>7} {'cpu s':>7} {'peak MiB':>9} {'again s':>8} {'requests':>9}"
    )
    for name, rounds in results.items():
        wall, processor, peak = (
            statistics.median(getattr(first, what) for first, _, _ in rounds)
            for what in ("wall", "processor", "peak")
        )
        again = (
            f"{statistics.median(second.wall for _, second, _ in rounds):8.2f}" if rounds[0][1] else " " * 8
        )
        requests = " " * 9 if rounds[0][2] is None else f"{rounds[0][2]:9}"
        print(f"{name:26} {wall:7.2f} {processor:7.2f} {peak / MIB:9.0f} {again} {requests}")
        if base:
            ratios = f"{wall / base[0]:6.2f}x {processor / base[1]:6.2f}x {peak / base[2]:8.2f}x"
            print(f"{'  against raas':26} {ratios}")
        base = base or (wall, processor, peak)
    if base[2] > MOST_MEMORY:
        print(f"raas used more than {MOST_MEMORY / MIB:.0f} MiB")
    return base[2]


if __name__ == "__main__":
    main()
