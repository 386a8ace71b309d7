#!/usr/bin/env python3
"""What customers cost: 10,000 customers of 5 keys each, and 1,000 repositories, all but one protected.

One core for the server, one for `wrk`; the rows take turns in each round, and the median counts. Goals: a
protected pull with a token has at least 0.8 of the rate of a public one; a login (key to token) comes 20,000
times a second; the keys take at most 16 MiB of memory.

usage: bench_access.py [ROUNDS [SECONDS]]
"""

import base64
import contextlib
import json
import os
import pathlib
import statistics
import sys
import tempfile
import urllib.request

from bench_serve import EXAMPLE_KEYS, load
from servers import on_one_core

from harness import measure, metadata
from harness.process import free_port
from harness.raas import build

CUSTOMERS, KEYS, REPOSITORIES = 10_000, 5, 1_000
PULL_GOAL, LOGIN_GOAL, MEMORY_GOAL = 0.8, 20_000, 16 * measure.MIB


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    raas = build()
    repositories = [metadata.typical(number, images=1) for number in range(REPOSITORIES)]
    for repository in repositories[1:]:
        repository.protect()
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder, contextlib.ExitStack() as stack:
        work = pathlib.Path(folder)
        few = stack.enter_context(serve(raas, work, "few", repositories, customers=1))
        many = stack.enter_context(serve(raas, work, "many", repositories, customers=CUSTOMERS))
        memory = measure.memory(many.process.pid) - measure.memory(few.process.pid)
        rates = measure_rates(many, repositories, rounds, seconds)
    report(rates, memory, rounds, seconds)


@contextlib.contextmanager
def serve(raas, work, name, repositories, customers):
    """A server of these repositories and of so many customers."""
    tree, port = work / name, free_port()
    metadata.write_customers(tree, customers, KEYS, ["*"])
    metadata.write(tree, repositories, "0" * 40)
    place = ["--metadata", tree, "--bucket", "s3://acme-images", "--s3-region", "eu-central-1"]
    command = [raas, "serve", "acme", "--listen", f"127.0.0.1:{port}", *place, "--no-access-log"]
    with on_one_core(command, work, f"raas-{name}", port, os.environ | EXAMPLE_KEYS) as server:
        yield server


def measure_rates(server, repositories, rounds, seconds):
    """The rates of each row, for a second."""
    public, protected = repositories[:2]
    login = base64.b64encode(f"c7:{metadata.secret_of('c7', 'k3')}".encode()).decode()
    token_path = f"/token?service=x&scope=repository:{protected.name}:pull"
    request = urllib.request.Request(server.url(token_path), headers={"Authorization": f"Basic {login}"})
    with urllib.request.urlopen(request) as answer:
        token = json.load(answer)["token"]
    rows = {
        "public pull": (f"/v2/{public.name}/manifests/1.0", ""),
        "public pull, token": (f"/v2/{public.name}/manifests/1.0", f"Bearer {token}"),
        "protected pull, token": (f"/v2/{protected.name}/manifests/1.0", f"Bearer {token}"),
        "protected pull, key": (f"/v2/{protected.name}/manifests/1.0", f"Basic {login}"),
        "login": (token_path, f"Basic {login}"),
    }
    rates = {name: [] for name in rows}
    for _ in range(rounds):
        for name, (path, authorization) in rows.items():
            rates[name].append(load(server, path, "GET", seconds, authorization)[0])
    return {name: statistics.median(found) for name, found in rates.items()}


def report(rates, memory, rounds, seconds):
    print(f"medians of {rounds} rounds of {seconds} s, one core for the server")
    for name, rate in rates.items():
        print(f"{name:24} {rate:8.0f}/s  {rate / rates['public pull']:5.2f} of a public pull")
    print(f"{CUSTOMERS * KEYS} keys take {memory / measure.MIB:.1f} MiB")
    short = []
    if rates["protected pull, token"] < PULL_GOAL * rates["public pull"]:
        short.append(f"protected pulls have less than {PULL_GOAL} of the rate of public ones")
    if rates["login"] < LOGIN_GOAL:
        short.append(f"logins are fewer than {LOGIN_GOAL} a second")
    if memory > MEMORY_GOAL:
        short.append(f"the keys take more than {MEMORY_GOAL // measure.MIB} MiB")
    print("short of its goal: " + ("; ".join(short) or "nothing"))


if __name__ == "__main__":
    main()
