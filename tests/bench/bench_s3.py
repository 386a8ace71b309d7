#!/usr/bin/env python3
"""Publishing to S3, against what people use for it: an image of 1 GiB in sixteen layers that do not compress goes from an
OCI layout to one Garage on loopback with raas, with skopeo through docker-registry's S3 driver, and as plain files
with `aws s3 cp`. Prints wall time, processor time (of the client, and of the registry that is needed), peak memory and,
for the second push of the same, requests. Rounds take turns; the median counts.

usage: bench_s3.py [ROUNDS]
"""

import gzip
import hashlib
import io
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

import parts
import services

LAYERS, LAYER = 16, 64 << 20
MIB = 1 << 20
MOST_MEMORY = 96  # MiB


def make_image(folder):
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return {
            "mediaType": f"application/vnd.oci.image.{media_type}",
            "digest": f"sha256:{digest}",
            "size": len(content),
        }

    layers, diff_ids = [], []
    for n in range(LAYERS):
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            info = tarfile.TarInfo(f"data-{n}")
            info.size = LAYER
            tar.addfile(info, io.BytesIO(random.Random(n).randbytes(LAYER)))
        plain = plain.getvalue()
        diff_ids.append("sha256:" + hashlib.sha256(plain).hexdigest())
        layers.append(blob(gzip.compress(plain, 0, mtime=0), "layer.v1.tar+gzip"))
    config = blob(
        json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [{"created_by": "bench"}] * LAYERS,
            }
        ).encode(),
        "config.v1+json",
    )
    manifest = blob(
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config,
                "layers": layers,
            }
        ).encode(),
        "manifest.v1+json",
    )
    manifest["annotations"] = {"org.opencontainers.image.ref.name": "1.0"}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


class Measured:
    """Wall seconds, processor seconds and peak bytes of a command, and of a server that works for it."""

    def __init__(self, command, environment, server=None):
        before = processor_time(server) if server else 0
        begun = time.perf_counter()
        child = subprocess.Popen(
            [str(word) for word in command], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.said = child.stdout.read().decode()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = status
        self.wall = time.perf_counter() - begun
        if status != 0:
            raise SystemExit(f"{command} failed:\n{self.said}")
        self.processor = usage.ru_utime + usage.ru_stime
        self.peak = usage.ru_maxrss * 1024
        if server:
            self.processor += processor_time(server) - before
            self.peak += peak(server)


def processor_time(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


class Registry:
    """docker-registry on a bucket."""

    def __init__(self, service, bucket, folder):
        self.port = services.free_port()
        config = folder / "registry.yml"
        config.write_text(
            json.dumps(
                {
                    "version": 0.1,
                    "log": {"level": "error"},
                    "storage": {
                        "s3": {
                            "accesskey": service.key,
                            "secretkey": service.secret,
                            "region": service.region,
                            "regionendpoint": service.url,
                            "bucket": bucket,
                            "secure": False,
                            "v4auth": True,
                        },
                        "redirect": {"disable": True},
                    },
                    "http": {"addr": f"127.0.0.1:{self.port}"},
                }
            )
        )
        # A bundle of certificates that is set for other programs stops this one.
        command = ["env", "-u", "AWS_CA_BUNDLE", "docker-registry", "serve", config]
        self.process = parts.Process(command, folder / "registry.log")

    def __enter__(self):
        self.process.__enter__()
        url = f"http://127.0.0.1:{self.port}/v2/"
        parts.wait_for(
            "docker-registry",
            lambda: subprocess.run(["curl", "-sf", url], capture_output=True).returncode == 0,
        )
        return self

    def __exit__(self, *_):
        self.process.__exit__()


def with_raas(program, service, image, bucket, work):
    config = work / "raas.cfg"
    config.write_text(service.raas_cfg("bench", bucket))
    push = [
        program,
        "--home",
        work / "home",
        "--config",
        config,
        "push",
        "bench",
        "app",
        "--from",
        image,
        "--json",
    ]
    first, second = (Measured(push, dict(os.environ)) for _ in range(2))
    return first, second, json.loads(second.said)["requests"]


def with_skopeo(service, image, bucket, work):
    with Registry(service, bucket, work) as registry:
        copy = [
            "skopeo",
            "copy",
            "-q",
            "--insecure-policy",
            "--dest-tls-verify=false",
            f"oci:{image}:1.0",
            f"docker://127.0.0.1:{registry.port}/app:1.0",
        ]
        pid = registry.process.child.pid
        first, second = (Measured(copy, dict(os.environ), pid) for _ in range(2))
        return first, second, None


def with_aws(service, image, bucket, work):
    copy = ["aws", "s3", "cp", "--recursive", "--only-show-errors", image, f"s3://{bucket}/"]
    first = Measured(copy, service.environment())
    return first, None, None


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    program = parts.build()
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder:
        work = pathlib.Path(folder)
        # In a process of its own: what this one has ever used counts as used by the commands that it starts.
        maker = multiprocessing.Process(target=make_image, args=(work / "image",))
        maker.start()
        maker.join()
        contenders = {
            "raas": lambda *where: with_raas(program, *where),
            "skopeo + docker-registry": with_skopeo,
        }
        if shutil.which("aws"):
            contenders["aws s3 cp"] = with_aws
        results = {name: [] for name in contenders}
        for number in range(rounds):
            for name, contender in contenders.items():
                # A service of its own each time: its disk does not grow from one to the next.
                with services.Garage(work / "garage") as service:
                    services.aws(service, "s3", "mb", "s3://bench-images") if shutil.which(
                        "aws"
                    ) else service.ask("bucket", "create", "bench-images")
                    here = work / "here"
                    here.mkdir()
                    results[name].append(contender(service, work / "image", "bench-images", here))
                    shutil.rmtree(here)
                shutil.rmtree(work / "garage")
        tell(results)


def tell(results):
    base = None
    print(
        f"{'1 GiB, 16 layers':26} {'wall s':>7} {'cpu s':>7} {'peak MiB':>9} {'again s':>8} {'requests':>9}"
    )
    for name, rounds in results.items():
        median = lambda of: statistics.median(of(round) for round in rounds)
        wall, processor, most = (
            median(lambda r: r[0].wall),
            median(lambda r: r[0].processor),
            median(lambda r: r[0].peak) / MIB,
        )
        again = f"{median(lambda r: r[1].wall):8.2f}" if rounds[0][1] else " " * 8
        requests = f"{rounds[0][2]:9}" if rounds[0][2] is not None else " " * 9
        print(f"{name:26} {wall:7.2f} {processor:7.2f} {most:9.0f} {again} {requests}")
        if base:
            print(
                f"{'  against raas':26} {wall / base[0]:6.2f}x {processor / base[1]:6.2f}x {most / base[2]:8.2f}x"
            )
        base = base or (wall, processor, most)
    if base[2] > MOST_MEMORY:
        raise SystemExit(f"raas used more than {MOST_MEMORY} MiB")


main()
