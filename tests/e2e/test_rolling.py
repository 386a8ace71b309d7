"""A rolling update: servers are replaced one by one behind a switch, while a client pulls without end.

The client tries nothing again.
"""

import signal

import pytest

from harness.process import free_port, running, wait_for
from harness.puller import RANGES, Puller, one_layer
from harness.switch import Switch, is_ready

# As long as the switch may take to notice that a server stops being ready, and more.
DRAIN = 1


@pytest.fixture
def image(tmp_path):
    """Metadata and objects of an image with one layer, and the path of its manifest."""
    return one_layer(tmp_path)


@pytest.mark.parametrize("restarts", [6, pytest.param(50, marks=pytest.mark.long)])
def test_no_pull_breaks(program, tmp_path, image, restarts):
    command = [program, "serve", "acme", "--metadata", tmp_path / "tree", "--bucket", tmp_path / "bucket"]

    def start(number):
        port = free_port()
        more = ["--listen", f"127.0.0.1:{port}", "--drain-delay", str(DRAIN), "--no-access-log"]
        return port, running([*command, *more], tmp_path / f"{number}.log")

    with Switch() as switch:
        running_servers = []
        for number in range(2):
            port, context = start(number)
            running_servers.append((port, context, context.__enter__()))
            wait_for("raas serve", lambda port=port: is_ready(port))
            switch.add(port)
        wait_for("the switch", lambda: len(switch.ready) == 2)
        clients = [Puller(switch.port, image) for _ in range(3)]
        for client in clients:
            client.start()
        try:
            for number in range(2, 2 + restarts):
                port, context = start(number)
                running_servers.append((port, context, context.__enter__()))
                wait_for("raas serve", lambda port=port: is_ready(port))
                switch.add(port)
                wait_for("the switch", lambda port=port: port in switch.ready)
                old, _, process = running_servers.pop(0)
                process.child.send_signal(signal.SIGTERM)
                assert process.child.wait(60) == 0
                switch.remove(old)
        finally:
            for client in clients:
                client.over.set()
            for client in clients:
                client.join(60)
            for _, context, _ in running_servers:
                context.__exit__(None, None, None)
    pulls, broken = sum(client.pulls for client in clients), [b for client in clients for b in client.broken]
    print(f"{restarts} restarts, {pulls} pulls of {RANGES} ranges, {len(broken)} broken")
    assert pulls > restarts
    assert broken == []
