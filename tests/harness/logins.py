"""Logins of the clients, and how they tell that they were refused."""

import pathlib
import shutil
import tempfile

import pytest

from harness.clients import Clients, Podman, Skopeo
from harness.process import CommandFailed, run

# How clients tell that they may not have something, or that it is not there.
REFUSALS = [
    *["unauthorized", "denied", "not found", "manifest unknown", "repository name not known"],
    "invalid username/password",
]
THROTTLED = ["toomanyrequests", "too many", "429"]


class Logins(Clients):
    """docker, podman and skopeo, each with logins of its own; and containerd, if a test has it."""

    def __init__(self, docker, short_folder, *options, containerd=None):
        # Logins of an earlier test are forgotten.
        shutil.rmtree(docker.folder / "config", ignore_errors=True)
        folder = pathlib.Path(tempfile.mkdtemp(dir=short_folder))
        self.docker, self.options = docker, options
        self.files = {name: folder / f"{name}.json" for name in ["podman", "skopeo"]}
        for file in self.files.values():
            file.write_text("{}")
        self.podman = Podman(folder / "podman", [*options, "--authfile", self.files["podman"]])
        source = [option.replace("--", "--src-", 1) for option in options]
        skopeo = Skopeo(folder / "copied", [*source, "--src-authfile", self.files["skopeo"]])
        super().__init__([docker, self.podman, *([containerd] if containerd else [])], skopeo)
        self.containerd = containerd
        if containerd:
            containerd.login = None

    def are_refused(self, host, name, tags, words=REFUSALS):
        """Asserts that no client can pull a tag."""
        tag, platforms = next(iter(tags.items()))
        reference, platform = f"{host}/{name}:{tag}", next(iter(platforms))
        for client in self.single:
            is_refused(f"{client.name} pulls {name}", lambda c=client: c.pull(reference, platform), words)
        is_refused(f"skopeo pulls {name}", lambda: self.skopeo.pull_all(reference), words)

    def logins(self, host, user, password):
        """The login of each client, not yet done."""
        words = ["--username", user, "--password-stdin", host]
        commands = {"docker": self.docker.command("login", *words)}
        for name, file in self.files.items():
            commands[name] = [name, "login", *self.options, "--authfile", file, *words]
        return {
            name: lambda command=command: run(*command, input=password) for name, command in commands.items()
        }

    def log_in(self, host, user, password):
        for login in self.logins(host, user, password).values():
            login()
        if self.containerd:
            # `ctr` has no login: each pull names the user.
            self.containerd.login = f"{user}:{password}"

    def logins_are_refused(self, host, user, password, words=REFUSALS):
        """Asserts that no client can log in."""
        for name, login in self.logins(host, user, password).items():
            is_refused(f"{name} logs in", login, words)


def is_refused(what, action, words):
    """Asserts that an action of a client fails, and for the right reason."""
    try:
        action()
    except CommandFailed as error:
        said = str(error).lower()
    else:
        pytest.fail(f"{what}: this must be refused")
    assert any(word in said for word in words), f"{what}: refused for another reason: {said}"
