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


def test_remove_with_a_wrong_name_removes_nothing(raas):
    raas("push", "acme", "app", "--from", FIXTURES / "docker-save.tar")
    for answer, code in [("acmee", 2), ("", 2), ("acme", 0)]:
        controller, terminal = pty.openpty()
        child = subprocess.Popen(
            raas.command("remove", "acme"), stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        os.close(terminal)
        os.write(controller, f"{answer}\n".encode())
        out, error = child.communicate(timeout=60)
        os.close(controller)
        assert child.returncode == code, error
        listed = raas("list", "acme")
        if code:
            assert b"the answer is not acme: nothing was removed" in error
            assert "app" in listed
        else:
            assert b"Took app out of the registry" in out
            assert "app" not in listed
