#!/usr/bin/env python3
"""`raas serve` with 10,000 repositories of 100,000 manifests, beside a server with ten repositories.

Prints each of these with its goal: the time until the server is ready, its memory, how soon it serves a
changed document, how fast it answers (and how fast nginx does with the same as files, since memory that is
far away costs everybody time), and what 10,000 idle connections cost. Memory is the same on every machine, so
the exit code is 1 if memory is over its goal; times are printed only.

usage: scale.py [folder] [bucket]    measures one of the two, or both
"""

import contextlib
import http.client
import os
import pathlib
import resource
import socket
import statistics
import sys
import tempfile
import time

from servers import file_server

from harness import metadata
from harness.measure import MIB, memory
from harness.process import free_port, running, wait_for
from harness.raas import build
from harness.web import Quiet, WebServer

REPOSITORIES, CONNECTIONS = 10_000, 10_000
READY_S, CHANGE_S = 2.0, 0.1
MEMORY, CHANGED_MEMORY, CONNECTION_MEMORY = 150 * MIB, 160 * MIB, 100 * MIB
# How often raas looks at a folder and at a bucket. Source: docs/request-handling.md.
POLL_S, REMOTE_POLL_S = 0.2, 1.0


class Report:
    """Prints rows, and knows whether a row that counts is over its goal."""

    def __init__(self):
        self.over = False

    def row(self, what, value, unit, goal=None, counts=False):
        good = goal is None or value <= goal
        self.over |= counts and not good
        verdict = "" if goal is None else "ok" if good else "OVER" if counts else "slower"
        print(
            f"{verdict:7}{value:9.2f} {unit:4} {'' if goal is None else f'of {goal:.2f}':9} {what}",
            flush=True,
        )


@contextlib.contextmanager
def serve(program, log, *more):
    """A server with its port and the seconds until it was ready."""
    port = free_port()
    environment = os.environ | {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    place = ["--listen", f"127.0.0.1:{port}", "--bucket", "https://bucket.example.com"]

    def ready():
        with contextlib.suppress(OSError, http.client.HTTPException):
            return get(port, "/-/readyz")[0] == 200
        return False

    begun = time.monotonic()
    command = [program, "serve", "acme", *place, *more]
    with running(command, log, environment, ready=ready, seconds=60) as server:
        server.seconds, server.port = time.monotonic() - begun, port
        yield server


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def by_tag(repositories):
    return [f"/v2/{r.name}/manifests/{tag}" for r in repositories for tag in r.tags]


def as_files(repositories):
    """Where the same manifests lie in a metadata tree."""
    return [
        f"/crane/data/{r.name}/_manifests/{digest.replace(':', '/')}"
        for r in repositories
        for digest in r.tags.values()
    ]


def latencies(port, paths, count=20_000):
    """Seconds of each of so many requests for manifests of many repositories, one after the other."""
    # Made before, and as many whatever there is, so that the script's own memory is no matter.
    requests = [
        f"GET {paths[n * 7919 % len(paths)]} HTTP/1.1\r\nHost: registry.example.com\r\n\r\n".encode()
        for n in range(count)
    ]
    found = []
    with socket.create_connection(("127.0.0.1", port), timeout=30) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            begun = time.perf_counter()
            stream.sendall(request)
            answer = stream.recv(1 << 16)
            while not is_whole(answer):
                answer += stream.recv(1 << 16)
            found.append(time.perf_counter() - begun)
            assert answer.startswith(b"HTTP/1.1 200 "), (request, answer)
    return found


def is_whole(answer):
    head, end, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0]
    return bool(end) and len(body) == int(length)


def compared(ours, base):
    """The time of one of our requests against one of the base, in turns: the machine changes its speed."""
    for port, paths in (ours, base):
        latencies(port, paths)
    pairs = [(latencies(*ours, 2000), latencies(*base, 2000)) for _ in range(15)]
    return statistics.median(statistics.median(one) / statistics.median(other) for one, other in pairs)


def change(what, port, repositories, publish, detected=None):
    """Seconds from a publication until it is served, and those since the server could know of it."""
    found, since = [], []
    for n in range(8):
        repository = repositories[n * 997 % len(repositories)]
        repository.image("new", f"{what} {n}")
        path = f"/v2/{repository.name}/manifests/new"
        expected = 200, repository.bytes[repository.tags["new"]]
        begun = publish(repository, f"{n + 1:040x}")
        wait_for("a changed document", lambda a=path, b=expected: get(port, a) == b, pause=0.005)
        served = time.monotonic()
        found.append(served - begun)
        if detected:
            since.append(served - detected())
        time.sleep(0.37)
    return found, since


def idle(report, what, port, pid):
    before = memory(pid)
    held = []
    for number in range(CONNECTIONS - 100):
        # Each has asked something, as clients have that keep their connection. One address may have fewer.
        source = (f"127.0.1.{number % 10 + 1}", 0)
        stream = socket.create_connection(("127.0.0.1", port), source_address=source)
        stream.sendall(b"GET /v2/ HTTP/1.1\r\nHost: registry.example.com\r\n\r\n")
        held.append(stream)
    for stream in held:
        assert stream.recv(12) == b"HTTP/1.1 200", "a connection is not answered"
    used = memory(pid) - before
    assert get(port, "/v2/")[0] == 200
    for stream in held:
        stream.close()
    report.row(
        f"{what}: {len(held)} idle connections", used / MIB, "MiB", CONNECTION_MEMORY / MIB, counts=True
    )


class Bucket(WebServer):
    """A folder over HTTP with entity tags, as a bucket answers. `answered` has the last moment by object."""

    def __init__(self, folder):
        answered = self.answered = {}

        class Handler(Quiet):
            protocol_version = "HTTP/1.1"
            # An answer in two pieces does not wait for an acknowledgement in between.
            disable_nagle_algorithm = True

            def do_GET(self):
                path = folder / self.path.lstrip("/")
                if not path.is_file():
                    self.reply(404)
                    return
                stat = path.stat()
                tag = {"ETag": f'"{stat.st_ino}-{stat.st_mtime_ns}"'}
                if self.headers.get("If-None-Match") == tag["ETag"]:
                    self.reply(304, headers=tag)
                    return
                answered[self.path] = time.monotonic()
                self.reply(200, path.read_bytes(), tag)

        super().__init__(Handler)


def measure(report, what, server, repositories, publish, poll, detected=None):
    pid = server.pid
    report.row(f"{what}: ready", server.seconds, "s", READY_S)
    report.row(f"{what}: memory when ready", memory(pid) / MIB, "MiB", MEMORY / MIB, counts=True)
    report.row(f"{what}: peak memory until ready", memory(pid, "VmHWM") / MIB, "MiB")
    latencies(server.port, by_tag(repositories))
    report.row(f"{what}: memory after 20,000 requests", memory(pid) / MIB, "MiB", MEMORY / MIB, counts=True)
    changes, since = change(what, server.port, repositories, publish, detected)
    report.row(f"{what}: a change is served, median", statistics.median(changes), "s", poll + CHANGE_S)
    report.row(f"{what}: a change is served, slowest of {len(changes)}", max(changes), "s", poll + CHANGE_S)
    if since:
        report.row(
            f"{what}: from its detection until a change is served, median",
            statistics.median(since),
            "s",
            CHANGE_S,
        )
        report.row(
            f"{what}: from its detection until a change is served, slowest of {len(since)}",
            max(since),
            "s",
            CHANGE_S,
        )
    report.row(
        f"{what}: memory after {len(changes)} changes",
        memory(pid) / MIB,
        "MiB",
        CHANGED_MEMORY / MIB,
        counts=True,
    )
    report.row(f"{what}: peak memory until then", memory(pid, "VmHWM") / MIB, "MiB")


def measure_folder(report, program, work, many):
    few = [metadata.typical(n) for n in range(10)]
    metadata.write(work / "many", many, "0" * 40)
    metadata.write(work / "few", few, "0" * 40)

    def publish_in(root):
        def publish(repository, revision):
            metadata.write(root, [repository], revision)
            return time.monotonic()

        return publish

    with serve(program, work / "few.log", "--metadata", work / "few") as small:
        measure(report, "folder, 10", small, few, publish_in(work / "few"), POLL_S)
        with serve(program, work / "many.log", "--metadata", work / "many") as server:
            measure(report, "folder, 10,000", server, many, publish_in(work / "many"), POLL_S)
            answers = compared((server.port, by_tag(many)), (small.port, by_tag(few)))
            # What the machine itself needs for many files that are asked for by turns.
            with file_server(work, work / "many") as large, file_server(work, work / "few") as small_files:
                files = compared((large.port, as_files(many)), (small_files.port, as_files(few)))
            report.row(
                "folder, 10,000: nginx's time for such a file against ten repositories' files", files, "x"
            )
            report.row(
                "folder, 10,000: time of an answer against ten repositories", answers, "x", max(1, files)
            )
            idle(report, "folder, 10,000", server.port, server.pid)


def measure_bucket(report, program, work, many):
    bucket = work / "bucket"
    snapshots = metadata.Snapshots(bucket, many)
    snapshots.prepare()
    snapshots.publish("0" * 40)
    print(f"{snapshots.count} parts of {snapshots.size() / MIB:.1f} MiB")
    with Bucket(bucket) as web, serve(program, work / "bucket.log", "--metadata", web.url) as server:

        def publish(repository, revision):
            snapshots.prepare(repository)
            begun = time.monotonic()
            snapshots.publish(revision)
            return begun

        def detected():
            return web.answered["/_metadata/current"]

        measure(report, "bucket, 10,000", server, many, publish, REMOTE_POLL_S, detected)


WAYS = {"folder": measure_folder, "bucket": measure_bucket}


def main():
    ways = sys.argv[1:] or list(WAYS)
    if unknown := set(ways) - set(WAYS):
        sys.exit(f"{', '.join(sorted(unknown))}: not known; measure {' or '.join(WAYS)}")
    program = build()
    report = Report()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="raas-scale-") as folder:
        work = pathlib.Path(folder)
        cdn = "https://cdn.example.com/base"
        many = [metadata.typical(n, location=None if n % 3 else cdn) for n in range(REPOSITORIES)]
        print(
            f"{len(many)} repositories, {sum(len(r.manifests) for r in many)} manifests, "
            f"{sum(len(c) for r in many for c in r.bytes.values()) / MIB:.0f} MiB of them, "
            f"{sum(len(r.tags) for r in many)} tags, {sum(len(r.blobs) for r in many)} blobs"
        )
        for way in ways:
            WAYS[way](report, program, work, many)
    sys.exit(report.over)


if __name__ == "__main__":
    main()
