"""What the internet, operators and machines do to `raas serve`, with real sockets against the real program.

After each test the server must live, answer rightly, and have as many files open as before; in the end its
memory must be back.
"""

import concurrent.futures
import contextlib
import hashlib
import http.client
import resource
import signal
import socket
import ssl
import struct
import threading
import time

import pytest

from harness import http2, measure, metadata
from harness.certificates import RSA_KEY, self_signed
from harness.measure import MIB
from harness.process import free_port, running, wait_for
from harness.web import Cdn

BLOB = 48 * MIB
# How much memory may stay in use: the allocator does not give all of it back.
SLACK = 40 * MIB
# A close with this option is a reset, which also keeps the port from waiting.
RESET = struct.pack("ii", 1, 0)


@pytest.fixture(scope="module", autouse=True)
def many_files():
    """As many open files as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Site:
    """A repository in a folder, with one blob of 48 MiB, and servers of it."""

    def __init__(self, program, work):
        self.program, self.work, self.tree, self.bucket = program, work, work / "tree", work / "bucket"
        self.repository = metadata.typical(1)
        content = bytes(range(256)) * (BLOB // 256)
        self.blob = metadata.digest(content)
        self.repository.blobs[self.blob] = {"size": len(content)}
        self.publish("0" * 40)
        name = self.repository.name
        metadata.write_file(self.bucket / name / "_v2" / "blobs" / self.blob, content)
        self.manifest = f"/v2/{name}/manifests/1.0"
        self.blob_path = f"/v2/{name}/blobs/{self.blob}"
        self.blob_request = f"GET {self.blob_path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        self.tls = self_signed(work, "tls", "localhost", RSA_KEY)

    @property
    def manifest_bytes(self):
        return self.repository.bytes[self.repository.tags["1.0"]]

    def publish(self, revision):
        metadata.write(self.tree, [self.repository], revision)

    @contextlib.contextmanager
    def serve(self, name, *more, log=None):
        """A server that answers rightly from the start."""
        port = free_port()
        place = ["--listen", f"127.0.0.1:{port}", "--metadata", self.tree]
        if "--bucket" not in more:
            place += ["--bucket", self.bucket]
        with running(
            [self.program, "serve", "acme", *place, *more], log or self.work / f"{name}.log"
        ) as process:
            server = Server(self, process, port, is_tls="--tls-key" in more)
            wait_for("raas serve", server.is_right, process=process)
            yield server

    def serve_tls(self, name):
        certificate, key = self.tls
        return self.serve(name, "--tls-certificate", certificate, "--tls-key", key)


class Server:
    """A running server of a site."""

    def __init__(self, site, process, port, is_tls):
        self.site, self.process, self.port, self.is_tls = site, process, port, is_tls

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def connect_http2(self):
        """A connection on which both sides may send frames."""
        context = ssl._create_unverified_context()
        context.set_alpn_protocols(["h2"])
        stream = context.wrap_socket(self.connect())
        assert stream.selected_alpn_protocol() == "h2"
        stream.sendall(http2.PREFACE + http2.frame(http2.SETTINGS, 0, 0))
        return stream

    def get(self, path, method="GET"):
        if self.is_tls:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def is_right(self):
        """Whether the server lives and gives the right manifest."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            alive = self.process.child.poll() is None
            return alive and self.get(self.site.manifest) == (200, self.site.manifest_bytes)
        return False

    def files(self):
        return measure.open_files(self.process.pid)

    def memory(self):
        return measure.memory(self.process.pid)

    def terminate(self):
        self.process.child.send_signal(signal.SIGTERM)

    def exit_code(self, seconds=40):
        return self.process.child.wait(seconds)


@pytest.fixture(scope="module")
def main_server(program, tmp_path_factory):
    """The server that lives through all tests, and what it took before them."""
    site = Site(program, tmp_path_factory.mktemp("stress"))
    with site.serve("main") as server:
        for _ in range(200):
            assert server.is_right()
        # A connection is closed a moment after its client has closed it.
        time.sleep(0.5)
        server.memory_before, server.files_before = server.memory(), server.files()
        yield server


@pytest.fixture
def server(main_server):
    """The server; after the test it answers rightly and has closed its files."""
    yield main_server
    assert main_server.is_right(), "the server does not answer rightly after the test"
    most = main_server.files_before + 2
    wait_for("files to be closed", lambda: main_server.files() <= most, 60)


def test_odd_paths(server):
    """Raw bytes, since a client library would tidy them up."""
    name = b"/v2/" + server.site.repository.name.encode()
    table = [
        (b"/v2/%2e%2e/%2e%2e/etc/passwd", 404),
        (b"/v2/../../etc/passwd", 404),
        (b"/%2e%2e/%2e%2e/etc/passwd", 404),
        (name + b"/blobs/..%2f..%2f..%2fetc%2fpasswd", 404),
        (name + b"/manifests/%00", 400),
        (b"/v2/%00/tags/list", 400),
        (name + b"/manifests/1.0%0d%0aX:%20y", 400),
        (b"//v2/", 404),
        (b"/v2//tags/list", 400),
        (name + b"//manifests/1.0", 400),
        (b"/v2/\xff\xfe/tags/list", 400),
        (b"/v2/%ff%fe/tags/list", 400),
        (b"/v2/" + b"a/" * 4000 + b"tags/list", 400),
        (b"/v2/" + b"a" * 60_000 + b"/tags/list", 431),
        (b"/" + b"%41" * 5000, 404),
        (b"/v1/images/../../etc/passwd/json", 404),
        (name + b"/manifests/" + b"x" * 20_000, 404),
        (b"/?image=%3Cscript%3E", 404),
        (name + b"/tags/list?n=-1", 400),
        (name + b"/tags/list?n=" + b"9" * 500, 200),
        (b"*", 404),
        (b"http://x/v2/", 200),
        (name + b"/manifests/1.0?x=%zz", 200),
    ]
    wrong = []
    for path, expected in table:
        with server.connect() as stream:
            stream.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            head = stream.recv(64)
        status = int(head.split()[1]) if head.startswith(b"HTTP/1.1") else 0
        if status != expected:
            wrong.append((path[:60], status, expected))
    assert not wrong


def test_half_requests_and_nonsense(server):
    pieces = [
        b"",
        b"G",
        b"GET /v2/",
        b"GET /v2/ HTTP/1.1\r\nHost",
        b"\x16\x03\x01\x02\x00\x01\x00",
        http2.PREFACE,
        bytes(4096),
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 3000,
        b"POST /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    ]
    for n in range(3000):
        with server.connect() as stream, contextlib.suppress(OSError):
            stream.sendall(pieces[n % len(pieces)])


def test_connections_opened_and_dropped(server):
    """A hundred thousand: some with half a request, some with a request for nobody, some with nothing."""

    def some(count):
        for n in range(count):
            stream = socket.socket()
            stream.connect(("127.0.0.1", server.port))
            if n % 4 == 1:
                stream.sendall(b"GET /v2/ HTTP/1.1\r\nHo")
            elif n % 4 == 2:
                stream.sendall(server.site.blob_request)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            stream.close()
        return count

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(some, [12_500] * 8)) == 100_000


def test_slow_clients(server):
    """Two hundred clients send a byte of a head each second, forty take nothing of a blob, others are served.

    A client that reads slowly, but reads, gets the whole blob.
    """
    begun = time.monotonic()
    with contextlib.ExitStack() as stack:
        heads = [stack.enter_context(server.connect()) for _ in range(200)]
        for _ in range(40):
            stream = stack.enter_context(socket.socket())
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.connect(("127.0.0.1", server.port))
            stream.sendall(server.site.blob_request)
        slow = stack.enter_context(server.connect())
        slow.sendall(server.site.blob_request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        taken, most_memory, closed = bytearray(), 0, None
        for byte in b"GET /v2/ HTTP/1.1\r\nX-Slow: " + b"y" * 60:
            for stream in heads:
                with contextlib.suppress(OSError):
                    stream.send(bytes([byte]))
            assert server.is_right(), "other clients are not served"
            most_memory = max(most_memory, server.memory())
            taken += slow.recv(256 * 1024)
            if closed is None and server.files() < 200:
                closed = time.monotonic() - begun
            if closed and time.monotonic() - begun > 75:
                break
            time.sleep(1)
        while piece := slow.recv(1 << 20):
            taken += piece
    assert closed is not None, "the slow heads were never closed"
    assert 29 <= closed <= 45, f"the slow heads were closed after {closed:.0f} s"
    whole = hashlib.sha256(bytes(taken).split(b"\r\n\r\n", 1)[1]).hexdigest()
    assert whole == server.site.blob.split(":")[1], "the slow reader got something else"
    assert most_memory < 64 * MIB, f"{most_memory / MIB:.0f} MiB"


def test_metadata_replaced_under_load(server):
    """A tag moves fifty times while four clients ask for it: each gets a whole manifest of that tag."""
    site, stop, wrong = server.site, threading.Event(), []
    images = [site.repository.image(None, f"flip {n}") for n in range(2)]
    allowed = {site.repository.bytes[name] for name in images}
    path = f"/v2/{site.repository.name}/manifests/flip"

    def publish(n):
        site.repository.tags["flip"] = images[n % 2]
        site.publish(f"{n + 100:040x}")

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        with contextlib.closing(connection):
            while not stop.is_set():
                connection.request("GET", path)
                answer = connection.getresponse()
                body = answer.read()
                digest = answer.headers["Docker-Content-Digest"]
                if answer.status != 200 or body not in allowed or metadata.digest(body) != digest:
                    wrong.append((answer.status, body[:100]))

    publish(0)
    wait_for("the tag", lambda: server.get(path)[0] == 200)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            for n in range(50):
                publish(n + 1)
                time.sleep(0.1)
        finally:
            stop.set()
        for one in asking:
            one.result()
    assert not wrong
    last = site.repository.bytes[site.repository.tags["flip"]]
    wait_for("the last publication", lambda: server.get(path) == (200, last))


def test_metadata_gone(server):
    """The server keeps the metadata that it has when the folder is moved away or replaced by a file."""
    tree, away = server.site.tree, server.site.work / "away"
    tree.rename(away)
    try:
        time.sleep(1)
        assert server.is_right()
        tree.write_text("a file where the folder was")
        time.sleep(0.5)
        assert server.is_right()
        tree.unlink()
    finally:
        away.rename(tree)
    time.sleep(0.5)
    assert server.is_right()


def test_full_disk_under_the_log(server):
    """The server writes nothing but its log."""
    with server.site.serve("full", log="/dev/full") as full:
        assert all(full.is_right() for _ in range(200))
        assert full.get("/v2/none/tags/list")[0] == 404
        full.terminate()
        assert full.exit_code(20) == 0


class Client:
    """Asks for one path again and again on one connection, until the server closes it between two answers.

    A connection that is closed between two answers broke no answer: a client asks again (RFC 9110, section
    9.2.2).
    """

    def __init__(self, port, path, expected):
        self.port, self.path, self.expected = port, path, expected
        self.whole, self.broken = 0, []

    def run(self):
        with (
            contextlib.suppress(ConnectionRefusedError),
            socket.create_connection(("127.0.0.1", self.port), timeout=60) as stream,
        ):
            while begin := self.ask(stream):
                try:
                    head, body = self.read_rest(stream, begin)
                except OSError as error:
                    self.broken.append(f"{self.path[:40]}: {error!r}")
                    return
                if not head.startswith(b"HTTP/1.1 200") or self.expected not in (None, bytes(body)):
                    self.broken.append(bytes(head[:80]))
                self.whole += 1

    def ask(self, stream):
        """The first bytes of an answer; none if the connection was closed."""
        try:
            stream.sendall(b"GET " + self.path.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            return stream.recv(1 << 16)
        except (ConnectionResetError, BrokenPipeError):
            return b""

    def read_rest(self, stream, begin):
        """The head and the body of an answer."""
        answer = bytearray(begin)
        while b"\r\n\r\n" not in answer:
            answer += received(stream)
        head, body = answer.split(b"\r\n\r\n", 1)
        lines = head.lower().split(b"\r\n")
        length = int(next(line for line in lines if line.startswith(b"content-length")).split(b":")[1])
        while len(body) < length:
            body += received(stream)
        return head, body


def received(stream):
    """Some bytes; the end of the connection is an error."""
    if piece := stream.recv(1 << 20):
        return piece
    raise ConnectionError("closed in the middle of an answer")


@pytest.mark.parametrize("seconds", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_sigterm_under_load(server, seconds):
    """Sixteen clients on kept connections, while the server is told to stop: no answer is broken off."""
    site = server.site
    with site.serve(f"stops-{seconds}") as stopped, concurrent.futures.ThreadPoolExecutor(16) as pool:
        clients = [Client(stopped.port, site.manifest, site.manifest_bytes) for _ in range(12)]
        clients += [Client(stopped.port, site.blob_path, None) for _ in range(4)]
        asking = [pool.submit(client.run) for client in clients]
        time.sleep(seconds)
        stopped.terminate()
        code = stopped.exit_code()
        for one in asking:
            one.result()
    assert [broken for client in clients for broken in client.broken] == []
    assert sum(client.whole for client in clients)
    assert code == 0


def test_http2_rapid_reset(server):
    """Streams that are opened and reset at once (CVE-2023-44487): refused before they cost much."""
    path = server.site.blob_path.encode()
    with server.site.serve_tls("reset") as secure:
        before = secure.memory()
        for _ in range(5):
            with secure.connect_http2() as stream, contextlib.suppress(OSError):
                for number in range(1, 40_000, 2):
                    reset = http2.frame(http2.RST_STREAM, 0, number, http2.CANCEL)
                    stream.sendall(http2.request(number, path) + reset)
        assert secure.is_right()
        wait_for("files to be closed", lambda: secure.files() < 40, 60)
        assert secure.memory() - before < SLACK


@pytest.mark.long
def test_http2_stalled(server):
    """Eight clients with 64 streams that never open a window, and one that asks nothing; all answer pings."""
    path = server.site.blob_path.encode()
    requests = b"".join(http2.request(2 * n + 1, path) for n in range(64))
    with server.site.serve_tls("stalled") as secure, contextlib.ExitStack() as stack:
        before = secure.memory()
        streams = [stack.enter_context(secure.connect_http2()) for _ in range(9)]
        for stream in streams[1:]:
            stream.sendall(requests)
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            running = [pool.submit(http2.drain, stream, 190) for stream in streams]
            time.sleep(5)
            grown, right = secure.memory() - before, secure.is_right()
            lived = [future.result() for future in running]
        wait_for("files to be closed", lambda: secure.files() < 40, 60)
    assert right
    assert lived[0] < 45, f"the idle connection lived for {lived[0]:.0f} s"
    assert max(lived[1:]) < 180, f"a stalled connection lived for {max(lived[1:]):.0f} s"
    assert grown < 8 * 64 * 192 * 1024, f"{grown / MIB:.0f} MiB for 512 stalled answers"


@pytest.mark.parametrize("place", ["file", "proxied"])
def test_http2_unread(server, place):
    """Eight clients with wide windows and 32 streams each read nothing: a connection has a budget."""
    path, site, clients, each = server.site.blob_path.encode(), server.site, 8, 3 * MIB
    requests = b"".join(http2.request(2 * n + 1, path) for n in range(32))
    settings = struct.pack(">HI", 4, http2.LARGEST_WINDOW)
    wide = struct.pack(">I", http2.LARGEST_WINDOW - 65535)
    windows = http2.frame(http2.SETTINGS, 0, 0, settings) + http2.frame(http2.WINDOW_UPDATE, 0, 0, wide)
    with Cdn(site.bucket) as bucket, contextlib.ExitStack() as stack:
        certificate, key = site.tls
        more = ["--tls-certificate", certificate, "--tls-key", key]
        if place == "proxied":
            more += ["--access", "proxy", "--bucket", bucket.url]
        secure = stack.enter_context(site.serve(f"unread-{place}", *more))
        before = secure.memory()
        streams = [stack.enter_context(secure.connect_http2()) for _ in range(clients)]
        for stream in streams:
            stream.sendall(windows + requests)
        # Until the answers have filled what they fill.
        time.sleep(5)
        grown, right = secure.memory() - before, secure.is_right()
    print(f"{place}: {grown / clients / MIB:.1f} MiB for a connection with 32 unread answers")
    assert right
    assert grown < clients * each, f"{grown / MIB:.0f} MiB for {clients} connections"


def test_http2_sigterm(server):
    """Twenty streams of a blob on one connection, while the server is told to stop.

    Each stream that the server accepts (RFC 9113, section 6.8) gets the whole blob, and a GOAWAY ends the
    rest.
    """
    path, streams = server.site.blob_path.encode(), range(1, 40, 2)
    with server.site.serve_tls("h2-stops") as stopped, stopped.connect_http2() as stream:
        # Windows that never close.
        settings = struct.pack(">HI", 4, http2.LARGEST_WINDOW)
        wide = struct.pack(">I", http2.LARGEST_WINDOW - 65535)
        stream.sendall(
            http2.frame(http2.SETTINGS, 0, 0, settings) + http2.frame(http2.WINDOW_UPDATE, 0, 0, wide)
        )
        stream.sendall(b"".join(http2.request(number, path) for number in streams))
        got, ended, last, data, told = dict.fromkeys(streams, 0), set(), None, b"", False
        stream.settimeout(40)
        while piece := stream.recv(1 << 18):
            found, data = http2.frames(data + piece)
            for kind, flags, number, payload in found:
                if kind == http2.DATA:
                    got[number] += len(payload)
                    # Only the window of the connection is opened again. The server may be gone already.
                    if payload:
                        with contextlib.suppress(OSError):
                            size = struct.pack(">I", len(payload))
                            stream.sendall(http2.frame(http2.WINDOW_UPDATE, 0, 0, size))
                if kind in (http2.DATA, http2.HEADERS) and flags & http2.END_STREAM:
                    ended.add(number)
                if kind == http2.GOAWAY:
                    last = struct.unpack(">I", payload[:4])[0]
                if kind == http2.PING and not flags & http2.ACK:
                    stream.sendall(http2.frame(http2.PING, http2.ACK, 0, payload))
            if not told and sum(got.values()) > BLOB:
                stopped.terminate()
                told = True
        code = stopped.exit_code()
    assert told, "the server sent less than one blob"
    assert last is not None, "no GOAWAY"
    accepted = {number for number in streams if number <= last}
    whole = {number for number in ended if got[number] == BLOB}
    assert accepted <= whole
    assert code == 0


def test_memory_is_given_back(server):
    """The last test: the memory after all of the others."""
    grown = server.memory() - server.memory_before
    assert grown < SLACK, f"{grown / MIB:.0f} MiB more than before the tests"
