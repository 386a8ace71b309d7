"""Kills, faults, signals, operators, flipped bits and losses of power, again and again, against raas.

Prints what was done and what was violated; the exit code is 1 if something was. The seed decides everything
but the scheduling of the machine: `--seed S --only NAME` runs one trial again.
"""

import argparse
import pathlib
import sys
import tempfile
import time

from chaos.run import MODES, Options, run
from chaos.stages import STAGES
from harness.raas import build


def main():
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=120, help="how long [default: 120]")
    parser.add_argument("--seed", type=int, help="the seed [default: the time]")
    parser.add_argument(
        "--raas", type=pathlib.Path, help="the program [default: a build with the profile e2e]"
    )
    parser.add_argument("--stage", action="append", choices=STAGES, help="only this stage; may be repeated")
    parser.add_argument("--mode", action="append", choices=MODES, help="only this storage; may be repeated")
    parser.add_argument("--only", metavar="NAME", help="only this trial, such as s3:kill-new-after-7")
    parser.add_argument(
        "--lanes", type=int, default=Options.lanes, help="trials at once [default: one more than processors]"
    )
    parser.add_argument("--work", type=pathlib.Path, help="where homes lie [default: a temporary folder]")
    parser.add_argument("--keep", type=pathlib.Path, help="where what violated trials leave is copied to")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raas-chaos-", dir=words.work) as work:
        options = Options(
            program=(words.raas or build("e2e")).resolve(),
            work=pathlib.Path(work),
            seed=int(time.time()) if words.seed is None else words.seed,
            seconds=words.minutes * 60,
            stages=words.stage,
            modes=words.mode,
            only=words.only,
            lanes=words.lanes,
            keep=words.keep,
        )
        report = run(options, say=lambda line: print(line, flush=True))
    print(report)
    sys.exit(1 if report.violations else 0)


if __name__ == "__main__":
    main()
