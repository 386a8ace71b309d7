#!/usr/bin/env python3
"""How fast `raas serve` speaks TLS, and sends layers from a folder or by proxy, beside nginx.

Both have the same files. One core for the server, and one for the load and the origin of a proxy. The servers
take turns in each round, and the median counts. Processor time is what is compared: for a request,
a connection, or a MiB. nginx is at its best for each row: no sendfile for a small file, sendfile for a layer
without TLS, and large buffers and no files for a proxy. Prints the peak memory of the proxies, too.

With --busy, the server has 10,000 repositories, both write access logs, and raas is asked for its metrics
each second.

usage: bench_tls.py [--busy] [ROUNDS [SECONDS [ROW...]]], a row by any part of its name
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import statistics
import tempfile
import time
from collections.abc import Callable

from servers import (
    CACHED,
    LOAD_CORE,
    SENDFILE,
    Server,
    arguments,
    file_server,
    nginx,
    nginx_log,
    raas_server,
    write_tree,
)

from harness import metadata
from harness.measure import MIB, memory
from harness.packages import program
from harness.process import run
from harness.raas import build

LAYER = 256 * MIB


@dataclasses.dataclass
class Row:
    """What is asked of two servers.

    The goal is nginx's processor time by that of raas. For rows in MiB it is raas's rate by that of nginx:
    the kernel sends nginx's bytes.
    """

    name: str
    load: Callable
    ours: Server
    other: Server
    path: str
    goal: float
    unit: str = "µs a request"


def main():
    busy, rounds, seconds, wanted = arguments()
    raas = build()
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder, contextlib.ExitStack() as stack:
        rows = start(stack, pathlib.Path(folder), raas, busy)
        rows = [row for row in rows if any(part in row.name for part in wanted)]
        results = {row.name: ([], []) for row in rows}
        for _ in range(rounds):
            for row in rows:
                for server, found in zip((row.ours, row.other), results[row.name], strict=True):
                    before = server.processor_seconds()
                    amount, elapsed = row.load(server, row.path, seconds)
                    used = server.processor_seconds() - before
                    found.append((amount / elapsed, used / amount * 1e6))
        report(rows, results, rounds, seconds)


def start(stack, work, raas, busy):
    """Starts all servers, and returns the rows."""
    certificate, key = work / "tls.crt", work / "tls.key"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    run(*make, *name, "-days", "2", "-keyout", key, "-out", certificate)
    repository = metadata.typical(1)
    digest, blob = repository.tags["1.0"], next(iter(repository.blobs))
    repository.blobs[blob]["size"] = LAYER
    write_tree(work / "tree", repository, busy)
    layer = work / "bucket" / repository.name / "_v2" / "blobs" / blob
    layer.parent.mkdir(parents=True)
    with layer.open("wb") as out:
        for _ in range(LAYER // MIB):
            out.write(os.urandom(MIB))

    def serve(name, *more, scheme="http", bucket=work / "bucket"):
        options = ["--metadata", work / "tree", "--bucket", bucket, *more]
        return raas_server(stack, raas, work, name, *options, logs=busy, scrape=busy, scheme=scheme)

    tls = ["--tls-certificate", certificate, "--tls-key", key]
    plain, secure = serve("raas"), serve("raas-tls", *tls, scheme="https")
    both = {"tls": (certificate, key), "layer": layer}

    def peer(**options):
        log = nginx_log(work) if busy else "off"
        return stack.enter_context(nginx(work, repository, digest, blob, log=log, **options))

    small, large = peer(**both, files=CACHED), peer(layer=layer, files=SENDFILE)
    origin = stack.enter_context(file_server(work, work / "bucket", core=LOAD_CORE))
    proxy = serve("raas-proxy", "--access", "proxy", bucket=origin.url(""))
    other_proxy = peer(layer="/" + str(layer.relative_to(work / "bucket")), origin=origin)
    # Without kTLS, which needs a module of the kernel, nginx copies the file over TLS whatever sendfile says.
    manifest = f"/v2/{repository.name}/manifests/1.0"
    content = f"/v2/{repository.name}/blobs/{blob}"
    handshake, mebibyte = "µs a connection", "µs a MiB"
    return [
        Row("TLS, HTTP/1.1", requests, secure, small, manifest, 1.3),
        Row("TLS, HTTP/2, 64 times 16 streams", streams, secure, small, manifest, 1.2),
        Row("TLS, a new connection each", connections, secure, small, manifest, 1.2, handshake),
        Row("TLS, a resumed connection each", resumed, secure, small, manifest, 1.2, handshake),
        Row("layer of 256 MiB, plain", layers, plain, large, content, 1.0, mebibyte),
        Row("layer of 256 MiB, TLS", layers, secure, small, content, 1.1, mebibyte),
        Row(
            "one layer by proxy",
            functools.partial(layers, count=1),
            proxy,
            other_proxy,
            content,
            0.9,
            mebibyte,
        ),
        Row(
            "64 layers by proxy",
            functools.partial(layers, count=64),
            proxy,
            other_proxy,
            content,
            0.9,
            mebibyte,
        ),
    ]


def requests(server, path, seconds, *more, count=64):
    """Requests over connections that stay."""
    said = wrk(server, path, seconds, count, *more)
    done = re.search(r"(\d+) requests in ([\d.]+)(m?)s", said)
    return int(done.group(1)), float(done.group(2)) / (1000 if done.group(3) else 1)


def wrk(server, path, seconds, count, *more):
    """What wrk prints of a run in which no request failed."""
    command = [program("wrk"), "-t", "1", "-c", count, "-d", f"{seconds}s", "--timeout", "60s", *more]
    said = run(*command, "-H", f"Accept: {metadata.MANIFEST}", server.url(path))
    assert not re.search(r"Non-2xx|Socket errors: connect [1-9]", said), f"{server.name}:\n{said}"
    return said


def connections(server, path, seconds):
    """A request for each connection, with a whole handshake: wrk resumes none."""
    return requests(server, path, seconds, "-H", "Connection: close", count=16)


def streams(server, path, seconds):
    """Requests over HTTP/2."""
    command = [program("h2load"), "-t", "1", "-c", "64", "-m", "16", "-D", seconds]
    said = run(*command, "-H", f"Accept: {metadata.MANIFEST}", server.url(path))
    done = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", said)
    assert done, f"{server.name}:\n{said}"
    assert done.group(3) == "0", f"{server.name}:\n{said}"
    return int(done.group(2)), seconds


def resumed(server, path, _):
    """A request for each connection, with the ticket of the first: TLS 1.2, which openssl can resume."""
    began = time.monotonic()
    said = run(
        program("openssl"),
        "s_time",
        *("-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-reuse", "-www", path, "-time", "3"),
    )
    done = re.findall(r"(\d+) connections in ([\d.]+) real seconds", said)[-1]
    return int(done[0]), time.monotonic() - began


def layers(server, path, seconds, count=8):
    """MiB of a layer over so many connections, whole layers or not."""
    seconds = max(seconds, 4)
    amount, unit = re.search(r"([\d.]+)([KMG])B read", wrk(server, path, seconds, count)).groups()
    return float(amount) * {"K": 1 / 1024, "M": 1, "G": 1024}[unit], seconds


def report(rows, results, rounds, seconds):
    print(f"medians of {rounds} rounds of {seconds} s, one core for the server")
    print(
        f"{'':32} {'raas/s':>9} {'nginx/s':>9} {'ratio':>6} {'raas':>8} {'nginx':>8} {'ratio':>6} {'goal':>5}"
    )
    short = []
    for row in rows:
        ours, other = results[row.name]
        rate, cost = (statistics.median(values) for values in zip(*ours, strict=True))
        other_rate, other_cost = (statistics.median(values) for values in zip(*other, strict=True))
        ratio = other_cost / cost
        rates = f"{rate:9.0f} {other_rate:9.0f} {rate / other_rate:6.2f}"
        costs = f"{cost:8.2f} {other_cost:8.2f} {ratio:6.2f}"
        print(f"{row.name:32} {rates} {costs} {row.goal:>5} {row.unit}")
        if row.unit.endswith("MiB"):
            ratio = rate / other_rate
        if ratio < row.goal:
            short.append(f"{row.name}: {ratio:.2f} of {row.goal}")
    for server in {
        server.name: server for row in rows if "proxy" in row.name for server in (row.ours, row.other)
    }.values():
        peak = max(memory(pid, "VmHWM") for pid in server.family()) / MIB
        print(f"peak memory of {server.name} as a proxy: {peak:.1f} MiB")
    print("short of its goal: " + ("; ".join(short) or "nothing"))


if __name__ == "__main__":
    main()
