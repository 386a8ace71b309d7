"""What people see on a terminal."""

import os
import pty
import signal
import subprocess

from harness.process import wait_for
from harness.samples import FIXTURES

# What a terminal shows or hides its cursor by, and what clears a line. Source: ECMA-48 and xterm.
HIDE, SHOW, CLEAR = b"\x1b[?25l", b"\x1b[?25h", b"\x1b[2K"


def test_an_interrupted_push_leaves_a_clean_terminal(raas):
    """Ctrl-C while a bar is drawn: the bar is gone, the cursor is there, and the last line stands alone."""
    archive = (FIXTURES / "docker-save.tar").read_bytes()
    controller, terminal = pty.openpty()
    command = raas.command("push", "acme", "app", "--from", "-")
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=terminal, stderr=terminal)
    os.close(terminal)
    os.set_blocking(controller, False)
    seen = bytearray()

    def drawn():
        try:
            while piece := os.read(controller, 65536):
                seen.extend(piece)
        except (BlockingIOError, OSError):
            pass
        return b"reading" in seen

    try:
        child.stdin.write(archive[: len(archive) // 2])
        child.stdin.flush()
        wait_for("a bar", drawn, 60)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 128 + signal.SIGINT
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
    drawn()
    os.close(controller)
    before, line = bytes(seen).rsplit(b"Interrupted by SIGINT", 1)
    assert b"nothing was published" in line, seen
    assert before.rfind(CLEAR) > before.rfind(b"reading"), seen
    assert before.rfind(HIDE) <= before.rfind(SHOW), seen
