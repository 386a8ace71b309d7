"""Releases that `deploy/dist.py` makes of a program that is built already."""

import sys

from harness.packages import ROOT
from harness.process import run


def dist(program, folder, *words):
    """Makes a release in a folder. It hardly compresses, to be quick."""
    command = [sys.executable, ROOT / "deploy" / "dist.py", "--program", program, "--level", "0", *words]
    run(*command, folder)
    return folder


def only(folder, pattern):
    """The one path that fits."""
    (path,) = folder.glob(pattern)
    return path
