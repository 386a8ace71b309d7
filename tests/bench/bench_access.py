#!/usr/bin/env python3
"""What customers cost: 10,000 customers of 5 keys each, and 1,000 repositories, all but one protected.

One core for the server, one for `wrk`. Each turn measures all rows one after the other, every other turn in
the opposite order. A ratio is the median of the ratios of all turns, so it compares what was measured within
seconds. Beside each rate stands the server's processor time for a request: other work on the machine moves it
little.

Goals: a protected pull with a token has at least 0.8 of the rate of a public one, also if each request has
another token than the last; a login (key to token) comes 20,000 times a second; the keys take at most 16 MiB.

usage: bench_access.py [TURNS [SECONDS]]
"""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import statistics
import sys
import tempfile

from bench_serve import ACCEPT, load
from servers import EXAMPLE_KEYS, on_one_core

from harness import measure, metadata
from harness.process import free_port, wait_for
from harness.raas import build
from harness.web import status_of

CUSTOMERS, KEYS, REPOSITORIES = 10_000, 5, 1_000
PULL_GOAL, LOGIN_GOAL, MEMORY_GOAL = 0.8, 20_000, 16 * measure.MIB
# One for each customer. Some of them share a slot of the memory of verified tokens, and push each other out.
TOKENS = CUSTOMERS
PUBLIC, PROTECTED, MANY, LOGIN = (
    "public pull",
    "protected pull, token",
    "protected pull, many tokens",
    "login",
)
# Source: the documentation of wrk, SCRIPTING.
SCRIPT = """
local requests, at = {{}}, 0
function init(args)
  for token in io.lines("{tokens}") do
    local headers = {{ Accept = "{accept}", Authorization = "Bearer " .. token }}
    requests[#requests + 1] = wrk.format("GET", nil, headers)
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
"""


def main():
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    raas = build()
    repositories = [metadata.typical(number, images=1) for number in range(REPOSITORIES)]
    for repository in repositories[1:]:
        repository.protect()
    with tempfile.TemporaryDirectory(prefix="raas-bench-") as folder, contextlib.ExitStack() as stack:
        work = pathlib.Path(folder)
        many = stack.enter_context(serve(raas, work, "many", repositories, customers=CUSTOMERS))
        # Between two large numbers: what the allocator keeps of the start is in both.
        with serve(raas, work, "more", repositories, customers=3 * CUSTOMERS) as more:
            memory = (measure.memory(more.process.pid) - measure.memory(many.process.pid)) / 2
        found = measure_rows(many, rows(many, work, repositories), turns, seconds)
    report(found, memory, turns, seconds)


@contextlib.contextmanager
def serve(raas, work, name, repositories, customers):
    """A server of these repositories and of so many customers."""
    tree, port = work / name, free_port()
    metadata.write_customers(tree, customers, KEYS, ["*"])
    metadata.write(tree, repositories, "0" * 40)
    place = ["--metadata", tree, "--bucket", "s3://acme-images", "--s3-region", "eu-central-1"]
    command = [raas, "serve", "acme", "--listen", f"127.0.0.1:{port}", *place, "--no-access-log"]
    with on_one_core(command, work, f"raas-{name}", port, os.environ | EXAMPLE_KEYS) as server:
        # It accepts connections before it has read all customers.
        ready = server.url("/-/readyz")
        wait_for("the server is ready", lambda: status_of(ready)[0] == 200, 120, process=server.process)
        yield server


def rows(server, work, repositories):
    """What is asked for: the path, the `Authorization`, and a script for wrk."""
    public, protected = (f"/v2/{repository.name}/manifests/1.0" for repository in repositories[:2])
    token_path = f"/token?service=x&scope=repository:{repositories[1].name}:pull"
    key = login(7, 3)
    tokens = list(get_tokens(server, token_path))
    list_of_tokens, script = work / "tokens", work / "tokens.lua"
    list_of_tokens.write_text("\n".join(tokens) + "\n")
    script.write_text(SCRIPT.format(tokens=list_of_tokens, accept=ACCEPT))
    bearer = f"Bearer {tokens[7]}"
    return {
        PUBLIC: (public, "", None),
        "public pull, token": (public, bearer, None),
        PROTECTED: (protected, bearer, None),
        MANY: (protected, "", script),
        "protected pull, key": (protected, key, None),
        LOGIN: (token_path, key, None),
    }


def login(customer, key):
    name = f"c{customer}"
    return "Basic " + base64.b64encode(f"{name}:{metadata.secret_of(name, f'k{key}')}".encode()).decode()


def get_tokens(server, path):
    """A token for a key of each customer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    for number in range(TOKENS):
        connection.request("GET", path, headers={"Authorization": login(number % CUSTOMERS, number % KEYS)})
        yield json.load(connection.getresponse())["token"]
    connection.close()


def measure_rows(server, rows, turns, seconds):
    """For each row, in each turn: requests for a second, and microseconds of the server for a request."""
    found = {name: [] for name in rows}
    for path, authorization, script in rows.values():
        load(server, path, "GET", 1, authorization, script)
    for turn in range(turns):
        for name in list(rows) if turn % 2 == 0 else reversed(rows):
            path, authorization, script = rows[name]
            found[name].append(load(server, path, "GET", seconds, authorization, script))
    return found


def report(found, memory, turns, seconds):
    print(f"medians of {turns} turns of {seconds} s, one core for the server; ratios to a public pull")
    print(f"{'':28} {'per s':>8} {'ratio':>6} {'µs':>8} {'ratio':>6}")
    ratios, logins = {}, {}
    for name, measured in found.items():
        rate, cost = (statistics.median(values) for values in zip(*measured, strict=True))
        turn_by_turn = list(zip(measured, found[PUBLIC], strict=True))
        by_rate = statistics.median(ours[0] / public[0] for ours, public in turn_by_turn)
        by_cost = statistics.median(public[1] / ours[1] for ours, public in turn_by_turn)
        ratios[name] = {"rate": by_rate, "processor time": by_cost}
        if name == LOGIN:
            logins = {"rate": rate, "processor time": 1e6 / cost}
        print(f"{name:28} {rate:8.0f} {by_rate:6.2f} {cost:8.2f} {by_cost:6.2f}")
    print(f"logins a second by processor time: {logins['processor time']:.0f}")
    print(f"{CUSTOMERS * KEYS} keys take {memory / measure.MIB:.1f} MiB")
    short = [
        f"{name}: {ratio:.2f} of a public one by {by}, and not {PULL_GOAL}"
        for name in [PROTECTED, MANY]
        for by, ratio in ratios[name].items()
        if ratio < PULL_GOAL
    ]
    short += [
        f"logins: {count:.0f} a second by {by}, and not {LOGIN_GOAL}"
        for by, count in logins.items()
        if count < LOGIN_GOAL
    ]
    if memory > MEMORY_GOAL:
        short.append(f"the keys take more than {MEMORY_GOAL // measure.MIB} MiB")
    print("short of its goal: " + ("; ".join(short) or "nothing"))


if __name__ == "__main__":
    main()
