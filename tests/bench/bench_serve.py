#!/usr/bin/env python3
"""How fast `raas serve` answers, beside nginx with the same bytes in a file, and beside docker-registry.

nginx is configured in two ways: at its best for small files (files stay open, no sendfile), which the goals
are about, and as Debian ships it.

More rows show the floor: hyper that does nothing (crates/raas-server/examples/bare.rs), and two loops that
only read a request and write the bytes of an answer of raas, on epoll (crates/raas-server/examples/floor.rs)
and on io_uring (tests/bench/uring).

One core for the server, one for `wrk` with 64 connections; the servers take turns in each round, and the
median of the rounds counts. Beside each rate stands the server's processor time for a request, which the load
generator does not bound and other work on the machine moves little.

Access logs are off, except in the row that says so: there both write to a file. With --busy, the server has
10,000 repositories, both write access logs, and raas is asked for its metrics each second.

usage: bench_serve.py [--busy] [ROUNDS [SECONDS [ROW...]]], a row by any part of its name
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import tempfile

from servers import (
    LOAD_CORE,
    PLAIN,
    Server,
    arguments,
    nginx,
    nginx_log,
    on_one_core,
    raas_server,
    write_tree,
)

from harness import metadata
from harness.packages import ROOT, TARGET, program
from harness.process import free_port, run
from harness.raas import build

CONNECTIONS = 64
ACCEPT = f"{metadata.MANIFEST}, {metadata.INDEX}"
# Rows with their goals: nginx's processor time for a request by that of raas. wrk is near its own limit, so
# rates say little about the servers.
GOALS = {
    "manifest by tag": 1.3,
    "manifest by digest": 1.3,
    "/v2/": 1.0,
    "blob, public": 1.05,
    "blob, presigned": 1.0,
    "manifest by tag, docker-registry": 50,
}


@dataclasses.dataclass
class Row:
    """What is asked of two servers."""

    name: str
    ours: Server
    other: Server
    path: str
    method: str = "GET"


def main():
    busy, rounds, seconds, wanted = arguments()
    floors = example("bare"), example("floor"), uring()
    raas = build()
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder, contextlib.ExitStack() as stack:
        rows = start(stack, pathlib.Path(folder), raas, floors, busy)
        rows = [row for row in rows if any(part in row.name for part in wanted)]
        results = {row.name: ([], []) for row in rows}
        for _ in range(rounds):
            for row in rows:
                for server, found in zip((row.ours, row.other), results[row.name], strict=True):
                    found.append(load(server, row.path, row.method, seconds))
    report(results, rounds, seconds)


def start(stack, work, raas, floors, busy):
    """Starts all servers, and returns the rows."""
    repository = metadata.typical(1)
    write_tree(work / "tree", repository, busy)
    digest, blob = repository.tags["1.0"], next(iter(repository.blobs))
    bucket = ["--bucket", "s3://acme-images", "--s3-region", "eu-central-1"]
    public = [*bucket, "--access", "public"]

    def serve(name, *more, logs=busy):
        options = ["--metadata", work / "tree", *more]
        return raas_server(stack, raas, work, name, *options, logs=logs, scrape=busy)

    ours, private = serve("raas", *public), serve("raas-signed", *bucket)
    logging = serve("raas-logs", *public, logs=True)
    best_logging = stack.enter_context(nginx(work, repository, digest, blob, log=nginx_log(work)))
    best = best_logging if busy else stack.enter_context(nginx(work, repository, digest, blob))
    plain = stack.enter_context(nginx(work, repository, digest, blob, files=PLAIN))
    port = free_port()
    hyper, epoll, uring = floors
    nothing = stack.enter_context(on_one_core([hyper, port], work, "bare", port))
    registry = stack.enter_context(docker_registry(work, repository.name))
    manifests = f"/v2/{repository.name}/manifests"
    answer = work / "answer"
    answer.write_bytes(raw_answer(ours.port, f"{manifests}/1.0"))

    def loop(program, name):
        port = free_port()
        return stack.enter_context(on_one_core([program, port, answer], work, name, port))

    blobs = f"/v2/{repository.name}/blobs"
    return [
        Row("manifest by tag", ours, best, f"{manifests}/1.0"),
        Row("manifest by tag, nginx as shipped", ours, plain, f"{manifests}/1.0"),
        Row("manifest by tag, epoll loop", ours, loop(epoll, "epoll"), f"{manifests}/1.0"),
        Row("manifest by tag, io_uring loop", ours, loop(uring, "uring"), f"{manifests}/1.0"),
        Row("manifest by digest", ours, best, f"{manifests}/{digest}"),
        Row("HEAD by tag", ours, best, f"{manifests}/1.0", "HEAD"),
        Row("/v2/", ours, best, "/v2/"),
        Row("nothing but hyper, /v2/", nothing, best, "/v2/"),
        Row("blob, public", ours, best, f"{blobs}/{blob}"),
        Row("blob, presigned", private, best, f"{blobs}/{blob}"),
        Row("manifest by tag, with access logs", logging, best_logging, f"{manifests}/1.0"),
        Row("manifest by tag, docker-registry", ours, registry, f"{manifests}/1.0"),
    ]


@contextlib.contextmanager
def docker_registry(folder, name):
    """docker-registry with an image of the fixtures. Its log is off; its cache of descriptors is on."""
    port = free_port()
    config = folder / "registry.yml"
    settings = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "registry")},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    config.write_text(json.dumps(settings))
    # A bundle of certificates that is set for other programs stops this one.
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}
    environment |= {"OTEL_TRACES_EXPORTER": "none", "GOMAXPROCS": "1"}
    command = ["docker-registry", "serve", config]
    with on_one_core(command, folder, "docker-registry", port, environment) as server:
        copy = ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false"]
        run(*copy, f"oci:{ROOT}/fixtures/oci-multi:2.0", f"docker://127.0.0.1:{port}/{name}:1.0")
        yield server


def raw_answer(port, path):
    """The bytes of an answer, head and body."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: {ACCEPT}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request.encode())
        content = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = content.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def example(name):
    """Builds an example of raas-server."""
    build = ["cargo", "build", "--release", "--locked", "--package", "raas-server", "--example", name]
    subprocess.run(build, cwd=ROOT, check=True)
    return TARGET / "release" / "examples" / name


def uring():
    """Builds the loop on io_uring, which is a workspace of its own."""
    manifest, target = ROOT / "tests/bench/uring/Cargo.toml", TARGET / "uring"
    build = ["cargo", "build", "--release", "--locked", "--manifest-path", manifest, "--target-dir", target]
    subprocess.run(build, cwd=ROOT, check=True)
    return target / "release" / "uring-floor"


def load(server, path, method, seconds, authorization="", script=None):
    """Requests for a second, and microseconds of the server for a request. wrk runs the script."""
    url = server.url(path)
    if method == "HEAD":
        # wrk waits for the bytes of a HEAD. ab is slower than the servers: in its rows processor time counts.
        command = ["ab", "-q", "-k", "-i", "-r", "-c", CONNECTIONS, "-t", seconds, "-n", 10**7]
        requests, rate = r"Complete requests:\s+(\d+)", r"Requests per second:\s+([\d.]+)"
        failed = r"(Non-2xx responses|Failed requests:\s+[1-9]).*"
    else:
        command = ["wrk", "-t", "1", "-c", CONNECTIONS, "-d", f"{seconds}s"]
        command += ["-s", script] if script else []
        requests, rate = r"(\d+) requests in", r"Requests/sec:\s+([\d.]+)"
        failed = r"(Non-2xx or 3xx responses|Socket errors).*"
    before = server.processor_seconds()
    first, *rest = command
    headers = ["-H", f"Accept: {ACCEPT}"]
    if authorization:
        headers += ["-H", f"Authorization: {authorization}"]
    said = run("taskset", "-c", LOAD_CORE, program(first), *rest, *headers, url)
    used = server.processor_seconds() - before
    assert not re.search(failed, said), f"{server.name}, {method} {url}:\n{said}"
    return float(re.search(rate, said).group(1)), used / int(re.search(requests, said).group(1)) * 1e6


def report(results, rounds, seconds):
    print(f"medians of {rounds} rounds of {seconds} s, {CONNECTIONS} connections, one core for the server")
    head = (
        f"{'raas/s':>8} {'other/s':>8} {'ratio':>6} {'raas µs':>8} {'other µs':>9} {'ratio':>6} {'goal':>5}"
    )
    print(f"{'':36} {head}")
    short = []
    for what, (ours, other) in results.items():
        rate, cost = (statistics.median(values) for values in zip(*ours, strict=True))
        other_rate, other_cost = (statistics.median(values) for values in zip(*other, strict=True))
        ratio, goal = other_cost / cost, GOALS.get(what)
        rates = f"{rate:8.0f} {other_rate:8.0f} {rate / other_rate:6.2f}"
        print(f"{what:36} {rates} {cost:8.2f} {other_cost:9.2f} {ratio:6.2f} {goal or '':>5}")
        if goal and ratio < goal:
            short.append(f"{what}: {ratio:.2f} of {goal}")
    print("short of its goal: " + ("; ".join(short) or "nothing"))


if __name__ == "__main__":
    main()
