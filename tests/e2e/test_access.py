"""Who may pull protected repositories: client certificates, tokens of another issuer, users with passwords.

All of it runs in a network and a file system of its own, since docker takes names of loopback for insecure
and looks for certificates in /etc/docker. Nothing of the machine is changed, and nothing is sent out of it.
Needs root.
"""

import base64
import dataclasses
import json
import os
import pathlib
import shutil
import time
import urllib.parse

import pytest

from harness.certificates import EC_KEY, RSA_KEY, Authority, self_signed
from harness.clients import docker_daemon
from harness.logins import REFUSALS, THROTTLED, Logins
from harness.namespaces import own_network_and_mounts
from harness.process import result, run, wait_for
from harness.raas import Raas, stateless_server
from harness.web import Quiet, WebServer, status_of

# In a network for documentation (RFC 5737): no client takes it for its own machine.
ADDRESS = "192.0.2.10"
USER, PASSWORD = "ann", "correct horse:battery"
CLIENT = "extendedKeyUsage=clientAuth\n"
SERVER = "extendedKeyUsage=serverAuth\n"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return tmp_path_factory.mktemp("access")


@pytest.fixture(scope="module", autouse=True)
def own_machine(work):
    """A network and an /etc/docker of the tests' own."""
    pathlib.Path("/etc/docker").mkdir(exist_ok=True)
    (work / "etc" / "certs.d").mkdir(parents=True)
    with own_network_and_mounts(ADDRESS):
        run("mount", "--bind", work / "etc", "/etc/docker")
        yield


@pytest.fixture(scope="module")
def docker(own_machine, work):
    """docker with a daemon in the network of these tests."""
    (work / "docker").mkdir()
    with docker_daemon(work / "docker") as client:
        yield client


class Published:
    """A sample as `open`, which everybody may pull, and as `secret` and `other`, which are protected."""

    def __init__(self, program, work, sample):
        self.program, self.tags = program, sample.tags
        self.metadata, self.bucket = work / "metadata", work / "home" / "acme" / "bucket"
        raas = Raas(program, work / "home")
        for name in ["open", "secret", "other"]:
            raas("push", "acme", name, *sample.push)
        shutil.copytree(work / "home" / "acme" / "checkout", self.metadata)
        for name in ["secret", "other"]:
            file = self.metadata / "crane" / "data" / f"{name}.json"
            document = json.loads(file.read_text())
            assert document["protected"] is False
            file.write_text(json.dumps(document | {"protected": True}))

    def serve(self, log, *arguments, **options):
        """A server of it without a home."""
        place = ["acme", "--metadata", self.metadata, "--bucket", self.bucket]
        return stateless_server(self.program, log, *place, *arguments, **options)


@pytest.fixture(scope="module")
def published(program, all_samples, work):
    return Published(program, work, all_samples["docker-save"])


def wait_until_ready(server, scheme="http"):
    ready = ["curl", "-skf", "-o", "/dev/null", f"{scheme}://{server.address}/-/readyz"]
    wait_for("the server is ready", lambda: result(*ready, timeout=10).returncode == 0, process=server)


@dataclasses.dataclass
class CertificateSite:
    """A server that asks for client certificates, and the clients, which find theirs in a folder."""

    address: str
    authority: Authority
    stranger: Authority
    clients: Logins
    folder: pathlib.Path

    def show(self, pair):
        """Gives the clients a certificate and its key, or none."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        shutil.copy(self.authority.certificate, self.folder / "ca.crt")
        for file, name in zip(pair or [], ["client.cert", "client.key"], strict=False):
            shutil.copy(file, self.folder / name)


@pytest.fixture(scope="module")
def certificate_site(docker, published, work, short_folder):
    """docker takes a certificate from /etc/docker/certs.d/HOST, podman and skopeo from --cert-dir."""
    folder = work / "certificates"
    folder.mkdir()
    authority, stranger = Authority(folder, "acme"), Authority(folder, "stranger")
    certificate, key = authority.issue("server", f"subjectAltName=IP:{ADDRESS}\n")
    tls = ["--tls-certificate", certificate, "--tls-key", key, "--client-ca", authority.certificate]
    with published.serve(work / "certificates.log", *tls, host=ADDRESS) as server:
        wait_until_ready(server, "https")
        shown = pathlib.Path("/etc/docker/certs.d") / server.address
        clients = Logins(docker, short_folder, f"--cert-dir={shown}")
        yield CertificateSite(server.address, authority, stranger, clients, shown)


def test_client_certificate(certificate_site, published):
    site = certificate_site
    site.show(site.authority.issue("customer", CLIENT))
    site.clients.pull(site.address, "secret", published.tags)
    site.clients.pull(site.address, "open", published.tags)


@pytest.mark.parametrize("what", ["none", "of another authority", "expired", "for servers"])
def test_client_certificate_that_does_not_count(certificate_site, published, what):
    site = certificate_site
    pair = {
        "none": lambda: None,
        "of another authority": lambda: site.stranger.issue("customer", CLIENT),
        "expired": lambda: site.authority.issue("over", CLIENT, days="-1"),
        "for servers": lambda: site.authority.issue("door", SERVER),
    }[what]()
    site.show(pair)
    site.clients.pull(site.address, "open", published.tags)
    site.clients.are_refused(site.address, "secret", published.tags)
    site.clients.are_refused(site.address, "nothing", published.tags)


class Issuer(WebServer):
    """A service that gives out tokens as the distribution project specifies.

    `ann` gets what she asks for, strangers get `open` alone. `wrong` makes the tokens wrong.
    """

    NAME, SERVICE = "tokens.example.com", "the registry of acme"

    def __init__(self, folder, algorithm):
        self.algorithm, self.wrong = algorithm, None
        self.given = {"users": 0, "strangers": 0}
        kind = EC_KEY if algorithm == "ES256" else RSA_KEY
        self.certificate, self.key = self_signed(folder, algorithm, "tokens", kind)
        if algorithm == "RS256":
            # As distribution's `rootcertbundle`, with the chain in every token.
            der = result("openssl", "x509", "-in", self.certificate, "-outform", "DER", text=False).stdout
            self.keys, self.header = self.certificate, {"x5c": [base64.b64encode(der).decode()]}
        else:
            self.keys, self.header = folder / "keys.json", {"kid": "one"}
            self.keys.write_text(json.dumps({"keys": [self.public_key("one")]}))
        issuer = self

        class Handler(Quiet):
            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                scheme, _, login = self.headers.get("Authorization", "").partition(" ")
                user = None
                if scheme:
                    user, _, password = base64.b64decode(login).decode().partition(":")
                    if scheme != "Basic" or (user, password) != (USER, PASSWORD):
                        return self.answer(401, error("UNAUTHORIZED", "wrong password"))
                if query.get("service") != [issuer.SERVICE]:
                    return self.answer(400, error("UNSUPPORTED", f"service {query.get('service')}"))
                scopes = [scope for value in query.get("scope", []) for scope in value.split(" ")]
                token = issuer.token(user, scopes)
                issuer.given["users" if user else "strangers"] += 1
                issued = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                told = {"token": token, "access_token": token, "expires_in": 300, "issued_at": issued}
                return self.answer(200, told)

            def do_POST(self):
                """OAuth2, which clients try with a refresh token, and go on without."""
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.answer(404, {})

            def answer(self, status, told):
                self.reply(status, json.dumps(told).encode(), {"Content-Type": "application/json"})

        super().__init__(Handler)
        self.realm = f"{self.url}/token"

    def public_key(self, name):
        """The key as one of a set of keys. The last 64 bytes of its DER are its two numbers."""
        der = result("openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER", text=False).stdout
        x, y = encode(der[-64:-32]), encode(der[-32:])
        return {"kty": "EC", "crv": "P-256", "kid": name, "use": "sig", "x": x, "y": y}

    def token(self, user, scopes):
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = kind == "repository" and (user == USER or name == "open") and "pull" in actions
            name = "other" if self.wrong == "another repository" else name
            access.append({"type": kind, "name": name, "actions": ["pull"] if allowed else []})
        claims = {
            "iss": self.NAME,
            "sub": user or "",
            "aud": self.SERVICE,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": os.urandom(8).hex(),
            "access": access,
        }
        claims |= {
            "expired": {"exp": now - 300, "nbf": now - 600},
            "another audience": {"aud": "another registry"},
            "another issuer": {"iss": "tokens.example.org"},
        }.get(self.wrong, {})
        header = {"typ": "JWT", "alg": self.algorithm, **self.header}
        signed = ".".join(encode(json.dumps(part).encode()) for part in [header, claims])
        sign = ["openssl", "dgst", "-sha256", "-sign", self.key]
        made = result(*sign, input=signed.encode(), text=False)
        assert made.returncode == 0, made
        return f"{signed}.{encode(self.signature(made.stdout))}"

    def signature(self, made):
        """ECDSA's two numbers side by side, as openssl does not write them. Source: RFC 7518, section 3.4."""
        if self.algorithm != "ES256":
            return made
        numbers, rest = b"", made[2:]
        while rest:
            length = rest[1]
            numbers += rest[2 : 2 + length].lstrip(b"\0").rjust(32, b"\0")
            rest = rest[2 + length :]
        return numbers


def error(code, message):
    return {"errors": [{"code": code, "message": message}]}


def encode(data):
    """base64 of a JSON web token."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def log_in_and_pull(clients, server, published):
    """`open` without a login; `secret` not without it, nor with a wrong password, but with the right one."""
    clients.pull(server.address, "open", published.tags)
    clients.are_refused(server.address, "secret", published.tags)
    clients.logins_are_refused(server.address, USER, "wrong")
    clients.log_in(server.address, USER, PASSWORD)
    clients.pull(server.address, "secret", published.tags)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_tokens_of_another_issuer(docker, published, algorithm, short_folder, tmp_path):
    with Issuer(tmp_path, algorithm) as issuer:
        flags = [
            "--token-realm",
            issuer.realm,
            "--token-service",
            issuer.SERVICE,
            "--token-issuer",
            issuer.NAME,
        ]
        with published.serve(tmp_path / "serve.log", *flags, "--token-keys", issuer.keys) as server:
            wait_until_ready(server)
            clients = Logins(docker, short_folder, "--tls-verify=false")
            log_in_and_pull(clients, server, published)
            for wrong in ["another repository", "expired", "another audience", "another issuer"]:
                given, issuer.wrong = issuer.given["users"], wrong
                clients.are_refused(server.address, "secret", published.tags)
                assert issuer.given["users"] > given, f"{wrong}: no client asked for a token"
            issuer.wrong = None
            clients.are_refused(server.address, "nothing", published.tags)
            clients.pull(server.address, "secret", published.tags)
            assert "eyJ" not in server.log.read_text(), "a token is in the log"


def status_with(address, password):
    """The status and the headers of an answer to a password."""
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return status_of(f"http://{address}/v2/", {"Authorization": f"Basic {login}"})


def guess_until_throttled(address):
    """Guesses until the server looks at no password any more."""
    for count in range(1, 20):
        found, headers = status_with(address, f"guess {count}")
        if found == 429:
            assert 1 <= int(headers["Retry-After"]) <= 60, headers
            assert status_with(address, PASSWORD)[0] == 429, "the server tells right from wrong"
            return
        assert found == 401, found
    pytest.fail("the server looked at twenty wrong passwords")


def test_passwords(docker, published, short_folder, tmp_path):
    users = tmp_path / "htpasswd"
    run("htpasswd", "-i", "-B", "-C", "6", "-c", users, USER, input=PASSWORD)
    with published.serve(tmp_path / "serve.log", "--htpasswd", users) as server:
        wait_until_ready(server)
        clients = Logins(docker, short_folder, "--tls-verify=false")
        log_in_and_pull(clients, server, published)
        guess_until_throttled(server.address)
        clients.logins_are_refused(server.address, USER, "wrong", THROTTLED)
        run("htpasswd", "-D", users, USER)
        wait_for("the user is gone", lambda: status_with(server.address, PASSWORD)[0] in (401, 429))
        clients.are_refused(server.address, "secret", published.tags, [*REFUSALS, *THROTTLED])
        assert PASSWORD not in server.log.read_text()
