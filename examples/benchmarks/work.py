"""What a benchmark is: some work, the sides that do it, and how they should compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from examples.benchmarks.timing import Step


class Against(NamedTuple):
    """One line of the table: `ours` over `theirs`, which should be at most `goal`."""

    theirs: str
    goal: float | None = None
    ours: str = "NumPy"


class Work(NamedTuple):
    """Work that several sides do: `sides()` makes the data and gives each side's step.

    `quick` says whether --quick does it too; where `needs` names a package that is not
    installed, the work is left out.
    """

    name: str
    title: str
    sides: Callable[[], dict[str, Step]]
    lines: list[Against]
    quick: bool = False
    needs: str | None = None
