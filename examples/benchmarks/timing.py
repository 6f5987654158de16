"""Time several ways to do the same work, turn by turn, so that a busy machine slows all alike."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import quantiles
from typing import NamedTuple

Step = Callable[[], object]


@dataclass(frozen=True)
class Turn:
    """What one step cost, averaged over the steps of one turn."""

    cpu: float
    wall: float
    faults: float


class Quartiles(NamedTuple):
    """The values a quarter, half and three quarters of the way through the sorted ones."""

    low: float
    median: float
    high: float


def quartiles(values: Iterable[float]) -> Quartiles:
    """Where the values lie.

    Raises:
        ValueError: there are none.
    """
    values = list(values)
    if not values:
        raise ValueError("quartiles of nothing: wanted at least one value")
    if len(values) == 1:
        return Quartiles(values[0], values[0], values[0])
    return Quartiles(*quantiles(values, n=4, method="inclusive"))


def ratios(ours: list[Turn], theirs: list[Turn], clock: str = "cpu") -> list[float]:
    """Our cost over theirs, the turns of each round against each other: what drifts cancels."""
    return [getattr(a, clock) / getattr(b, clock) for a, b in zip(ours, theirs, strict=True)]


def interleave(
    sides: Mapping[str, Step], rounds: int, seconds: float = 0.03
) -> dict[str, list[Turn]]:
    """Give each side a turn of about `seconds` in every round: A B C, C B A, A B C, ...

    The order turns round so that no side always runs in the other's wake. A turn begins with a
    step that is not timed, which brings the side's own data back into the caches, and takes as
    many steps in every round. The garbage collector waits meanwhile.

    Raises:
        ValueError: no sides, or fewer rounds than one.
    """
    if not sides or rounds < 1:
        raise ValueError(f"wanted sides and at least one round, got {len(sides)} and {rounds}")
    steps = {name: _steps_in(step, seconds) for name, step in sides.items()}
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            order = list(sides) if number % 2 == 0 else list(sides)[::-1]
            for name in order:
                turns[name].append(_turn(sides[name], steps[name]))
    finally:
        if collecting:
            gc.enable()
    return turns


def _steps_in(step: Step, seconds: float) -> int:
    """How many steps fill a turn, by the second fastest of a few: the first ones warm up."""
    for _ in range(2):
        step()
    tries = sorted(_turn(step, 1).wall for _ in range(3))
    return max(1, round(seconds / max(tries[1], 1e-7)))


def _turn(step: Step, steps: int) -> Turn:
    step()
    faults, cpu, wall = page_faults(), time.process_time(), time.perf_counter()
    for _ in range(steps):
        step()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    # A clock may be too coarse for one short step; nothing takes no time.
    tick = 1e-9
    return Turn(max(cpu, tick) / steps, max(wall, tick) / steps, (page_faults() - faults) / steps)


def page_faults() -> int:
    """Pages mapped into this process so far: each costs about as much as filling it does."""
    if sys.platform == "win32":  # keeps no such count
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
