#!/usr/bin/env python3
"""A whole pull as a client feels it: an image of forty layers from raas, from docker-registry, and from nginx
with the files of `raas publish-static`.

`skopeo copy` and `ctr images pull` pull it from each, by turns, without TLS. Prints medians of the rounds:
wall time, the processor time of the server, and the requests of a pull.

usage: bench_pull.py [ROUNDS]
"""

import contextlib
import dataclasses
import pathlib
import statistics
import sys
import tempfile
import time

from servers import family

from harness.containerd import containerd_daemon
from harness.measure import processor_seconds
from harness.process import Process, free_port, listens, run, running
from harness.raas import Raas, build
from harness.sources import make_image, registry_on_folder

LAYERS, LAYER = 40, 1 << 20
PLATFORM = "linux/amd64"


@dataclasses.dataclass
class Contender:
    """A registry, with the log that has a line for each request."""

    name: str
    address: str
    process: Process
    log: pathlib.Path
    mark: str

    @property
    def reference(self):
        return f"{self.address}/app:1.0"

    def requests(self):
        return self.log.read_text(errors="replace").count(self.mark)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    program = build()
    # containerd's socket needs a short path.
    with tempfile.TemporaryDirectory(prefix="raas-") as folder, contextlib.ExitStack() as stack:
        work = pathlib.Path(folder)
        contenders = start(stack, program, work)
        (work / "c").mkdir()
        containerd = stack.enter_context(containerd_daemon(work / "c"))
        pulls = {"skopeo copy": pull_with_skopeo, "ctr images pull": pull_with_ctr(containerd)}
        print(f"medians of {rounds} rounds, {LAYERS} layers of {LAYER >> 20} MiB")
        print(f"{'':34} {'wall s':>7} {'server cpu s':>13} {'requests':>9}")
        for client, pull in pulls.items():
            found = {contender.name: [] for contender in contenders}
            for number in range(rounds):
                for contender in contenders:
                    found[contender.name].append(one_pull(contender, pull, work / f"{client[:3]}-{number}"))
            for name, rows in found.items():
                wall, processor, requests = (statistics.median(row) for row in zip(*rows, strict=True))
                print(
                    f"{f'{client} from {name}':34} {wall:7.2f} {processor:13.2f} {requests:9.0f}", flush=True
                )


def start(stack, program, work):
    """Publishes the image everywhere, and starts the registries."""
    image = make_image(work / "image", LAYERS, LAYER)
    raas = Raas(program, work / "home")
    raas("setup", "acme")
    raas("push", "acme", "app", "--from", image)
    server = stack.enter_context(raas.serve(work / "raas.log", "acme"))
    registry = stack.enter_context(registry_on_folder(work / "registry"))
    run(
        "skopeo",
        "copy",
        "--quiet",
        "--dest-tls-verify=false",
        f"oci:{image}:1.0",
        f"docker://127.0.0.1:{registry.port}/app:1.0",
    )
    raas("publish-static", "acme", "--to", work / "static")
    nginx = stack.enter_context(nginx_on(work / "nginx", work / "static"))
    return [
        Contender("raas", server.address, server, work / "raas.log", " access"),
        Contender(
            "docker-registry",
            f"127.0.0.1:{registry.port}",
            registry,
            work / "registry" / "registry.log",
            'HTTP/1.1"',
        ),
        Contender("nginx", f"127.0.0.1:{nginx.port}", nginx, work / "nginx" / "access.log", 'HTTP/1.1"'),
    ]


@contextlib.contextmanager
def nginx_on(folder, static):
    """nginx with the files of `raas publish-static`, at its best for layers."""
    folder.mkdir()
    port, config = free_port(), folder / "nginx.conf"
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi")
    )
    config.write_text(f"""
user root; worker_processes auto; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/access.log; sendfile on; tcp_nopush on; {temporary} scgi_temp_path {folder}/scgi;
  include {static}/nginx/hash.conf; include {static}/nginx/maps.conf;
  server {{ listen 127.0.0.1:{port}; include {static}/nginx/locations.conf; }}
}}
""")
    with running(["nginx", "-c", config], folder / "nginx.out", ready=lambda: listens(port)) as process:
        process.port = port
        yield process


def one_pull(contender, pull, folder):
    before, asked, begun = server_seconds(contender), contender.requests(), time.perf_counter()
    pull(contender, folder)
    wall = time.perf_counter() - begun
    # The log is written by a thread of its own.
    time.sleep(0.3)
    return wall, server_seconds(contender) - before, contender.requests() - asked


def server_seconds(contender):
    return sum(processor_seconds(pid) for pid in family(contender.process.pid))


def pull_with_skopeo(contender, folder):
    with tempfile.TemporaryDirectory(dir=folder.parent) as target:
        run(
            "skopeo",
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            f"docker://{contender.reference}",
            f"dir:{target}",
        )


def pull_with_ctr(containerd):
    def pull(contender, _):
        containerd.know(contender.address)
        options = ["--hosts-dir", containerd.hosts, "--snapshotter", "native", "--platform", PLATFORM]
        run(*containerd.command("images", "pull", *options, contender.reference))
        run(*containerd.command("images", "rm", "--sync", contender.reference))

    return pull


if __name__ == "__main__":
    main()
