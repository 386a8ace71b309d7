#!/usr/bin/env python3
"""How fast `raas serve` answers, beside nginx with the same bytes in a file, and beside docker-registry; and, so that one
sees what of that is HTTP, how fast hyper is that does nothing (crates/raas-server/examples/bare.rs). One core for the
server, one for `wrk` with 64 connections; the servers take turns in each round, and the median of the rounds counts.
Beside each rate stands the server's processor time for a request, which the load generator does not bound and other work
on the machine moves little.

Access logs: neither has one, but in the row that says so, where each writes its own: raas to a file, nginx to /dev/null.

usage: bench_serve.py [ROUNDS [SECONDS [ROW…]]], a row by any part of its name
"""

import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import urllib.request

import parts
import services
import trees

SERVER_CORE, LOAD_CORE = "0", "1"
CONNECTIONS = 64
PACKAGES = {
    "nginx": "nginx-light",
    "wrk": "wrk",
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "ab": "apache2-utils",
}
# Rows with what they are to reach, against nginx by requests for a second.
GOALS = {
    "manifest by tag": 1.3,
    "manifest by digest": 1.3,
    "/v2/": 1.0,
    "blob, public": 1.0,
    "blob, presigned": 0.7,
}
DOCKER_GOAL = 50


def install():
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program)]
    if missing:
        parts.run("apt-get", "update", "-q")
        parts.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *missing)


class Server:
    """A program on one core, and the processes that it consists of."""

    def __init__(self, command, folder, name, port, env=None):
        self.port, self.name = port, name
        self.process = parts.Process(["taskset", "-c", SERVER_CORE, *command], folder / f"{name}.log", env)

    def __enter__(self):
        self.process.__enter__()
        parts.wait_for(f"what logs to {self.process.log.name}", lambda: answers(self.port))
        return self

    def __exit__(self, *_):
        self.process.__exit__()

    def processor_seconds(self):
        return sum(processor_seconds(pid) for pid in family(self.process.child.pid))


def answers(port):
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def family(pid):
    yield pid
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from family(int(child))


def processor_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(server, path, method, accept, seconds):
    """Requests for a second, and microseconds of the server's processor for one."""
    url = f"http://127.0.0.1:{server.port}{path}"
    if method == "HEAD":
        # wrk waits for the bytes of a HEAD. ab is slower than what it asks, so of its rows the processor time counts.
        command = ["ab", "-q", "-k", "-i", "-r", "-c", CONNECTIONS, "-t", seconds, "-n", 10**7]
        requests, rate, refused = (
            r"Complete requests:\s+(\d+)",
            r"Requests per second:\s+([\d.]+)",
            r"(Non-2xx responses|Failed requests:\s+[1-9]).*",
        )
    else:
        command = ["wrk", "-t", "1", "-c", CONNECTIONS, "-d", f"{seconds}s"]
        requests, rate, refused = (
            r"(\d+) requests in",
            r"Requests/sec:\s+([\d.]+)",
            r"(Non-2xx or 3xx responses|Socket errors).*",
        )
    before = server.processor_seconds()
    said = parts.run("taskset", "-c", LOAD_CORE, *command, "-H", f"Accept: {accept}", url)
    used = server.processor_seconds() - before
    if found := re.search(refused, said):
        raise SystemExit(f"{server.name}, {method} {url}: {found.group(0)}")
    return float(re.search(rate, said).group(1)), used / int(re.search(requests, said).group(1)) * 1e6


def nginx(folder, port, repository, digest, blob, location, log):
    """The headers are the ones that raas answers with."""
    files = folder / "files"
    files.mkdir(exist_ok=True)
    (files / "manifest").write_bytes(repository.bytes[digest])
    more = "add_header Docker-Distribution-API-Version registry/2.0;"
    of_digest = (
        f"{more} add_header Docker-Content-Digest {digest}; add_header X-Content-Type-Options nosniff;"
    )
    of_file = f"alias {files}/manifest; default_type {trees.MANIFEST}; {of_digest}"
    config = folder / f"nginx-{port}.conf"
    config.write_text(f"""
user root; worker_processes 1; daemon off; pid {folder}/nginx-{port}.pid; error_log {folder}/nginx-{port}.error;
events {{ worker_connections 1024; }}
http {{
  access_log {log}; sendfile on; tcp_nopush on; keepalive_requests 1000000000; types {{ }}
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{
    listen 127.0.0.1:{port};
    location = /v2/ {{ default_type application/json; {more} return 200 '{{}}'; }}
    location = /v2/{repository.name}/manifests/1.0 {{ {of_file} add_header Cache-Control no-cache; }}
    location = /v2/{repository.name}/manifests/{digest} {{ {of_file} add_header Cache-Control "public, max-age=31536000, immutable"; }}
    location = /v2/{repository.name}/blobs/{blob} {{ {more} add_header Docker-Content-Digest {blob}; add_header Cache-Control no-store; return 307 '{location}'; }}
  }}
}}
""")
    return Server(["nginx", "-c", config], folder, f"nginx-{port}", port)


def docker_registry(folder):
    """With the image of the fixtures, pushed by skopeo. Its log is off; its cache of descriptors is on."""
    port = services.free_port()
    config = folder / "registry.yml"
    config.write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"level": "error", "accesslog": {"disabled": True}},
                "storage": {
                    "filesystem": {"rootdirectory": str(folder / "registry")},
                    "cache": {"blobdescriptor": "inmemory"},
                },
                "http": {"addr": f"127.0.0.1:{port}"},
            }
        )
    )
    return Server(
        [
            "env",
            "-u",
            "AWS_CA_BUNDLE",
            "OTEL_TRACES_EXPORTER=none",
            "GOMAXPROCS=1",
            "docker-registry",
            "serve",
            config,
        ],
        folder,
        "docker-registry",
        port,
    )


def bare():
    """The program that is hyper and nothing else."""
    command = ["cargo", "build", "--release", "--locked", "--package", "raas-server", "--example", "bare"]
    subprocess.run(command, cwd=parts.ROOT, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", parts.ROOT / "target"))
    return target / "release" / "examples" / "bare"


def raas(program, folder, name, port, *more):
    environment = os.environ | {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    }
    command = [
        program,
        "serve",
        "acme",
        "--listen",
        f"127.0.0.1:{port}",
        "--metadata",
        folder / "tree",
        *more,
    ]
    return Server(command, folder, name, port, environment)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    install()
    program, hyper = parts.build(), bare()
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder:
        work = pathlib.Path(folder)
        repository = trees.typical(1)
        trees.write(work / "tree", [repository], "0" * 40)
        digest = repository.tags["1.0"]
        blob = next(iter(repository.blobs))
        location = f"https://acme-images.s3.eu-central-1.amazonaws.com/{repository.name}/_v2/blobs/{blob}"
        manifest = f"/v2/{repository.name}/manifests"
        accept = f"{trees.MANIFEST}, {trees.INDEX}"
        ports = [services.free_port() for _ in range(6)]
        public = ["--bucket", "s3://acme-images", "--access", "public", "--s3-region", "eu-central-1"]
        signed = ["--bucket", "s3://acme-images", "--s3-region", "eu-central-1"]
        with (
            raas(program, work, "raas", ports[0], *public, "--no-access-log") as open_,
            raas(program, work, "raas-signed", ports[1], *signed, "--no-access-log") as private,
            raas(program, work, "raas-logs", ports[2], *public) as logging,
            nginx(work, ports[3], repository, digest, blob, location, "off") as plain,
            nginx(work, ports[4], repository, digest, blob, location, "/dev/null") as plain_logging,
            Server([hyper, ports[5]], work, "bare", ports[5]) as nothing,
            docker_registry(work) as registry,
        ):
            parts.run(
                "skopeo",
                "copy",
                "-q",
                "--insecure-policy",
                "--dest-tls-verify=false",
                f"oci:{parts.ROOT}/fixtures/oci-multi:2.0",
                f"docker://127.0.0.1:{registry.port}/{repository.name}:1.0",
            )
            get = [
                ("manifest by tag", open_, plain, f"{manifest}/1.0", "GET"),
                ("manifest by digest", open_, plain, f"{manifest}/{digest}", "GET"),
                ("HEAD by tag", open_, plain, f"{manifest}/1.0", "HEAD"),
                ("/v2/", open_, plain, "/v2/", "GET"),
                ("nothing but hyper, /v2/", nothing, plain, "/v2/", "GET"),
                ("blob, public", open_, plain, f"/v2/{repository.name}/blobs/{blob}", "GET"),
                ("blob, presigned", private, plain, f"/v2/{repository.name}/blobs/{blob}", "GET"),
                ("manifest by tag, with access logs", logging, plain_logging, f"{manifest}/1.0", "GET"),
                ("manifest by tag, docker-registry", open_, registry, f"{manifest}/1.0", "GET"),
            ]
            get = [row for row in get if any(part in row[0] for part in sys.argv[3:] or [""])]
            results = {row[0]: ([], []) for row in get}
            for _ in range(rounds):
                for what, ours, theirs, path, method in get:
                    for server, found in zip((ours, theirs), results[what]):
                        found.append(load(server, path, method, accept, seconds))
    tell(results, rounds, seconds)


def tell(results, rounds, seconds):
    print(
        f"medians of {rounds} rounds of {seconds} s, {CONNECTIONS} connections, one core for the server, one for the load"
    )
    print(
        f"{'':36} {'ours/s':>8} {'other/s':>8} {'ratio':>6} {'goal':>5} {'raas µs':>8} {'other µs':>9} {'ratio':>6}"
    )
    for what, (ours, theirs) in results.items():
        median = lambda found, at: statistics.median(one[at] for one in found)
        rate, rate_of_other, cost, cost_of_other = (
            median(ours, 0),
            median(theirs, 0),
            median(ours, 1),
            median(theirs, 1),
        )
        goal = DOCKER_GOAL if "docker-registry" in what else GOALS.get(what)
        print(
            f"{what:36} {rate:8.0f} {rate_of_other:8.0f} {rate / rate_of_other:6.2f} {goal or '':>5} "
            f"{cost:8.2f} {cost_of_other:9.2f} {cost_of_other / cost:6.2f}"
        )


main()
