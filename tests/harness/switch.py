"""A switch before several servers, as a load balancer is: each new connection goes to one that is ready."""

import contextlib
import itertools
import socket
import threading
import time
import urllib.error
import urllib.request

PIECE = 1 << 16


class Switch:
    """A switch on a free port until the end of the `with`. It looks at `/-/readyz` of each server."""

    LOOK = 0.1

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.servers, self.ready, self.over = [], [], threading.Event()
        self.turns = itertools.count()

    def __enter__(self):
        for work in (self.accept, self.look):
            threading.Thread(target=work, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.listener.close()

    def add(self, port):
        """Adds a server, which gets connections once it is ready."""
        self.servers = [*self.servers, port]

    def remove(self, port):
        """Forgets a server that has ended."""
        self.servers = [known for known in self.servers if known != port]

    def look(self):
        while not self.over.is_set():
            self.ready = [port for port in self.servers if is_ready(port)]
            time.sleep(self.LOOK)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self.join, args=[client], daemon=True).start()

    def join(self, client):
        """Copies bytes both ways until one side ends."""
        ready = self.ready
        with client:
            if not ready:
                return
            port = ready[next(self.turns) % len(ready)]
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), timeout=10) as server,
            ):
                server.settimeout(None)
                back = threading.Thread(target=copy, args=[server, client], daemon=True)
                back.start()
                copy(client, server)
                back.join()


def copy(source, target):
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def is_ready(port):
    """Whether a server says that it may get connections."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/readyz", timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False
