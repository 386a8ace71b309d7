"""Commands, programs in the background, ports and waiting. Everything has a time limit."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import time

from harness.packages import program

# Processes that run, or ended since the test began: a failing test shows their logs.
STARTED = []
LOG_LINES = 60


class CommandFailed(AssertionError):
    """A command ended with another exit code than 0."""


class NotInTime(AssertionError):
    """A condition did not hold within its time limit."""


def words(command):
    """The words of a command as text, with the path of its program."""
    first, *rest = map(str, command)
    return [first if "/" in first else program(first), *rest]


def run(*command, timeout=300, **options):
    """Runs a command and returns its output; fails with the whole output if the command fails."""
    done = result(*command, timeout=timeout, **options)
    if done.returncode != 0:
        raise CommandFailed(
            f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stdout}{done.stderr}"
        )
    return done.stdout


def result(*command, timeout=300, text=True, **options):
    """Runs a command that may fail; returns its exit code, output and errors."""
    return subprocess.run(words(command), capture_output=True, text=text, timeout=timeout, **options)


def wait_for(what, condition, seconds=30, pause=0.05, process=None):
    """Waits until a condition holds, and returns its value; fails at once if `process` ends before."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        if process and process.child.poll() is not None:
            raise NotInTime(
                f"{what}: the process ended with {process.child.returncode}:\n{process.last_lines()}"
            )
        time.sleep(pause)
    raise NotInTime(f"{what}: not within {seconds} s\n{process.last_lines() if process else ''}")


class Process:
    """A program in the background, in a process group of its own."""

    def __init__(self, command, log, env=None):
        self.name, self.log = pathlib.Path(str(command[0])).name, pathlib.Path(log)
        with self.log.open("wb") as output:
            self.child = subprocess.Popen(
                words(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        STARTED.append(self)

    @property
    def pid(self):
        return self.child.pid

    def stop(self):
        """Ends the program, with its children if it does not end in time."""
        self.child.terminate()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()

    def last_lines(self):
        """The end of its log. `/dev/full` and the like have none."""
        if not self.log.is_file():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])


@contextlib.contextmanager
def running(command, log, env=None, ready=None, seconds=30):
    """A program in the background until the end of the `with`, from the moment that `ready` holds."""
    process = Process(command, log, env)
    try:
        if ready:
            wait_for(process.name, ready, seconds, process=process)
        yield process
    finally:
        process.stop()


def free_port():
    """A port that was free a moment ago, for programs that cannot be given port 0."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def listens(port, host="127.0.0.1"):
    """Whether a connection to a port is accepted."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
        return True
    return False
