"""Runs trials in several processes until the time is over, and counts."""

import collections
import dataclasses
import multiprocessing
import os
import queue
import random
import time
import traceback
import zlib

from chaos.stages import STAGES
from chaos.world import Place, Violated

# Each storage with its share of the time: a folder has no requests that could fail.
MODES = {"folder": 1, "s3": 2, "plain": 2}
# The names that `--only` looks through.
MOST_NAMES = 200_000


@dataclasses.dataclass(frozen=True)
class Options:
    """What is tried. `keep` is a folder for the homes and buckets of violated trials."""

    program: object
    work: object
    seed: int
    seconds: float
    stages: list = None
    modes: list = None
    only: str = None
    lanes: int = (os.cpu_count() or 1) + 1
    keep: object = None


@dataclasses.dataclass
class Report:
    """What was done, and what was violated."""

    seed: int
    counts: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    violations: list = dataclasses.field(default_factory=list)
    seconds: float = 0

    def __str__(self):
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts.items())) or "nothing"
        lines = [f"seed {self.seed}: {counts} in {self.seconds:.0f} s: {len(self.violations)} violations"]
        lines += [f"VIOLATED {trial}: {what}" for trial, what in self.violations]
        return "\n".join(lines)


def run(options, say=print, every=60):
    """Runs the trials of all stages in turn, in an order that the seed decides. Says the counts sometimes."""
    begun = said = time.monotonic()
    report = Report(options.seed)
    # A lane is a process: what a trial waits for keeps no other lane waiting.
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    numbers = range(1 if options.only else options.lanes)
    lanes = [context.Process(target=lane, args=(options, at, done), daemon=True) for at in numbers]
    for one in lanes:
        one.start()
    running = len(lanes)
    while running:
        try:
            event = done.get(timeout=1)
        except queue.Empty:
            if all(one.exitcode is not None for one in lanes) and done.empty():
                raise RuntimeError(f"{running} lanes of the harness died") from None
            continue
        if event is None:
            running -= 1
            continue
        kind, count, trial, violated = event
        if kind:
            report.counts[kind] += count
        if violated:
            report.violations.append((trial, violated))
            say(f"VIOLATED {trial}: {violated}")
        report.seconds = time.monotonic() - begun
        if time.monotonic() >= said + every:
            said = time.monotonic()
            say(str(report).splitlines()[0])
    for one in lanes:
        one.join()
    report.seconds = time.monotonic() - begun
    return report


def lane(options, number, done):
    """Runs this lane's trials of each storage for its share of the time."""
    try:
        begun = time.monotonic()
        modes = [mode for mode in MODES if mode in (options.modes or MODES)]
        if options.only:
            modes = [mode for mode in modes if options.only.startswith(f"{mode}:")]
        # The lanes begin with different storages.
        modes = modes[number % len(modes) :] + modes[: number % len(modes)] if modes else []
        for at, mode in enumerate(modes):
            share = MODES[mode] / sum(MODES[left] for left in modes[at:])
            end = time.monotonic() + (begun + options.seconds - time.monotonic()) * share
            with Place(options.program, options.work / f"{mode}-{number}", mode, options.seed) as place:
                for trial in own_trials(options, place, number):
                    if not options.only and time.monotonic() >= end:
                        break
                    done.put(attempt(options, place, trial))
    except Exception:
        done.put(("", 0, f"lane {number} of the harness", traceback.format_exc()))
    done.put(None)


def attempt(options, place, trial):
    """Runs a trial. Returns what the report needs."""
    try:
        return trial.kind, trial.run(place) or 1, str(trial), None
    except Violated as found:
        violated = str(found)
    except Exception:
        # What nobody has foreseen does not hold either.
        violated = traceback.format_exc()
    if options.keep:
        place.keep(options.keep / str(trial).replace(":", "-"))
    return trial.kind, 1, str(trial), violated


def own_trials(options, place, number):
    """The trials of a lane: each trial belongs to one, by its name."""
    if options.only:
        for _, trial in zip(range(MOST_NAMES), trials(options, place, lambda trial: True), strict=False):
            if str(trial) == options.only:
                yield trial
                return
        return
    yield from trials(options, place, lambda trial: zlib.crc32(str(trial).encode()) % options.lanes == number)


def trials(options, place, is_own):
    """The trials of a storage: of each stage in turn, as often as its weight says."""
    running = []
    for name, stage in STAGES.items():
        if options.stages and name not in options.stages:
            continue
        noise = random.Random(f"{options.seed} {place.mode} {name}")
        found = stage.trials(place, noise)
        if not stage.endless:
            found = list(found)
            noise.shuffle(found)
        # The first turn has a trial of each stage, so that a short run has made all kinds.
        running.append([filter(is_own, found), stage.weight, max(0.0, 1 - stage.weight)])
    while running:
        for one in list(running):
            one[2] += one[1]
            while one[2] >= 1:
                one[2] -= 1
                if (trial := next(one[0], None)) is None:
                    running.remove(one)
                    break
                yield trial
