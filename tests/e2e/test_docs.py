"""The tutorials, as their readers take them: every command of the page in one shell, with docker and podman.

`crates/raas/tests/cli/documentation.rs` runs the commands of raas and compares what they print. Here docker
and podman pull what the reader has published, and the domain of the second tutorial is a name in a network of
the tests' own. Needs root.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess

import pytest

from harness.certificates import Authority
from harness.clients import docker_daemon
from harness.namespaces import own_network_and_mounts
from harness.packages import ROOT
from harness.process import free_port, run
from harness.s3_services import moto_service

# In a network for documentation (RFC 5737): no client takes it for its own machine.
ADDRESS, HOST = "192.0.2.20", "registry.bigdatainc.example"
BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```$", re.M | re.S)
FILE = re.compile(r"^<!-- file: (\S+) -->\n```\w*\n(.*?)^```$", re.M | re.S)
# What the reader does not do here, and why.
LEFT_OUT = {
    "--acme-domain": "there is no authority; test_acme.py gets certificates from one",
}
# What the reader types at a prompt.
TYPED = {"read -rs BIGDATAINC_SECRET": "secret\n"}


def commands(page):
    """The commands of a page in their order, each with what the page says that it prints."""
    found = []
    for language, text in BLOCK.findall(page):
        goes_on = False
        for line in text.splitlines():
            if goes_on:
                found[-1][0] += "\n" + line
            elif language == "sh":
                found.append([line, ""])
            elif line.startswith("$ "):
                found.append([line[2:], ""])
            else:
                found[-1][1] += line + "\n"
                continue
            goes_on = line.endswith("\\")
    return found


def script(page, stand_ins):
    """A script with all commands of a page, which stops at the first that fails, and how many it has."""
    lines, count = ["set -eu"], 0
    for command, printed in commands(page):
        if any(word in command for word in LEFT_OUT):
            continue
        for name, value in stand_ins.items():
            command = command.replace(name, value)
        count += 1
        lines.append(f"echo {shlex.quote('$ ' + command)}")
        for typed, answer in TYPED.items():
            if typed in command:
                command = command.replace(typed, f"{typed} <<<{shlex.quote(answer.strip())}")
        if command.endswith(" &"):
            # The next command comes when the reader sees that the server serves.
            sign = "metadata loaded" if "--from-config" in command else "^Serving"
            command += f"\nuntil grep -q '{sign}' serve.log; do kill -0 $!; sleep 0.05; done"
        elif command == "kill %1":
            command += "; wait $! || true"
        elif re.search(r"^(FAIL |error: )", printed, re.M):
            command = f"! {command}"
        lines.append(command)
    return "\n".join(lines) + "\n", count


@pytest.fixture
def reader(program, tmp_path, short_folder):
    """A reader with a folder of their own, who has raas, docker and podman; `take` goes through a page."""
    for folder in ["bin", "home", "work/fixtures"]:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin" / "raas").symlink_to(program)
    storage = f"--root {short_folder}/docs/r --runroot {short_folder}/docs/rr --storage-driver=vfs"
    podman = tmp_path / "bin" / "podman"
    podman.write_text(f'#!/bin/sh\nexec /usr/bin/podman {storage} "$@"\n')
    podman.chmod(0o755)
    sample = "bigdata-app.tar"
    (tmp_path / "work" / "fixtures" / sample).symlink_to(ROOT / "fixtures" / sample)
    environment = {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "GIT_COMMITTER_NAME": "Jane",
        "GIT_COMMITTER_EMAIL": "jane@example.com",
    }
    return Reader(tmp_path / "work", environment)


class Reader:
    def __init__(self, work, environment):
        self.work, self.environment = work, environment

    def take(self, name, at_least, stand_ins=None):
        """Goes through a page that has at least so many commands."""
        page = (ROOT / "docs" / name).read_text()
        for file, text in FILE.findall(page):
            for named, here in (stand_ins or {}).items():
                text = text.replace(named, here)
            (self.work / file).write_text(text)
        text, count = script(page, stand_ins or {})
        assert count >= at_least, text
        log = self.work / "session.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                ["bash", "-c", text],
                cwd=self.work,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = child.wait(240)
            finally:
                # A page that ends early leaves its server behind.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        said = log.read_text(errors="replace")
        assert code == 0, said[-6000:]
        return said


def test_the_first_vendor(reader, docker):
    port = free_port()
    reader.environment |= {
        "RAAS_LISTEN": f"127.0.0.1:{port}",
        "DOCKER_HOST": f"unix://{docker.folder}/d.sock",
    }
    said = reader.take("tutorial-first-vendor.md", 20, stand_ins={"127.0.0.1:5000": f"127.0.0.1:{port}"})
    assert "Login Succeeded" in said, said


def test_a_domain_a_bucket_and_a_certificate(reader, tmp_path, short_folder, monkeypatch):
    authority = Authority(tmp_path, "root")
    names = f"subjectAltName=DNS:{HOST}\nextendedKeyUsage=serverAuth\n"
    certificate, key = authority.issue("registry", names)
    (reader.work / "registry.crt").write_text(certificate.read_text())
    (reader.work / "registry.key").write_text(key.read_text())
    (reader.work / "authority.crt").write_text(authority.certificate.read_text())
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{ADDRESS} {HOST}\n")
    # The programs of the reader, and docker's daemon, trust this authority alone.
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    with own_network_and_mounts(ADDRESS):
        run("mount", "--bind", hosts, "/etc/hosts")
        folder = short_folder / "docker"
        folder.mkdir()
        with moto_service(tmp_path) as service, docker_daemon(folder) as docker:
            reader.environment |= {
                "SSL_CERT_FILE": str(authority.certificate),
                "AWS_CONFIG_FILE": "/dev/null",
                "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
                "DOCKER_HOST": f"unix://{docker.folder}/d.sock",
            }
            bucket = "s3_bucket = bigdatainc-images"
            here = {bucket: f"{bucket}\ns3_endpoint = {service.url}\ns3_path_style = yes"}
            said = reader.take("tutorial-domain.md", 8, here)
    assert f"Status: Downloaded newer image for {HOST}/bigdata-app:latest" in said, said
    assert "FAIL" not in said, said
