"""A trial: something to try, with a name that reproduces it."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Trial:
    """Something to try. `kind` is what the summary counts: kills, faults, signals, rounds, flips, prefixes.

    `run(place)` raises `Violated` if something does not hold. It returns how many of its kind it has done, if
    not one.
    """

    name: str
    kind: str
    mode: str
    run: Callable

    def __str__(self):
        return f"{self.mode}:{self.name}"
