"""What a run found, small enough to print, draw and write down: one result a check."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from parity_tests.harness.budget import Deviation
from parity_tests.harness.case import Curve, Log, Settings

GROUPS = ("forward", "gradient", "step")
"""The columns of the printed table. Buffers, optimizer state and trajectories count as steps."""


def group(kind: str) -> str:
    """The column that a kind of comparison is shown in."""
    return kind if kind in GROUPS else "step"


class Recorder(Log):
    """A log that also knows where each comparison was made."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[int, str] = {}

    def compare(self, deviations: list[Deviation], where: str) -> None:
        """Take in compared tensors, and remember the place by name."""
        super().compare(deviations, where)
        self.places.update((id(d), where) for d in deviations)

    def worst(self) -> list[Worst]:
        """The worst comparison of each kind and dtype."""
        found: dict[tuple[str, str], Worst] = {}
        for d in self.deviations:
            units = math.inf if d.problem or math.isnan(d.units) else d.units
            key = d.kind, d.dtype
            if key not in found or units > found[key].units:
                place = self.places.get(id(d), "")
                found[key] = Worst(d.kind, d.dtype, units, d.label, place, str(d))
        return list(found.values())


@dataclass(frozen=True)
class Worst:
    """One comparison: `units` is its difference as a share of what was allowed."""

    kind: str
    dtype: str
    units: float
    label: str
    where: str
    text: str


@dataclass(frozen=True)
class CheckResult:
    """What one check found. `failures` are complete sentences; none means that it passed."""

    name: str
    comparisons: int = 0
    rules: int = 0
    seconds: float = 0.0
    worst: tuple[Worst, ...] = ()
    failures: tuple[str, ...] = ()
    curves: tuple[Curve, ...] = ()


@dataclass(frozen=True)
class Technique:
    """A case by name, and the names of its checks; `problem` says why there are none."""

    chapter: str
    name: str
    stem: str
    module: str
    case: str
    summary: str = ""
    checks: tuple[str, ...] = ()
    problem: str = ""

    @property
    def twin(self) -> str:
        """The path of its file on either side, below numpy_impl or torch_impl."""
        return f"{self.chapter}/{self.stem}.py"


@dataclass
class Outcome:
    """A technique and what its checks found so far, by their place in its list."""

    technique: Technique
    found: dict[int, CheckResult] = field(default_factory=dict)

    def forget(self, raised: str) -> None:
        """Take back the results of checks that this stopped."""
        self.found = {
            i: r
            for i, r in self.found.items()
            if not any(text.startswith(raised) for text in r.failures)
        }

    @property
    def results(self) -> list[CheckResult]:
        """The results in the order of the checks, however the workers finished."""
        results = [self.found[i] for i in sorted(self.found)]
        if self.technique.problem:
            results.append(CheckResult("cannot be run", failures=(self.technique.problem,)))
        return results

    @property
    def finished(self) -> bool:
        """Whether every check has run."""
        return len(self.found) == len(self.technique.checks)

    @property
    def failed(self) -> list[CheckResult]:
        """The results that failed."""
        return [r for r in self.results if r.failures]

    @property
    def failures(self) -> list[tuple[CheckResult, int]]:
        """One failed result for each way of failing, and how many more say just the same."""
        alike: dict[tuple[str, ...], list[CheckResult]] = {}
        for result in self.failed:
            alike.setdefault(result.failures, []).append(result)
        return [(results[0], len(results) - 1) for results in alike.values()]

    @property
    def verdict(self) -> str:
        """One word: agrees, FAILS, or stopped where the run was interrupted."""
        if self.failed:
            return "FAILS"
        return "agrees" if self.finished else "stopped"

    @property
    def comparisons(self) -> int:
        """How many tensors were compared."""
        return sum(r.comparisons for r in self.results)

    @property
    def rules(self) -> int:
        """How many rules were tried that are not comparisons of numbers."""
        return sum(r.rules for r in self.results)

    @property
    def seconds(self) -> float:
        """Processor time, more or less."""
        return sum(r.seconds for r in self.results)

    def worst(self, dtype: str, kinds: Iterable[str]) -> tuple[Worst, str] | None:
        """The worst comparison of those kinds, and the check that made it."""
        wanted = set(kinds)
        made = [(w, r.name) for r in self.results for w in r.worst]
        made = [(w, name) for w, name in made if w.dtype == dtype and w.kind in wanted]
        return max(made, key=lambda pair: pair[0].units, default=None)

    def in_group(self, dtype: str, column: str) -> float | None:
        """The largest deviation in a column of the table, in budgets; None if there is none."""
        units = [
            w.units
            for r in self.results
            for w in r.worst
            if w.dtype == dtype and group(w.kind) == column
        ]
        return max(units, default=None)


@dataclass
class Run:
    """A whole run: what was asked for, what came out, and where."""

    settings: Settings
    outcomes: list[Outcome]
    seconds: float = 0.0
    jobs: int = 1
    interrupted: bool = False
    command: str = "parity run"
    machine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> list[Outcome]:
        """The techniques with a failure."""
        return [o for o in self.outcomes if o.failed]

    @property
    def comparisons(self) -> int:
        """How many tensors were compared in all."""
        return sum(o.comparisons for o in self.outcomes)

    @property
    def rules(self) -> int:
        """How many rules were tried in all."""
        return sum(o.rules for o in self.outcomes)

    def worst(self) -> tuple[Outcome, Worst, str] | None:
        """The comparison nearest to its budget, or farthest beyond: whose, which, made where."""
        made = [(o, w, r.name) for o in self.outcomes for r in o.results for w in r.worst]
        return max(made, key=lambda triple: triple[1].units, default=None)

    def rerun(self, outcome: Outcome, result: CheckResult) -> str:
        """The command that runs this technique again as it ran here."""
        dtypes = [d for d in ("float64", "float32") if d in result.name]
        if len(self.settings.dtypes) == 1:
            dtypes = list(self.settings.dtypes)
        words = ["parity run", outcome.technique.name, f"--seed {self.settings.seed}"]
        words += [f"--dtype {dtypes[0]}"] if len(dtypes) == 1 else []
        words += ["--quick"] if self.settings.quick else []
        return " ".join(words)


def units_text(units: float | None) -> str:
    """A deviation in budgets, in at most 6 characters."""
    if units is None:
        return "-"
    if units == 0:
        return "equal"
    if math.isinf(units):
        return "wrong"
    if units < 0.001:
        return "<0.001"
    if units < 10:
        return f"{units:.3f}"
    return f"{units:,.0f}" if units < 1e5 else f"{units:.0e}"
