"""The score of the suite, a technique at a time: what it catches, tells apart, names, lets pass."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parity_tests.harness import discovery
from parity_tests.harness.case import Settings
from parity_tests.harness.results import Technique

RECORD = Path(__file__).resolve().parents[1] / "mutants.json"
"""Written by `parity mutants`."""

PARTS = "caught and told apart", "named", "let pass"
"""The three jobs that the score of a technique is made of."""


@dataclass
class Count:
    """How many were right of how many, and what was not, in words."""

    right: int = 0
    of: int = 0
    missed: list[str] = field(default_factory=list)

    def take(self, holds: bool, otherwise: str) -> None:
        """Count one."""
        self.of += 1
        self.right += holds
        if not holds:
            self.missed.append(otherwise)

    def __add__(self, other: Count) -> Count:
        return Count(self.right + other.right, self.of + other.of, [*self.missed, *other.missed])

    def __str__(self) -> str:
        return f"{self.right}/{self.of}" if self.of else "-"


@dataclass
class Score:
    """What the suite made of the stand-ins of one technique.

    Attributes:
        caught: mistakes outside a budget somewhere.
        apart: pairs of mistakes that are a thousand budgets from each other somewhere.
        named: mistakes that `compare` names as the cause, of those that it can be pointed at.
        passed: rewrites, which are right, inside every budget; the others are false alarms.
    """

    caught: Count = field(default_factory=Count)
    apart: Count = field(default_factory=Count)
    named: Count = field(default_factory=Count)
    passed: Count = field(default_factory=Count)

    def __add__(self, other: Score) -> Score:
        return Score(**{k: v + getattr(other, k) for k, v in vars(self).items()})

    @property
    def missed(self) -> list[str]:
        """Everything that was not right."""
        return [text for count in vars(self).values() for text in count.missed]


def mutants() -> dict[str, Count]:
    """What is on record of each NumPy file: mutants killed, of those that are not equivalent."""
    if not RECORD.exists():
        return {}
    found = {}
    for file, entry in json.loads(RECORD.read_text(encoding="utf-8"))["files"].items():
        left = [s for s in entry["survivors"] if not s.get("why")]
        texts = [f"a mutant survives in {s['at']}: {s['was']!r} to {s['became']!r}" for s in left]
        equivalent = len(entry["survivors"]) - len(left)
        count = Count(entry["killed"], entry["mutants"] - equivalent, texts)
        found[file.removeprefix("numpy_impl/")] = count
    return found


def run(
    pool: Executor, techniques: Sequence[Technique], settings: Settings
) -> Generator[tuple[Technique, Score], None, None]:
    """Score the techniques; yields a part at a time, as they come in, to be added up."""
    futures = {
        pool.submit(score, t.module, t.case, part, settings): t
        for part in PARTS
        for t in techniques
        if not t.problem
    }
    for future in as_completed(futures):
        yield futures[future], future.result()


def score(module: str, case: str, part: str, settings: Settings) -> Score:
    """One part of the score of one case."""
    from parity_tests.harness.runner import interruptible
    from parity_tests.harness.stand_ins import Bench

    made = getattr(importlib.import_module(module), case)()
    bench, found = Bench(made, settings), Score()
    with warnings.catch_warnings(), interruptible():
        warnings.simplefilter("ignore")
        {PARTS[0]: _told, PARTS[1]: _named, PARTS[2]: _passed}[part](bench, found)
    return found


def _told(bench: Any, found: Score) -> None:
    mistakes = list(bench.case.mistakes)
    for name in mistakes:
        found.caught.take(bench.catches(name), f"the mistake {name!r} is not caught")
    pairs = len(mistakes) * (len(mistakes) - 1) // 2
    together = [f"{a!r} and {b!r} are not told apart" for a, b in bench.together()]
    found.apart = Count(pairs - len(together), pairs, together)


def _named(bench: Any, found: Score) -> None:
    from parity_tests.harness.naming import naming

    for name in bench.case.mistakes:
        said = naming(bench.case, bench.settings, name)
        if said is not None:
            found.named.take(said.right, f"the mistake {name!r} is {said.verdict}: {said.text}")


def _passed(bench: Any, found: Score) -> None:
    from parity_tests.harness.rewrites import rewrites

    for name, rejected in rewrites(bench):
        try:
            where = rejected()
        except Exception as error:
            where = discovery.explain(error)
        found.passed.take(not where, f"false alarm, {name}: {where}")
