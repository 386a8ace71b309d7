"""The program that is tested: its commands and its servers."""

import contextlib
import functools
import json
import os
import pathlib
import re
import subprocess

from harness.packages import ROOT, TARGET
from harness.process import Process, result, run, running, wait_for

# A server without a home finds nothing of the developer's.
BARE_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
# A line of text, or the message of a line of JSON.
SERVING = re.compile(r"Serving [^\n]*?\bon https?://([^\s\"]+)")


@functools.cache
def build(profile="release"):
    """The program that RAAS_PROGRAM names, or a build with a profile of Cargo.toml."""
    if given := os.environ.get("RAAS_PROGRAM"):
        return pathlib.Path(given).resolve()
    command = ["cargo", "build", "--locked", "--profile", profile, "--package", "raas"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=3600)
    return TARGET / profile / "raas"


class Raas:
    """`raas` with a home, and a configuration file if one is named."""

    def __init__(self, program, home, config=None):
        self.program, self.home, self.config = program, home, config

    def command(self, *arguments):
        """The words of a command line."""
        config = ["--config", self.config] if self.config else []
        return [self.program, "--home", self.home, *config, *arguments]

    def __call__(self, *arguments, **options):
        """Runs a command that must succeed, and returns its output."""
        return run(*self.command(*arguments), **options)

    def json(self, *arguments, **options):
        """Runs a command that must succeed, and returns its JSON."""
        return json.loads(self(*arguments, "--json", **options))

    def result(self, *arguments, **options):
        """Runs a command that may fail."""
        return result(*self.command(*arguments), **options)

    @contextlib.contextmanager
    def serve(self, log, *arguments, env=None, listen="127.0.0.1:0"):
        """A server on a free port until the end of the `with`, with `address`."""
        with running(self.command("serve", "--listen", listen, *arguments), log, env) as server:
            registrations = wait_for(
                "raas serve",
                lambda: list((self.home / "_servers").glob(f"{server.pid}-*.json")),
                process=server,
            )
            server.address = json.loads(registrations[0].read_text())["address"]
            yield server


@contextlib.contextmanager
def stateless_server(program, log, *arguments, host="127.0.0.1", env=None):
    """`raas serve` without a home, on a free port, with `address` and `port`. It may not be ready yet."""
    command = [program, "serve", "--listen", f"{host}:0", *arguments]
    with running(command, log, BARE_ENVIRONMENT if env is None else env) as server:
        server.address = wait_for("raas serve", lambda: address_in(server), process=server)
        server.port = int(server.address.rsplit(":", 1)[1])
        yield server


def address_in(server: Process):
    """The address that a server says in its log."""
    found = SERVING.search(server.log.read_text(errors="replace"))
    return found and found.group(1)


def check_outcomes(status, *names):
    """Asserts that some checks of `raas status --json` are ok."""
    found = {check["name"]: check for check in status["vendors"][0]["checks"]}
    for name in names:
        assert found[name]["outcome"] == "ok", found[name]
