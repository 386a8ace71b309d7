"""Runs trials until the time is over, and counts."""

import collections
import dataclasses
import random
import time

from chaos.trials import ENDLESS, STAGES, can_repair
from chaos.world import Place, Violated

MODES = ["folder", "s3", "plain"]


@dataclasses.dataclass
class Report:
    """What was done, and what was violated."""

    seed: int
    counts: collections.Counter
    violations: list
    notes: list
    seconds: float = 0

    def __str__(self):
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts.items())) or "nothing"
        lines = [f"seed {self.seed}: {counts} in {self.seconds:.0f} s: {len(self.violations)} violations"]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"VIOLATED {trial}: {what}" for trial, what in self.violations]
        return "\n".join(lines)


def run(program, work, seed, seconds, stages=None, modes=None, only=None, say=print):
    """Runs the trials of all stages in turn, in an order that the seed decides."""
    begun = time.monotonic()
    report = Report(seed, collections.Counter(), [], [])
    for mode in modes or MODES:
        # Each storage has its share of the time that is left.
        left = len(modes or MODES) - (modes or MODES).index(mode)
        end = time.monotonic() + (begun + seconds - time.monotonic()) / left
        with Place(program, work / mode, mode, seed) as place:
            for trial in trials(place, seed, stages, report):
                if only and only != str(trial):
                    continue
                if not only and time.monotonic() >= end:
                    break
                attempt(place, trial, report, say)
                if only:
                    break
    report.seconds = time.monotonic() - begun
    return report


def attempt(place, trial, report, say):
    try:
        done = trial.run(place)
        report.counts[trial.kind] += done or 1
    except Violated as violated:
        report.counts[trial.kind] += 1
        report.violations.append((trial, violated))
        say(f"VIOLATED {trial}: {violated}")


def trials(place, seed, stages, report):
    """The trials of a storage: one of each stage in turn. A stage with an end is in random order."""
    running = []
    for name, stage in STAGES.items():
        if stages and name not in stages:
            continue
        noise = random.Random(f"{seed} {place.mode} {name}")
        if name == "flip" and not can_repair(place):
            note = "the flips are not done: this raas has no `setup --repair`"
            report.notes += [note] if note not in report.notes else []
            continue
        found = stage(place, noise)
        if name not in ENDLESS:
            found = list(found)
            noise.shuffle(found)
        running.append(iter(found))
    while running:
        for one in list(running):
            trial = next(one, None)
            if trial is None:
                running.remove(one)
            else:
                yield trial
