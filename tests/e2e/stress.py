#!/usr/bin/env python3
"""What the internet, operators and machines do to `raas serve`, with real sockets against the real program: each row says
what was done, what was seen, and whether that is right. After each the server must live, answer rightly, and have as
many files open as before; at the end its memory must be back. Exit code 1 if anything is not so.

usage: stress.py [PART OF A NAME]
"""
import concurrent.futures
import contextlib
import hashlib
import http.client
import os
import pathlib
import resource
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

import parts
import services
import trees

MIB = 1 << 20
BLOB = 48 * MIB
# What may stay of what a server has once taken: the allocator gives not all of it back.
SLACK = 40 * MIB
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class Site:
    """A repository in a folder, and servers of it."""

    def __init__(self, program, work):
        self.program, self.work, self.tree, self.bucket = program, work, work / "tree", work / "bucket"
        self.repository = trees.typical(1)
        content = bytes(range(256)) * (BLOB // 256)
        self.blob = trees.digest(content)
        self.repository.blobs[self.blob] = {"size": len(content)}
        trees.write(self.tree, [self.repository], "0" * 40)
        trees.write_file(self.bucket / self.repository.name / "_v2" / "blobs" / self.blob, content)
        self.manifest = f"/v2/{self.repository.name}/manifests/1.0"
        self.blob_path = f"/v2/{self.repository.name}/blobs/{self.blob}"
        self.key, self.certificate = work / "tls.key", work / "tls.crt"
        parts.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                  "-keyout", self.key, "-out", self.certificate)

    def serve(self, name, *more, stderr=None):
        return Server(self, name, more, stderr)


class Server:
    def __init__(self, site, name, more, stderr):
        self.site, self.port, self.tls = site, services.free_port(), "--tls-key" in more
        command = [site.program, "serve", "acme", "--listen", f"127.0.0.1:{self.port}", "--metadata", site.tree, "--bucket", site.bucket, *more]
        self.log = open(stderr or site.work / f"{name}.log", "wb")
        self.child = subprocess.Popen([str(word) for word in command], stderr=self.log)

    def __enter__(self):
        parts.wait_for("raas serve", self.right)
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.log.close()

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def get(self, path, method="GET"):
        if self.tls:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def right(self):
        """Whether it lives and gives the right manifest."""
        site = self.site
        with contextlib.suppress(OSError, http.client.HTTPException):
            expected = site.repository.bytes[site.repository.tags["1.0"]]
            return self.child.poll() is None and self.get(site.manifest) == (200, expected)
        return False

    def files(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def memory(self):
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


@check
def odd_paths(server):
    """Raw bytes, since a client would tidy them up."""
    name = server.site.repository.name.encode()
    table = [
        (b"/v2/%2e%2e/%2e%2e/etc/passwd", 404), (b"/v2/../../etc/passwd", 404), (b"/%2e%2e/%2e%2e/etc/passwd", 404),
        (b"/v2/" + name + b"/blobs/..%2f..%2f..%2fetc%2fpasswd", 404), (b"/v2/" + name + b"/manifests/%00", 400),
        (b"/v2/%00/tags/list", 400), (b"/v2/" + name + b"/manifests/1.0%0d%0aX:%20y", 400), (b"//v2/", 404), (b"/v2//tags/list", 400),
        (b"/v2/" + name + b"//manifests/1.0", 400), (b"/v2/\xff\xfe/tags/list", 400), (b"/v2/%ff%fe/tags/list", 400),
        (b"/v2/" + b"a/" * 4000 + b"tags/list", 400), (b"/v2/" + b"a" * 60_000 + b"/tags/list", 431), (b"/" + b"%41" * 5000, 404),
        (b"/v1/images/../../etc/passwd/json", 404), (b"/v2/" + name + b"/manifests/" + b"x" * 20_000, 404),
        (b"/?image=%3Cscript%3E", 404), (b"/v2/" + name + b"/tags/list?n=-1", 400), (b"/v2/" + name + b"/tags/list?n=" + b"9" * 500, 200),
        (b"*", 404), (b"http://x/v2/", 200), (b"/v2/" + name + b"/manifests/1.0?x=%zz", 200),
    ]
    wrong = []
    for path, expected in table:
        with server.connect() as stream:
            stream.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head = stream.recv(64)
            status = int(head.split()[1]) if head.startswith(b"HTTP/1.1") else 0
            # The system may tell of a head that is too long by a reset.
            if status != expected:
                wrong.append((path[:60], status, expected))
    return not wrong, wrong or f"{len(table)} paths"


@check
def half_requests_and_nonsense(server):
    pieces = [b"", b"G", b"GET /v2/", b"GET /v2/ HTTP/1.1\r\nHost", b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(4096),
              b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3000, b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc",
              b"GET /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"]
    for n in range(3000):
        with server.connect() as stream, contextlib.suppress(OSError):
            stream.sendall(pieces[n % len(pieces)])
    return True, f"3000 of {len(pieces)} kinds"


@check
def connections_opened_and_dropped(server):
    """A hundred thousand, some with half a request, some with one that nobody waits for, some with a reset."""
    reset = struct.pack("ii", 1, 0)

    def some(count):
        for n in range(count):
            stream = socket.socket()
            stream.connect(("127.0.0.1", server.port))
            if n % 4 == 1:
                stream.sendall(b"GET /v2/ HTTP/1.1\r\nHo")
            elif n % 4 == 2:
                stream.sendall(b"GET " + server.site.blob_path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            # With a reset, which also keeps the port from waiting.
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            stream.close()
        return count

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = sum(pool.map(some, [12_500] * 8))
    return done == 100_000, f"{done} connections"


@check
def slow_clients(server):
    """Two hundred that send a byte of a head each second and forty that take nothing of a blob, while others are served."""
    begun = time.monotonic()
    heads = [server.connect() for _ in range(200)]
    readers = []
    for _ in range(40):
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.connect(("127.0.0.1", server.port))
        stream.sendall(b"GET " + server.site.blob_path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        readers.append(stream)
    # A client that reads slowly, and reads, gets all of it.
    slow = server.connect()
    slow.sendall(b"GET " + server.site.blob_path.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    taken, most, slowest, closed = bytearray(), 0, 0, None
    for byte in b"GET /v2/ HTTP/1.1\r\nX-Slow: " + b"y" * 60:
        for stream in heads:
            with contextlib.suppress(OSError):
                stream.send(bytes([byte]))
        asked = time.monotonic()
        right = server.right()
        slowest = max(slowest, time.monotonic() - asked)
        if not right:
            return False, "others are not served"
        most = max(most, server.memory())
        taken += slow.recv(256 * 1024)
        if server.files() < 200 and closed is None:
            closed = time.monotonic() - begun
        if closed and time.monotonic() - begun > 75:
            break
        time.sleep(1)
    while piece := slow.recv(1 << 20):
        taken += piece
    whole = hashlib.sha256(bytes(taken).split(b"\r\n\r\n", 1)[1]).hexdigest() == server.site.blob.split(":")[1]
    for stream in [*heads, *readers]:
        stream.close()
    good = closed is not None and 29 <= closed <= 45 and whole and most < 64 * MIB
    return good, f"slow heads closed after {closed or 0:.0f} s, the slow reader got all: {whole}, peak {most / MIB:.0f} MiB, slowest other answer {slowest * 1000:.0f} ms"


@check
def metadata_replaced_under_load(server):
    """A tag that moves fifty times while four clients ask for it: each gets one of its manifests, whole, and never another."""
    site, stop, wrong, count = server.site, threading.Event(), [], [0]
    images = [site.repository.image(None, f"flip {n}") for n in range(2)]
    allowed = {site.repository.bytes[name] for name in images}
    path = f"/v2/{site.repository.name}/manifests/flip"

    def publish(n):
        site.repository.tags["flip"] = images[n % 2]
        trees.write(site.tree, [site.repository], f"{n + 100:040x}")

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        while not stop.is_set():
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            count[0] += 1
            if answer.status != 200 or body not in allowed or trees.digest(body) != answer.headers["Docker-Content-Digest"]:
                wrong.append((answer.status, body[:100]))

    publish(0)
    parts.wait_for("the tag", lambda: server.get(path)[0] == 200)
    askers = [threading.Thread(target=ask) for _ in range(4)]
    for thread in askers:
        thread.start()
    for n in range(50):
        publish(n + 1)
        time.sleep(0.1)
    stop.set()
    for thread in askers:
        thread.join()
    last = site.repository.bytes[site.repository.tags["flip"]]
    parts.wait_for("the last publication", lambda: server.get(path) == (200, last))
    return not wrong, wrong[:3] or f"{count[0]} answers"


@check
def metadata_gone(server):
    tree, away = server.site.tree, server.site.work / "away"
    tree.rename(away)
    time.sleep(1)
    served = server.right()
    tree.write_text("a file where the folder was")
    time.sleep(0.5)
    served &= server.right()
    tree.unlink()
    away.rename(tree)
    time.sleep(0.5)
    return served and server.right(), "the last good one is served"


@check
def disk_full(server):
    """The server writes nothing but its log: one on a full disk, one whose reader is gone."""
    with server.site.serve("full", stderr="/dev/full") as full:
        served = all(full.right() for _ in range(200)) and full.get("/v2/none/tags/list")[0] == 404
        full.child.send_signal(signal.SIGTERM)
        code = full.child.wait(20)
    return served and code == 0, f"exit code {code}"


@check
def sigterm_under_load(server):
    """Sixteen clients on kept connections, while the server is told to stop: no answer is broken off. A connection that is
    closed between two requests is no broken request: a client asks again (RFC 9110, section 9.2.2)."""
    broken, whole, over = [], [0], [0]
    expected = {server.site.manifest: server.site.repository.bytes[server.site.repository.tags["1.0"]], server.site.blob_path: None}

    def ask(port, path, begun):
        begun.wait()
        with contextlib.suppress(ConnectionRefusedError):
            stream = socket.create_connection(("127.0.0.1", port), timeout=60)
            while True:
                try:
                    stream.sendall(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
                    answer = bytearray(stream.recv(1 << 16))
                except (ConnectionResetError, BrokenPipeError):
                    answer = b""
                if not answer:
                    over[0] += 1
                    return
                try:
                    while b"\r\n\r\n" not in answer:
                        answer += stream.recv(1 << 16) or 1 / 0
                    head, body = answer.split(b"\r\n\r\n", 1)
                    length = int(next(l for l in head.split(b"\r\n") if l.lower().startswith(b"content-length")).split(b":")[1])
                    while len(body) < length:
                        body += stream.recv(1 << 20) or 1 / 0
                    if not head.startswith(b"HTTP/1.1 200") or expected[path] not in (None, bytes(body)):
                        broken.append(bytes(head[:80]))
                    whole[0] += 1
                except (OSError, ZeroDivisionError) as error:
                    broken.append(f"{path[:40]}: {error!r}")
                    return

    for n in range(5):
        with server.site.serve(f"stops-{n}") as stopped:
            begun = threading.Event()
            paths = [server.site.manifest] * 12 + [server.site.blob_path] * 4
            askers = [threading.Thread(target=ask, args=(stopped.port, path, begun)) for path in paths]
            for thread in askers:
                thread.start()
            begun.set()
            time.sleep(0.5 + n / 10)
            stopped.child.send_signal(signal.SIGTERM)
            code = stopped.child.wait(40)
            for thread in askers:
                thread.join()
            if code != 0:
                broken.append(f"exit code {code}")
    return not broken, broken[:3] or f"{whole[0]} answers, {over[0]} connections closed between two"


# HTTP/2, by hand: a library would not do what must not be done. RFC 9113.

def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers_of(path):
    literal = lambda name, value: bytes([0, len(name)]) + name + integer(len(value)) + value
    return b"".join(literal(n, v) for n, v in [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", path)])


def integer(value):
    """HPACK, RFC 7541, section 5.1, with a prefix of seven bits."""
    if value < 127:
        return bytes([value])
    out, value = bytearray([127]), value - 127
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out + bytes([value]))


def http2(server):
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2"])
    stream = context.wrap_socket(server.connect())
    assert stream.selected_alpn_protocol() == "h2"
    stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
    return stream


def drain(stream, seconds):
    """Reads frames, and answers pings as a client does. How long the connection went on, at most so long."""
    begun, data = time.monotonic(), b""
    stream.settimeout(0.5)
    while time.monotonic() - begun < seconds:
        try:
            piece = stream.recv(1 << 16)
            if not piece:
                return time.monotonic() - begun
            data += piece
        except TimeoutError:
            continue
        except OSError:
            return time.monotonic() - begun
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            length = int.from_bytes(data[:3], "big")
            if data[3] == 6 and not data[4] & 1:
                with contextlib.suppress(OSError):
                    stream.sendall(frame(6, 1, 0, data[9:17]))
            data = data[9 + length:]
    return seconds


@check
def http2_rapid_reset(server):
    """Streams that are opened and reset at once, CVE-2023-44487: refused before they cost much."""
    with server.site.serve("reset", "--tls-certificate", server.site.certificate, "--tls-key", server.site.key) as secure:
        before, sent = secure.memory(), 0
        for _ in range(5):
            stream = http2(secure)
            with contextlib.suppress(OSError):
                for n in range(20_000):
                    number = 2 * n + 1
                    block = headers_of(secure.site.blob_path.encode())
                    stream.sendall(frame(1, 5, number, block) + frame(3, 0, number, struct.pack(">I", 8)))
                    sent += 1
            stream.close()
        right = secure.right()
        parts.wait_for("files to be closed", lambda: secure.files() < 40, 60)
        grown = secure.memory() - before
    return right and grown < SLACK, f"{sent} of 100,000 streams before the connection was ended, {grown / MIB:.0f} MiB more"


@check
def http2_stalled(server):
    """Eight clients with 64 streams each that never open a window, and one that asks nothing; all answer pings."""
    with server.site.serve("stalled", "--tls-certificate", server.site.certificate, "--tls-key", server.site.key) as secure:
        before = secure.memory()
        block = headers_of(secure.site.blob_path.encode())
        streams = [http2(secure) for _ in range(9)]
        for stream in streams[1:]:
            stream.sendall(b"".join(frame(1, 5, 2 * n + 1, block) for n in range(64)))
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            running = [pool.submit(drain, stream, 190) for stream in streams]
            time.sleep(5)
            grown, right = secure.memory() - before, secure.right()
            lived = [future.result() for future in running]
        parts.wait_for("files to be closed", lambda: secure.files() < 40, 60)
    good = right and lived[0] < 45 and max(lived[1:]) < 180 and grown < 8 * 64 * 192 * 1024
    return good, f"idle for {lived[0]:.0f} s, stalled for up to {max(lived[1:]):.0f} s, {grown / MIB:.0f} MiB for 512 stalled answers"


@check
def http2_sigterm(server):
    """Twenty streams of a layer on one connection, while the server is told to stop: each that the server says that it
    takes (RFC 9113, section 6.8) gets the whole layer, and the rest of the connection is said to be over."""
    size = (server.site.bucket / server.site.blob_path.replace("/v2/", "", 1).replace("/blobs/", "/_v2/blobs/")).stat().st_size
    with server.site.serve("h2-stops", "--tls-certificate", server.site.certificate, "--tls-key", server.site.key) as stopped:
        stream = http2(stopped)
        wide = struct.pack(">I", (1 << 31) - 1 - 65535)
        stream.sendall(frame(4, 0, 0, struct.pack(">HI", 4, (1 << 31) - 1)) + frame(8, 0, 0, wide))
        block = headers_of(server.site.blob_path.encode())
        stream.sendall(b"".join(frame(1, 5, 2 * n + 1, block) for n in range(20)))
        got, ended, last, data, total, told = {}, set(), None, b"", 0, False
        stream.settimeout(40)
        while piece := stream.recv(1 << 18):
            data += piece
            if not told and total > size:
                stopped.child.send_signal(signal.SIGTERM)
                told = True
            while len(data) >= 9 and len(data) >= 9 + (length := int.from_bytes(data[:3], "big")):
                kind, flags, number = data[3], data[4], int.from_bytes(data[5:9], "big")
                if kind == 0:
                    got[number] = got.get(number, 0) + length
                    total += length
                    # What was taken is given back, of the connection's window only: a stream's is wide enough. The last
                    # may come too late to be read.
                    with contextlib.suppress(OSError):
                        stream.sendall(frame(8, 0, 0, struct.pack(">I", length)) if length else b"")
                if kind in (0, 1) and flags & 1:
                    ended.add(number)
                if kind == 7:
                    last = struct.unpack(">I", data[9:13])[0]
                if kind == 6 and not flags & 1:
                    stream.sendall(frame(6, 1, 0, data[9:17]))
                data = data[9 + length:]
        code = stopped.child.wait(40)
    taken = {2 * n + 1 for n in range(20)} if last is None else {n for n in range(1, min(last, 39) + 1, 2)}
    whole = {number for number in ended if got.get(number) == size}
    return told and last is not None and code == 0 and taken <= whole, \
        f"{len(whole)} of {len(taken)} streams whole, GOAWAY {last}, exit code {code}"


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    program = parts.build()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    failed = False
    with tempfile.TemporaryDirectory(prefix="raas-stress-") as folder:
        site = Site(program, pathlib.Path(folder))
        with site.serve("main") as server:
            for _ in range(200):
                server.right()
            time.sleep(0.5)
            before, files = server.memory(), server.files()
            for one in CHECKS:
                name = one.__name__.replace("_", " ")
                if wanted not in name:
                    continue
                begun = time.monotonic()
                good, seen = one(server)
                alive = server.right()
                deadline = time.monotonic() + 60
                while server.files() > files + 2 and time.monotonic() < deadline:
                    time.sleep(0.2)
                left = server.files() - files
                good &= alive and left <= 2
                failed |= not good
                print(f"{'ok' if good else 'FAILED':7} {name}: {seen}{'' if alive else '; THE SERVER DOES NOT ANSWER RIGHTLY'}"
                      f"{f'; {left} files more are open' if left > 2 else ''} ({time.monotonic() - begun:.0f} s)", flush=True)
            grown = server.memory() - before
            good = grown < SLACK
            failed |= not good
            print(f"{'ok' if good else 'FAILED':7} memory: {before / MIB:.0f} MiB before, {(before + grown) / MIB:.0f} MiB after")
    sys.exit(failed)


main()
