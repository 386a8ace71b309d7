#!/usr/bin/env python3
"""`raas serve` with 10,000 repositories of 100,000 manifests, from a folder and from a bucket, beside one with ten: how long
until it is ready, what memory it takes, how soon a changed document is served, how fast it answers (and how fast nginx does
with the same as files, since memory that is far away takes its time of everybody), and what 10,000 idle connections cost.
Prints each with its goal. Memory is the same on every machine, so exit code 1 if it is over its goal; times are told as
they are.

Usage: scale.py [folder] [bucket]    measures one of the two, or both
"""

import contextlib
import http.client
import http.server
import json
import os
import pathlib
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import parts
import services
import trees

MIB = 1 << 20
REPOSITORIES, CONNECTIONS = 10_000, 10_000
READY_S, CHANGE_S = 2.0, 0.1
MEMORY, CHANGED_MEMORY, CONNECTION_MEMORY = 150 * MIB, 160 * MIB, 100 * MIB
# How often a folder and a bucket are looked at: docs/request-handling.md.
POLL_S, REMOTE_POLL_S = 0.2, 1.0


class Told:
    """Rows, and whether one that counts is over its goal."""

    def __init__(self):
        self.over = False

    def row(self, what, value, unit, goal=None, counts=False):
        good = goal is None or value <= goal
        self.over |= counts and not good
        verdict = "" if goal is None else "ok" if good else "OVER" if counts else "slower"
        print(
            f"{verdict:7}{value:9.2f} {unit:4} {'of ' + format(goal, '.2f') if goal is not None else '':9} {what}",
            flush=True,
        )


def memory(pid, key="VmRSS"):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(key)).split()[1]) * 1024


def serve(program, log, *more):
    """Starts a server; gives it with its port and the seconds until it was ready."""
    port = services.free_port()
    environment = os.environ | {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    begun = time.monotonic()
    server = parts.Process(
        [
            program,
            "serve",
            "acme",
            "--listen",
            f"127.0.0.1:{port}",
            "--bucket",
            "https://bucket.example.com",
            *more,
        ],
        log,
        environment,
    )
    server.port = port

    def ready():
        with contextlib.suppress(OSError, http.client.HTTPException):
            return get(port, "/-/readyz")[0] == 200

    parts.wait_for("raas serve", ready, 60)
    server.seconds = time.monotonic() - begun
    return server


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


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
    return bool(end) and len(body) == int(head.lower().partition(b"content-length: ")[2].split(b"\r", 1)[0])


def compared(ours, base):
    """How many times as long as that of one a request of the other takes: in turns, so that both meet the same moods of the machine."""
    for port, paths in (ours, base):
        latencies(port, paths)
    pairs = [(latencies(*ours, 2000), latencies(*base, 2000)) for _ in range(15)]
    return statistics.median(statistics.median(one) / statistics.median(other) for one, other in pairs)


@contextlib.contextmanager
def nginx(work, root):
    """A server of files. It shows what the machine itself makes of many things that are asked for by turns."""
    port = services.free_port()
    folder = work / f"nginx-{port}"
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(f"""
user root; worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error;
events {{ worker_connections 64; }}
http {{
  access_log off; keepalive_requests 1000000000; types {{ }}
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
""")
    with parts.Process(["nginx", "-c", config], folder / "log"):
        parts.wait_for("nginx", lambda: listens(port))
        yield port


def change(what, port, repositories, publish, detected=None):
    """Seconds from a publication, once it lies there whole, until it is served, and those of them since the server could know:
    several, at odd moments."""
    found, since = [], []
    for n in range(8):
        repository = repositories[n * 997 % len(repositories)]
        repository.image("new", f"{what} {n}")
        expected = repository.bytes[repository.tags["new"]]
        begun = publish(repository, f"{n + 1:040x}")
        parts.wait_for(
            "a changed document",
            lambda: get(port, f"/v2/{repository.name}/manifests/new") == (200, expected),
            pause=0.005,
        )
        served = time.monotonic()
        found.append(served - begun)
        if detected:
            since.append(served - detected())
        time.sleep(0.37)
    return found, since


def idle(told, what, port, pid):
    before = memory(pid)
    held = []
    for _ in range(CONNECTIONS - 100):
        # Each has asked something, as clients have that keep their connection.
        stream = socket.create_connection(("127.0.0.1", port))
        stream.sendall(b"GET /v2/ HTTP/1.1\r\nHost: registry.example.com\r\n\r\n")
        held.append(stream)
    for stream in held:
        assert stream.recv(12) == b"HTTP/1.1 200", "a connection is not answered"
    used = memory(pid) - before
    assert get(port, "/v2/")[0] == 200
    for stream in held:
        stream.close()
    told.row(f"{what}: {len(held)} idle connections", used / MIB, "MiB", CONNECTION_MEMORY / MIB, counts=True)


class Bucket(parts.WebServer):
    """A folder over HTTP, with entity tags, as a bucket answers. It knows when each object was last answered."""

    def __init__(self, folder):
        answered = self.answered = {}

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # What it sends in two pieces does not wait for an acknowledgement in between.
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def do_GET(self):
                path = folder / self.path.lstrip("/")
                if not path.is_file():
                    return self.reply(404, b"")
                stat = path.stat()
                etag = f'"{stat.st_ino}-{stat.st_mtime_ns}"'
                if self.headers.get("If-None-Match") == etag:
                    return self.reply(304, b"", etag)
                answered[self.path] = time.monotonic()
                self.reply(200, path.read_bytes(), etag)

            def reply(self, status, content, etag=None):
                self.send_response(status)
                if etag:
                    self.send_header("ETag", etag)
                if status != 304:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        super().__init__(Handler)


def measure(told, what, server, repositories, publish, poll, detected=None):
    pid = server.child.pid
    told.row(f"{what}: ready", server.seconds, "s", READY_S)
    told.row(f"{what}: memory when ready", memory(pid) / MIB, "MiB", MEMORY / MIB, counts=True)
    told.row(f"{what}: peak memory until ready", memory(pid, "VmHWM") / MIB, "MiB")
    latencies(server.port, by_tag(repositories))
    told.row(f"{what}: memory after 20,000 requests", memory(pid) / MIB, "MiB", MEMORY / MIB, counts=True)
    changes, since = change(what, server.port, repositories, publish, detected)
    told.row(f"{what}: a change is served, median", statistics.median(changes), "s", poll + CHANGE_S)
    told.row(f"{what}: a change is served, slowest of {len(changes)}", max(changes), "s", poll + CHANGE_S)
    if since:
        told.row(
            f"{what}: from its detection until a change is served, median",
            statistics.median(since),
            "s",
            CHANGE_S,
        )
        told.row(
            f"{what}: from its detection until a change is served, slowest of {len(since)}",
            max(since),
            "s",
            CHANGE_S,
        )
    told.row(
        f"{what}: memory after {len(changes)} changes",
        memory(pid) / MIB,
        "MiB",
        CHANGED_MEMORY / MIB,
        counts=True,
    )
    told.row(f"{what}: peak memory until then", memory(pid, "VmHWM") / MIB, "MiB")


def measure_folder(told, program, work, many):
    few = [trees.typical(n) for n in range(10)]
    trees.write(work / "many", many, "0" * 40)
    trees.write(work / "few", few, "0" * 40)

    def publish_in(root):
        def publish(repository, revision):
            trees.write(root, [repository], revision)
            return time.monotonic()

        return publish

    with serve(program, work / "few.log", "--metadata", work / "few") as small:
        measure(told, "folder, 10", small, few, publish_in(work / "few"), POLL_S)
        with serve(program, work / "many.log", "--metadata", work / "many") as server:
            measure(told, "folder, 10,000", server, many, publish_in(work / "many"), POLL_S)
            answers = compared((server.port, by_tag(many)), (small.port, by_tag(few)))
            with nginx(work, work / "many") as large_port, nginx(work, work / "few") as small_port:
                files = compared((large_port, as_files(many)), (small_port, as_files(few)))
            told.row(
                "folder, 10,000: nginx's time for such a file against ten repositories' files", files, "x"
            )
            told.row(
                "folder, 10,000: time of an answer against ten repositories", answers, "x", max(1, files)
            )
            idle(told, "folder, 10,000", server.port, server.child.pid)


def measure_bucket(told, program, work, many):
    bucket = work / "bucket"
    snapshots = trees.Snapshots(bucket, many)
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

        measure(told, "bucket, 10,000", server, many, publish, REMOTE_POLL_S, detected)


WAYS = {"folder": measure_folder, "bucket": measure_bucket}


def install():
    if not shutil.which("nginx"):
        parts.run("apt-get", "update", "-q")
        parts.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "nginx-light")


def main():
    install()
    ways = sys.argv[1:] or list(WAYS)
    if unknown := set(ways) - set(WAYS):
        sys.exit(f"{', '.join(sorted(unknown))}: what can be measured is {' and '.join(WAYS)}")
    program = parts.build()
    told = Told()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="raas-scale-") as folder:
        work = pathlib.Path(folder)
        many = [
            trees.typical(n, location="https://cdn.example.com/base" if n % 3 == 0 else None)
            for n in range(REPOSITORIES)
        ]
        print(
            f"{len(many)} repositories, {sum(len(r.manifests) for r in many)} manifests, "
            f"{sum(len(c) for r in many for c in r.bytes.values()) / MIB:.0f} MiB of them, {sum(len(r.tags) for r in many)} tags, "
            f"{sum(len(r.blobs) for r in many)} blobs"
        )
        for way in ways:
            WAYS[way](told, program, work, many)
    sys.exit(told.over)


main()
