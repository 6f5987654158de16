"""What a case makes of code that is wrong, or written otherwise: caught, told apart, let pass.

A case has places: everything that it compares in float64, one after the other. A mistake is caught
if it is outside the budget in one of them. Two mistakes are told apart if somewhere they are far
more than a budget from each other, so that whoever makes one is not told it was the other. A
rewrite is right, and must be inside the budget everywhere.

What torch gives at a place, and how far rounding moves it, is found once for all stand-ins.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from parity_tests.harness.budget import (
    JITTERS,
    SECOND_LOOK,
    Array,
    Arrays,
    Deviation,
    Known,
    Run,
    budgets_apart,
    by_chance,
    compare,
    hold,
    measure,
)

if TYPE_CHECKING:
    from parity_tests.harness.case import Case, Check, Log, Settings

FAR = 1e3
"""How many budgets two mistakes must be apart somewhere."""


class Place:
    """Where stand-ins are tried. `known` is what is right there, and what rounding moves."""

    name: str
    by_step: bool = False

    def run(self, case: Any) -> Arrays:
        """What a case computes here; it may be one with a stand-in."""
        raise NotImplementedError

    def measure(self) -> Known:
        """What the reference computes here."""
        raise NotImplementedError

    @functools.cached_property
    def known(self) -> Known:
        """What `measure` found, once."""
        return self.measure()

    def found(self, case: Any) -> Arrays | str:
        """What a case computes here, or what it raised."""
        try:
            with np.errstate(all="ignore"):
                return self.run(case)
        except Exception as error:
            return said(error)

    def deviations(self, case: Any) -> list[Deviation]:
        """Everything a case computes here against its budget; what it raised is a deviation."""
        return self.judge(self.found(case))

    def judge(self, found: Arrays | str) -> list[Deviation]:
        """What was found here against its budget."""
        if isinstance(found, str):
            return [Deviation("raised", "float64", 0, 0, 0, 0, (), 0, 0, problem=found)]
        try:
            held = hold(found, self.known, "float64", self.by_step)
            return self.again(found) if by_chance(held) else held
        except AssertionError as error:  # not the same tensors
            return [Deviation("contract", "float64", 0, 0, 0, 0, (), 0, 0, problem=str(error))]

    def again(self, found: Arrays) -> list[Deviation]:
        """A closer look at what is outside the budget by little."""
        return hold(found, self.known, "float64", self.by_step)

    def far_apart(self, a: Arrays | str, b: Arrays | str) -> bool:
        """Whether what two stand-ins computed here cannot be taken for each other."""
        if isinstance(a, str) or isinstance(b, str):
            return isinstance(a, str) != isinstance(b, str)
        return budgets_apart(a, b, self.known, self.by_step) >= FAR


@dataclass(eq=False)
class Compared(Place):
    """A place where the same arrays go through both sides.

    `ours` is handed the case, and so runs with a stand-in too.
    """

    name: str
    ours: Callable[[Any, Arrays], Arrays]
    theirs: Run
    given: Arrays
    seed: int = 0
    by_step: bool = False
    jitters: int = JITTERS
    nearby: Run | None = None

    def run(self, case: Any) -> Arrays:
        """The NumPy side of a case."""
        return self.ours(case, {k: x.copy() for k, x in self.given.items()})

    def measure(self) -> Known:
        """torch, and what one ulp moves."""
        return measure(self.theirs, self.given, self.seed, self.jitters, self.nearby)

    def again(self, found: Arrays) -> list[Deviation]:
        """With more of what one ulp moves."""
        closer = measure(self.theirs, self.given, self.seed, SECOND_LOOK, self.nearby)
        return hold(found, closer, "float64", self.by_step)

    def compare(self, case: Any, dtype: str) -> list[Deviation]:
        """Both sides in this dtype, every tensor against its budget."""
        ours = functools.partial(self.ours, case)
        return compare(
            ours, self.theirs, self.given, dtype, self.seed, self.by_step, self.jitters, self.nearby
        )


class Bench:
    """The places of a case, made as they are needed and kept, and its stand-ins at them.

    What a mistake computes at a place is kept until they all have been told apart.
    """

    def __init__(self, case: Case, settings: Settings) -> None:
        self.case, self.settings = case, settings
        self._made: list[Place] = []
        self._rest = case.places(settings)
        self._found: dict[tuple[Place, str], Arrays | str] = {}

    def places(self) -> Iterator[Place]:
        """All of them, in order."""
        for i in itertools.count():
            if i == len(self._made):
                place = next(self._rest, None)
                if place is None:
                    return
                self._made.append(place)
            yield self._made[i]

    def catches(self, name: str) -> bool:
        """Whether a mistake is outside the budget somewhere."""
        return any(
            not all(d.passed for d in place.judge(self._mistaken(name, place)))
            for place in self.places()
        )

    def rejected(self, name: str) -> tuple[Place, list[Deviation]] | None:
        """Where a rewrite, which is right, is outside the budget."""
        other = self.case.standing_in(self.case.rewrites[name])
        for place in self.places():
            deviations = place.deviations(other)
            if not all(d.passed for d in deviations):
                return place, deviations
        return None

    def together(self) -> list[tuple[str, str]]:
        """The pairs of mistakes that are nowhere far apart."""
        left = list(itertools.combinations(self.case.mistakes, 2))
        for place in self.places() if left else ():
            found = {n: self._mistaken(n, place) for n in {n for pair in left for n in pair}}
            left = [(a, b) for a, b in left if not place.far_apart(found[a], found[b])]
            if not left:
                break
        self._found.clear()
        return left

    def _mistaken(self, name: str, place: Place) -> Arrays | str:
        """What a mistake computes at a place."""
        if (place, name) not in self._found:
            wrong = self.case.standing_in(self.case.mistakes[name].stand_in)
            self._found[place, name] = place.found(wrong)
        return self._found[place, name]


def trials(case: Case, settings: Settings) -> Iterator[Check]:
    """The checks that try the suite itself: rewrites pass, mistakes are caught and told apart."""
    from parity_tests.harness.case import Check

    bench = Bench(case, settings)
    for name in case.rewrites:
        yield Check(f"passes[{name}]", functools.partial(_passes, bench, name))
    for name in case.mistakes:
        yield Check(f"catches[{name}]", functools.partial(_catches, bench, name))
    if len(case.mistakes) > 1:
        yield Check("tells mistakes apart", functools.partial(_tells_apart, bench))


def _passes(bench: Bench, name: str, log: Log) -> None:
    rejected = bench.rejected(name)
    log.require(rejected is None, "")
    if rejected is not None:
        place, deviations = rejected
        log.failures[-1] = f"{name!r} is right, yet"
        log.compare(deviations, place.name)


def _catches(bench: Bench, name: str, log: Log) -> None:
    log.require(bench.catches(name), f"the mistake {name!r} passes every comparison")


def _tells_apart(bench: Bench, log: Log) -> None:
    """Whoever makes one mistake must not be told it was another."""
    log.require(True, "")
    for a, b in bench.together():
        log.require(False, f"the mistakes {a!r} and {b!r} are nowhere {FAR:g} budgets apart")


def said(what: BaseException | str) -> str:
    """What was raised or said, the same in every process."""
    text = what if isinstance(what, str) else f"{type(what).__name__}: {what}"
    return re.sub(r"0x[0-9a-f]+", "0x", text)


__all__ = ["FAR", "Array", "Bench", "Compared", "Place", "trials"]
