"""raas gets its certificates from a real ACME server, pebble, which connects to raas to check the names."""

import contextlib
import json
import os
import re
import socket
import ssl
import stat
import threading

import pytest

from harness.certificates import Authority
from harness.packages import ROOT
from harness.process import free_port, listens, run, running, wait_for
from harness.raas import Raas
from harness.web import read

pytestmark = pytest.mark.acme

NAMES = ["registry.example.com", "other.example.com"]
METRIC = re.compile(
    r'^raas_certificate_(expiry_timestamp_seconds|failures_total)\{name="([^"]*)"\} (\d+)$', re.M
)


class NameServer:
    """A name server for which every name is this machine, until the end of the `with`."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.2)
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.socket.close()

    def run(self):
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                query, client = self.socket.recvfrom(4096)
                self.socket.sendto(self.answer(query), client)

    def answer(self, query):
        end = query.index(b"\0", 12) + 5
        is_address = query[end - 4 : end - 2] == b"\0\1"
        counts = b"\0\1" + (b"\0\1" if is_address else b"\0\0") + b"\0\0\0\0"
        answer = query[:2] + b"\x81\x80" + counts + query[12:end]
        if is_address:
            answer += b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton("127.0.0.1")
        return answer


class Site:
    """raas that asks an ACME server for its certificates; neither of the two runs yet."""

    def __init__(self, program, folder, names):
        self.folder, self.raas, self.names = folder, Raas(program, folder / "home"), names
        self.kept, self.starts = folder / "acme", 0
        self.pebble_port, self.management, self.tls, self.metrics_port = (free_port() for _ in range(4))
        authority = Authority(folder, "root")
        self.root = authority.certificate
        certificate, key = authority.issue("pebble", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        settings = {
            "listenAddress": f"127.0.0.1:{self.pebble_port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": 1,
            "tlsPort": self.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        self.raas("setup", "acme")

    @contextlib.contextmanager
    def serving(self):
        """raas on the port that pebble connects to."""
        self.starts += 1
        domains = [word for name in NAMES for word in ("--acme-domain", name)]
        command = self.raas.command(
            *[
                "serve",
                "acme",
                "--listen",
                f"127.0.0.1:{self.tls}",
                "--metrics",
                f"127.0.0.1:{self.metrics_port}",
            ],
            *["--acme-folder", self.kept, "--acme-email", "registry@example.com", "--acme-ca", self.root],
            *["--acme-directory", f"https://localhost:{self.pebble_port}/dir", *domains],
        )
        with running(command, self.folder / f"raas-{self.starts}.log") as server:
            yield server

    @contextlib.contextmanager
    def serving_with_authority(self):
        """raas and pebble. pebble comes first: raas would try again minutes later."""
        command = [
            "pebble",
            "-strict",
            "-config",
            self.folder / "pebble.json",
            "-dnsserver",
            self.names.address,
        ]
        # Pebble refuses one nonce in twenty, as a real authority does now and then.
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1"}
        log = self.folder / f"pebble-{self.starts}.log"
        with (
            running(command, log, environment, ready=lambda: listens(self.pebble_port)),
            self.serving() as server,
        ):
            yield server

    def shown(self, name):
        """The certificate that a client gets for a name, and its issuer; the connection must hold."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.tls), 5) as plain,
            context.wrap_socket(plain, server_hostname=name) as tls,
        ):
            pem = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
        return run("openssl", "x509", "-noout", "-issuer", "-serial", "-ext", "subjectAltName", input=pem)

    def from_pebble(self, name):
        """The certificate for a name if pebble has signed it."""
        with contextlib.suppress(OSError):
            text = self.shown(name)
            return text if "Pebble Intermediate" in text and f"DNS:{name}" in text else None
        return None

    def metrics(self):
        text = read(f"http://127.0.0.1:{self.metrics_port}/metrics").decode()
        return {(kind, name): int(value) for kind, name, value in METRIC.findall(text)}

    def failures(self):
        """How many certificates could not be had; None while the server starts."""
        with contextlib.suppress(OSError):
            return sum(value for (kind, _), value in self.metrics().items() if kind == "failures_total")
        return None

    def is_trusted(self):
        """Asserts that a client that trusts pebble's root, and nothing else, gets an answer."""
        issued = self.folder / "issued.pem"
        issued.write_text(run("curl", "-sSk", f"https://127.0.0.1:{self.management}/roots/0"))
        for name in NAMES:
            here = ["--cacert", issued, "--resolve", f"{name}:{self.tls}:127.0.0.1"]
            assert run("curl", "-sS", *here, f"https://{name}:{self.tls}/v2/") == "{}"

    def keep_one_that_is_nearly_over(self):
        """Replaces the kept certificate of the first name: it began 9 days ago, and has one more."""
        folder, key = self.folder, self.folder / "old.key"
        # openssl writes no certificate that has begun already but as an authority.
        (folder / "index.txt").write_text("")
        (folder / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=p\ncopy_extensions=copy\n[p]\ncommonName=optional\n"
        )
        run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        subject = ["-subj", "/CN=nearly over", "-addext", f"subjectAltName=DNS:{NAMES[0]}"]
        run("openssl", "req", "-new", "-key", key, *subject, "-out", folder / "old.csr")
        begin, end = (
            run("date", "-u", "-d", when, "+%Y%m%d%H%M%SZ").strip() for when in ("-9 days", "+1 day")
        )
        sign = ["openssl", "ca", "-batch", "-selfsign", "-config", folder / "ca.cnf", "-keyfile", key]
        files = ["-in", folder / "old.csr", "-out", folder / "old.pem"]
        run(*sign, *files, "-startdate", begin, "-enddate", end, "-notext")
        (kept,) = self.kept.rglob(f"{NAMES[0]}.pem")
        kept.write_text(key.read_text() + (folder / "old.pem").read_text())


@pytest.fixture
def site(program, tmp_path):
    with NameServer() as names:
        yield Site(program, tmp_path, names)


def test_certificates_from_an_authority(site):
    # Without an authority raas serves a certificate that nobody trusts, and counts the failures. A push still
    # waits for the server, over https.
    with site.serving():
        wait_for("failures", lambda: site.failures() == len(NAMES))
        assert "no certificate yet" in site.shown(NAMES[0])
        site.raas("push", "acme", "app", "--from", ROOT / "fixtures" / "bigdata-app.tar")

    # pebble checks by TLS-ALPN-01 that both names belong to raas, and raas serves its certificates.
    with site.serving_with_authority():
        first = [
            wait_for(f"a certificate for {name}", lambda name=name: site.from_pebble(name)) for name in NAMES
        ]
        found = site.metrics()
        assert all(found["expiry_timestamp_seconds", name] > 1_700_000_000 for name in NAMES), found
        kept = [path for path in site.kept.rglob("*") if path.is_file()]
        assert sorted(path.name for path in kept) == [
            "account.json",
            *sorted(f"{name}.pem" for name in NAMES),
        ]
        assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept), kept
        site.is_trusted()

    # After a restart without the authority, raas serves the kept certificates and asks for nothing.
    with site.serving():
        again = [
            wait_for(f"the kept one of {name}", lambda name=name: site.from_pebble(name)) for name in NAMES
        ]
        assert again == first
        assert site.failures() == 0

    # A certificate that cannot be renewed is still served, and holds up no other.
    site.keep_one_that_is_nearly_over()
    with site.serving():
        wait_for("a failure", lambda: site.failures() == 1)
        assert "nearly over" in site.shown(NAMES[0])
        assert site.from_pebble(NAMES[1]) == first[1]

    # A certificate that is nearly over is renewed, and only that one.
    with site.serving_with_authority():
        wait_for("the renewed one", lambda: site.from_pebble(NAMES[0]))
        assert site.from_pebble(NAMES[1]) == first[1]
