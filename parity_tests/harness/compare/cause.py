"""A cause, and all that a diagnosis found."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cause:
    """One cause: where it shows, what it is, how exactly it gives the user's numbers.

    `explains` are the places it accounts for; `residual` is the largest distance from the user's
    numbers as a share of them, `runner_up` the next best guess with its residual.
    """

    label: str
    text: str
    kind: str
    residual: float
    explains: tuple[str, ...] = ()
    runner_up: str = ""
    runner_up_residual: float = math.inf
    also: tuple[str, ...] = ()


@dataclass
class Diagnosis:
    """Causes in the order they were found, what could not be explained, and what was seen."""

    causes: list[Cause] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    passed_on: list[str] = field(default_factory=list)
    evidence: list[str] = field(default_factory=list)
