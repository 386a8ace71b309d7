"""Servers on one core, for comparisons: any program, and nginx with the bytes of raas in files."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import pathlib
import sys
import threading
import urllib.request

from harness import measure, metadata
from harness.packages import program
from harness.process import Process, free_port, listens, running, wait_for

SERVER_CORE, LOAD_CORE = "0", "1"
# The repositories of a busy server.
REPOSITORIES = 10_000
# Of the AWS documentation: they sign, and open nothing.
EXAMPLE_KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
}
# As Debian ships it: each request opens the file, and sendfile needs a system call of its own after the head.
PLAIN = "sendfile on; tcp_nopush on;"
# At its best for small files: files stay open, and head and body leave in one system call.
CACHED = "sendfile off; open_file_cache max=1000 inactive=10m; open_file_cache_valid 10m;"
# At its best for large files: files stay open, and the kernel sends them.
SENDFILE = "sendfile on; tcp_nopush on; open_file_cache max=1000 inactive=10m; open_file_cache_valid 10m;"

# At its best as a proxy of layers: connections stay, nothing waits on the disk, and few reads and writes.
PROXY = """proxy_http_version 1.1; proxy_set_header Connection ""; proxy_max_temp_file_size 0;
      proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 128k;"""


@dataclasses.dataclass
class Server:
    """A program on one core."""

    name: str
    port: int
    process: Process
    scheme: str = "http"

    def url(self, path):
        return f"{self.scheme}://127.0.0.1:{self.port}{path}"

    def processor_seconds(self):
        """Of the program and its children."""
        return sum(measure.processor_seconds(pid) for pid in self.family())

    def family(self):
        """The program and its children."""
        return list(family(self.process.pid))


def family(pid):
    """A process and its descendants."""
    yield pid
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from family(int(child))


@contextlib.contextmanager
def on_one_core(command, folder, name, port, environment=None, scheme="http", core=SERVER_CORE):
    first, *rest = command
    first = first if "/" in str(first) else program(first)
    pinned = ["taskset", "-c", core, first, *rest]
    with running(pinned, folder / f"{name}.log", environment, ready=lambda: listens(port)) as process:
        yield Server(name, port, process, scheme)


def arguments():
    """Whether the server is busy, how many rounds of how many seconds, and parts of the names of rows."""
    words = [word for word in sys.argv[1:] if word != "--busy"]
    rounds = int(words[0]) if words else 5
    seconds = int(words[1]) if len(words) > 1 else 4
    return len(words) < len(sys.argv) - 1, rounds, seconds, words[2:] or [""]


def write_tree(tree, repository, busy):
    """The metadata of a repository, and of all those that a busy server has."""
    others = map(metadata.typical, range(2, REPOSITORIES + 1)) if busy else []
    metadata.write(tree, itertools.chain([repository], others), "0" * 40)


def raas_server(stack, raas, folder, name, *options, logs=False, scrape=False, scheme="http"):
    """`raas serve`, with access logs in a file or without; with `scrape`, it is asked for its metrics."""
    port, metrics = free_port(), free_port()
    command = [raas, "serve", "acme", "--listen", f"127.0.0.1:{port}", *options]
    command += [] if logs else ["--no-access-log"]
    command += ["--metrics", f"127.0.0.1:{metrics}"] if scrape else []
    server = on_one_core(command, folder, name, port, os.environ | EXAMPLE_KEYS, scheme)
    server = stack.enter_context(server)
    log = folder / f"{name}.log"
    wait_for("the metadata", lambda: "metadata loaded" in log.read_text(), 60)
    if scrape:
        stack.enter_context(scraped(f"http://127.0.0.1:{metrics}/metrics"))
    return server


@contextlib.contextmanager
def scraped(url):
    """Asks for the metrics each second, as Prometheus does."""
    over = threading.Event()

    def ask():
        while not over.wait(1):
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert b"raas_" in answer.read()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield
        finally:
            over.set()
        asking.result()


def nginx_log(folder):
    """A log as quick as nginx has one: it writes many lines at once."""
    return f"{folder / 'nginx.log'} combined buffer=64k flush=1s"


@contextlib.contextmanager
def nginx(folder, repository, digest, blob, *, log="off", files=CACHED, tls=None, layer=None, origin=None):
    """nginx that answers with the headers of raas.

    `tls` is a certificate and a key; `layer` is a file. With `origin`, a server, nginx is its proxy, and
    `layer` is a path there.
    """
    port = free_port()
    content = folder / "files"
    content.mkdir(exist_ok=True)
    (content / "manifest").write_bytes(repository.bytes[digest])
    base = f"/v2/{repository.name}"
    version = "add_header Docker-Distribution-API-Version registry/2.0;"
    of_manifest = f"""alias {content}/manifest; default_type {metadata.MANIFEST}; {version}
      add_header Docker-Content-Digest {digest}; add_header X-Content-Type-Options nosniff;"""
    of_blob, upstream = f"{version} add_header Docker-Content-Digest {blob};", ""
    if origin:
        upstream = f"upstream origin {{ server 127.0.0.1:{origin.port}; keepalive 64; }}"
        of_blob += f" {PROXY} proxy_pass {origin.scheme}://origin{layer};"
    elif layer:
        of_blob += f" default_type application/octet-stream; alias {layer};"
    else:
        target = f"https://acme-images.s3.eu-central-1.amazonaws.com/{repository.name}/_v2/blobs/{blob}"
        of_blob += f" add_header Cache-Control no-store; return 307 '{target}';"
    listen, keys = f"listen 127.0.0.1:{port}", ""
    if tls:
        certificate, key = tls
        listen += " ssl http2"
        keys = f"""ssl_certificate {certificate}; ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:raas:10m; ssl_session_tickets on;"""
    server = f"""{upstream}
  server {{
    {listen};
    {keys}
    location = /v2/ {{ default_type application/json; {version} return 200 '{{}}'; }}
    location = {base}/manifests/1.0 {{ {of_manifest} add_header Cache-Control no-cache; }}
    location = {base}/manifests/{digest} {{
      {of_manifest} add_header Cache-Control "public, max-age=31536000, immutable";
    }}
    location = {base}/blobs/{blob} {{ {of_blob} }}
  }}"""
    with run_nginx(folder, port, f"access_log {log}; {files}", server, "https" if tls else "http") as running:
        yield running


@contextlib.contextmanager
def file_server(folder, root, core=SERVER_CORE):
    """nginx with the files of a folder."""
    port = free_port()
    server = f"server {{ listen 127.0.0.1:{port}; root {root}; }}"
    with run_nginx(folder, port, f"access_log off; {PLAIN}", server, core=core) as running:
        yield running


def run_nginx(folder, port, options, server, scheme="http", core=SERVER_CORE):
    """nginx with one worker, and connections that stay."""
    name = f"nginx-{port}"
    config = folder / f"{name}.conf"
    config.write_text(f"""
user root; worker_processes 1; daemon off; pid {folder}/{name}.pid;
error_log {folder}/{name}.error;
events {{ worker_connections 1024; }}
http {{
  {options} keepalive_requests 1000000000; types {{ }}
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  {server}
}}
""")
    return on_one_core(["nginx", "-c", config], folder, name, port, scheme=scheme, core=core)
