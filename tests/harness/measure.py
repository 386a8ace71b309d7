"""Memory, processor time and open files of processes, from /proc."""

import os
import pathlib

MIB = 1 << 20


def memory(pid, key="VmRSS"):
    """Resident memory of a process in bytes; `VmHWM` is its peak."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith(key)).split()[1]) * 1024


def processor_seconds(pid):
    """Processor time that a process has used, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def open_files(pid):
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))
