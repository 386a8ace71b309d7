#!/usr/bin/env python3
"""raas gets its certificates from a real ACME server, Debian's pebble, which connects to it to see that the names are
its own; renews them; keeps serving while the authority is away; and asks for nothing that it has kept. Installs what it
needs from Debian. Everything is on loopback.

usage: acme.py
"""
import contextlib
import json
import os
import pathlib
import re
import shutil
import socket
import ssl
import stat
import subprocess
import tempfile
import threading
import urllib.request

import parts

NAMES = ["registry.example.com", "other.example.com"]
METRIC = re.compile(r'^raas_certificate_(expiry_timestamp_seconds|failures_total)\{name="([^"]*)"\} (\d+)$', re.M)


def install():
    if not (shutil.which("pebble") and shutil.which("openssl")):
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", "pebble", "openssl"], check=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Names(threading.Thread):
    """A name server for which every name is this machine."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def run(self):
        while True:
            query, client = self.socket.recvfrom(4096)
            end = query.index(b"\0", 12) + 5
            is_address = query[end - 4:end - 2] == b"\0\1"
            answer = query[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_address else b"\0\0") + b"\0\0\0\0" + query[12:end]
            if is_address:
                answer += b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton("127.0.0.1")
            self.socket.sendto(answer, client)


def authority(folder, port, management, tls_port):
    parts.run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
              "-subj", "/CN=directory's root", "-keyout", folder / "root.key", "-out", folder / "root.pem")
    parts.run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=pebble",
              "-keyout", folder / "pebble.key", "-out", folder / "pebble.csr")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    parts.run("openssl", "x509", "-req", "-in", folder / "pebble.csr", "-CA", folder / "root.pem", "-CAkey",
              folder / "root.key", "-CAcreateserial", "-days", "2", "-extfile", folder / "names", "-out", folder / "pebble.pem")
    (folder / "pebble.json").write_text(json.dumps({"pebble": {
        "listenAddress": f"127.0.0.1:{port}", "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "pebble.pem"), "privateKey": str(folder / "pebble.key"),
        "httpPort": 1, "tlsPort": tls_port, "ocspResponderURL": "", "externalAccountBindingRequired": False}}))


def shown(port, name):
    """The certificate that a client is shown for a name, and who signed it; the connection must hold."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        der = tls.getpeercert(binary_form=True)
    text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-issuer", "-serial", "-ext", "subjectAltName"],
                          input=der, capture_output=True, check=True).stdout.decode()
    return text


def is_signed(port, name):
    try:
        text = shown(port, name)
    except OSError:
        return None
    return text if "Pebble Intermediate" in text and f"DNS:{name}" in text else None


def metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return {(kind, name): int(value) for kind, name, value in METRIC.findall(answer.read().decode())}


def main():
    install()
    program = parts.build()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as logs:
        folder = pathlib.Path(folder)
        logs.callback(lambda: print_logs(folder))
        port, management, tls_port, metrics_port = (free_port() for _ in range(4))
        authority(folder, port, management, tls_port)
        names = Names()
        names.start()
        # Pebble refuses one nonce in twenty, as a real authority does now and then.
        environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1"}
        pebble = ["pebble", "-strict", "-config", folder / "pebble.json", "-dnsserver", names.address]
        raas = [program, "--home", folder / "home", "serve", "acme", "--listen", f"127.0.0.1:{tls_port}",
                "--metrics", f"127.0.0.1:{metrics_port}", "--acme-folder", folder / "acme", "--acme-email",
                "registry@example.com", "--acme-directory", f"https://localhost:{port}/dir", "--acme-ca",
                folder / "root.pem", *(word for name in NAMES for word in ("--acme-domain", name))]
        parts.run(program, "--home", folder / "home", "setup", "acme")

        with parts.Process(raas, folder / "raas-1.log"):
            # The authority is not there yet: a certificate that nobody trusts is shown, and the failure is counted.
            parts.wait_for("failures", lambda: failures(metrics_port) == len(NAMES))
            assert "no certificate yet" in shown(tls_port, NAMES[0])
            parts.run(program, "--home", folder / "home", "push", "acme", "app", "--from", parts.ROOT / "fixtures/bigdata-app.tar")
            print("ok: without an authority it serves all the same, push waits for it over https, and the failures are counted")

        with parts.Process(pebble, folder / "pebble.log", environment), started(port, raas, folder / "raas-2.log"):
            first = [parts.wait_for(f"a certificate for {name}", lambda: is_signed(tls_port, name)) for name in NAMES]
            found = metrics(metrics_port)
            assert all(found["expiry_timestamp_seconds", name] > 1_700_000_000 for name in NAMES), found
            kept = [path for path in (folder / "acme").rglob("*") if path.is_file()]
            assert sorted(path.name for path in kept) == ["account.json", *sorted(f"{name}.pem" for name in NAMES)], kept
            assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in kept), kept
            trusted(management, tls_port, folder)
            print("ok: pebble has seen by TLS-ALPN-01 that both names are ours, and its certificates are shown")

        with parts.Process(raas, folder / "raas-3.log"):
            # The authority is away again; what was kept is shown.
            again = [parts.wait_for(f"the kept one of {name}", lambda: is_signed(tls_port, name)) for name in NAMES]
            assert again == first, (first, again)
            assert failures(metrics_port) == 0, "nothing was asked for"
            print("ok: what was kept is used after a restart, without a question")

        parts.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", folder / "old.key")
        (next((folder / "acme").rglob(f"{NAMES[0]}.pem"))).write_text(
            (folder / "old.key").read_text() + nearly_over(folder))
        with parts.Process(raas, folder / "raas-4.log"):
            parts.wait_for("a failure", lambda: failures(metrics_port) == 1)
            assert "nearly over" in shown(tls_port, NAMES[0])
            assert is_signed(tls_port, NAMES[1]) == first[1]
            print("ok: one that cannot be renewed serves on, and holds up no other")
        with parts.Process(pebble, folder / "pebble.log", environment), started(port, raas, folder / "raas-5.log"):
            parts.wait_for("the renewed one", lambda: is_signed(tls_port, NAMES[0]))
            assert is_signed(tls_port, NAMES[1]) == first[1], "the other was not asked for"
            print("ok: one that is nearly over is renewed, and only that one")
        logs.pop_all()
        print("all ok")


def print_logs(folder):
    """What the servers have said, when something does not hold."""
    for log in sorted(folder.glob("*.log")):
        print(f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-20:]))


def nearly_over(folder):
    """A certificate of which less than a third of the time is left: it began 9 days ago, and has one more."""
    # openssl writes no certificate that has begun already but as an authority.
    (folder / "index.txt").write_text("")
    (folder / "ca.cnf").write_text(
        "[ca]\ndefault_ca=d\n[d]\ndatabase=%s/index.txt\nnew_certs_dir=%s\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n"
        "copy_extensions=copy\n[p]\ncommonName=optional\n" % (folder, folder))
    parts.run("openssl", "req", "-new", "-key", folder / "old.key", "-subj", "/CN=nearly over", "-addext",
              f"subjectAltName=DNS:{NAMES[0]}", "-out", folder / "old.csr")
    date = lambda when: subprocess.run(["date", "-u", "-d", when, "+%Y%m%d%H%M%SZ"], capture_output=True, text=True,
                                       check=True).stdout.strip()
    parts.run("openssl", "ca", "-batch", "-selfsign", "-config", folder / "ca.cnf", "-keyfile", folder / "old.key",
              "-in", folder / "old.csr", "-out", folder / "old.pem", "-startdate", date("-9 days"), "-enddate", date("+1 day"),
              "-notext")
    return (folder / "old.pem").read_text()


@contextlib.contextmanager
def started(authority_port, raas, log):
    """The server, once the authority is there: it would try again minutes later."""
    def listens():
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", authority_port)) == 0
    parts.wait_for("pebble listens", listens)
    with parts.Process(raas, log) as server:
        yield server


def failures(port):
    try:
        return sum(value for (kind, _), value in metrics(port).items() if kind == "failures_total")
    except OSError:
        return None


def trusted(management, tls_port, folder):
    """A client that trusts the authority's root and nothing else gets an answer."""
    insecure = ssl.create_default_context()
    insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(f"https://127.0.0.1:{management}/roots/0", context=insecure) as answer:
        (folder / "issued.pem").write_bytes(answer.read())
    for name in NAMES:
        out = parts.run("curl", "-sS", "--cacert", folder / "issued.pem", "--resolve", f"{name}:{tls_port}:127.0.0.1",
                        f"https://{name}:{tls_port}/v2/")
        assert out == "{}", out


if __name__ == "__main__":
    main()
