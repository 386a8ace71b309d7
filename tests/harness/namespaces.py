"""A network and mounts of the tests' own, so that a test may change addresses and /etc without a trace."""

import contextlib
import ctypes
import os

from harness.process import run

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000


@contextlib.contextmanager
def own_network_and_mounts(address):
    """Moves this thread, and what it starts, into new namespaces until the end of the `with`. Needs root.

    The new network has loopback and one more address, and no way out. Mounts are not seen outside.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(name, *arguments):
        if getattr(libc, name)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")

    with contextlib.ExitStack() as stack:
        folder = os.getcwd()
        before = {
            kind: os.open(f"/proc/thread-self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            for kind, name in [(CLONE_NEWNET, "net"), (CLONE_NEWNS, "mnt")]
        }
        for descriptor in before.values():
            stack.callback(os.close, descriptor)
        call("unshare", CLONE_NEWNET | CLONE_NEWNS)
        try:
            run("mount", "--make-rprivate", "/")
            run("ip", "link", "set", "lo", "up")
            run("ip", "address", "add", f"{address}/32", "dev", "lo")
            yield
        finally:
            for kind, descriptor in before.items():
                call("setns", descriptor, kind)
            os.chdir(folder)
