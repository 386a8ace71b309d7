#!/usr/bin/env python3
"""Who may pull what is protected, with the real docker, podman and skopeo: client certificates, the tokens of another
issuer, users with passwords. Layers are compared with the source's.

All of it runs in a network and a file system of its own (unshare), since docker takes names of loopback for insecure and
looks for certificates in /etc/docker: nothing of the machine is changed, and nothing is sent out of it. Needs root, Debian.
"""
import base64
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import parts
import services
import sources
from pulls import pull_everywhere

# Of networks for documentation (RFC 5737): no client takes it for its own machine.
ADDRESS = "192.0.2.10"
INSIDE = "RAAS_E2E_INSIDE"
USER, PASSWORD = "ann", "correct horse:battery"
# How clients tell that something is not for them, or not there.
REFUSALS = ["unauthorized", "denied", "not found", "manifest unknown", "repository name not known", "invalid username/password"]


def install():
    parts.install()
    packages = {"htpasswd": "apache2-utils", "openssl": "openssl", "ip": "iproute2"}
    missing = [package for program, package in packages.items() if not shutil.which(program)]
    if missing:
        subprocess.run(["apt-get", "update", "-q"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], check=True)


def alone():
    """Goes on in namespaces of its own."""
    install()
    os.environ |= {INSIDE: "yes", "RAAS_PROGRAM": str(parts.build().resolve())}
    os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])


def refused(what, action, words=REFUSALS):
    """An action of a client that must fail, and for the right reason."""
    try:
        action()
    except SystemExit as error:
        said = str(error).lower()
        if not any(word in said for word in words):
            raise SystemExit(f"{what}: it is refused, and says something else: {error}")
        return
    raise SystemExit(f"{what}: it must be refused")


class Serving:
    """`raas serve` without a home, until the end of the `with`."""

    def __init__(self, program, work, published, name, *arguments, host="127.0.0.1", secure=False):
        self.address = f"{host}:{services.free_port()}"
        self.log = work / f"{name}.log"
        command = [program, "serve", "acme", "--listen", self.address, "--metadata", published.metadata,
                   "--bucket", published.bucket, *arguments]
        self.process = parts.Process(command, self.log, env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"})
        self.scheme = "https" if secure else "http"

    def __enter__(self):
        self.process.__enter__()
        ready = ["curl", "-skf", "-o", "/dev/null", f"{self.scheme}://{self.address}/-/readyz"]
        parts.wait_for(self.log.name, lambda: subprocess.run(ready).returncode == 0)
        return self

    def __exit__(self, *_):
        self.process.__exit__()


class Published:
    """A sample as `open`, which everybody sees, and as `secret` and `other`, which are protected."""

    def __init__(self, program, work):
        raas = parts.Raas(program, work / "home")
        _, path, more, self.tags = next(sample for sample in sources.samples() if sample[0] == "docker-save")
        for name in ["open", "secret", "other"]:
            raas("push", "acme", name, "--from", path, *more)
        self.metadata, self.bucket = work / "metadata", work / "home" / "acme" / "bucket"
        shutil.copytree(work / "home" / "acme" / "checkout", self.metadata)
        for name in ["secret", "other"]:
            document = self.metadata / "crane" / "data" / f"{name}.json"
            told = json.loads(document.read_text())
            assert told["protected"] is False
            document.write_text(json.dumps(told | {"protected": True}))


class Clients:
    """docker, podman and skopeo, each with logins of its own."""

    def __init__(self, docker, work, *options):
        self.docker, self.login_options = docker, options
        shutil.rmtree(docker.folder / "config", ignore_errors=True)
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=work))
        for name in ["podman.json", "skopeo.json"]:
            (self.folder / name).write_text("{}")
        self.podman = parts.Podman(self.folder / "podman", [*options, "--authfile", self.folder / "podman.json"])
        self.podman.folder.mkdir()
        source = [option.replace("--", "--src-", 1) for option in options]
        self.skopeo = parts.Skopeo(self.folder / "copied", [*source, "--src-authfile", self.folder / "skopeo.json"])

    def pull(self, host, name, tags):
        return pull_everywhere([self.docker, self.podman], self.skopeo, host, name, tags)

    def each(self, host, name, tags):
        """Pulling one tag with each of them by itself."""
        tag, platforms = next(iter(tags.items()))
        reference, platform = f"{host}/{name}:{tag}", next(iter(platforms))
        return {
            "docker": lambda: self.docker.pull(reference, platform),
            "podman": lambda: self.podman.pull(reference, platform),
            "skopeo": lambda: self.skopeo.pull_all(reference),
        }

    def are_refused(self, what, host, name, tags, words=REFUSALS):
        for client, pull in self.each(host, name, tags).items():
            refused(f"{what}: {client} pulls {name}", pull, words)

    def logins(self, host, user, password):
        fed = lambda *command: parts.run(*command, "--username", user, "--password-stdin", host, input=password)
        tls = [option for option in self.login_options]
        return {
            "docker": lambda: fed(*self.docker.command("login")),
            "podman": lambda: fed("podman", "login", *tls, "--authfile", self.folder / "podman.json"),
            "skopeo": lambda: fed("skopeo", "login", *tls, "--authfile", self.folder / "skopeo.json"),
        }

    def log_in(self, host, user, password):
        for login in self.logins(host, user, password).values():
            login()


class Authority:
    """A certification authority of openssl's."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.certificate = folder / f"{name}.pem"
        parts.run("openssl", "req", "-x509", *KEY, "-days", "2", "-subj", f"/CN={name}",
                  "-keyout", folder / f"{name}.key", "-out", self.certificate)

    def issue(self, name, extensions, days="1"):
        files = {end: self.folder / f"{self.name}-{name}.{end}" for end in ["key", "csr", "ext", "crt"]}
        parts.run("openssl", "req", *KEY, "-subj", f"/CN={name}", "-keyout", files["key"], "-out", files["csr"])
        files["ext"].write_text(extensions)
        parts.run("openssl", "x509", "-req", "-in", files["csr"], "-CA", self.certificate, "-CAkey",
                  self.folder / f"{self.name}.key", "-CAcreateserial", "-days", days, "-extfile", files["ext"], "-out", files["crt"])
        return files["crt"], files["key"]


KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
CLIENT = "extendedKeyUsage=clientAuth\n"


def certificates(program, work, docker, published):
    """docker takes a certificate from /etc/docker/certs.d/HOST, podman and skopeo from --cert-dir."""
    folder = work / "certificates"
    folder.mkdir()
    authority, stranger = Authority(folder, "acme"), Authority(folder, "stranger")
    certificate, key = authority.issue("server", f"subjectAltName=IP:{ADDRESS}\n")
    tls = ["--tls-certificate", certificate, "--tls-key", key, "--client-ca", authority.certificate]
    with Serving(program, work, published, "certificates", *tls, host=ADDRESS, secure=True) as server:
        shown = pathlib.Path("/etc/docker/certs.d") / server.address

        def show(pair):
            """What the clients have from now on."""
            shutil.rmtree(shown, ignore_errors=True)
            shown.mkdir()
            shutil.copy(authority.certificate, shown / "ca.crt")
            for file, name in zip(pair or [], ["client.cert", "client.key"]):
                shutil.copy(file, shown / name)

        clients = Clients(docker, work, f"--cert-dir={shown}")
        show(authority.issue("customer", CLIENT))
        pulls = clients.pull(server.address, "secret", published.tags)
        pulls += clients.pull(server.address, "open", published.tags)
        over = authority.issue("over", CLIENT, days="-1")
        for what, pair in {
            "no certificate": None, "one of another authority": stranger.issue("customer", CLIENT),
            "one that is over": over, "one for servers": authority.issue("door", "extendedKeyUsage=serverAuth\n"),
        }.items():
            show(pair)
            pulls += clients.pull(server.address, "open", published.tags)
            clients.are_refused(what, server.address, "secret", published.tags)
            clients.are_refused(what, server.address, "nothing", published.tags)
    print(f"ok    client certificates: {pulls} pulls, four kinds of strangers refused", flush=True)


class Issuer(parts.WebServer):
    """A service that gives out tokens as the distribution project's specification says: to `ann` for what she asks for,
    to strangers for `open` alone. `wrong` makes it give out others."""

    NAME, SERVICE = "tokens.example.com", "the registry of acme"

    def __init__(self, folder, algorithm):
        self.algorithm, self.folder, self.wrong = algorithm, folder, None
        self.given = {"users": 0, "strangers": 0}
        self.key, certificate = folder / f"{algorithm}.key", folder / f"{algorithm}.crt"
        kind = KEY if algorithm == "ES256" else ["-newkey", "rsa:2048", "-nodes"]
        parts.run("openssl", "req", "-x509", *kind, "-days", "2", "-subj", "/CN=tokens", "-keyout", self.key, "-out", certificate)
        der = subprocess.run(["openssl", "x509", "-in", certificate, "-outform", "DER"], check=True, stdout=subprocess.PIPE).stdout
        if algorithm == "RS256":
            # As distribution's `rootcertbundle`, with the chain in every token.
            self.keys, self.header = certificate, {"x5c": [base64.b64encode(der).decode()]}
        else:
            # A set of keys, of which the token names one.
            public = subprocess.run(["openssl", "pkey", "-in", self.key, "-pubout", "-outform", "DER"], check=True,
                                    stdout=subprocess.PIPE).stdout
            x, y = encode(public[-64:-32]), encode(public[-32:])
            self.keys, self.header = folder / "keys.json", {"kid": "one"}
            self.keys.write_text(json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "x": x, "y": y}]}))
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                url = urllib.parse.urlsplit(self.path)
                asked = urllib.parse.parse_qs(url.query)
                scheme, _, login = self.headers.get("Authorization", "").partition(" ")
                user = None
                if scheme:
                    user, _, password = base64.b64decode(login).decode().partition(":")
                    if scheme != "Basic" or (user, password) != (USER, PASSWORD):
                        return self.reply(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]})
                if asked.get("service") != [issuer.SERVICE]:
                    return self.reply(400, {"errors": [{"code": "UNSUPPORTED", "message": f"service {asked.get('service')}"}]})
                scopes = [scope for value in asked.get("scope", []) for scope in value.split(" ")]
                token = issuer.token(user, scopes)
                issuer.given["users" if user else "strangers"] += 1
                self.reply(200, {"token": token, "access_token": token, "expires_in": 300,
                                 "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})

            def do_POST(self):
                """OAuth2, which clients try with a refresh token, and go on without."""
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.reply(404, {})

            def reply(self, status, told):
                body = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)
        self.realm = f"{self.url}/token"

    def token(self, user, scopes):
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = kind == "repository" and (user == USER or name == "open")
            name = "other" if self.wrong == "another repository" else name
            access.append({"type": kind, "name": name, "actions": ["pull"] if allowed and "pull" in actions else []})
        claims = {"iss": self.NAME, "sub": user or "", "aud": self.SERVICE, "exp": now + 300, "nbf": now - 10, "iat": now,
                  "jti": os.urandom(8).hex(), "access": access}
        claims |= {"expired": {"exp": now - 300, "nbf": now - 600}, "another audience": {"aud": "another registry"},
                   "another issuer": {"iss": "tokens.example.org"}}.get(self.wrong, {})
        header = {"typ": "JWT", "alg": self.algorithm, **self.header}
        signed = ".".join(encode(json.dumps(part).encode()) for part in [header, claims])
        done = subprocess.run(["openssl", "dgst", "-sha256", "-sign", str(self.key)], input=signed.encode(), check=True,
                              stdout=subprocess.PIPE)
        return f"{signed}.{encode(self.signature(done.stdout))}"

    def signature(self, made):
        """Of ECDSA the two numbers side by side, and not as openssl writes them. Source: RFC 7518, section 3.4."""
        if self.algorithm != "ES256":
            return made
        numbers, rest = b"", made[2:]
        while rest:
            length = rest[1]
            numbers += rest[2:2 + length].lstrip(b"\0").rjust(32, b"\0")
            rest = rest[2 + length:]
        return numbers


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def log_in_and_pull(clients, server, published):
    """What is open, and what is secret with the right password and not without. How many pulls that were."""
    pulls = clients.pull(server.address, "open", published.tags)
    clients.are_refused("without a login", server.address, "secret", published.tags)
    for client, login in clients.logins(server.address, USER, "wrong").items():
        refused(f"a wrong password: {client} login", login)
    clients.log_in(server.address, USER, PASSWORD)
    return pulls + clients.pull(server.address, "secret", published.tags)


def tokens(program, work, docker, published, algorithm):
    folder = work / algorithm
    folder.mkdir()
    with Issuer(folder, algorithm) as issuer:
        flags = ["--token-realm", issuer.realm, "--token-service", issuer.SERVICE, "--token-issuer", issuer.NAME,
                 "--token-keys", issuer.keys]
        with Serving(program, work, published, algorithm, *flags) as server:
            clients = Clients(docker, work, "--tls-verify=false")
            pulls = log_in_and_pull(clients, server, published)
            for issuer.wrong in ["another repository", "expired", "another audience", "another issuer"]:
                given = issuer.given["users"]
                clients.are_refused(f"a token of {issuer.wrong}", server.address, "secret", published.tags)
                assert issuer.given["users"] > given, issuer.given
            issuer.wrong = None
            clients.are_refused("a name that is not there", server.address, "nothing", published.tags)
            pulls += clients.pull(server.address, "secret", published.tags)
            assert "eyJ" not in server.log.read_text(), "a token is in the log"
    print(f"ok    tokens of another issuer, {algorithm}: {pulls} pulls, {issuer.given} tokens", flush=True)


def passwords(program, work, docker, published):
    users = work / "htpasswd"
    parts.run("htpasswd", "-i", "-B", "-C", "6", "-c", users, USER, input=PASSWORD)
    with Serving(program, work, published, "passwords", "--htpasswd", users) as server:
        clients = Clients(docker, work, "--tls-verify=false")
        pulls = log_in_and_pull(clients, server, published)
        waits = guess(server.address)
        for client, login in clients.logins(server.address, USER, "wrong").items():
            refused(f"after many: {client} login", login, ["toomanyrequests", "too many", "429"])
        parts.run("htpasswd", "-D", users, USER)
        parts.wait_for("the user is gone", lambda: status(server.address, PASSWORD)[0] in (401, 429))
        clients.are_refused("a user that was", server.address, "secret", published.tags,
                            [*REFUSALS, "toomanyrequests", "too many", "429"])
        assert PASSWORD not in server.log.read_text()
    print(f"ok    passwords: {pulls} pulls, after {waits} wrong ones one has to wait", flush=True)


def status(address, password):
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()
    request = urllib.request.Request(f"http://{address}/v2/", headers={"Authorization": f"Basic {login}"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def guess(address):
    """Wrong passwords until they are not looked at any more."""
    for count in range(1, 20):
        found, headers = status(address, f"guess {count}")
        if found == 429:
            assert 1 <= int(headers["Retry-After"]) <= 60, headers
            assert status(address, PASSWORD)[0] == 429, "right or wrong is not told"
            return count
        assert found == 401, found
    raise SystemExit("twenty wrong passwords, and none has to wait")


def main():
    if INSIDE not in os.environ:
        alone()
    parts.run("ip", "link", "set", "lo", "up")
    parts.run("ip", "address", "add", f"{ADDRESS}/32", "dev", "lo")
    program = parts.build()
    with tempfile.TemporaryDirectory(prefix="raas-access-") as folder:
        work = pathlib.Path(folder)
        pathlib.Path("/etc/docker").mkdir(exist_ok=True)
        (work / "etc" / "certs.d").mkdir(parents=True)
        parts.run("mount", "--bind", work / "etc", "/etc/docker")
        published = Published(program, work)
        (work / "docker").mkdir()
        with parts.Docker(work / "docker") as docker:
            certificates(program, work, docker, published)
            tokens(program, work, docker, published, "RS256")
            tokens(program, work, docker, published, "ES256")
            passwords(program, work, docker, published)
        parts.run("umount", "/etc/docker")
    print("all passed")


if __name__ == "__main__":
    main()
