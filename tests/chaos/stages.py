"""The stages: kinds of trials, and how often each has its turn."""

import dataclasses
from collections.abc import Callable

from chaos import power
from chaos.faults import faults, faults_of_readers
from chaos.flips import flips, kills_of_repairs
from chaos.kills import kills_at_calls, kills_at_requests, kills_at_times, kills_in_a_row, signals
from chaos.operators import operators
from chaos.trial import Trial


def losses_of_power(place, noise):
    """After a loss of power at each system call of a push, what was synced is a whole publication."""
    if place.mode == "folder":
        yield Trial("power", "prefixes", place.mode, power.check)


@dataclasses.dataclass(frozen=True)
class Stage:
    """`trials(place, noise)` makes trials; `weight` is how many of them one turn of all stages has."""

    trials: Callable
    weight: float
    # Whether it makes new trials for as long as there is time. Otherwise its trials come in random order.
    endless: bool = False


STAGES = {
    "power": Stage(losses_of_power, 1),
    "operators": Stage(operators, 0.1, endless=True),
    "kill-request": Stage(kills_at_requests, 1.5),
    "kill-request-large": Stage(lambda place, noise: kills_at_requests(place, noise, "large"), 0.5),
    "kill-call": Stage(kills_at_calls, 1.5),
    "kill-time": Stage(kills_at_times, 0.5, endless=True),
    "kill-row": Stage(kills_in_a_row, 1.5, endless=True),
    "kill-repair": Stage(kills_of_repairs, 0.5, endless=True),
    "signal": Stage(signals, 0.5, endless=True),
    "fault": Stage(faults, 10),
    "fault-of": Stage(faults_of_readers, 2),
    "flip": Stage(flips, 4, endless=True),
}
