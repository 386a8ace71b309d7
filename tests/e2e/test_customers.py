"""Customers with keys, as `raas access` makes them.

The clients' logins, a pull secret of Kubernetes, rotation under a pulling loop, and how soon two servers of a
bucket obey a revocation. Needs root.
"""

import base64
import contextlib
import http.client
import json
import pathlib
import secrets
import tempfile
import threading
import time
import urllib.parse

import grpc
import kubernetes_validate
import pytest
import yaml

from harness.containerd import containerd_daemon
from harness.logins import REFUSALS, Logins, is_refused
from harness.memory_s3 import MemoryS3
from harness.process import run, wait_for
from harness.raas import Raas, stateless_server

CUSTOMER = "bigbank"
# What the issue of customers promises, in seconds.
OBEYED_WITHIN = 1.0


@pytest.fixture(scope="module")
def containerd(short_folder):
    folder = pathlib.Path(tempfile.mkdtemp(dir=short_folder))
    with containerd_daemon(folder) as client:
        yield client


@pytest.fixture
def sample(all_samples):
    return all_samples["docker-save"]


@pytest.fixture
def clients(docker, containerd, short_folder):
    """docker, podman, skopeo and containerd, without logins."""
    return Logins(docker, short_folder, "--tls-verify=false", containerd=containerd)


def published(program, home, sample, config=None):
    """A home with `open`, which is public, and `secret` and `other`, which are protected."""
    raas = Raas(program, home, config)
    raas("push", "acme", "open", *sample.push)
    for name in ["secret", "other"]:
        raas("push", "acme", name, *sample.push, "--protected")
    return raas


def key(raas, command, *arguments):
    """The password that `raas access add` or `rotate` prints."""
    made = raas("access", command, "acme", CUSTOMER, "--format", "json", *arguments)
    return json.loads(made)["password"]


def test_keys(clients, program, sample, tmp_path):
    """A key in each client: grants, rotation, revocation; and nothing of a secret in the log."""
    raas = published(program, tmp_path / "home", sample)
    password = key(raas, "add", "--repositories", "secret")
    with raas.serve(tmp_path / "serve.log", "--log", "json") as server:
        clients.containerd.know(server.address)
        clients.pull(server.address, "open", sample.tags)
        clients.are_refused(server.address, "secret", sample.tags)
        clients.logins_are_refused(server.address, CUSTOMER, "raas_wrong")
        clients.log_in(server.address, CUSTOMER, password)
        clients.pull(server.address, "open", sample.tags)
        clients.pull(server.address, "secret", sample.tags)
        clients.are_refused(server.address, "other", sample.tags)
        raas("access", "grant", "acme", CUSTOMER, "other")
        clients.pull(server.address, "other", sample.tags)
        # The clients still have the old secret, and it is valid during the overlap.
        new = key(raas, "rotate", "--overlap", "1h")
        clients.pull(server.address, "secret", sample.tags)
        clients.log_in(server.address, CUSTOMER, new)
        clients.pull(server.address, "secret", sample.tags)
        raas("access", "revoke", "acme", CUSTOMER)
        clients.are_refused(server.address, "secret", sample.tags)
        clients.logins_are_refused(server.address, CUSTOMER, new)
        log = server.log.read_text()
        assert not any(secret in log for secret in [password, new]), "a secret is in the log"
    pulls = json.loads(raas("pulls", "acme", tmp_path / "serve.log", "--customer", CUSTOMER, "--json"))
    assert {pulled["repository"] for pulled in pulls["repositories"]} >= {"secret", "other"}, pulls
    used = raas.json("access", "show", "acme", CUSTOMER, "--log", tmp_path / "serve.log")
    assert used["keys"][0]["last_used"], used


def test_containerd_with_a_login_in_its_hosts_file(containerd, program, sample, tmp_path):
    """As docs/access-for-customers.md says for a node that shall always send the key."""
    raas = published(program, tmp_path / "home", sample)
    password = key(raas, "add", "--repositories", "secret")
    tag, platforms = next(iter(sample.tags.items()))
    platform, layers = next(iter(platforms.items()))
    containerd.login = None
    with raas.serve(tmp_path / "serve.log") as server:
        containerd.know(server.address, f"{CUSTOMER}:{password}")
        assert containerd.pull(f"{server.address}/secret:{tag}", platform) == layers
        assert containerd.pull(f"{server.address}/open:{tag}", platform) == layers
        for name in ["other", "missing"]:
            pulls = f"containerd pulls {name}"
            reference = f"{server.address}/{name}:{tag}"
            is_refused(pulls, lambda of=reference: containerd.pull(of, platform), REFUSALS)
        containerd.know(server.address)
        reference = f"{server.address}/secret:{tag}"
        is_refused("containerd without", lambda: containerd.pull(reference, platform), REFUSALS)


def test_pull_secret_of_kubernetes(clients, program, sample, tmp_path):
    """kubectl takes the file that raas prints; a kubelet and the clients pull with what is in it."""
    raas = published(program, tmp_path / "home", sample)
    tag, platforms = next(iter(sample.tags.items()))
    platform, layers = next(iter(platforms.items()))
    with raas.serve(tmp_path / "serve.log") as server:
        clients.containerd.know(server.address)
        add = ["access", "add", "acme", CUSTOMER, "--repositories", "secret", "--key", "cluster_1.a"]
        manifest = tmp_path / "secret.yaml"
        manifest.write_text(raas(*add, "--host", server.address, "--format", "k8s-secret"))
        document = yaml.safe_load(manifest.read_text())
        kubernetes_validate.validate(document, "1.37", strict=True)
        assert document["metadata"]["name"] == "acme-bigbank-cluster-1-a"
        # kubectl reads the file by its own rules, without a cluster.
        read = run("kubectl", "label", "--local", "-f", manifest, "read=yes", "-o", "json")
        taken = json.loads(read)
        assert taken["type"] == "kubernetes.io/dockerconfigjson", taken
        config = base64.b64decode(taken["data"][".dockerconfigjson"])
        login = base64.b64decode(json.loads(config)["auths"][server.address]["auth"]).decode()
        name, _, password = login.partition(":")
        reference = f"{server.address}/secret:{tag}"
        assert clients.containerd.kubelet_pulls(reference, platform, name, password) == layers
        # The other clients read the file itself.
        (clients.docker.folder / "config").mkdir(exist_ok=True)
        (clients.docker.folder / "config" / "config.json").write_bytes(config)
        for file in clients.files.values():
            file.write_bytes(config)
        clients.containerd.login = login
        clients.pull(server.address, "secret", sample.tags)
        clients.are_refused(server.address, "other", sample.tags)
        raas("access", "revoke", "acme", CUSTOMER)
        clients.are_refused(server.address, "secret", sample.tags)
        with pytest.raises(grpc.RpcError, match=r"(?i)unauthorized|authorization failed"):
            clients.containerd.kubelet_pulls(reference, platform, name, password)
        assert password not in server.log.read_text()


class TwoServers:
    """Two servers without a home that follow one bucket."""

    def __init__(self, program, sample, folder, stack):
        self.stored = []
        service = stack.enter_context(MemoryS3())
        service.hook = self.see
        config, token_key = folder / "raas.cfg", folder / "token-key"
        config.write_text(service.raas_cfg("acme"))
        token_key.write_text(secrets.token_hex(32))
        self.raas = published(program, folder / "home", sample, config)
        arguments = ["--config", config, "--from-config", "--token-key", token_key, "--no-access-log"]
        self.servers = [
            stack.enter_context(stateless_server(program, folder / f"serve-{n}.log", *arguments))
            for n in range(2)
        ]

    def see(self, request, _, act):
        """Notes when a pointer has been stored: from then on the publication is made."""
        answer = act()
        if request.operation == "PutObject" and request.key.endswith("_metadata/current"):
            self.stored.append(time.monotonic())
        return answer

    def all_answer(self, status, authorization):
        wait_for(
            f"both servers answer {status}",
            lambda: all(
                ask(server, "/v2/secret/tags/list", authorization)[0] == status for server in self.servers
            ),
            pause=0.01,
        )


@pytest.fixture
def two_servers(program, sample, tmp_path):
    with contextlib.ExitStack() as stack:
        yield TwoServers(program, sample, tmp_path, stack)


def basic(password):
    return "Basic " + base64.b64encode(f"{CUSTOMER}:{password}".encode()).decode()


def ask(server, path, authorization=None):
    """The status, the headers and the content of a GET, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        headers = {"Authorization": authorization} if authorization else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def token(server, password, name="secret"):
    status, _, content = ask(server, f"/token?service=x&scope=repository:{name}:pull", basic(password))
    assert status == 200, content
    return "Bearer " + json.loads(content)["token"]


class Watched(threading.Thread):
    """Asks a server again and again, and notes when it has answered 401 first."""

    def __init__(self, server, authorization):
        super().__init__(daemon=True)
        self.server, self.authorization, self.refused, self.wrong = server, authorization, None, []

    def run(self):
        end = time.monotonic() + 30
        # A while longer than the first refusal: an answer of 200 after it would be wrong.
        while time.monotonic() < min(end, (self.refused or end) + 0.5):
            status = ask(self.server, "/v2/secret/tags/list", self.authorization)[0]
            if status == 401:
                self.refused = self.refused or time.monotonic()
            elif status != 200 or self.refused:
                self.wrong.append(status)
            time.sleep(0.005)


def test_two_servers_of_a_bucket_obey_a_revocation_within_a_second(two_servers, clients, sample, capsys):
    """With the default configuration; a key and a token for it, at each server."""
    raas, servers, took = two_servers.raas, two_servers.servers, []
    for trial in range(8):
        name = f"k{trial}"
        password = key(raas, "add", "--repositories", "secret", "--key", name)
        two_servers.all_answer(200, basic(password))
        bearer = token(servers[0], password)
        watched = [Watched(server, by) for server in servers for by in [basic(password), bearer]]
        for one in watched:
            one.start()
        raas("access", "revoke", "acme", CUSTOMER, "--key", name)
        published = two_servers.stored[-1]
        for one in watched:
            one.join()
            assert one.refused, "the server never refused"
            assert not one.wrong, one.wrong
        took.append(max(one.refused for one in watched) - published)
    with capsys.disabled():
        print("\nfrom the publication until both servers refuse, in s:", [round(one, 2) for one in took])
    assert max(took) < OBEYED_WITHIN, took
    # And so do the clients.
    password = key(raas, "add", "--repositories", "secret")
    two_servers.all_answer(200, basic(password))
    for server in servers:
        clients.containerd.know(server.address)
        clients.log_in(server.address, CUSTOMER, password)
        clients.pull(server.address, "secret", sample.tags)
    raas("access", "revoke", "acme", CUSTOMER)
    two_servers.all_answer(401, basic(password))
    for server in servers:
        clients.are_refused(server.address, "secret", sample.tags)
        clients.logins_are_refused(server.address, CUSTOMER, password)


class Loop(threading.Thread):
    """Does something again and again until `over`, and notes what failed."""

    def __init__(self, name, action, over):
        super().__init__(daemon=True, name=name)
        self.action, self.over, self.count, self.failed = action, over, 0, []

    def run(self):
        while not self.over.is_set():
            try:
                self.action()
                self.count += 1
            except Exception as error:
                self.failed.append(f"{self.name}: {error}")


def pull_by_hand(server, password, by_token):
    """A manifest and its layers, as a client asks for them. The bytes come from the bucket."""
    by = token(server, password) if by_token else basic(password)
    status, _, content = ask(server, "/v2/secret/tags/list", by)
    assert status == 200, content
    tag = json.loads(content)["tags"][0]
    status, _, content = ask(server, f"/v2/secret/manifests/{tag}", by)
    assert status == 200, content
    for layer in json.loads(content)["layers"]:
        status, headers, content = ask(server, f"/v2/secret/blobs/{layer['digest']}", by)
        assert status == 307, (status, content)
        where = urllib.parse.urlsplit(headers["Location"])
        connection = http.client.HTTPConnection(where.netloc, timeout=30)
        connection.request("GET", f"{where.path}?{where.query}")
        answer = connection.getresponse()
        assert answer.status == 200
        assert len(answer.read()) == layer["size"]
        connection.close()


def test_rotation_under_a_pulling_loop(two_servers, clients, sample):
    """Clients that still have the old secret, and clients that have the new one, pull during the overlap."""
    raas, servers = two_servers.raas, two_servers.servers
    tag, platforms = next(iter(sample.tags.items()))
    platform = next(iter(platforms))
    known = [key(raas, "add", "--repositories", "secret", "--key", "ci")]
    two_servers.all_answer(200, basic(known[0]))
    address = servers[0].address
    clients.containerd.know(address)
    clients.log_in(address, CUSTOMER, known[0])
    reference, over = f"{address}/secret:{tag}", threading.Event()
    loops = [Loop(one.name, lambda c=one: c.pull(reference, platform), over) for one in clients.single]
    loops.append(Loop("skopeo", lambda: clients.skopeo.pull_all(reference), over))

    def by_hand(server, by_token, at):
        name = f"{'token' if by_token else 'key'} of secret {at} at {server.port}"
        return Loop(name, lambda: pull_by_hand(server, known[at], by_token), over)

    def all_have_pulled(times):
        before = [loop.count for loop in loops]
        wait_for(
            "every client pulls",
            lambda: (
                any(loop.failed for loop in loops)
                or all(loop.count >= then + times for loop, then in zip(loops, before, strict=True))
            ),
            seconds=240,
        )
        assert [failure for loop in loops for failure in loop.failed] == []

    loops += [by_hand(server, by_token, 0) for server in servers for by_token in [True, False]]
    for loop in loops:
        loop.start()
    all_have_pulled(1)
    # Twice: a second rotation in the overlap of the first ends no secret early.
    for at in [1, 2]:
        known.append(key(raas, "rotate", "--key", "ci", "--overlap", "1h"))
        two_servers.all_answer(200, basic(known[at]))
        new = [by_hand(server, by_token, at) for server in servers for by_token in [True, False]]
        for loop in new:
            loop.start()
        loops += new
        all_have_pulled(2)
    over.set()
    for loop in loops:
        loop.join()
    assert [failure for loop in loops for failure in loop.failed] == []
    assert sum(loop.count for loop in loops) > 50, {loop.name: loop.count for loop in loops}
    # Without an overlap the earlier secrets end at once.
    last = key(raas, "rotate", "--key", "ci", "--overlap", "0d")
    two_servers.all_answer(200, basic(last))
    for old in known:
        two_servers.all_answer(401, basic(old))
    clients.are_refused(address, "secret", sample.tags)
