"""The example of the README."""

import os
import signal

from harness.packages import ROOT
from harness.process import free_port, running, wait_for


def test_try_sh(program, clients, all_samples, tmp_path):
    """It serves the sample until it is interrupted, and removes its folder."""
    port, folder = free_port(), tmp_path / "tmp"
    folder.mkdir()
    environment = os.environ | {"RAAS_PROGRAM": str(program), "TMPDIR": str(folder)}
    with running(["sh", ROOT / "examples" / "try.sh", port], tmp_path / "try.log", environment) as example:
        wait_for("the example", lambda: "Ctrl-C" in example.log.read_text(), process=example)
        assert list(folder.iterdir()), "the example has no temporary folder"
        clients.pull(f"127.0.0.1:{port}", "bigdata-app", all_samples["pulp2"].tags)
        example.child.send_signal(signal.SIGINT)
        assert example.child.wait(30) == 130
    assert list(folder.iterdir()) == []
